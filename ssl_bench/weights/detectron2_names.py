"""ResNets for detectron2: its names, its pickle, and the settings that must stand beside them.

detectron2 calls stages res2 to res5, keeps each normalisation inside its convolution (`conv1.norm`), and calls the
projection of a block its shortcut. These are the names that its own tools/convert-torchvision-to-d2.py and MoCo's
detection/convert-pretrain-to-detectron2.py write. Like both, we keep batch normalisation's counters, so that a file
read back is the encoder bit by bit, hash and all; detectron2 uses them where its layers have them, and passes over them
elsewhere. The files of its own model zoo hold none.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from torch import Tensor

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.weights.library_networks import RESNET_DEPTHS

# Ours to detectron2's, tried in this order on a whole name.
PATTERNS = (
    (r"conv1\.(\w+)", r"stem.conv1.\1"),
    (r"bn1\.(\w+)", r"stem.conv1.norm.\1"),
    (r"layer(\d)\.(\d+)\.conv(\d)\.(\w+)", r"res\1.\2.conv\3.\4"),
    (r"layer(\d)\.(\d+)\.bn(\d)\.(\w+)", r"res\1.\2.conv\3.norm.\4"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.(\w+)", r"res\1.\2.shortcut.\3"),
    (r"layer(\d)\.(\d+)\.downsample\.1\.(\w+)", r"res\1.\2.shortcut.norm.\3"),
)
# The module that numpy 1.26 and later name in their pickles, and the one that every version has.
NEW_MODULE, OLD_MODULE = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"


def detectron2_name(name: str) -> str:
    """Translate the name of a ResNet's tensor, e.g. layer1.0.bn3.weight to res2.0.conv3.norm.weight."""
    for ours, theirs in PATTERNS:
        found = re.fullmatch(ours, name)
        if found:
            # Their stages count from 2, since the stem is the first.
            return re.sub(r"^res(\d)", lambda stage: f"res{int(stage[1]) + 1}", found.expand(theirs))
    raise AssertionError(f"{name} is not a ResNet's tensor")


def detectron2_content(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Lay out a ResNet's tensors as detectron2 reads them from a .pkl file.

    `matching_heuristics` lets it find them behind whatever prefix its detector has. The author is anybody but Caffe2,
    whose blobs would be renamed.
    """
    arrays = {detectron2_name(name): tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    return {
        "model": {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()},
        "__author__": "ssl-bench",
        "matching_heuristics": True,
    }


def write_detectron2(tensors: Mapping[str, Tensor], file: IO[bytes]) -> None:
    """Write a pickle of plain containers and numpy arrays.

    In protocol 3: the oldest that stores bytes as they are. Protocol 2 would store them as text, half as large again,
    with one more function to be called by whoever reads it.
    """
    buffer = io.BytesIO()
    pickle.dump(detectron2_content(tensors), buffer, protocol=3)
    data = buffer.getbuffer()
    # numpy 2 names a module that numpy before 1.26 lacks, and detectron2 is much used with those. Its name stands once,
    # in front of the first array; later ones refer back to it.
    head = bytes(data[:4096])
    place = head.find(NEW_MODULE)
    if place >= 0:
        file.write(head[:place] + OLD_MODULE)
        file.write(data[place + len(NEW_MODULE) :])
    else:
        file.write(data)


def detectron2_settings(
    architecture: Mapping[str, Any], preprocessing: Preprocessing, weights: str
) -> dict[str, Any]:
    """Collect what a detectron2 config must say for these weights to see what they were trained on.

    Means and deviations are of pixels in 0..255, in the order of FORMAT. Its networks halve maps in the first 1 x 1
    convolution of a bottleneck unless told otherwise; ours do it in the 3 x 3.
    """
    name = str(architecture["name"])
    resnets: dict[str, Any] = {"DEPTH": RESNET_DEPTHS[name], "STRIDE_IN_1X1": False}
    if RESNET_DEPTHS[name] < 50:
        resnets["RES2_OUT_CHANNELS"] = 64
    if name.startswith("wide_"):
        resnets["WIDTH_PER_GROUP"] = 128
    scale = 255 / preprocessing.value_range
    return {
        "MODEL": {
            "WEIGHTS": weights,
            "PIXEL_MEAN": [round(value * scale, 6) for value in preprocessing.mean],
            "PIXEL_STD": [round(value * scale, 6) for value in preprocessing.std],
            "RESNETS": resnets,
        },
        "INPUT": {"FORMAT": preprocessing.channels},
    }
