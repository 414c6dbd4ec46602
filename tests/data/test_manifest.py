"""The manifest notices every change, hashes nothing twice, and is never half written."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from ssl_bench.data import manifest
from ssl_bench.data.manifest import FILE_NAME, load_or_make, make_manifest, voc_fingerprint, zip_fingerprint
from ssl_bench.data.photos import open_photos
from ssl_bench.errors import UserError
from tests.data.drawn_voc import draw_voc

NAMES = ["b/two.jpg", "a.jpg"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "b").mkdir(parents=True)
    for name, text in (("a.jpg", "one"), ("b/two.jpg", "two"), ("c.jpg", "more")):
        (folder / name).write_text(text)
        grow_old(folder / name)
    return folder


def grow_old(path: Path, seconds: int = 3600) -> None:
    then = time.time_ns() - seconds * 10**9
    os.utime(path, ns=(then, then))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are really read and hashed."""
    names: list[str] = []
    real = hashlib.file_digest

    def spy(file, kind):  # type: ignore[no-untyped-def]
        names.append(Path(file.name).name)
        return real(file, kind)

    monkeypatch.setattr(manifest.hashlib, "file_digest", spy)
    return names


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_worked_out_by_hand(root: Path) -> None:
    made = make_manifest(root, NAMES)
    assert {name: (entry.size, entry.sha256) for name, entry in made.files.items()} == {
        "a.jpg": (3, sha("one")),
        "b/two.jpg": (3, sha("two")),
    }
    assert made.fingerprint == sha(f"{sha('one')} 3 a.jpg\n{sha('two')} 3 b/two.jpg\n")
    assert not (root / FILE_NAME).exists()


def test_order_and_place_do_not_matter_but_names_do(root: Path) -> None:
    first = make_manifest(root, NAMES).fingerprint
    assert make_manifest(root, NAMES[::-1]).fingerprint == first
    root = root.rename(root.with_name("elsewhere"))
    assert make_manifest(root, NAMES).fingerprint == first
    (root / "a.jpg").rename(root / "A.jpg")
    assert make_manifest(root, ["A.jpg", "b/two.jpg"]).fingerprint != first


def test_hashed_once_then_only_what_changed(root: Path, hashed: list[str]) -> None:
    first = load_or_make(root, NAMES)
    assert sorted(hashed) == ["a.jpg", "two.jpg"]
    assert load_or_make(root, NAMES) == first
    assert len(hashed) == 2
    for change in ("eno", "longer"):  # of the same size, and of another
        (root / "a.jpg").write_text(change)
        hashed.clear()
        changed = load_or_make(root, NAMES)
        assert hashed == ["a.jpg"]
        assert changed == make_manifest(root, NAMES) != first


def test_a_file_just_written_is_not_trusted_later(root: Path) -> None:
    """Within one tick of the file system's clock a change of the same size leaves no other trace."""
    (root / "a.jpg").write_text("new")
    state = (root / "a.jpg").stat()
    before = load_or_make(root, NAMES)
    (root / "a.jpg").write_text("wen")
    os.utime(root / "a.jpg", ns=(state.st_mtime_ns, state.st_mtime_ns))
    assert load_or_make(root, NAMES).fingerprint != before.fingerprint


def test_two_sets_of_names_share_one_file(root: Path, hashed: list[str]) -> None:
    load_or_make(root, NAMES)
    load_or_make(root, ["a.jpg", "c.jpg"])
    assert sorted(hashed) == ["a.jpg", "c.jpg", "two.jpg"]
    load_or_make(root, [*NAMES, "c.jpg"])
    assert len(hashed) == 3


def test_rehash_reads_everything(root: Path, hashed: list[str]) -> None:
    load_or_make(root, NAMES)
    state = (root / "a.jpg").stat()
    (root / "a.jpg").write_text("eno")
    os.utime(root / "a.jpg", ns=(state.st_mtime_ns, state.st_mtime_ns))  # what only a full pass can notice
    hashed.clear()
    truth = load_or_make(root, NAMES, rehash=True)
    assert sorted(hashed) == ["a.jpg", "two.jpg"]
    assert truth == make_manifest(root, NAMES) == load_or_make(root, NAMES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"files": 3}',
        b'{"files": {"a.jpg": [3, "x", 7]}}',
        b'{"format": 99, "files": {}}',
        b"\xff",
    ],
)
def test_damaged_manifest_is_made_again(root: Path, content: bytes) -> None:
    (root / FILE_NAME).write_bytes(content)
    assert load_or_make(root, NAMES) == make_manifest(root, NAMES)
    assert sorted(json.loads((root / FILE_NAME).read_text())["files"]) == sorted(NAMES)


