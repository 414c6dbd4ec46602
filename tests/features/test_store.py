"""The store: killed writers, two processes, and files that are no longer what they were."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.data.labelled import LabelledImages
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.errors import UserError
from ssl_bench.features import cards, store, writing
from ssl_bench.features.keys import FeatureKey, feature_keys
from ssl_bench.features.store import FeatureStore
from ssl_bench.locks import try_lock
from tests.features.tiny import TAPS, contents, drawn_images, extracted, settings, tiny_encoder

Capture = pytest.CaptureFixture[str]
REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = 160


def start(root: Path, pause: float, count: int = COUNT) -> subprocess.Popen[str]:
    """Begin an extraction in a process of its own; return once it runs."""
    command = [sys.executable, "-m", "tests.features.slow_writer", str(root), str(count), str(pause)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def rows_done(root: Path) -> int:
    """Rows on the disk of the tap that came least far."""
    found = [cards.read_progress(folder) for folder in root.glob("*.partial")]
    known = [progress.rows for progress in found if not isinstance(progress, str)]
    return min(known) if len(known) == len(TAPS) else 0


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The features of an extraction that nothing disturbed."""
    return contents(extracted(tmp_path_factory.mktemp("whole"), drawn_images(COUNT)))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process leaves that was killed in the middle of an extraction; copy it."""
    root = tmp_path_factory.mktemp("killed")
    process = start(root, pause=0.01)
    wait_until(lambda: rows_done(root) >= 48)
    process.kill()
    process.wait()
    return root


@pytest.fixture
def stopped(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "stopped"))


def spied(images: LabelledImages, seen: list[int]) -> LabelledImages:
    """The same images, with the places that are read noted in `seen`."""

    def read(place: int) -> Path | bytes:
        seen.append(place)
        return images.read(place)

    return dataclasses.replace(images, read=read)


def test_after_a_kill_the_next_process_goes_on_and_gives_the_same_bytes(
    stopped: Path, expected: dict[str, bytes], capsys: Capture
) -> None:
    first = rows_done(stopped)
    assert 48 <= first < COUNT
    assert not list(stopped.glob("*/card.json"))
    seen: list[int] = []
    found = extracted(stopped, spied(drawn_images(COUNT), seen))
    assert contents(found) == expected
    assert sorted(seen) == list(range(first, COUNT))
    assert f"features: going on behind image {first} of {COUNT}" in capsys.readouterr().err
    assert not list(stopped.glob("*.partial"))


def test_taps_that_came_differently_far_are_brought_to_the_end_together(
    stopped: Path, expected: dict[str, bytes]
) -> None:
    shutil.rmtree(stopped / f"{feature_keys_of(drawn_images(COUNT))['conv3'].hash}.partial")
    assert contents(extracted(stopped, drawn_images(COUNT))) == expected


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: os.truncate(path, 5000), "features.npy has 5000 bytes"),
        (lambda path: flip(path, 3000), "rows is wrong"),
        (lambda path: path.with_name("progress.json").write_text("{"), "progress.json cannot be read"),
        (lambda path: path.with_name("progress.json").unlink(), "there is no progress.json"),
        (lambda path: path.unlink(), "features.npy cannot be read"),
    ],
)
def test_a_damaged_beginning_is_not_gone_on_with(
    stopped: Path, expected: dict[str, bytes], capsys: Capture, damage: Callable[[Path], None], said: str
) -> None:
    damage(next(stopped.glob("*.partial/features.npy")))
    assert contents(extracted(stopped, drawn_images(COUNT))) == expected
    told = capsys.readouterr().err
    assert "cannot be gone on with: " in told
    assert said in told


def test_a_beginning_made_by_another_version_is_not_gone_on_with(
    stopped: Path, capsys: Capture, expected: dict[str, bytes]
) -> None:
    path = next(stopped.glob("*.partial/progress.json"))
    progress = json.loads(path.read_text())
    progress["made_with"]["torch"] = "0.1"
    path.write_text(json.dumps(progress))
    assert contents(extracted(stopped, drawn_images(COUNT))) == expected
    assert "it was made with device cpu, batch 16, torch 0.1" in capsys.readouterr().err


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: os.truncate(path, path.stat().st_size - 4), "features.npy has "),
        (lambda path: flip(path, path.stat().st_size - 1), "the checksum of features.npy is wrong"),
        (lambda path: flip(path, 200), "the checksum of features.npy is wrong"),
        (lambda path: path.unlink(), "features.npy cannot be read"),
        (lambda path: path.with_name("card.json").unlink(), "there is no card.json"),
        (lambda path: path.with_name("card.json").write_text("[]"), "of version None of the store"),
        (lambda path: rewrite(path, store=99), "of version 99 of the store; this program has 1"),
        (lambda path: rewrite(path, rows=3), "its card contradicts itself"),
        (lambda path: rewrite(path, crc32=None), "card.json is not valid (crc32: "),
    ],
)
def test_damaged_features_are_named_and_made_again(
    tmp_path: Path, capsys: Capture, damage: Callable[[Path], None], said: str
) -> None:
    images = drawn_images(20)
    first = contents(extracted(tmp_path, images))
    key = feature_keys_of(images)["conv3"]
    damage(tmp_path / key.hash / "features.npy")
    capsys.readouterr()
    second = extracted(tmp_path, images)
    assert {tap: found.reused for tap, found in second.taps.items()} == {
        "conv1": True,
        "conv3": False,
        "conv5": True,
    }
    assert contents(second) == first
    told = capsys.readouterr().err
    assert told.count(f"feature store: {key.hash} (conv3, train): ") == 1
    assert said in told
    assert all(found.reused for found in extracted(tmp_path, images).taps.values())


def rewrite(path: Path, **changes: object) -> None:
    card = path.with_name("card.json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def feature_keys_of(images: LabelledImages) -> dict[str, FeatureKey]:
    encoder = tiny_encoder()
    return feature_keys(encoder, weights_hash(encoder), images, settings())


def test_features_under_a_wrong_name_are_not_taken(tmp_path: Path, capsys: Capture) -> None:
    train, test = drawn_images(20), drawn_images(20, split="test")
    extracted(tmp_path, train)
    one, other = (feature_keys_of(images)["conv3"] for images in (train, test))
    shutil.copytree(tmp_path / one.hash, tmp_path / other.hash)
    assert not extracted(tmp_path, test).taps["conv3"].reused
    assert "it holds other features (they differ in split)" in capsys.readouterr().err


def test_a_checksum_is_computed_once_a_process_and_again_when_the_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawn_images(20)
    extracted(tmp_path, images)
    monkeypatch.setattr(store, "_VERIFIED", set())
    computed: list[str] = []
    checksum = store._checksum
    monkeypatch.setattr(store, "_checksum", lambda path, tap: computed.append(tap) or checksum(path, tap))
    for _ in range(2):
        extracted(tmp_path, images)
    assert sorted(computed) == sorted(TAPS)
    os.utime(tmp_path / feature_keys_of(images)["conv1"].hash / "features.npy")
    extracted(tmp_path, images)
    assert sorted(computed) == sorted([*TAPS, "conv1"])


def test_of_two_processes_one_writes_and_the_other_waits_and_reads(
    tmp_path: Path, expected: dict[str, bytes], capsys: Capture
) -> None:
    process = start(tmp_path, pause=0.01)
    wait_until(lambda: rows_done(tmp_path) >= 16)
    found = extracted(tmp_path, drawn_images(COUNT))
    out, _ = process.communicate(timeout=30)
    assert out == "extracted extracted extracted\n"
    assert all(tap.reused for tap in found.taps.values())
    assert found.images_per_s is None
    assert contents(found) == expected
    assert "features: another process extracts conv" in capsys.readouterr().err


def test_a_waiting_process_takes_over_from_one_that_is_killed(
    tmp_path: Path, expected: dict[str, bytes], capsys: Capture
) -> None:
    process = start(tmp_path, pause=0.05)
    wait_until(lambda: rows_done(tmp_path) >= 16)
    threading.Timer(0.5, process.kill).start()
    found = extracted(tmp_path, drawn_images(COUNT))
    assert process.wait() == -signal.SIGKILL
    assert not any(tap.reused for tap in found.taps.values())
    assert contents(found) == expected
    told = capsys.readouterr().err
    assert "features: another process extracts conv" in told
    assert "features: going on behind image " in told


def test_a_full_disk_is_said_with_the_bytes_that_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawn_images(20)
    usage = shutil.disk_usage(tmp_path)
    needed = sum(found.values.nbytes + 128 for found in extracted(tmp_path / "whole", images).taps.values())
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
        with pytest.raises(
            UserError, match=f"no room for the features of conv1, conv3, conv5: {needed:,} bytes"
        ):
            extracted(tmp_path / "full", images)
    assert not list((tmp_path / "full").glob("*/*"))

    def refuse(*_: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for call in ("posix_fallocate", "pwrite", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(writing.os, call, refuse)
            with pytest.raises(
                UserError, match=r"no room for the features of conv\d: [\d,]+ bytes are needed"
            ):
                extracted(tmp_path / "full", images)
        assert not list((tmp_path / "full").glob("*/card.json"))
    assert contents(extracted(tmp_path / "full", images)) == contents(extracted(tmp_path / "whole", images))


def test_an_npy_of_any_numpy(tmp_path: Path) -> None:
    images = drawn_images(20)
    found = extracted(tmp_path, images).taps["conv1"]
    loaded = np.load(FeatureStore(tmp_path).folder(found.key) / "features.npy")
    assert loaded.dtype == np.dtype("<f4")
    assert (loaded == found.values).all()


def test_a_lock_is_for_one_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    lock = try_lock(path)
    assert lock is not None
    assert try_lock(path) is None  # in the same process, where record locks would let it pass
    lock.release()
    assert not path.exists()
    again = try_lock(path)
    assert again is not None
    again.release()


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="SSL_BENCH_CACHE"):
        extracted(tmp_path / "file" / "store", drawn_images(2))


def test_every_part_of_a_key_moves_its_hash() -> None:
    key = feature_keys_of(drawn_images(4))["conv1"]
    changes: dict[str, object] = {
        "extraction": key.extraction + 1,
        "encoder": "0" * 64,
        "architecture": {"name": "caffenet", "width": 1},
        "preprocessing": "0",
        "fit": "centre-crop",
        "size": 128,
        "short_side": 256,
        "tap": "conv2",
        "pooling": feature_keys_of(drawn_images(4))["conv3"].pooling,
        "precision": "bf16",
        "dtype": "float16",
        "data": "0",
        "split": "val",
        "images": "0",
    }
    assert set(changes) == set(FeatureKey.model_fields)
    hashes = {key.model_copy(update={name: value}).hash for name, value in changes.items()}
    assert len(hashes | {key.hash}) == len(changes) + 1
    assert feature_keys_of(drawn_images(5))["conv1"].images != key.images
