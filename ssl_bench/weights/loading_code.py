"""The lines of code by which a model card shows how an exported encoder is loaded; the tests run them.

They are run inside the exported folder. Each ends with `features` of a black picture, so that who copies them sees the
input prepared as the encoder expects it: `normalise` of its preprocessing, written out, bit by bit the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from ssl_bench.encoders.files import EncoderCard
from ssl_bench.weights.detectron2_names import detectron2_settings
from ssl_bench.weights.library_networks import in_timm, in_torchvision

TORCHVISION_FILE = "encoder.pth"
DETECTRON2_FILE = "encoder.pkl"
HUB_FILE = "model.safetensors"


def loading_code(card: EncoderCard, to: str, heads: tuple[str, ...] = ()) -> str:
    """Write the Markdown of a format's loading, by the library it is for and by ssl-bench.

    Args:
        to: A format that the architecture has.
        heads: torchvision's modules that the file lacks.
    """
    if to == "safetensors":
        return _python(_own("encoder.safetensors", card))
    if to == "torchvision":
        return _python(_torchvision(card, heads) + _features(card)) + _too(TORCHVISION_FILE, card)
    if to == "timm":
        return _python(_timm(card) + _features(card)) + _too(HUB_FILE, card)
    if to == "detectron2":
        return _detectron2(card) + _too(DETECTRON2_FILE, card)
    if in_timm(card.architecture) is None:
        return _python(_own(own_address(".", card), card))
    hub = '\nOnce it is on the hub, `"hf-hub:ORGANISATION/NAME"` takes the place of `"local-dir:."`.\n'
    return _python(_LOCAL_FOLDER + _features(card)) + hub + _too(".", card)


def own_address(given: str, card: EncoderCard) -> str:
    """Name a file as ssl-bench takes it wherever an encoder is named, with network and input said in full.

    So nothing is left to be guessed from the file, which does not hold them. See `ssl_bench.weights.addresses`.
    """
    settings = {key: value for key, value in card.architecture.items() if key != "name"}
    words = [
        str(card.architecture["name"]),
        *(f"{key}={json.dumps(value)}" for key, value in settings.items()),
    ]
    expected = card.preprocessing
    options = {
        "as": ":".join(words),
        "size": expected.size,
        "interpolation": expected.interpolation,
        "channels": expected.channels,
        "range": expected.value_range,
        "mean": ",".join(map(repr, expected.mean)),
        "std": ",".join(map(repr, expected.std)),
    }
    return f"{given}?" + "&".join(f"{key}={value}" for key, value in options.items())


def _python(code: str) -> str:
    return f"```python\n{code}```\n"


_LOCAL_FOLDER = """\
import timm
import torch

network = timm.create_model("local-dir:.", pretrained=True).eval()
"""


def _own(given: str, card: EncoderCard) -> str:
    size = card.preprocessing.size
    quoted = f'"{given}"' if '"' not in given else repr(given)
    return f"""\
import ssl_bench
import torch

network = ssl_bench.load_encoder({quoted})

pixels = torch.zeros(1, 3, {size}, {size}, dtype=torch.uint8)  # RGB pictures
images = network.preprocessing.normalise(pixels)
features = network.pooled(images)
"""


def _too(given: str, card: EncoderCard) -> str:
    return "\nssl-bench reads it as well:\n\n" + _python(_own(own_address(given, card), card))


def _features(card: EncoderCard) -> str:
    """Write `normalise` out: RGB pixels, then range, then order, then mean and deviation."""
    given = card.preprocessing
    scaled = "pixels.float() * (1 / 255)" if given.value_range == 1 else "pixels.float()  # 0..255, not 0..1"
    flipped = "images = images.flip(1)  # RGB to BGR\n" if given.channels == "BGR" else ""
    return f"""
pixels = torch.zeros(1, 3, {given.size}, {given.size}, dtype=torch.uint8)  # RGB pictures
images = {scaled}
{flipped}mean = torch.tensor({list(given.mean)}).view(3, 1, 1)
std = torch.tensor({list(given.std)}).view(3, 1, 1)
images = (images - mean) / std
features = network(images)
"""


def _arguments(settings: Mapping[str, Any]) -> str:
    return "".join(f", {key}={value!r}" for key, value in settings.items())


def _torchvision(card: EncoderCard, heads: tuple[str, ...]) -> str:
    network = in_torchvision(card.architecture)
    assert network is not None
    # A head that the forward pass meets is replaced; auxiliary ones only run while training.
    replaced = "".join(
        f"network.{head} = torch.nn.Identity()  # torchvision's classifier is not in the file\n"
        for head in heads
        if not head.lower().startswith("aux")
    )
    absent = "{" + ", ".join(f'"{head}"' for head in heads) + "}" if heads else "set()"
    return f"""\
import torch
import torchvision

network = torchvision.models.get_model("{network.name}", weights=None{_arguments(network.settings)})
fit = network.load_state_dict(torch.load("{TORCHVISION_FILE}", weights_only=True), strict=False)
assert not fit.unexpected_keys
assert {{key.partition(".")[0] for key in fit.missing_keys}} <= {absent}
{replaced}network.eval()
"""


def _timm(card: EncoderCard) -> str:
    network = in_timm(card.architecture)
    assert network is not None
    return f"""\
import timm
import torch

network = timm.create_model(
    "{network.name}", checkpoint_path="{HUB_FILE}", num_classes=0{_arguments(network.settings)}
).eval()
"""


def _detectron2(card: EncoderCard) -> str:
    settings = detectron2_settings(card.architecture, card.preprocessing, DETECTRON2_FILE)
    return (
        "A config must say all of this; what it says otherwise of the input or the stride makes other features.\n\n"
        f"```yaml\n{yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)}```\n\n"
        "`MODEL.RESNETS.NORM` is a choice of the protocol: FrozenBN, detectron2's own, keeps this file's statistics; "
        "SyncBN lets them move.\n"
    )