def test_a_kill_while_writing_leaves_the_old_manifest(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_or_make(root, NAMES)
    before = (root / FILE_NAME).read_bytes()
    (root / "a.jpg").write_text("longer")

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        load_or_make(root, NAMES)
    assert (root / FILE_NAME).read_bytes() == before
    assert sorted(path.name for path in root.iterdir()) == sorted([FILE_NAME, "a.jpg", "b", "c.jpg"])


def test_read_only_data_are_left_alone(root: Path, cache: Path, hashed: list[str]) -> None:
    """Also for an administrator, whom the permissions would not stop."""
    root.chmod(0o555)
    first = load_or_make(root, NAMES)
    assert not (root / FILE_NAME).exists()
    assert len(list((cache / "manifests").glob("*.json"))) == 1
    assert load_or_make(root, NAMES) == first
    assert len(hashed) == 2
    root.chmod(0o755)


def test_read_only_folder_of_a_zip_is_left_alone(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    path = make_zip(folder / "set.zip", {"a.jpg": "one"})
    folder.chmod(0o555)
    open_photos(path).fingerprint()
    assert [entry.name for entry in folder.iterdir()] == ["set.zip"]
    assert len(list((cache / "manifests").glob("*.json"))) == 1
    folder.chmod(0o755)


def test_nowhere_to_write_is_no_error(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file where the folder should be")
    (root / FILE_NAME).mkdir()
    assert load_or_make(root, NAMES) == make_manifest(root, NAMES)


def test_missing_file_is_named(root: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.jpg: cannot be read"):
        load_or_make(root, ["a.jpg", "gone.jpg"])


@pytest.mark.parametrize(
    "name",
    ["Annotations/000001.xml", "ImageSets/Main/car_val.txt", "JPEGImages/000003.jpg",
     "SegmentationClass/000002.png", "SegmentationObject/000004.png"],
)  # fmt: skip
def test_voc_fingerprint_covers_every_kind_of_file(tmp_path: Path, name: str) -> None:
    devkit = draw_voc(tmp_path)
    before = voc_fingerprint(devkit)
    (devkit.root / "notes.txt").write_text("no part of the data")
    (devkit.root / "Annotations/cache.pkl").write_text("what other programs leave there")
    assert voc_fingerprint(devkit) == before
    with (devkit.root / name).open("ab") as file:
        file.write(b" ")
    changed = voc_fingerprint(devkit)
    assert changed != before
    (devkit.root / name).unlink()
    assert voc_fingerprint(devkit) not in (before, changed)


def test_minivoc_brings_its_own_fingerprint(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path, "MiniVOC")
    (devkit.root / "minivoc.json").write_text(json.dumps({"fingerprint": "ab" * 32, "format": 7}))
    assert voc_fingerprint(devkit) == "ab" * 32
    for content in ("{}", "[]", "{", '{"fingerprint": "short"}'):
        (devkit.root / "minivoc.json").write_text(content)
        with pytest.raises(UserError, match=r"minivoc\.json: no fingerprint in it.*make minivoc"):
            voc_fingerprint(devkit)


def make_zip(path: Path, texts: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    grow_old(path)
    return path


def test_zip_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"a.jpg": "one", "b/two.jpg": "two"})
    photos = open_photos(path)
    reads: list[int] = []

    def read(index: int) -> bytes:
        reads.append(index)
        return photos.read(index)

    names = tuple(photos.names)
    first = zip_fingerprint(path, names, read)
    assert first == sha(f"{sha('one')} 3 a.jpg\n{sha('two')} 3 b/two.jpg\n")
    assert zip_fingerprint(path, names, read) == first
    assert reads == [0, 1]
    assert zip_fingerprint(path, names, read, rehash=True) == first
    assert reads == [0, 1, 0, 1]
    assert zip_fingerprint(path, names[:1], read) == sha(f"{sha('one')} 3 a.jpg\n")
    photos = open_photos(make_zip(path, {"a.jpg": "eno", "b/two.jpg": "two"}))
    assert zip_fingerprint(path, names, read) != first


def test_zip_of_the_same_bytes_in_another_packing(tmp_path: Path) -> None:
    texts = {"a.jpg": "one", "b.jpg": "two"}
    plain = open_photos(make_zip(tmp_path / "plain.zip", texts))
    turned = open_photos(make_zip(tmp_path / "turned.zip", dict(reversed(texts.items()))))
    assert plain.fingerprint() == turned.fingerprint()
