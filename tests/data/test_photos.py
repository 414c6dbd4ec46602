"""Folders, zips and VOC splits give the same pictures in every kind of worker, and refuse bad archives."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.manifest import voc_fingerprint
from ssl_bench.data.photos import MAX_PICTURE_BYTES, Photos, is_picture_name, open_photos, voc_photos
from ssl_bench.errors import BrokenImage, UserError
from tests.data.drawn_voc import draw_voc


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))


def picture(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, size=(9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


# By name; sorted as text, so that "b/10" stands before "b/9" on every machine.
PICTURES = {
    name: picture(seed) for seed, name in enumerate(["Z.JPG", "a.png", "b/10.png", "b/9.jpeg", "b/c/d.webp"])
}
NOT_PICTURES = ["words.txt", ".hidden.png", "__MACOSX/._a.png", "b/.thumbs/a.png", "b/c/readme", "x.png.txt"]


def make_folder(root: Path) -> Path:
    for name, data in [*reversed(PICTURES.items()), *((name, b"?") for name in NOT_PICTURES)]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def make_zip(path: Path, method: int = zipfile.ZIP_DEFLATED, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("b")
        for name, data in [*reversed(PICTURES.items()), *((name, b"?") for name in NOT_PICTURES)]:
            archive.writestr(prefix + name, data)
    return path


@pytest.fixture(params=["folder", "stored", "deflated"])
def photos(request: pytest.FixtureRequest, tmp_path: Path) -> Photos:
    if request.param == "folder":
        return open_photos(make_folder(tmp_path / "pool"))
    method = zipfile.ZIP_STORED if request.param == "stored" else zipfile.ZIP_DEFLATED
    return open_photos(make_zip(tmp_path / "pool.zip", method))


def test_pictures_in_order_of_names(photos: Photos) -> None:
    assert list(photos.names) == list(PICTURES)
    assert len(photos) == len(PICTURES)
    assert photos.name == "pool"
    assert [photos.read(index) for index in range(len(photos))] == list(PICTURES.values())


def test_fingerprint_is_the_same_for_folder_and_zip_and_worked_out_by_hand(photos: Photos) -> None:
    lines = [f"{hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in PICTURES.items()]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    calls: list[tuple[int, int]] = []
    assert photos.fingerprint(lambda done, total: calls.append((done, total))) == expected
    assert calls[-1] == (5, 5)
    assert photos.fingerprint() == expected


def digest(photos: Photos, index: int) -> str:
    return hashlib.sha256(photos.read(index)).hexdigest()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_reading_in_worker_processes(photos: Photos, method: str) -> None:
    photos.read(0)  # whatever the parent has open must not disturb the children
    expected = [hashlib.sha256(data).hexdigest() for data in PICTURES.values()] * 8
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        found = list(pool.map(digest, [photos] * len(expected), list(range(5)) * 8))
    assert found == expected


def test_reading_in_threads(photos: Photos) -> None:
    indexes = np.random.default_rng(0).integers(0, 5, size=400).tolist()
    data = list(PICTURES.values())
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(photos.read, indexes)) == [data[index] for index in indexes]


def test_hidden_names() -> None:
    assert is_picture_name("a/b.JPEG")
    assert not any(is_picture_name(name) for name in NOT_PICTURES)


def test_linked_folders_are_read_once_and_circles_end(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pool")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "e.png").write_bytes(picture(9))
    (root / "linked").symlink_to(outside)
    (root / "b" / "circle").symlink_to(root)
    assert list(open_photos(root).names) == [*PICTURES, "linked/e.png"]


def test_vanished_file_names_itself(tmp_path: Path) -> None:
    photos = open_photos(make_folder(tmp_path / "pool"))
    (tmp_path / "pool/a.png").unlink()
    with pytest.raises(BrokenImage, match=r"a\.png.*cannot be read"):
        photos.read(1)


def test_what_is_no_pool(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("hello")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    draw_voc(tmp_path / "voc")
    for name, message in [
        ("nowhere", "no such folder or zip"),
        ("empty", r"no pictures in it\. Pictures end in \.jpg"),
        ("none.zip", "no pictures in it"),
        ("text.zip", "not a readable zip"),
        ("voc", "a VOC devkit, whose masks are no photos"),
        ("voc/VOCdevkit/VOC2007", "a VOC devkit"),
    ]:
        with pytest.raises(UserError, match=message):
            open_photos(tmp_path / name)
    assert len(open_photos(tmp_path / "voc/VOCdevkit/VOC2007/JPEGImages")) == 12


def test_cut_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "pool.zip")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"pool\.zip: not a readable zip"):
        open_photos(path)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "pool.zip")
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    while place >= 0:  # set the flag "encrypted" of every member in the zip's directory
        data[place + 8] |= 1
        place = data.rfind(b"PK\x01\x02", 0, place)
    path.write_bytes(data)
    with pytest.raises(UserError, match="encrypted"):
        open_photos(path)


def test_unknown_packing_and_twice_the_same_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="packed by method 12"):
        open_photos(make_zip(tmp_path / "bzip2.zip", zipfile.ZIP_BZIP2))
    path = make_zip(tmp_path / "twice.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", b"other")
    with pytest.raises(UserError, match=r"a\.png stands twice"):
        open_photos(path)


def test_zip_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * (MAX_PICTURE_BYTES + 1))
    assert path.stat().st_size < 200_000
    with pytest.raises(
        UserError, match=r"a\.png unpacks to 100000001 bytes, more than the 100000000 allowed"
    ):
        open_photos(path)


def test_zip_member_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 50_000_000)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 1000)  # the size in the zip's directory
    path.write_bytes(data)
    with pytest.raises(BrokenImage, match="do not match the zip's directory"):
        open_photos(path).read(0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_member_names_itself(tmp_path: Path, method: int) -> None:
    path = make_zip(tmp_path / "pool.zip", method)
    photos = open_photos(path)
    data = bytearray(path.read_bytes())
    place = data.index(b"a.png") + 30
    data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(BrokenImage, match=r"pool\.zip:a\.png.*zip"):
        photos.read(1)
    assert photos.read(2) == PICTURES["b/10.png"]


def test_zip_replaced_by_a_shorter_one_while_in_use(tmp_path: Path) -> None:
    photos = open_photos(make_zip(tmp_path / "pool.zip"))
    (tmp_path / "pool.zip").write_bytes(b"PK")
    with pytest.raises(BrokenImage, match=r"no member starts at its place"):
        photos.read(0)


def test_voc_photos_keep_the_order_of_the_list(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    devkit.list_path("val").write_text("000007\n000005\n")
    photos = voc_photos(devkit, "val")
    assert list(photos.names) == ["JPEGImages/000007.jpg", "JPEGImages/000005.jpg"]
    assert photos.read(1) == devkit.image_path("000005").read_bytes()
    assert photos.name == "voc2007-subset"
    assert photos.fingerprint() == voc_fingerprint(devkit)
    devkit.image_path("000005").unlink()
    with pytest.raises(UserError, match="1 of 2 images are missing"):
        voc_photos(devkit, "val")


def test_real_photos(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    photos = open_photos(shared_file("photos.zip"))
    assert (len(photos), photos.name) == (9812, "photos")
    for index in range(0, len(photos), 97):
        assert min(read_rgb(photos.read(index), name=photos.names[index]).size) <= 128
