"""SqueezeNet's maps are torchvision's, under the paper's names, and real weights load by name."""

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torchvision.models import squeezenet1_0

from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.encoders.squeezenet import SqueezeNet

IMAGES = torch.randn(2, 3, 227, 227, generator=torch.Generator().manual_seed(0))


def test_maps_are_those_of_torchvision() -> None:
    theirs = squeezenet1_0(weights=None).eval()
    ours = SqueezeNet().eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k.startswith("features.")})
    with torch.inference_mode():
        torch.testing.assert_close(ours(IMAGES), theirs.features(IMAGES))
        torch.testing.assert_close(ours.forward_taps(IMAGES, ["fire4"])["fire4"], theirs.features[:6](IMAGES))


def test_taps_have_the_published_channels_and_sizes_and_are_not_written_over() -> None:
    network = fresh_encoder({"name": "squeezenet"}, init="kaiming", seed=0).eval()
    assert {name: tap.channels for name, tap in network.taps.items()} == {
        "conv1": 96, "fire2": 128, "fire3": 128, "fire4": 256, "fire5": 256,
        "fire6": 384, "fire7": 384, "fire8": 512, "fire9": 512,
    }  # fmt: skip
    with torch.inference_mode():
        together = network.forward_taps(IMAGES, list(network.taps))
        sides = [maps.shape[-1] for maps in together.values()]
        assert sides == [111, 55, 55, 55, 27, 27, 27, 27, 13]
        for name, maps in together.items():
            torch.testing.assert_close(network.forward_taps(IMAGES, [name])[name], maps)
    assert network.pooled(IMAGES).shape == (2, 512)


@pytest.mark.parametrize(("tap", "cell"), [("conv1", 20), ("fire4", 15), ("fire7", 8), ("fire9", 6)])
def test_a_cell_looks_where_its_tap_says(tap: str, cell: int) -> None:
    network = SqueezeNet().eval()
    for name, parameter in network.named_parameters():  # positive weights: nothing cancels, all pixels count
        parameter.data.fill_(0.01 if name.endswith("weight") else 0)
    images = torch.rand(1, 3, 227, 227, requires_grad=True)
    network.forward_taps(images, [tap])[tap][0, :, cell, cell].sum().backward()
    assert images.grad is not None
    seen = images.grad[0].sum(0).nonzero()[:, 0]
    place = network.taps[tap]
    middle = float(seen.min() + seen.max()) / 2
    assert abs(middle - (place.centre + cell * place.stride)) <= place.stride


def test_the_imagenet_weights_load_completely(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    with ZipFile(shared_file("weights.zip")) as archive:
        name = next(name for name in archive.namelist() if name.endswith("bgr255.pth"))
        weights = torch.load(archive.extract(name, tmp_path), map_location="cpu", weights_only=True)
    network = SqueezeNet()
    kept = {key: value for key, value in weights.items() if key.startswith("features.")}
    assert network.load_state_dict(kept, strict=True)
    assert len(weights) - len(kept) == 2  # the classifier
