"""The index of shards: what is read again and what is remembered, after a stop, damage, and by several processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ssl_bench.data import shard_scan, shards
from ssl_bench.data.shard_index import FILE_NAME
from ssl_bench.data.verify import verify
from tests.data.drawn_shards import all_of, draw_shards, opened, picture, settle, write_tar


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which shards were read, in order."""
    names: list[str] = []

    def noting(path: Path, shown: str) -> shard_scan.Scanned:
        names.append(path.name)
        return shard_scan.scan(path, shown)

    monkeypatch.setattr(shards, "scan", noting)
    return names


def test_only_new_and_changed_shards_are_read_again(tmp_path: Path, scanned: list[str]) -> None:
    folder = tmp_path / "set"
    pictures = draw_shards(folder)
    settle(folder)
    first = opened(folder).fingerprint()
    assert opened(folder).fingerprint() == first
    assert all_of(opened(f"{folder}/t-{{000..001}}.tar")) == dict(list(pictures.items())[:7])
    assert scanned == ["t-000.tar", "t-001.tar", "t-002.tar"]
    write_tar(folder / "t-001.tar", [("new.png", picture(77))])
    write_tar(folder / "t-003.tar", [("more.png", picture(78))])
    settle(folder)
    photos = opened(folder)
    assert scanned[3:] == ["t-001.tar", "t-003.tar"]
    assert photos.read(3) == picture(77)
    assert photos.read(6) == picture(78)
    assert photos.fingerprint() != first
    size = (folder / FILE_NAME).stat().st_size
    opened(folder)
    assert (folder / FILE_NAME).stat().st_size == size
    assert verify(folder).sections[0].fingerprint == photos.fingerprint()
    assert len(scanned) == 5 + 4, "to verify is to read everything"


def test_an_interrupted_pass_goes_on_with_the_next_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanned: list[str]
) -> None:
    folder = tmp_path / "set"
    pictures = draw_shards(folder)
    settle(folder)
    noting = shards.scan

    def dying(path: Path, shown: str) -> shard_scan.Scanned:
        if len(scanned) == 2:
            raise KeyboardInterrupt
        return noting(path, shown)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "scan", dying)
        with pytest.raises(KeyboardInterrupt):
            opened(folder)
    with (folder / FILE_NAME).open("ab") as file:
        file.write(b"shards01half of a block that a power cut left")
    assert all_of(opened(folder)) == pictures
    assert scanned == ["t-000.tar", "t-001.tar", "t-002.tar"]


def test_a_damaged_index_is_made_again(tmp_path: Path, scanned: list[str]) -> None:
    folder = tmp_path / "set"
    pictures = draw_shards(folder)
    settle(folder)
    opened(folder)
    data = bytearray((folder / FILE_NAME).read_bytes())
    for place in (3, len(data) // 2, len(data) - 2):
        damaged = data.copy()
        damaged[place] ^= 0x10
        (folder / FILE_NAME).write_bytes(damaged)
        assert all_of(opened(folder)) == pictures
        assert (folder / FILE_NAME).read_bytes() == data
    (folder / FILE_NAME).write_bytes(b"")
    assert all_of(opened(folder)) == pictures


def test_the_index_of_a_folder_that_nobody_may_write_lies_in_the_cache(
    tmp_path: Path, scanned: list[str]
) -> None:
    folder = tmp_path / "set"
    pictures = draw_shards(folder)
    settle(folder)
    folder.chmod(0o555)
    try:
        assert all_of(opened(folder)) == all_of(opened(folder)) == pictures
    finally:
        folder.chmod(0o755)
    assert len(scanned) == 3
    assert not (folder / FILE_NAME).exists()
    assert len(list((tmp_path / "cache/shard-indexes").iterdir())) == 1


def index_once(folder: Path) -> str:
    return opened(folder).fingerprint()


def test_processes_that_open_one_set_at_once_index_it_once(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    draw_shards(folder, (40, 40, 40))
    settle(folder)
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as pool:
        assert len(set(pool.map(index_once, [folder] * 6))) == 1
    once = (folder / FILE_NAME).read_bytes()
    (folder / FILE_NAME).unlink()
    index_once(folder)
    assert once == (folder / FILE_NAME).read_bytes()
