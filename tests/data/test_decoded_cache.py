"""Photos decoded once: crops bit for bit those from the files, broken ones, damage, other settings, workers."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.augment import least_short_side
from ssl_bench.data.decode import read_rgb
from ssl_bench.data.decoded_cache import (
    DecodedPhotos,
    cache_key,
    expected_bytes,
    open_decoded,
    write_decoded,
)
from ssl_bench.data.photos import Photos, open_photos
from ssl_bench.data.samples import PhotoSamples, used_places
from ssl_bench.errors import BrokenImage
from ssl_bench.training_schemas import InputSettings, ResizeSettings

RESIZES = [
    ResizeSettings(kind="short-side", least=64, most=80),
    ResizeSettings(kind="relative", least=0.3, most=1.1),
    ResizeSettings(kind="area", least=0.2, most=1.0),
]


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """Photos of several sizes and modes, one of them cut off, one that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate([(200, 150), (90, 301), (64, 64), (161, 240)]):
        pixels = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / f"{number}.jpg")
    Image.fromarray(rng.integers(0, 256, (70, 90), dtype=np.uint8)).save(folder / "4.png")
    (folder / "5.jpg").write_bytes((folder / "0.jpg").read_bytes()[:900])
    (folder / "6.jpg").write_bytes(b"no picture")
    return open_photos(folder)


def cached(
    path: Path, photos: Photos, *, draft: int | None = None, places: Sequence[int] | None = None
) -> DecodedPhotos:
    write_decoded(path, photos, places or range(len(photos)), draft=draft, threads=2)
    found = open_decoded(path)
    assert found is not None
    return found


def sampled(samples: PhotoSamples, index: int, seed: int) -> np.ndarray | str:
    """The crop, or why there is none."""
    try:
        crop: np.ndarray = samples.sample(index, np.random.default_rng(seed))["image"]
    except BrokenImage as error:
        return str(error)
    return crop


@pytest.mark.parametrize("resize", RESIZES, ids=lambda resize: resize.kind)
@pytest.mark.parametrize("limit", [None, 3])
def test_samples_are_the_same_bit_for_bit(
    resize: ResizeSettings, limit: int | None, photos: Photos, tmp_path: Path
) -> None:
    given = InputSettings(size=48, resize=resize, flip=True)
    places = used_places(len(photos), limit)
    decoded = cached(tmp_path / "x.rgb", photos, draft=least_short_side(given), places=places)
    plain = PhotoSamples(photos, given, limit=limit)
    quick = PhotoSamples(photos, given, limit=limit, decoded=decoded)
    assert len(decoded) == len(plain) == len(quick)
    readable = 0
    for index in range(len(plain)):
        for seed in range(3):
            one, other = (sampled(samples, index, seed) for samples in (plain, quick))
            assert np.array_equal(one, other)
            readable += isinstance(one, np.ndarray)
    assert readable == (15 if limit is None else 9)


def test_pixels_do_not_come_from_the_files_any_more_and_a_worker_maps_them_itself(
    photos: Photos, tmp_path: Path
) -> None:
    decoded = cached(tmp_path / "x.rgb", photos)
    expected = np.asarray(read_rgb(photos.read(0), name="a"))
    for path in (tmp_path / "photos").iterdir():
        path.unlink()
    sent = pickle.loads(pickle.dumps(decoded))
    assert len(pickle.dumps(decoded)) < 1000
    for one in (decoded, sent):
        image = one.image(0, name="a")
        assert image is not None
        assert np.array_equal(np.asarray(image), expected)


def test_a_file_that_could_not_be_read_is_asked_for_again(photos: Photos, tmp_path: Path) -> None:
    path = tmp_path / "photos" / "2.jpg"
    there = path.read_bytes()
    path.unlink()
    decoded = cached(tmp_path / "x.rgb", photos)
    assert decoded.image(2, name="2.jpg") is None
    path.write_bytes(there)
    given = InputSettings(size=48, resize=RESIZES[1], flip=False)
    both = [PhotoSamples(photos, given, decoded=one) for one in (None, decoded)]
    one, other = (samples.sample(2, np.random.default_rng(0))["image"] for samples in both)
    assert np.array_equal(one, other)


def test_a_zip_is_decoded_as_its_folder(photos: Photos, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted((tmp_path / "photos").iterdir()):
            archive.write(path, path.name)
    cached(tmp_path / "folder.rgb", photos)
    cached(tmp_path / "zip.rgb", open_photos(tmp_path / "photos.zip"))
    assert (tmp_path / "folder.rgb").read_bytes() == (tmp_path / "zip.rgb").read_bytes()


def test_threads_change_nothing(photos: Photos, tmp_path: Path) -> None:
    for threads in (1, 5):
        write_decoded(tmp_path / f"{threads}.rgb", photos, range(7), draft=None, threads=threads)
    assert (tmp_path / "1.rgb").read_bytes() == (tmp_path / "5.rgb").read_bytes()


def test_what_is_not_whole_is_nothing(photos: Photos, tmp_path: Path) -> None:
    path = tmp_path / "x.rgb"
    assert open_decoded(path) is None
    size = cached(path, photos).bytes
    whole = path.read_bytes()
    assert len(whole) == size
    for damaged in (b"", whole[:20], whole[:-1], whole[1:], whole[: size // 2], bytes(size)):
        path.write_bytes(damaged)
        assert open_decoded(path) is None


def test_the_size_is_known_before(photos: Photos, tmp_path: Path) -> None:
    for draft in (None, 48):
        places = [0, 1, 2, 3, 4]
        size = cached(tmp_path / "x.rgb", photos, draft=draft, places=places).bytes
        assert 0 <= size - expected_bytes(photos, places, draft) < 100  # the ending
    smaller, whole = (expected_bytes(photos, range(7), draft) for draft in (48, None))
    assert smaller < whole


def test_the_name_follows_all_that_the_pixels_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        cache_key("a", ["1.jpg", "2.jpg"], None),
        cache_key("b", ["1.jpg", "2.jpg"], None),
        cache_key("a", ["2.jpg", "1.jpg"], None),
        cache_key("a", ["1.jpg"], None),
        cache_key("a", ["1.jpg", "2.jpg"], 128),
    ]
    monkeypatch.setattr("PIL.__version__", "0.0")
    keys.append(cache_key("a", ["1.jpg", "2.jpg"], None))
    assert len(set(keys)) == 6
