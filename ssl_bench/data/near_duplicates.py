"""Near-duplicates between two sets of photos: copies that were encoded again, resized, cropped or mirrored.

Two signs that a person can follow must both hold. The first is a perceptual hash: the picture as 32 x 32 grey
values, its 8 x 8 lowest DCT frequencies, one bit each for whether it lies above their median; a pair counts the
bits that differ (Hamming distance, 0..64). The second is an embedding, by default the colour layout: 8 x 8
RGB, each channel's mean removed, unit norm; a pair has a cosine. Both are taken of the mirrored picture, too.

The bounds were chosen on 11,000 pictures of Tiny-ImageNet and the 722 of voc2007-subset's trainval (3 of their 68
million pairs match), then measured on other photographs: a pool of 9,812, short side at most 128 px. Of 2,000
copies each, 99.95 % are found after JPEG at quality 50, resizing to 50 %, mirroring, or brightening by 10 % (the
rest is flat), and 87.0 % after a crop to 95 % of both sides at a random place (hash alone 89.9 %, layout alone
95.8 %). Of different photographs: none of the 7,152,948 pairs with voc2007-subset's test matches, and of the
15,900,672 pairs between the pool's catalogues (Caltech-101, PACS) and its other sources 4, two of them true copies.
Not told apart is what was made alike: 15 of the 2,096,128 pairs within those others, mostly scans turned on black,
and 2,923 of 30,135,966 within the catalogues, true copies among motorbikes on white and portraits of one person.
A second shot of a scene is no copy and need not be found. So a count is a reason to look at the contact sheet,
not a verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image
from scipy.fft import dctn

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.manifest import Progress
from ssl_bench.data.photos import Photos
from ssl_bench.errors import BrokenImage

VERSION = 1  # of everything here that moves a distance

SIDE, LOW, LAYOUT = 32, 8, 8
BITS = LOW * LOW
DRAFT = 64  # pixels that a decoder may leave of the short side; twice what is looked at
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's conversion to "L"
LEAST_CONTRAST = 4.0

ROWS, COLUMNS = 512, 2048  # of B and of A that are compared at once: some 50 MB
MOST_PAIRS = 1_000_000

PAIR = np.dtype([("a", "i4"), ("b", "i4"), ("hamming", "u1"), ("cosine", "f4"), ("mirrored", "?")])


@dataclass(frozen=True)
class Bounds:
    """What counts as near: at most `hamming` differing bits and at least this `cosine`."""

    hamming: int = 12
    cosine: float = 0.9


@dataclass(frozen=True)
class Signatures:
    """What is kept of the readable pictures of a set, in its order.

    Attributes:
        places: int64 (N,), indexes into the photos.
        names: Their names.
        files: uint8 (N, 32), SHA-256 of each file.
        hashes: uint64 (N, 2), of the picture and of its mirror image.
        thumbnails: uint8 (N, 8, 8, 3).
        flat: bool (N,): so little contrast that the hash would be of noise; such a picture is near to none.
        broken: Names of unreadable pictures, with the reason.
    """

    places: np.ndarray
    names: tuple[str, ...]
    files: np.ndarray
    hashes: np.ndarray
    thumbnails: np.ndarray
    flat: np.ndarray
    broken: dict[str, str]

    def __len__(self) -> int:
        return len(self.names)


class Vectors(Protocol):
    """Embeddings of unit norm, a row for each picture of `Signatures`."""

    def rows(self, start: int, stop: int, *, mirrored: bool = False) -> np.ndarray:
        """float32 (stop - start, D)."""
        ...


@dataclass(frozen=True)
class ColourLayouts:
    """Embeddings made of thumbnails, when they are asked for."""

    thumbnails: np.ndarray

    def rows(self, start: int, stop: int, *, mirrored: bool = False) -> np.ndarray:
        """float32 (stop - start, 192); zeros where there is no contrast."""
        pictures = self.thumbnails[start:stop].astype(np.float32)
        pictures = pictures[:, :, ::-1] if mirrored else pictures
        return unit_rows((pictures - pictures.mean((1, 2), keepdims=True)).reshape(len(pictures), -1))


@dataclass(frozen=True)
class Overlap:
    """What A and B have in common; b and a in `pairs` and `nearest` are places in the signatures.

    Attributes:
        pairs: Near-duplicates as `PAIR`, nearest first; at most `MOST_PAIRS` of them.
        n_pairs: Number of all.
        nearest: As `PAIR`, for each picture of B the nearest of A, if anything could be compared: a near-
            duplicate where there is one. Nearest first.
        exact: int64 (B,): a picture of A whose file has the same bytes, or -1.
        by_hash, by_embedding: bool (B,): a picture of A lies within this bound, whatever the other says.
        near: bool (B,): one lies within both, as in `pairs`.
    """

    pairs: np.ndarray
    n_pairs: int
    nearest: np.ndarray
    exact: np.ndarray
    by_hash: np.ndarray
    by_embedding: np.ndarray
    near: np.ndarray


def take_signatures(photos: Photos, *, progress: Progress | None = None) -> Signatures:
    """Decode every picture once; an unreadable one is left out and named.

    Args:
        progress: Called with the number of pictures done and their total.
    """
    taken = _Taken()
    for index, name in enumerate(photos.names):
        try:
            data = photos.read(index)
            picture = small_picture(read_rgb(data, name=name, draft=DRAFT))
        except BrokenImage as error:
            taken.broken[name] = error.reason
        else:
            taken.add(index, data, picture)
        if progress:
            progress(index + 1, len(photos))
    return taken.signatures(photos.names)


class _Taken:
    """Signatures while they are taken: small pictures are held only until a portion of them is full."""

    def __init__(self) -> None:
        self.broken: dict[str, str] = {}
        self.places: list[int] = []
        self.files: list[bytes] = []
        self.portion: list[np.ndarray] = []
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, place: int, data: bytes, picture: np.ndarray) -> None:
        self.places.append(place)
        self.files.append(hashlib.sha256(data).digest())
        self.portion.append(picture)
        if len(self.portion) == ROWS:
            self._close_portion()

    def _close_portion(self) -> None:
        pictures = np.array(self.portion, np.uint8).reshape(-1, SIDE, SIDE, 3)
        blocks = pictures.reshape(-1, LAYOUT, SIDE // LAYOUT, LAYOUT, SIDE // LAYOUT, 3).mean((2, 4))
        self.parts.append((*perceptual_hashes(pictures), np.round(blocks).astype(np.uint8)))
        self.portion = []

    def signatures(self, names: Sequence[str]) -> Signatures:
        self._close_portion()
        hashes, flat, thumbnails = (np.concatenate(parts) for parts in zip(*self.parts, strict=True))
        return Signatures(
            places=np.array(self.places, np.int64),
            names=tuple(names[place] for place in self.places),
            files=np.frombuffer(b"".join(self.files), np.uint8).reshape(-1, 32),
            hashes=hashes,
            thumbnails=thumbnails,
            flat=flat,
            broken=self.broken,
        )


def small_picture(image: Image.Image) -> np.ndarray:
    """Squeeze an RGB picture to uint8 (32, 32, 3), each value a mean over what it stands for."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def perceptual_hashes(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash pictures and their mirror images.

    Args:
        pictures: uint8 (N, 32, 32, 3).

    Returns:
        uint64 (N, 2) and bool (N,): too flat, a standard deviation below `LEAST_CONTRAST` grey levels.
    """
    grey = pictures.astype(np.float32) @ GREY
    low = dctn(grey, axes=(1, 2), norm="ortho")[:, :LOW, :LOW]
    # Mirroring turns the sign of the odd horizontal frequencies.
    turned = low * np.where(np.arange(LOW) % 2, -1, 1).astype(np.float32)
    values = np.stack([low, turned], axis=1).reshape(len(pictures), 2, BITS)
    bits = values > np.median(values, axis=2, keepdims=True)
    hashes = np.packbits(bits, axis=2).view(np.uint64)[..., 0]
    return hashes, grey.std((1, 2)) < LEAST_CONTRAST


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit norm; what is zero stays zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-6)


def find_overlap(
    a: Signatures,
    b: Signatures,
    bounds: Bounds,
    *,
    vectors_a: Vectors | None = None,
    vectors_b: Vectors | None = None,
    itself: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Overlap:
    """Compare every picture of B, and its mirror image, with every picture of A.

    Args:
        vectors_a, vectors_b: Embeddings; the colour layouts where there are none.
        itself: int64 (B,), the place in A of the very same picture or -1; that pair is left out.
        progress: Called with the number of pictures of B done and their total.
    """
    of_a = vectors_a or ColourLayouts(a.thumbnails)
    of_b = vectors_b or ColourLayouts(b.thumbnails)
    found = _Found(len(b), bounds)
    for row in range(0, len(b), ROWS):
        rows = slice(row, min(row + ROWS, len(b)))
        views = [of_b.rows(rows.start, rows.stop, mirrored=mirrored) for mirrored in (False, True)]
        for column in range(0, len(a), COLUMNS):
            columns = slice(column, min(column + COLUMNS, len(a)))
            # A pair that is not to be looked at lies outside any bound.
            blind = b.flat[rows, None] | a.flat[None, columns]
            if itself is not None:
                blind |= itself[rows, None] == np.arange(columns.start, columns.stop)
            vectors = of_a.rows(columns.start, columns.stop).T
            hammings = [
                np.where(blind, BITS + 1, np.bitwise_count(b.hashes[rows, side, None] ^ a.hashes[columns, 0]))
                for side in (0, 1)
            ]
            cosines = [np.where(blind, np.float32(-np.inf), view @ vectors) for view in views]
            found.add(rows.start, columns.start, hammings, cosines)
        if progress:
            progress(rows.stop, len(b))
    return found.overlap(a, b)


def nearness(hamming: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """The mean of the two correlations, float32, 1 for the same picture: 1 - H / 32 is that of the bits."""
    mean: np.ndarray = (1 - hamming.astype(np.float32) / (BITS // 2) + cosine) / 2
    return mean


class _Found:
    """What `find_overlap` has seen so far."""

    def __init__(self, count: int, bounds: Bounds) -> None:
        self.bounds = bounds
        self.nearest = np.zeros(count, PAIR)
        self.nearest["b"] = np.arange(count)
        self.rank = np.full(count, -np.inf, np.float32)
        self.by_hash, self.by_embedding, self.near = (np.zeros(count, bool) for _ in range(3))
        self.parts: list[np.ndarray] = []
        self.n_kept = self.n_pairs = 0

    def add(self, row: int, column: int, hammings: list[np.ndarray], cosines: list[np.ndarray]) -> None:
        """Look at a block of pairs, each as it is and with B mirrored; of the two the nearer one counts."""
        rows = slice(row, row + len(hammings[0]))
        ranks, within = [], []
        for hamming, cosine in zip(hammings, cosines, strict=True):
            by_hash, by_embedding = hamming <= self.bounds.hamming, cosine >= self.bounds.cosine
            self.by_hash[rows] |= by_hash.any(1)
            self.by_embedding[rows] |= by_embedding.any(1)
            within.append(by_hash & by_embedding)
            ranks.append(nearness(hamming, cosine) + 4 * within[-1])  # any near-duplicate before any other
        mirrored = ranks[1] > ranks[0]
        near = within[0] | within[1]

        def pairs(b: np.ndarray, a: np.ndarray) -> np.ndarray:
            found = np.zeros(len(b), PAIR)
            found["a"], found["b"], found["mirrored"] = a + column, b + row, mirrored[b, a]
            for name, (plain, turned) in (("hamming", hammings), ("cosine", cosines)):
                found[name] = np.where(mirrored[b, a], turned[b, a], plain[b, a])
            return found

        rank = np.maximum(*ranks)
        best = rank.argmax(1)
        better = np.flatnonzero(rank.max(1) > self.rank[rows])
        self.rank[rows][better] = rank[better, best[better]]
        self.nearest[rows][better] = pairs(better, best[better])
        self.near[rows] |= near.any(1)
        where = np.argwhere(near)
        self.n_pairs += len(where)
        kept = where[: MOST_PAIRS - self.n_kept]
        self.n_kept += len(kept)
        if len(kept):
            self.parts.append(pairs(kept[:, 0], kept[:, 1]))

    def overlap(self, a: Signatures, b: Signatures) -> Overlap:
        nearest = self.nearest[self.rank > -np.inf]
        within = (nearest["hamming"] <= self.bounds.hamming) & (nearest["cosine"] >= self.bounds.cosine)
        order = np.lexsort((-nearness(nearest["hamming"], nearest["cosine"]), ~within))
        pairs = np.concatenate([np.zeros(0, PAIR), *self.parts])
        in_a = {bytes(digest): place for place, digest in reversed(list(enumerate(a.files)))}
        return Overlap(
            pairs=pairs[np.argsort(-nearness(pairs["hamming"], pairs["cosine"]), kind="stable")],
            n_pairs=self.n_pairs,
            nearest=nearest[order],
            exact=np.array([in_a.get(bytes(digest), -1) for digest in b.files], np.int64),
            by_hash=self.by_hash,
            by_embedding=self.by_embedding,
            near=self.near,
        )
