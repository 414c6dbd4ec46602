"""The inpainting networks: their exact sizes, and the plain network's outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssl_bench.encoders.dcgan import DcganEncoder, dcgan_of_the_report, initialise_dcgan
from ssl_bench.pretexts.inpainting_networks import (
    Discriminator,
    FromOneCell,
    Generator,
    ToOneCell,
    parameter_count,
)
from tests.plain_inpainting import copy_weights, plain_discriminator, plain_generator


def generator(
    network: str = "official", *, whole: bool = False, units: int = 4000, width: float = 1.0
) -> Generator:
    encoder = DcganEncoder(width=width) if network == "official" else dcgan_of_the_report(width=width)
    return Generator(encoder, network=network, units=units, width=width, whole=whole)


def test_the_official_generator_has_its_published_size() -> None:
    ours = generator()
    assert parameter_count(ours) == 71_124_544
    assert parameter_count(ours.encoder) == 2_823_040
    assert parameter_count(ours.middle) == 32_776_000
    assert parameter_count(ours.decoder) == 35_525_504
    assert ours(torch.zeros(2, 3, 128, 128)).shape == (2, 3, 64, 64)


def test_the_generator_of_whole_images_has_one_more_layer() -> None:
    ours = generator(whole=True)
    assert parameter_count(ours) == 71_190_208
    assert ours(torch.zeros(2, 3, 128, 128)).shape == (2, 3, 128, 128)


def test_the_generator_of_the_report_has_the_size_that_its_listing_counts() -> None:
    ours = generator("report")
    assert parameter_count(ours) == 40_401_187
    assert ours(torch.zeros(2, 3, 128, 128)).shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("network", "size", "count", "logits"),
    [
        ("official", 64, 2_765_568, 1),
        ("official", 128, 2_831_232, 1),
        ("report-listing", 64, 2_764_737, 3),
        ("report", 64, 2_764_737, 3),
        ("report", 128, 2_764_737, 7),
    ],
)
def test_discriminators_have_their_published_sizes(network: str, size: int, count: int, logits: int) -> None:
    judge = Discriminator(network, width=1.0, size=size)
    assert parameter_count(judge) == count
    assert judge(torch.zeros(2, 3, size, size)).shape == (2, 1, logits, logits)


def test_the_listed_discriminator_says_nothing_about_a_picture_as_a_whole() -> None:
    """Its last map has mean 0 and variance 1 before the LeakyReLU, whatever the picture; the sound one's has not."""
    torch.manual_seed(0)
    listed, sound = (Discriminator(name, width=0.25, size=64) for name in ("report-listing", "report"))
    copy_weights(sound, listed)
    pictures = torch.rand(6, 3, 64, 64) * 2 - 1
    normalised = listed.layers[:-1](pictures)
    assert normalised.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    assert sound(pictures).mean(dim=(1, 2, 3)).std() > 1e-4


def both(layout: torch.memory_format) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """Ours and the plain generator with the same weights, painting the same images, with gradients."""
    torch.manual_seed(0)
    plain = plain_generator(width=0.25, units=60)
    initialise_dcgan(plain, torch.Generator().manual_seed(1))
    ours = generator(units=60, width=0.25)
    copy_weights(plain, ours)
    ours = ours.to(memory_format=layout)
    images = torch.rand(5, 3, 128, 128) * 2 - 1
    toward = torch.rand(5, 3, 64, 64)
    painted = [net(images.contiguous(memory_format=layout)) for net in (plain, ours)]
    for one in painted:
        (one * toward).sum().backward()
    return plain, ours, painted[0], painted[1]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_generator_equals_the_plain_one_in_outputs_and_gradients(layout: torch.memory_format) -> None:
    plain, ours, expected, painted = both(layout)
    assert relative_error(painted, expected) < 1e-4
    pairs = list(zip(plain.parameters(), ours.named_parameters(), strict=True))
    assert len(pairs) > 20
    for wanted, (name, parameter) in pairs:
        assert wanted.grad is not None
        assert parameter.grad is not None
        assert wanted.grad.norm() > 0, name
        assert relative_error(parameter.grad, wanted.grad) < 1e-4, name


def test_the_discriminator_equals_the_plain_one_in_outputs_and_gradients() -> None:
    torch.manual_seed(0)
    plain, ours = plain_discriminator(0.25), Discriminator("official", width=0.25, size=64)
    initialise_dcgan(plain, torch.Generator().manual_seed(1))
    copy_weights(plain, ours)
    patches = torch.rand(5, 3, 64, 64) * 2 - 1
    one, other = plain(patches), ours.to(memory_format=torch.channels_last)(patches)
    assert relative_error(other, one) < 1e-4
    one.square().sum().backward()
    other.square().sum().backward()
    for wanted, (name, parameter) in zip(plain.parameters(), ours.named_parameters(), strict=True):
        assert wanted.grad is not None
        assert parameter.grad is not None
        assert relative_error(parameter.grad, wanted.grad) < 1e-4, name


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_layers_of_one_cell_are_the_convolutions_they_replace(
    bias: bool, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    shrink, grow = ToOneCell(6, 10, 4, bias=bias), FromOneCell(10, 7, 4, bias=bias)
    plain_shrink, plain_grow = nn.Conv2d(6, 10, 4, bias=bias), nn.ConvTranspose2d(10, 7, 4, bias=bias)
    plain_shrink.load_state_dict(shrink.state_dict())
    plain_grow.load_state_dict(grow.state_dict())
    shrink, grow = shrink.to(memory_format=layout), grow.to(memory_format=layout)
    for size in (4, 6):  # 6: more than one cell, where nothing is a single product any more
        maps = torch.rand(3, 6, size, size)
        torch.testing.assert_close(shrink(maps), plain_shrink(maps), atol=1e-5, rtol=1e-5)
        cells = torch.rand(3, 10, size - 3, size - 3)
        torch.testing.assert_close(grow(cells), plain_grow(cells), atol=1e-5, rtol=1e-5)


def test_weights_keep_the_four_dimensions_of_convolutions() -> None:
    state = generator(units=60, width=0.25).state_dict()
    assert state["middle.0.weight"].shape == (60, 128, 4, 4)
    assert state["decoder.0.weight"].shape == (60, 128, 4, 4)


def relative_error(given: Tensor, wanted: Tensor) -> float:
    return float(((given - wanted).norm() / wanted.norm()).detach())
