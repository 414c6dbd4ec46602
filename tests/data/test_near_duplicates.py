"""Near-duplicates: every kind of copy is found, other pictures are not, and the parts agree with plain loops."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from sklearn.datasets import load_sample_images

from ssl_bench.data import near_duplicates
from ssl_bench.data.near_duplicates import (
    Bounds,
    ColourLayouts,
    Overlap,
    Signatures,
    find_overlap,
    perceptual_hashes,
    take_signatures,
    unit_rows,
)

FLIP = Image.Transpose.FLIP_LEFT_RIGHT


@dataclass
class InMemory:
    """Photos of which there are no files."""

    data: Sequence[bytes]
    name: str = "memory"

    @property
    def names(self) -> list[str]:
        return [f"{index}.jpg" for index in range(len(self.data))]

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: int) -> bytes:
        return self.data[index]

    def fingerprint(self, progress: object = None) -> str:
        raise AssertionError("nobody asks")


def encoded(image: Image.Image, quality: int = 92) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def signatures(*pictures: Image.Image | bytes) -> Signatures:
    return take_signatures(InMemory([p if isinstance(p, bytes) else encoded(p) for p in pictures]))


def photographs() -> list[Image.Image]:
    """Twelve parts of the two photographs that come with scikit-learn (427 x 640), which do not overlap."""
    parts = []
    for pixels in load_sample_images().images:
        for y in (0, 213):
            parts += [Image.fromarray(pixels[y : y + 213, x : x + 213]) for x in (0, 213, 426)]
    return parts


@pytest.fixture(scope="module")
def pool() -> Signatures:
    return signatures(*photographs())


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    edge = image.width // 40  # 2.5 % on each side: 5 % of the width and of the height
    return image.crop((edge, edge, image.width - edge, image.height - edge))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "encoded again": lambda image: encoded(image, 50),
    "resized": lambda image: encoded(resized(image)),
    "cropped": lambda image: encoded(cropped(image)),
    "mirrored": lambda image: encoded(image.transpose(FLIP)),
    "brightened": lambda image: encoded(image.point(lambda value: min(255, round(1.1 * value)))),
    "mirrored, resized, encoded again": lambda image: encoded(resized(image.transpose(FLIP)), 50),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else(kind: str, pool: Signatures) -> None:
    copies = signatures(*[COPIES[kind](image) for image in photographs()])
    found = find_overlap(pool, copies, Bounds())
    assert sorted(zip(found.pairs["a"], found.pairs["b"], strict=True)) == [(i, i) for i in range(12)]
    assert found.near.all()
    assert found.pairs["mirrored"].all() == found.pairs["mirrored"].any() == ("mirrored" in kind)
    assert (found.exact == -1).all()


def test_drawn_pictures_have_no_duplicates() -> None:
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(60):
        pixels = np.full((96, 128, 3), rng.integers(0, 256, 3), np.uint8)
        for _ in range(6):
            y, x = rng.integers(0, (70, 100))
            pixels[y : y + rng.integers(10, 50), x : x + rng.integers(10, 60)] = rng.integers(0, 256, 3)
        drawn.append(Image.fromarray(pixels))
    found = find_overlap(signatures(*drawn[:30]), signatures(*drawn[30:]), Bounds())
    assert found.n_pairs == len(found.pairs) == 0
    assert not found.near.any()
    assert len(found.nearest) == 30


def test_the_same_bytes_are_exact_and_the_first_of_them_is_named(pool: Signatures) -> None:
    image = photographs()[4]
    twice = signatures(photographs()[0], image, image)
    again = signatures(encoded(image), encoded(image, 50))
    found = find_overlap(twice, again, Bounds())
    assert found.exact.tolist() == [1, -1]
    assert found.near.tolist() == [True, True]
    assert (found.pairs["hamming"][0], found.pairs["cosine"][0]) == (0, pytest.approx(1))


def test_flat_pictures_match_nothing_not_even_each_other(pool: Signatures) -> None:
    rng = np.random.default_rng(0)
    noisy = (200 + rng.normal(0, 2, (100, 100, 3))).astype(np.uint8)
    flat = [Image.new("RGB", (80, 60), colour) for colour in ("white", "black", "red")]
    blank = signatures(*flat, Image.fromarray(noisy))
    assert blank.flat.all()
    assert not pool.flat.any()
    everything = Bounds(64, -1)
    for a, b in ((blank, blank), (pool, blank), (blank, pool)):
        found = find_overlap(a, b, everything)
        assert not np.stack([found.near, found.by_hash, found.by_embedding]).any()
        assert len(found.nearest) == 0
    assert (find_overlap(blank, blank, everything).exact >= 0).all()


def test_a_picture_s_pair_with_itself_is_left_out(pool: Signatures) -> None:
    assert find_overlap(pool, pool, Bounds()).n_pairs == 12
    found = find_overlap(pool, pool, Bounds(), itself=np.arange(12))
    assert found.n_pairs == 0
    assert (found.nearest["a"] != found.nearest["b"]).all()
    assert len(found.nearest) == 12


def test_broken_pictures_are_named_and_left_out() -> None:
    image = photographs()[0]
    found = signatures(encoded(image)[:300], image, b"no picture", b"")
    assert list(found.broken) == ["0.jpg", "2.jpg", "3.jpg"]
    assert found.broken["3.jpg"] == "the file is empty"
    assert (found.names, found.places.tolist(), len(found)) == (("1.jpg",), [1], 1)
    nothing = signatures(b"no picture")
    assert len(nothing) == 0
    assert find_overlap(nothing, found, Bounds()).near.tolist() == [False]
    assert len(find_overlap(found, nothing, Bounds()).near) == 0


def test_signatures_do_not_depend_on_the_portions(monkeypatch: pytest.MonkeyPatch, pool: Signatures) -> None:
    monkeypatch.setattr(near_duplicates, "ROWS", 5)
    small = signatures(*photographs())
    for name in ("files", "hashes", "thumbnails", "flat", "places"):
        np.testing.assert_array_equal(getattr(small, name), getattr(pool, name))


def test_the_hash_worked_out_in_a_plain_loop() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    hashes, _ = perceptual_hashes(pixels)
    for picture, row in zip(pixels, hashes, strict=True):
        for view, value in zip((picture, picture[:, ::-1]), row, strict=True):
            grey = view @ np.array([0.299, 0.587, 0.114])
            low = dctn(grey, norm="ortho")[:8, :8].ravel()
            expected = sum(1 << place for place, v in enumerate(low) if v > np.median(low))
            bits = np.unpackbits(np.array([value]).view(np.uint8))
            assert sum(1 << place for place, bit in enumerate(bits) if bit) == expected
            assert bits.sum() == 32


def test_the_layout_ignores_brightness_and_knows_its_mirror_image() -> None:
    thumbnails = np.random.default_rng(1).integers(0, 120, (3, 8, 8, 3), dtype=np.uint8)
    plain = ColourLayouts(thumbnails).rows(0, 3)
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(ColourLayouts(2 * thumbnails + 10).rows(0, 3), plain, atol=1e-6)
    turned = ColourLayouts(np.ascontiguousarray(thumbnails[:, :, ::-1])).rows(1, 3, mirrored=True)
    np.testing.assert_array_equal(turned, plain[1:])
    assert not unit_rows(np.zeros((2, 4), np.float32)).any()


def slow_overlap(
    a: Signatures, b: Signatures, bounds: Bounds
) -> tuple[set[tuple[int, int]], list[list[bool]]]:
    """Pairs of places (a, b) that are near, and for each b whether hash or embedding alone say so."""
    pairs, alone = set(), []
    rows_a = ColourLayouts(a.thumbnails).rows(0, len(a))
    for j in range(len(b)):
        signs = [False, False]
        for turned in (0, 1):
            row = ColourLayouts(b.thumbnails).rows(j, j + 1, mirrored=bool(turned))[0]
            for i in range(len(a)):
                if a.flat[i] or b.flat[j]:
                    continue
                by_hash = bin(int(a.hashes[i, 0]) ^ int(b.hashes[j, turned])).count("1") <= bounds.hamming
                by_layout = float(rows_a[i] @ row) >= bounds.cosine
                signs = [signs[0] or by_hash, signs[1] or by_layout]
                if by_hash and by_layout:
                    pairs.add((i, j))
        alone.append(signs)
    return pairs, alone


def random_signatures(count: int, rng: np.random.Generator) -> Signatures:
    return Signatures(
        places=np.arange(count),
        names=tuple(str(index) for index in range(count)),
        files=rng.integers(0, 2, (count, 32), dtype=np.uint8),
        hashes=rng.integers(0, 2**64, (count, 2), dtype=np.uint64),
        thumbnails=rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8),
        flat=rng.random(count) < 0.2,
        broken={},
    )


def compare_in_blocks(a: Signatures, b: Signatures, bounds: Bounds, rows: int, columns: int) -> Overlap:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "ROWS", rows)
        patch.setattr(near_duplicates, "COLUMNS", columns)
        return find_overlap(a, b, bounds)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    blocks=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    bounds=st.builds(Bounds, st.integers(24, 36), st.sampled_from([-0.2, 0.013, 0.1])),
)
def test_the_search_agrees_with_plain_loops_in_blocks_of_any_size(
    seed: int, sizes: tuple[int, int], blocks: tuple[int, int], bounds: Bounds
) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_signatures(sizes[0], rng), random_signatures(sizes[1], rng)
    found = compare_in_blocks(a, b, bounds, *blocks)
    pairs, alone = slow_overlap(a, b, bounds)
    assert set(zip(found.pairs["a"].tolist(), found.pairs["b"].tolist(), strict=True)) == pairs
    assert found.n_pairs == len(found.pairs) == len(pairs)
    assert [list(signs) for signs in zip(found.by_hash, found.by_embedding, strict=True)] == alone
    assert set(np.flatnonzero(found.near)) == {j for _, j in pairs}
    near = [int(entry["b"]) for entry in found.nearest if (int(entry["a"]), int(entry["b"])) in pairs]
    assert sorted(near) == sorted({j for _, j in pairs}), "the nearest of a picture is a near-duplicate"
    assert [int(entry["b"]) for entry in found.nearest[: len(near)]] == near, "and these stand first"


def test_no_more_pairs_are_kept_than_memory_is_meant_for(
    monkeypatch: pytest.MonkeyPatch, pool: Signatures
) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 20)
    found = find_overlap(pool, pool, Bounds(64, -1))
    assert (found.n_pairs, len(found.pairs)) == (144, 20)
    assert found.near.all()


def test_on_real_photos(shared_file: Callable[[str], Path]) -> None:
    from ssl_bench.data.photos import open_photos

    photos = open_photos(shared_file("paris-streetview-eval.zip"))
    taken = take_signatures(photos)
    found = find_overlap(taken, taken, Bounds(), itself=np.arange(len(taken)))
    assert (len(taken), len(taken.broken), found.n_pairs) == (100, 0, 0)
