"""`--decoded-cache` from outside: the same encoder, written once by one process, room on the disk, refusals."""

from __future__ import annotations

import multiprocessing
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ssl_bench
from ssl_bench.data.photos import open_photos
from ssl_bench.errors import UserError
from ssl_bench.progress import _SAID
from ssl_bench.stages import decoded as stage
from ssl_bench.stages.decoded import decoded_photos
from ssl_bench.training_schemas import InputSettings, ResizeSettings
from tests.data.drawn_voc import draw_voc
from tests.stages.test_pretraining import learn

INPUT = InputSettings(size=64, resize=ResizeSettings(kind="short-side", least=64, most=70), flip=True)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    _SAID.clear()
    return draw_voc(tmp_path).root / "JPEGImages"


def opened(photos: Path, limit: int | None = None) -> Any:
    found: Any = SimpleNamespace(photos=open_photos(photos), name="drawn", fingerprint="f" * 64)
    return decoded_photos(found, INPUT, limit)


def files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache" / "decoded").iterdir() if path.suffix != ".lock")


def test_the_encoder_is_the_same_and_the_photos_are_decoded_once(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(photos.iterdir())[0]
    first.write_bytes(first.read_bytes()[:200])
    plain = learn(photos, tmp_path / "plain")
    capsys.readouterr()
    runs = [learn(photos, tmp_path / f"runs{number}", decoded_cache=True) for number in range(2)]
    assert {run.card.sha256 for run in runs} == {plain.card.sha256}
    assert {run.folder.name for run in runs} == {plain.folder.name}, "not in the run's hash"
    said = capsys.readouterr().err
    (file,) = files(tmp_path)
    assert said.count("photos of JPEGImages once: about 0 MB in") == 1
    assert f"0 MB in {file} (other runs share it; remove it whenever none of them runs)" in said
    assert said.count(f"skipped 1 photos that cannot be read ({first.name})") == 2


def test_a_limit_decodes_no_more_than_it_leaves(photos: Path, tmp_path: Path) -> None:
    assert len(opened(photos, limit=2)) == 2
    everything = opened(photos)
    assert len(everything) == len(list(photos.iterdir()))
    assert len(files(tmp_path)) == 2


def test_a_damaged_file_is_made_again(photos: Path, tmp_path: Path) -> None:
    opened(photos)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    (file.parent / f".{file.name}.1.tmp").write_bytes(b"half")
    opened(photos)
    assert files(tmp_path) == [file]
    assert file.read_bytes() == whole


def test_a_disk_without_room_is_refused_with_the_size(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1_000_000))
    with pytest.raises(
        UserError, match=r"would take about 0 MB in .*decoded, where 1 MB are free\. Free space"
    ):
        opened(photos)


def test_a_disk_that_fills_leaves_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssl_bench.atomic.os.fsync", full)
    with pytest.raises(
        UserError, match=r"No space left on device\. Free space, name another folder with SSL_BENCH"
    ):
        opened(photos)
    assert files(tmp_path) == []


def test_what_it_would_not_help_is_refused_before_anything_is_made(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Set input\.decode=recipe, or go without --decoded-cache"):
        learn(photos, tmp_path / "runs", "input.decode=crop", decoded_cache=True)
    with pytest.raises(UserError, match="looks at a few batches once"):
        ssl_bench.pretrain("random-rescaled-mini", data=photos, out=tmp_path / "runs", decoded_cache=True)
    assert not (tmp_path / "runs").exists()


def _open_in_process(photos: Path, answers: Any) -> None:
    written = stage.write_decoded
    wrote: list[bool] = []
    stage.write_decoded = lambda *given, **named: (wrote.append(True), written(*given, **named))[1]
    answers.put((len(wrote), len(opened(photos)), len(wrote)))


def test_one_of_several_processes_writes(photos: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    workers = [context.Process(target=_open_in_process, args=(photos, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(wrote for _, _, wrote in found) == 1
    assert len({length for _, length, _ in found}) == 1
    assert len(files(tmp_path)) == 1
