"""Samples for the dilated FCN: sizes, crops and colours against plain loops, and what reaches the network."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssl_bench.data.voc_classes import VOID
from ssl_bench.protocol_schemas import DilatedSegmentationSettings
from ssl_bench.protocols import segmentation_samples as samples_module
from ssl_bench.protocols.segmentation_samples import (
    DilatedSegmentationSamples,
    balanced_window,
    brightened,
    distorted,
    largest_share,
    size_within,
    with_contrast,
    with_hue,
    with_saturation,
)
from ssl_bench.recipes import load_protocol
from tests.data.drawn_voc import HEIGHT, WIDTH, draw_voc

QUICK = "voc12aug-seg-fcn-r50-quick"
SMALL = ["settings.crop=64", "settings.base_short_side=64", "settings.base_long_side=256"]


def drawn_samples(folder: Path, *overrides: str, training: bool = True) -> DilatedSegmentationSamples:
    protocol = load_protocol(QUICK, [*SMALL, *overrides])
    assert isinstance(protocol.settings, DilatedSegmentationSettings)
    devkit = draw_voc(folder)
    return DilatedSegmentationSamples(devkit, "trainval", protocol.settings, training=training, limit=None)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(64, 600), st.integers(1, 4))
def test_images_are_made_as_large_as_both_sides_allow(
    width: int, height: int, short: int, times: int
) -> None:
    found = size_within((width, height), short, short * times)
    assert min(found) <= short
    assert max(found) <= short * times
    assert min(found) == short or max(found) == short * times


def test_sizes_of_voc_images_by_hand() -> None:
    assert size_within((500, 375), 512, 2048) == (683, 512)
    assert size_within((375, 500), 512, 2048) == (512, 683)
    assert size_within((1000, 100), 512, 2048) == (2048, 205)


def test_a_crop_is_drawn_again_where_one_class_fills_it() -> None:
    labels = np.zeros((40, 200), dtype=np.uint8)
    labels[:, 150:] = 7
    redrawn = False
    for seed in range(20):
        rng = np.random.default_rng(seed)
        window = balanced_window(labels, 40, 0.75, rng)
        again = np.random.default_rng(seed)
        draws = 0
        while True:  # the first draw and ten more; the last stays whatever it is
            top, left = int(again.integers(0, 1)), int(again.integers(0, 161))
            crop = labels[top : top + 40, left : left + 40]
            draws += 1
            if draws == 11 or max((crop == 0).mean(), (crop == 7).mean()) < 0.75:
                break
        assert (window[0].start, window[1].start) == (top, left)
        redrawn |= draws > 1
        any_window = balanced_window(labels, 40, 1.0, np.random.default_rng(seed))
        first = np.random.default_rng(seed)
        assert (any_window[0].start, any_window[1].start) == (first.integers(0, 1), first.integers(0, 161))
    assert redrawn


def test_void_does_not_count_in_the_share_of_a_class() -> None:
    labels = np.array([[0, 0, 0, 5], [VOID, VOID, VOID, VOID]], dtype=np.uint8)
    assert largest_share(labels) == 0.75
    assert largest_share(labels[:1, :3]) == 1
    assert largest_share(labels[1:]) == 1


def all_colours() -> np.ndarray:
    """Random colours, greys, and the corners of the cube, uint8 (8, 16, 3)."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (128, 3), dtype=np.uint8)
    colours[:8] = [[255 * (n >> bit & 1) for bit in range(3)] for n in range(8)]
    colours[8:16] = rng.integers(0, 256, (8, 1), dtype=np.uint8)
    return colours.reshape(8, 16, 3)


@pytest.mark.parametrize("difference", [-32.0, -0.4, 0.0, 12.7, 31.9])
def test_brightness_against_a_loop(difference: float) -> None:
    for given_, found in zip(all_colours().flat, brightened(all_colours(), difference).flat, strict=True):
        assert int(found) == int(min(255, max(0, int(given_) + difference)))


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.0, 1.5])
def test_contrast_against_a_loop(factor: float) -> None:
    for given_, found in zip(all_colours().flat, with_contrast(all_colours(), factor).flat, strict=True):
        assert int(found) == int(min(255, int(given_) * factor))


def through_hsv(colour: np.ndarray, *, factor: float = 1, degrees: float = 0) -> np.ndarray:
    hue, saturation, value = colorsys.rgb_to_hsv(*(colour / 255))
    return np.array(colorsys.hsv_to_rgb((hue + degrees / 360) % 1, min(1, saturation * factor), value)) * 255


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.5])
def test_saturation_against_exact_colours(factor: float) -> None:
    """Pillow keeps 8 bits a band: a hue is off by at most 1/255 of the circle, which is 6 values."""
    found = with_saturation(all_colours(), factor).reshape(-1, 3)
    for colour, changed in zip(all_colours().reshape(-1, 3), found, strict=True):
        assert np.abs(through_hsv(colour, factor=factor) - changed).max() <= 9


