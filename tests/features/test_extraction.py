"""Extraction: the right numbers, from one pass, whatever the number of threads; and what stops it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ssl_bench.encoders.caffenet import CaffeNet
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.features import keys, one_pass
from ssl_bench.features.extraction import extract, extract_together
from ssl_bench.features.pooling import pool
from ssl_bench.features.store import FeatureStore
from tests.features.tiny import (
    CPU,
    SIZE,
    TAPS,
    contents,
    drawn_images,
    extracted,
    picture,
    settings,
    tiny_encoder,
)

Capture = pytest.CaptureFixture[str]


class Counting(CaffeNet):
    """Counts the images of every pass, and the taps asked."""

    def __init__(self) -> None:
        super().__init__(width=0.05, input_size=SIZE)
        self.load_state_dict(tiny_encoder().state_dict())
        self.passes: list[tuple[int, tuple[str, ...]]] = []

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        self.passes.append((len(images), tuple(taps)))
        return super().forward_taps(images, taps)


def test_features_are_those_of_one_image_at_a_time(tmp_path: Path) -> None:
    images, encoder = drawn_images(37), tiny_encoder().eval()
    found = extracted(tmp_path, images, encoder=encoder)
    assert list(found.taps) == list(TAPS)
    assert found.images_per_s is not None
    for place in (0, 15, 16, 36):
        pixels = np.array(
            Image.open(io.BytesIO(picture(place))).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        )
        inputs = encoder.preprocessing.normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        with torch.inference_mode():
            maps = encoder.forward_taps(inputs, list(TAPS))
        for tap, features in found.taps.items():
            assert features.values.dtype == np.float32
            assert not features.values.flags.writeable
            expected = pool(maps[tap], features.key.pooling, tap=tap)[0].numpy()
            np.testing.assert_allclose(features.values[place], expected, rtol=1e-4, atol=1e-5)


def test_labels_and_order_stay_as_they_are(tmp_path: Path) -> None:
    images = drawn_images(20)
    labels = images.labels.copy()
    found = extracted(tmp_path / "a", images)
    assert (images.labels == labels).all()
    order = list(reversed(range(20)))
    turned = dataclasses.replace(
        images, names=tuple(images.names[i] for i in order), read=lambda i: images.read(order[i])
    )
    other = extracted(tmp_path / "a", turned)
    for tap in TAPS:
        assert not other.taps[tap].reused
        np.testing.assert_allclose(other.taps[tap].values[::-1], found.taps[tap].values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_threads_moves_no_bit(tmp_path: Path, precision: str) -> None:
    images, wanted = drawn_images(100), settings(precision=precision)
    before = torch.get_num_threads()
    found = {
        count: contents(extracted(tmp_path / str(count), images, wanted, threads=count))
        for count in (1, 2, 5)
    }
    assert found[1] == found[2] == found[5]
    assert torch.get_num_threads() == before


def test_bf16_is_kept_apart_and_not_far_off(tmp_path: Path) -> None:
    images = drawn_images(5)
    fine = extracted(tmp_path, images)
    coarse = extracted(tmp_path, images, settings(precision="bf16"))
    for tap in TAPS:
        one, other = fine.taps[tap].values, coarse.taps[tap].values
        assert not coarse.taps[tap].reused
        assert (one != other).any()
        assert np.abs(one - other).max() < 0.05 * np.abs(one).max()


def test_all_taps_come_from_one_pass(tmp_path: Path) -> None:
    encoder = Counting()
    extracted(tmp_path, drawn_images(33), encoder=encoder)
    assert sorted(count for count, _ in encoder.passes) == [1, 1, 16, 16]  # 33 images, and the black one
    assert {taps for _, taps in encoder.passes} == {tuple(TAPS)}


def test_several_protocols_share_one_pass(tmp_path: Path) -> None:
    images, encoder, store = drawn_images(40), Counting(), FeatureStore(tmp_path / "shared")
    asked = {
        "windows": settings(),
        "means": settings(taps={"conv1": {"kind": "mean"}, "conv5": {"kind": "mean"}}),
        "larger": settings(networks={"caffenet": {"size": 83, "taps": {"conv5": {"kind": "mean"}}}}),
    }
    found = extract_together(encoder, images, asked, store=store, device=CPU, threads=1)
    assert sorted(count for count, _ in encoder.passes) == [
        1,
        1,
        8,
        8,
        16,
        16,
        16,
        16,
    ]  # two sizes of picture
    encoder.passes.clear()
    for name, wanted in asked.items():
        alone = extracted(tmp_path / name, images, wanted)
        assert contents(found[name]) == contents(alone)
        assert list(found[name].taps) == list(alone.taps)
    one, other = found["windows"].taps["conv5"], found["means"].taps["conv5"]
    assert one.key == other.key
    assert not one.reused
    assert not other.reused
    assert len(list(store.root.glob("*/card.json"))) == 5  # conv5's mean at 67 pixels is kept once
    asked["more"] = settings(taps={"conv1": {"kind": "mean"}, "conv2": {"kind": "mean"}})
    again = extract_together(encoder, images, asked, store=store, device=CPU, threads=1)
    assert {taps for _, taps in encoder.passes} == {("conv2",)}
    assert {name: took.images_per_s is None for name, took in again.items()} == {
        **dict.fromkeys(("windows", "means", "larger"), True),
        "more": False,
    }


def test_a_second_call_extracts_nothing(tmp_path: Path) -> None:
    images, encoder = drawn_images(20), Counting()
    first = extracted(tmp_path, images, encoder=encoder)
    encoder.passes.clear()
    unreadable = dataclasses.replace(images, read=lambda _: b"")
    second = extracted(tmp_path, unreadable, encoder=encoder)
    assert encoder.passes == []
    assert second.images_per_s is None
    assert all(found.reused for found in second.taps.values())
    assert not any(found.reused for found in first.taps.values())
    assert contents(second) == contents(first)


def test_only_the_taps_that_are_lacking_are_extracted(tmp_path: Path) -> None:
    images, encoder = drawn_images(20), Counting()
    one = extracted(tmp_path, images, settings(only=["conv3"]), encoder=encoder)
    encoder.passes.clear()
    rest = extracted(tmp_path, images, encoder=encoder)
    assert {taps for _, taps in encoder.passes} == {("conv1", "conv5")}
    assert {tap: found.reused for tap, found in rest.taps.items()} == {
        "conv1": False,
        "conv3": True,
        "conv5": False,
    }
    assert contents(rest)["conv3"] == contents(one)["conv3"]
    assert contents(rest) == contents(extracted(tmp_path / "fresh", images))


def test_one_changed_weight_extracts_again(tmp_path: Path) -> None:
    images, encoder = drawn_images(5), tiny_encoder()
    first = contents(extracted(tmp_path, images, encoder=encoder))
    with torch.no_grad():
        encoder.conv1.weight[0, 0, 0, 0] += 0.5
    second = extracted(tmp_path, images, encoder=encoder)
    assert not any(found.reused for found in second.taps.values())
    assert contents(second) != first
    with torch.no_grad():
        encoder.conv1.weight[0, 0, 0, 0] -= 0.5
    encoder.load_state_dict(tiny_encoder().state_dict())
    assert all(found.reused for found in extracted(tmp_path, images, encoder=encoder).taps.values())


def test_another_version_of_the_code_extracts_again_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    images = drawn_images(5)
    extracted(tmp_path, images)
    monkeypatch.setattr(keys, "EXTRACTION", keys.EXTRACTION + 1)
    capsys.readouterr()
    second = extracted(tmp_path, images)
    assert not any(found.reused for found in second.taps.values())
    said = capsys.readouterr().err
    assert said.count("was made by version 1 of the extraction, this is 2: extracting again") == len(TAPS)


def test_the_embedding_is_the_networks_own_pooling(tmp_path: Path) -> None:
    images = drawn_images(3)
    wanted = settings(networks={"other": {"size": SIZE, "all_taps": {"kind": "embedding"}}})
    encoder = tiny_encoder()
    found = extracted(tmp_path, images, wanted, encoder=encoder).taps["embedding"].values
    means = extracted(tmp_path, images, settings(only=["conv5"]), encoder=encoder).taps["conv5"].values
    np.testing.assert_allclose(found, means, rtol=1e-5)  # CaffeNet's is the mean of conv5


def test_batch_normalisation_uses_its_statistics_and_keeps_them(tmp_path: Path) -> None:
    encoder = fresh_encoder({"name": "resnet18", "width": 0.0625}, input_size=64, init="kaiming", seed=0)
    encoder.train()
    encoder.layer1.eval()  # a mode by parts has to come back as it was
    before = weights_hash(encoder)
    wanted = settings(networks={"resnet18": {"size": 64, "taps": {"res5": {"kind": "mean"}}}})
    found = extracted(tmp_path, drawn_images(18), wanted, encoder=encoder)
    assert found.proof.frozen
    assert found.proof.evaluation_mode
    assert found.proof.sha256_before == found.proof.sha256_after == before == weights_hash(encoder)
    assert encoder.training
    assert not encoder.layer1.training
    alone = extracted(tmp_path, drawn_images(1), wanted, encoder=encoder)
    np.testing.assert_allclose(
        found.taps["res5"].values[0], alone.taps["res5"].values[0], rtol=1e-4, atol=1e-6
    )


class AlwaysTraining(nn.Dropout):
    def train(self, mode: bool = True) -> nn.Dropout:
        self.training = True
        return self


def test_a_part_that_stays_in_training_mode_stops_it(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    encoder.drop = AlwaysTraining()
    with pytest.raises(AssertionError, match="stay in training mode: \\['drop'\\]"):
        extracted(tmp_path, drawn_images(2), encoder=encoder)


class Drifting(CaffeNet):
    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        self.conv1.bias.data += 1
        return super().forward_taps(images, taps)


def test_an_encoder_that_changes_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    encoder = Drifting(width=0.05, input_size=SIZE)
    with pytest.raises(AssertionError, match="changed while its features were taken"):
        extracted(tmp_path, drawn_images(2), encoder=encoder)
    assert not list(tmp_path.glob("*/*.npy"))


def test_features_that_are_not_finite_are_named(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    with torch.no_grad():
        encoder.conv3.bias[1] = float("nan")
    with pytest.raises(UserError, match="tap conv3: the features of picture0 are not finite"):
        extracted(tmp_path, drawn_images(4), encoder=encoder, threads=1)
    assert not list(tmp_path.glob("*/card.json"))


def test_a_broken_image_is_an_error_with_its_name(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(BrokenImage, match="picture23: not a readable image"):
        extracted(tmp_path, drawn_images(40, broken=[23]), threads=2)
    assert torch.get_num_threads() == threads
    assert extracted(tmp_path, drawn_images(40)).taps["conv5"].values.shape[0] == 40


def test_ctrl_c_stops_all_threads_and_what_was_done_stays(tmp_path: Path, capsys: Capture) -> None:
    images = drawn_images(96)

    def read(place: int) -> bytes:
        if place == 60:
            raise KeyboardInterrupt
        return picture(place)

    with pytest.raises(KeyboardInterrupt):
        extracted(tmp_path, dataclasses.replace(images, read=read), threads=1)
    found = extracted(tmp_path, images, threads=2)
    assert "features: going on behind image 48 of 96" in capsys.readouterr().err
    assert contents(found) == contents(extracted(tmp_path / "fresh", images))


def test_without_images_there_are_no_features(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="drawn train: no images to take features of"):
        extracted(tmp_path, drawn_images(0))


def test_a_kernel_that_does_not_fit_is_named_before_the_pass(tmp_path: Path) -> None:
    taps = {"conv5": {"kind": "average", "kernel": 9, "stride": 1, "padding": 0}}
    encoder = Counting()
    with pytest.raises(UserError, match="tap conv5: its map has 3 x 3 cells and the kernel 9 does not fit"):
        extracted(tmp_path, drawn_images(40), settings(taps=taps), encoder=encoder)
    assert [count for count, _ in encoder.passes] == [1]


def test_a_wrong_hash_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not that of the encoder"):
        extract(
            tiny_encoder(),
            drawn_images(2),
            settings(),
            store=FeatureStore(tmp_path),
            device=CPU,
            weights="00",
        )


def test_the_way_of_an_accelerator_gives_the_same_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that decode, and one that computes: here on the CPU, whose results are known."""
    images = drawn_images(70)
    expected = extracted(tmp_path / "cpu", images)

    monkeypatch.setattr(one_pass, "_on_cpu", lambda device: False)
    found = extracted(tmp_path / "other", images, threads=3)
    for tap in TAPS:
        np.testing.assert_allclose(found.taps[tap].values, expected.taps[tap].values, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    images, store = drawn_images(70), FeatureStore(tmp_path / "gpu")
    expected = extracted(tmp_path / "cpu", images)
    found = extract(tiny_encoder(), images, settings(), store=store, device=torch.device("cuda"))
    for tap in TAPS:
        np.testing.assert_allclose(found.taps[tap].values, expected.taps[tap].values, rtol=1e-3, atol=1e-4)
