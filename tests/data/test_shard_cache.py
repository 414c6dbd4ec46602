"""Copies of remote shards: fetched once whoever asks, kept within a limit, and what a bad network leads to."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ssl_bench.data import remote_files, shards
from ssl_bench.data.shard_cache import LIMIT_VARIABLE, ShardCache
from ssl_bench.data.shards import ShardPhotos
from ssl_bench.errors import BrokenImage, UserError
from tests.data.drawn_shards import draw_shards, in_memory, opened


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_files, "WAITS_S", (0.0, 0.0, 0.0))


@pytest.fixture
def remote(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Six shards of eight pictures in memory, under a name of this test's own."""
    draw_shards(tmp_path / "set", (8,) * 6, side=40)
    return in_memory(tmp_path / "set", request.node.name)


@pytest.fixture
def gets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in which each fetch, in whichever process, leaves a file "NAME-PID-TIME"."""
    notes = tmp_path / "gets"
    notes.mkdir()
    fetch = MemoryFileSystem.get_file

    def noted(self: MemoryFileSystem, rpath: str, lpath: str, **options: Any) -> None:
        (notes / f"{Path(rpath).name}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.05)
        fetch(self, rpath, lpath, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", noted)
    return notes


def fetched(gets: Path) -> list[str]:
    return sorted(path.name.partition("-")[2].partition("-")[0] for path in gets.iterdir())


def copies(tmp_path: Path) -> Path:
    return tmp_path / "cache/shards"


def read_all(photos: ShardPhotos) -> list[bytes]:
    return [photos.read(index) for index in range(len(photos))]


def test_a_set_below_the_limit_is_fetched_once_for_index_and_training(
    remote: str, gets: Path, tmp_path: Path
) -> None:
    photos = opened(remote)
    assert read_all(photos) == read_all(opened(str(tmp_path / "set")))
    assert read_all(opened(remote)) == read_all(photos)
    assert fetched(gets) == [f"{number:03d}.tar" for number in range(6)]
    assert {path.suffix for path in copies(tmp_path).iterdir()} == {".tar"}


@pytest.mark.parametrize("method", ["fork"])
def test_processes_and_threads_that_want_one_shard_fetch_it_once(
    method: str, remote: str, gets: Path, tmp_path: Path
) -> None:
    photos = opened(remote)
    expected = read_all(photos)
    shutil.rmtree(copies(tmp_path))
    for path in gets.iterdir():
        path.unlink()
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(photos.read, range(48))) == expected
    assert fetched(gets) == [f"{number:03d}.tar" for number in range(6)]
    shutil.rmtree(copies(tmp_path))
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(photos.read, range(48))) == expected
    assert len(fetched(gets)) == 12


def test_what_was_used_longest_ago_is_removed_and_comes_back(
    remote: str, gets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = opened(remote)
    size = max(entry.size for entry in photos.index.entries)
    entries = photos.index.entries
    cache = ShardCache(copies(tmp_path), limit=3 * size + size // 2)
    shutil.rmtree(copies(tmp_path))
    photos.cache = cache

    def there() -> list[int]:
        return [number for number, entry in enumerate(entries) if cache.path(entry.sha256).exists()]

    for age, shard in enumerate([0, 1, 2]):
        photos.read(8 * shard)
        os.utime(cache.path(entries[shard].sha256), (1000 + age, 1000 + age))
    assert there() == [0, 1, 2]
    cache._touched.clear()
    photos.read(0)  # used again: not the oldest any more
    photos.read(8 * 3)
    assert there() == [0, 2, 3]
    photos.read(8 * 4)
    assert there() == [0, 3, 4]
    assert photos.read(8) == opened(str(tmp_path / "set")).read(8)
    assert sum(path.stat().st_size for path in copies(tmp_path).glob("*.tar")) <= cache.limit


def test_a_cache_too_small_for_two_windows_is_refused_with_what_it_takes(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = opened(remote)
    size = max(entry.size for entry in photos.index.entries)
    total = sum(entry.size for entry in photos.index.entries)
    monkeypatch.setattr(shards, "WINDOW", 8)
    monkeypatch.setenv(LIMIT_VARIABLE, f"{(4 * size - 1) / 1e9}")
    with pytest.raises(UserError, match=rf"two windows of 8 samples.*Set {LIMIT_VARIABLE}"):
        opened(remote)
    monkeypatch.setenv(LIMIT_VARIABLE, f"{(4 * size + 1) / 1e9:.12f}")
    assert 4 * size < total
    opened(remote)
    for text in ("none", "0", "-3", "nan"):
        monkeypatch.setenv(LIMIT_VARIABLE, text)
        with pytest.raises(UserError, match="a number of gigabytes above 0"):
            opened(remote)


def breaking(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception | None) -> list[str]:
    """Let the next fetches fail: with an error, or (None) by ending early."""
    calls: list[str] = []
    fetch = MemoryFileSystem.get_file

    def broken(self: MemoryFileSystem, rpath: str, lpath: str, **options: Any) -> None:
        calls.append(rpath)
        fetch(self, rpath, lpath, **options)
        if len(calls) <= times:
            os.truncate(lpath, 700)
            if error is not None:
                raise error

    monkeypatch.setattr(MemoryFileSystem, "get_file", broken)
    return calls


@pytest.mark.parametrize("error", [None, ConnectionResetError("connection reset"), TimeoutError()])
def test_a_fetch_that_breaks_is_tried_again(
    error: Exception | None, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = breaking(monkeypatch, 3, error)
    assert read_all(opened(f"{remote}/t-000.tar")) == read_all(opened(str(tmp_path / "set/t-000.tar")))
    assert len(calls) == 4


def test_a_fetch_that_never_comes_whole_names_url_and_cause(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = opened(remote)
    shutil.rmtree(copies(tmp_path))
    calls = breaking(monkeypatch, 99, None)
    with pytest.raises(
        UserError, match=rf"{remote}/t-001\.tar: cannot be read after 4 tries \(it ended after 700 of"
    ) as e:
        photos.read(8)
    assert not isinstance(e.value, BrokenImage), (
        "a network that is down must not look like a set of broken photos"
    )
    assert len(calls) == 4
    assert capsys.readouterr().err.count("trying again") == 3
    calls = breaking(monkeypatch, 99, PermissionError("Forbidden"))
    with pytest.raises(UserError, match=r"cannot be read \(Forbidden\)"):
        photos.read(8)
    assert len(calls) == 1


def test_a_shard_that_is_another_now_is_noticed(remote: str, tmp_path: Path) -> None:
    photos = opened(remote)
    old = photos.fingerprint()
    memory = fsspec.filesystem("memory")
    path = remote.removeprefix("memory:/") + "/t-001.tar"
    data = bytearray(memory.cat_file(path))
    data[600] ^= 1  # within a picture
    memory.pipe_file(path, bytes(data))
    photos.read(8)  # the copy is here still, and is what was indexed
    shutil.rmtree(copies(tmp_path))
    with pytest.raises(UserError, match=r"t-001\.tar: is no longer the shard that was indexed"):
        photos.read(8)
    assert opened(remote).fingerprint() != old
    memory.rm_file(path)
    with pytest.raises(UserError, match=r"t-001\.tar: there is nothing at this URL"):
        opened(f"{remote}/t-{{000..002}}.tar")


def test_a_copy_that_a_crash_left_short_is_fetched_again(remote: str, gets: Path, tmp_path: Path) -> None:
    photos = opened(remote)
    expected = read_all(photos)
    assert photos.cache is not None
    copy = photos.cache.path(photos.index.entries[2].sha256)
    os.truncate(copy, 100)
    assert read_all(photos) == expected
    assert len(fetched(gets)) == 7


def test_what_a_killed_process_was_fetching_is_removed(remote: str, tmp_path: Path) -> None:
    copies(tmp_path).mkdir(parents=True)
    (copies(tmp_path) / "0123.part").write_bytes(b"half")
    opened(remote)
    assert not list(copies(tmp_path).glob("*.part"))


def test_what_will_be_read_soon_is_fetched_ahead(remote: str, gets: Path, tmp_path: Path) -> None:
    photos = opened(remote)
    shutil.rmtree(copies(tmp_path))
    photos.fetch_ahead([4, 1])
    deadline = time.monotonic() + 20
    while len(list(copies(tmp_path).glob("*.tar"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    present = {path.stem for path in copies(tmp_path).glob("*.tar")}
    assert present == {photos.index.entries[shard].sha256 for shard in (1, 4)}
