"""Tar shards: what names them, what stands where in them, reading in workers, and packing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.data.photos import Photos, open_photos
from ssl_bench.data.samples import PhotoSamples
from ssl_bench.data.shard_places import MOST_SHARDS, expand
from ssl_bench.data.shard_scan import split_key
from ssl_bench.data.shard_writing import write_shards
from ssl_bench.data.shards import ShardPhotos
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.training_schemas import InputSettings, ResizeSettings
from tests.data.drawn_shards import all_of, draw_shards, in_memory, opened, picture, write_tar


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))


def test_pictures_names_labels_and_fingerprint_of_a_folder(tmp_path: Path) -> None:
    pictures = draw_shards(tmp_path / "set")
    photos = opened(tmp_path / "set")
    assert all_of(photos) == pictures
    assert (photos.name, len(photos), photos.starts.tolist()) == ("set", 9, [0, 3, 7, 9])
    assert photos.labels().tolist() == [0, 1, 2, 1, 2, 0, 1, 2, 0]
    assert photos.names[-1] == list(pictures)[-1]
    assert photos.names[2:4] == list(pictures)[2:4]
    with pytest.raises(IndexError):
        photos.names[9]
    digest = hashlib.sha256()
    for path in sorted((tmp_path / "set").glob("*.tar")):
        data = path.read_bytes()
        digest.update(f"{hashlib.sha256(data).hexdigest()} {len(data)} {path.name}\n".encode())
    assert photos.fingerprint() == digest.hexdigest()


def test_a_folder_a_range_a_local_and_a_remote_url_are_one_set(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    pictures = draw_shards(folder)
    remote = in_memory(folder, "same-set")
    places = [
        folder,
        f"{folder}/t-{{000..002}}.tar",
        f"file://{folder}",
        remote,
        f"{remote}/t-{{000..002}}.tar",
    ]
    found = [opened(place) for place in places]
    assert [all_of(photos) for photos in found] == [pictures] * 5
    assert len({photos.fingerprint() for photos in found}) == 1
    assert [photos.name for photos in found] == ["set", "t", "set", "same-set", "t"]
    part = opened(f"{folder}/t-{{001,002}}.tar")
    assert list(part.names) == list(pictures)[3:]
    assert all_of(opened(folder / "t-001.tar")) == all_of(opened(f"{remote}/t-001.tar"))
    assert opened(folder / "t-001.tar").name == "t-001"


@settings(max_examples=50, deadline=None)
@given(first=st.integers(0, 120), count=st.integers(1, 40), width=st.integers(1, 5))
def test_a_range_counts_as_a_shell_does(first: int, count: int, width: int) -> None:
    text = str(first).zfill(width)
    width = len(text) if text.startswith("0") else 0
    expected = [f"a-{number:0{width}d}.tar" for number in range(first, first + count)]
    assert expand(f"a-{{{text}..{first + count - 1}}}.tar") == expected


def test_lists_and_several_braces() -> None:
    assert expand("{a,b}-{8..10}") == ["a-8", "a-9", "a-10", "b-8", "b-9", "b-10"]
    for pattern, words in [
        ("a-{x}.tar", "{x} is no range"),
        ("a-{9..3}.tar", "counts upwards"),
        (f"a-{{0..{MOST_SHARDS}}}.tar", "at most 1000000"),
        ("{0..999999}-{0..9}.tar", "at most 1000000"),
    ]:
        with pytest.raises(UserError, match=words):
            expand(pattern)


def test_keys_end_at_the_first_dot_of_the_files_name() -> None:
    assert split_key("./a.b/c.d.JPG") == ("a.b/c", "d.jpg")
    assert split_key("x.cls") == ("x", "cls")
    assert split_key("readme") == ("readme", "")


def test_what_is_no_sample_is_passed_over(tmp_path: Path) -> None:
    members = [
        ("notes", b"?"),
        ("a.seg.png", b"a mask"),
        ("a.jpg", picture(0)),
        ("a.json", b"{}"),
        (".hidden.png", b"?"),
        ("__MACOSX/a.png", b"?"),
        ("b.txt", b"no picture"),
        ("./c.cls", b"7\n"),
        ("./c.JPEG", picture(1)),
        ("a.json", b"again, and of no interest"),
    ]
    photos = opened(write_tar(tmp_path / "x.tar", members))
    assert all_of(photos) == {"x.tar/a.jpg": picture(0), "x.tar/c.JPEG": picture(1)}
    with pytest.raises(UserError, match=r"x\.tar/a\.jpg has no class.*\.cls"):
        photos.labels()


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_strange_names_in_every_kind_of_tar(kind: int, tmp_path: Path) -> None:
    long = "f" * 60 + "/" + "g" * (40 if kind == tarfile.USTAR_FORMAT else 140)
    members = [(f"{long}.png", picture(0)), ("späte/Ünzeit.png", picture(1))]
    photos = opened(write_tar(tmp_path / "x.tar", members, kind))
    assert all_of(photos) == {f"x.tar/{name}": data for name, data in members}


def test_names_that_are_no_text_are_still_told_apart(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar", [("a\udcff.png", picture(0)), ("a\udcfe.png", picture(1))], tarfile.GNU_FORMAT
    )
    assert list(opened(path).names) == [r"x.tar/a\xff.png", r"x.tar/a\xfe.png"]


@pytest.mark.parametrize("label", [b"-1", b"cat", b"", b"1.5", b"9" * 70, b"4294967296"])
def test_classes_that_are_no_numbers_matter_where_labels_are_asked_for(label: bytes, tmp_path: Path) -> None:
    photos = opened(write_tar(tmp_path / "x.tar", [("a.cls", label), ("a.png", picture(0))]))
    assert photos.read(0) == picture(0)
    with pytest.raises(UserError, match=r"x\.tar/a\.png has a class that is no whole number from 0 on"):
        photos.labels()


# Reading.


def test_a_shard_that_is_cut_or_gone_later_gives_broken_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    pictures = list(draw_shards(folder).values())
    photos = opened(folder)
    (folder / "t-000.tar").unlink()
    os.truncate(folder / "t-001.tar", 3 * 512 + 100)
    with pytest.raises(
        BrokenImage, match=r"t-000\.tar/part/0000\.png: .*its shard cannot be read: No such file"
    ):
        photos.read(0)
    with pytest.raises(BrokenImage, match=r"t-001\.tar/part/1001\.png: .*its shard ends before it"):
        photos.read(4)
    assert photos.read(8) == pictures[8]


def read_digest(photos: Photos, index: int) -> str:
    return hashlib.sha256(photos.read(index)).hexdigest() + photos.names[index]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_reading_in_worker_processes(method: str, tmp_path: Path) -> None:
    pictures = draw_shards(tmp_path / "set")
    photos = opened(tmp_path / "set")
    photos.read(0)
    expected = [hashlib.sha256(data).hexdigest() + name for name, data in pictures.items()]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(read_digest, [photos] * 9, range(9))) == expected
    assert all_of(pickle.loads(pickle.dumps(photos))) == pictures


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), data=st.data())
def test_a_limit_leaves_each_shard_the_samples_that_are_in_it(sizes: list[int], data: st.DataObject) -> None:
    class Drawn(ShardPhotos):
        def __init__(self) -> None:
            self.starts = np.concatenate([[0], np.cumsum(sizes)])

        def __len__(self) -> int:
            return sum(sizes)

    limit = data.draw(st.integers(1, sum(sizes) + 3))
    resize = ResizeSettings(kind="short-side", least=48, most=48)
    samples = PhotoSamples(Drawn(), InputSettings(size=48, resize=resize, flip=False), limit=limit)
    starts = samples.shard_starts
    assert starts is not None
    assert (starts[0], starts[-1]) == (0, len(samples))
    count = min(limit, sum(sizes))
    for index in range(count):
        shard = np.searchsorted(np.cumsum(sizes), index * sum(sizes) // count, side="right")
        assert starts[shard] <= index < starts[shard + 1]


# Packing.


def test_packing_gives_the_same_bytes_and_reads_back(tmp_path: Path) -> None:
    names = ["a.b.png", "a_b.png", "c.JPG", "c.png", "deep.er/d.png", "z.png"]
    for number, name in enumerate(names):
        path = tmp_path / "pool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    pool = open_photos(tmp_path / "pool")
    for out in ("one", "two"):
        os.utime(tmp_path / "pool/z.png")
        written = write_shards(pool, tmp_path / out, samples_per_shard=4, labels=np.arange(len(names)))
        assert [path.name for path in written] == ["shard-000000.tar", "shard-000001.tar"]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in written}
    assert all(path.read_bytes() == (tmp_path / "one" / path.name).read_bytes() for path in written)
    photos = opened(tmp_path / "one")
    assert [photos.read(index) for index in range(6)] == [pool.read(index) for index in range(6)]
    assert photos.labels().tolist() == list(range(6))
    assert [name.partition("/")[2] for name in photos.names] == [
        *("a_b.png", "a_b_2.png", "c.jpg", "c_2.png", "deep.er/d.png", "z.png"),
    ]
    with pytest.raises(UserError, match="is there already"):
        write_shards(pool, tmp_path / "one", samples_per_shard=4)


def test_what_is_not_packed_to_the_end_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    for number in range(3):
        (tmp_path / f"pool/{number}.png").write_bytes(picture(number))
    pool = open_photos(tmp_path / "pool")
    (tmp_path / "pool/2.png").unlink()
    with pytest.raises(BrokenImage, match=r"2\.png"):
        write_shards(pool, tmp_path / "out", samples_per_shard=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool"]
