"""Names, pickles and settings for detectron2, against what its networks are known to be called."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_bench.encoders.contract import Preprocessing, tensors_hash, weights_hash
from ssl_bench.encoders.resnet import ResNetEncoder
from ssl_bench.weights.detectron2_names import (
    detectron2_content,
    detectron2_name,
    detectron2_settings,
    write_detectron2,
)
from ssl_bench.weights.exporting import export
from tests.weights.test_exporting import card_of, trained

# Pairs as detectron2's model zoo has them (R-50.pkl and its networks' own state dicts).
PAIRS = {
    "conv1.weight": "stem.conv1.weight",
    "bn1.running_var": "stem.conv1.norm.running_var",
    "layer1.0.conv1.weight": "res2.0.conv1.weight",
    "layer1.0.bn3.bias": "res2.0.conv3.norm.bias",
    "layer1.0.downsample.0.weight": "res2.0.shortcut.weight",
    "layer2.3.bn2.running_mean": "res3.3.conv2.norm.running_mean",
    "layer4.0.downsample.1.weight": "res5.0.shortcut.norm.weight",
    "layer3.22.conv2.weight": "res4.22.conv2.weight",
}
# What the restricted reader admits: numpy's arrays and nothing that could act.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return ADMITTED[module, name]


def ours(name: str) -> str:
    """The way back, by plain replacing from the longest word on."""
    for stage in (2, 3, 4, 5):
        name = name.replace(f"res{stage}.", f"layer{stage - 1}.")
    for conv in (1, 2, 3):
        name = name.replace(f"conv{conv}.norm", f"bn{conv}")
    return (
        name.replace("stem.", "").replace("shortcut.norm", "downsample.1").replace("shortcut", "downsample.0")
    )


@pytest.mark.parametrize(("name", "theirs"), PAIRS.items())
def test_names(name: str, theirs: str) -> None:
    assert detectron2_name(name) == theirs


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_every_tensor_has_a_name_of_its_own_and_finds_back(name: str) -> None:
    with torch.device("meta"):
        names = list(ResNetEncoder(name).state_dict())
    theirs = [detectron2_name(each) for each in names]
    assert len(set(theirs)) == len(names)
    assert [ours(each) for each in theirs] == names


def test_names_that_are_no_resnets_are_our_mistake() -> None:
    with pytest.raises(AssertionError, match=r"features\.0\.weight"):
        detectron2_name("features.0.weight")


def test_an_export_comes_back_bit_by_bit(tmp_path: Path) -> None:
    encoder = trained({"name": "resnet18"})
    (path, _) = export(encoder, card_of(encoder), "detectron2", tmp_path / "out")
    with path.open("rb") as file:
        content = ArraysOnly(file).load()
    assert content["matching_heuristics"] is True
    assert content["__author__"] == "ssl-bench"
    assert all(type(array) is np.ndarray for array in content["model"].values())
    found = {ours(name): torch.from_numpy(array) for name, array in content["model"].items()}
    assert tensors_hash(found) == weights_hash(encoder)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {
        "conv1.weight": torch.randn(4, 3, 7, 7).to(memory_format=torch.channels_last),
        "bn1.num_batches_tracked": torch.tensor(17),
        "layer1.0.conv1.weight": torch.randn(0, 3),
    }


def test_a_pickle_names_modules_that_every_numpy_has(tensors: dict[str, Tensor]) -> None:
    file = io.BytesIO()
    write_detectron2(tensors, file)
    operations = list(pickletools.genops(file.getvalue()))
    named = {argument for operation, argument, _ in operations if operation.name == "GLOBAL"}
    assert named == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert max(operation.proto for operation, _, _ in operations) <= 3
    assert not any(operation.name == "STACK_GLOBAL" for operation, _, _ in operations)


def test_any_numpy_reads_the_same_arrays(tensors: dict[str, Tensor]) -> None:
    file = io.BytesIO()
    write_detectron2(tensors, file)
    model = pickle.loads(file.getvalue())["model"]
    assert {name: (array.shape, array.dtype) for name, array in model.items()} == {
        "stem.conv1.weight": ((4, 3, 7, 7), np.dtype("float32")),
        "stem.conv1.norm.num_batches_tracked": ((), np.dtype("int64")),
        "res2.0.conv1.weight": ((0, 3), np.dtype("float32")),
    }
    assert model["stem.conv1.weight"].tobytes() == tensors["conv1.weight"].contiguous().numpy().tobytes()
    assert model["stem.conv1.norm.num_batches_tracked"] == 17
    assert detectron2_content(tensors)["model"].keys() == model.keys()


def preprocessing(**changed: Any) -> Preprocessing:
    fields = {
        "size": 224,
        "interpolation": "bilinear",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "channels": "RGB",
        "value_range": 1,
    }
    return Preprocessing(**{**fields, **changed})


def test_settings_are_those_of_detectron2s_own_converter() -> None:
    assert detectron2_settings({"name": "resnet50"}, preprocessing(), "r50.pkl") == {
        "MODEL": {
            "WEIGHTS": "r50.pkl",
            "PIXEL_MEAN": [123.675, 116.28, 103.53],
            "PIXEL_STD": [58.395, 57.12, 57.375],
            "RESNETS": {"DEPTH": 50, "STRIDE_IN_1X1": False},
        },
        "INPUT": {"FORMAT": "RGB"},
    }


def test_settings_of_other_networks_and_inputs() -> None:
    resnets = detectron2_settings({"name": "resnet18"}, preprocessing(), "x.pkl")["MODEL"]["RESNETS"]
    assert resnets == {"DEPTH": 18, "STRIDE_IN_1X1": False, "RES2_OUT_CHANNELS": 64}
    resnets = detectron2_settings({"name": "wide_resnet50_2"}, preprocessing(), "x.pkl")["MODEL"]["RESNETS"]
    assert resnets == {"DEPTH": 50, "STRIDE_IN_1X1": False, "WIDTH_PER_GROUP": 128}
    caffe = preprocessing(mean=(104, 117, 123), std=(1, 1, 1), channels="BGR", value_range=255)
    settings = detectron2_settings({"name": "resnet50"}, caffe, "x.pkl")
    assert settings["MODEL"]["PIXEL_MEAN"] == [104, 117, 123]
    assert settings["INPUT"]["FORMAT"] == "BGR"