@pytest.mark.parametrize("degrees", [-36, -12, 0, 34])
def test_hue_against_exact_colours(degrees: int) -> None:
    found = with_hue(all_colours(), degrees).reshape(-1, 3)
    for colour, changed in zip(all_colours().reshape(-1, 3), found, strict=True):
        assert np.abs(through_hsv(colour, degrees=degrees) - changed).max() <= 12


def test_distortion_draws_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change comes half of the time, in its range; the contrast first or last, half of the time each."""
    calls: list[tuple[str, float]] = []
    for name in ("brightened", "with_contrast", "with_saturation", "with_hue"):
        monkeypatch.setattr(
            samples_module, name, lambda pixels, amount, name=name: calls.append((name, amount)) or pixels
        )
    pixels = np.zeros((1, 1, 3), dtype=np.uint8)
    runs = []
    for seed in range(400):
        calls.clear()
        distorted(pixels, np.random.default_rng(seed))
        runs.append(tuple(calls))
    amounts: dict[str, list[float]] = {}
    for run in runs:
        assert sorted({name for name, _ in run}) == sorted(name for name, _ in run), "each at most once"
        for name, amount in run:
            amounts.setdefault(name, []).append(amount)
    ranges = {
        "brightened": (-32, 32),
        "with_contrast": (0.5, 1.5),
        "with_saturation": (0.5, 1.5),
        "with_hue": (-36, 34),
    }
    for name, (low, high) in ranges.items():
        drawn = np.array(amounts[name])
        assert 160 < len(drawn) < 240, "half of 400, within four standard deviations"
        assert low <= drawn.min() < low + (high - low) / 20
        assert high >= drawn.max() > high - (high - low) / 20
    assert all(hue % 2 == 0 for hue in amounts["with_hue"])
    both = [run for run in runs if {"with_contrast", "with_hue"} <= {name for name, _ in run}]
    first = [[name for name, _ in run].index("with_contrast") < len(run) - 1 for run in both]
    assert 0.3 < np.mean(first) < 0.7
    assert all(run[0][0] == "brightened" for run in runs if "brightened" in {name for name, _ in run})


def test_distortion_is_the_same_for_the_same_generator() -> None:
    first = [distorted(all_colours(), np.random.default_rng(seed)) for seed in range(8)]
    again = [distorted(all_colours(), np.random.default_rng(seed)) for seed in range(8)]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert any(not np.array_equal(first[0], other) for other in first[1:])


def test_training_samples_pad_what_an_image_does_not_fill(tmp_path: Path) -> None:
    samples = drawn_samples(tmp_path, "settings.scale_least=0.5", "settings.scale_most=0.9")
    for index in range(len(samples)):
        sample = samples.sample(index, np.random.default_rng(index))
        rows, columns = sample["rows"], sample["columns"]
        assert sample["image"].shape == (3, 64, 64)
        assert sample["mask"].shape == (64, 64)
        assert rows < 64
        assert not sample["image"][:, rows:].any()
        assert not sample["image"][:, :, columns:].any()
        assert (sample["mask"][rows:] == VOID).all()
        assert (sample["mask"][:, columns:] == VOID).all()
        assert (sample["mask"][:rows, :columns] != VOID).any()


def test_image_and_mask_are_scaled_cut_and_mirrored_together(tmp_path: Path) -> None:
    samples = drawn_samples(tmp_path, "settings.photometric=false")
    devkit = samples.devkit
    for image_id in samples.ids:  # an image that shows its own classes
        mask = devkit.class_mask(image_id)
        grey = np.where(mask == VOID, 250, mask * 10).astype(np.uint8)
        Image.fromarray(np.stack([grey] * 3, axis=-1)).save(devkit.image_path(image_id), "PNG")
    for index in range(len(samples)):
        for seed in range(5):
            sample = samples.sample(index, np.random.default_rng(seed))
            filled = (slice(0, sample["rows"]), slice(0, sample["columns"]))
            image, mask = sample["image"][0][filled].astype(int), sample["mask"][filled].astype(int)
            shown = np.where(mask == VOID, 250, mask * 10)
            assert np.mean(np.abs(image - shown) <= 10) > 0.8, "they differ along outlines alone"


def test_test_samples_are_whole_images_at_the_base_size(tmp_path: Path) -> None:
    samples = drawn_samples(tmp_path, training=False)
    sample = samples.sample(0, np.random.default_rng(0))
    assert sample["image"].shape == (3, 64, round(64 * WIDTH / HEIGHT))
    assert (sample["height"], sample["width"]) == (HEIGHT, WIDTH)
