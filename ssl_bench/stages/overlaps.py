"""`ssl-bench data overlap A B`: which test images of B the pretraining set A holds already, kept for records.

What is kept lies in the cache: the signatures of each set's pictures, and for each pair of sets the result. Only
results of the usual method (the usual bounds, the colour layout) go into records, so that these can be compared.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_bench.atomic import write_json
from ssl_bench.data.image_sets import fingerprint as fingerprint_of_set
from ssl_bench.data.image_sets import parse_split
from ssl_bench.data.near_duplicates import BITS, VERSION, Bounds, Overlap, Signatures, Vectors, find_overlap
from ssl_bench.errors import UserError
from ssl_bench.hashing import digest
from ssl_bench.progress import counted
from ssl_bench.records import OverlapReference
from ssl_bench.stages.datasets import cache_folder
from ssl_bench.stages.overlap_sets import ALL, SEGMENTATION, ComparedSet, remember, signatures_of

if TYPE_CHECKING:
    from ssl_bench.records import PretrainingReference
    from ssl_bench.stages.judging_data import TransferData
    from ssl_bench.stages.named_encoders import NamedEncoder

LAYOUT = "colour layout"
NEAREST = 10


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SetSummary(_Part):
    """One of the two sets: `images` are its readable ones; flat ones are near to none; `broken` names the others."""

    name: str
    split: str
    fingerprint: str
    images: int
    flat: int
    broken: tuple[str, ...]


class NearPair(_Part):
    """Two pictures by name; `near` where both bounds hold."""

    a: str
    b: str
    hamming: int
    cosine: float
    mirrored: bool
    near: bool


class OverlapResult(_Part):
    """What two sets have in common. Counts are of images of B.

    `by_hash` and `by_embedding` have a picture within that bound alone. `itself` counts images that are in A under
    the same name where A and B are one set: these are among the others, but in no pair.
    """

    version: int
    bounds: Bounds
    embedding: str
    a: SetSummary
    b: SetSummary
    near: int
    exact: int
    by_hash: int
    by_embedding: int
    itself: int
    pairs: int
    nearest: tuple[NearPair, ...]

    @property
    def method(self) -> str:
        """The method in words."""
        bounds = self.bounds
        return (
            f"phash64 <= {bounds.hamming} and {self.embedding} cosine >= {bounds.cosine:g} (v{self.version})"
        )

    def reference(self) -> OverlapReference:
        """Describe the overlap for a record."""
        return OverlapReference(
            pretraining_fingerprint=self.a.fingerprint,
            pretraining_split=self.a.split,
            test_images=self.b.images,
            near_duplicates=self.near,
            exact_duplicates=self.exact,
            method=self.method,
        )


@dataclass(frozen=True)
class Compared:
    """All that a result was counted from; `itself` holds for each image of B its own place in A, or -1."""

    a: Signatures
    b: Signatures
    overlap: Overlap
    itself: np.ndarray
    bounds: Bounds

    def near_pair(self, pair: np.void) -> NearPair:
        """Name the two pictures of one `PAIR`."""
        hamming, cosine = int(pair["hamming"]), float(pair["cosine"])
        return NearPair(
            a=printable(self.a.names[pair["a"]]),
            b=printable(self.b.names[pair["b"]]),
            hamming=hamming,
            cosine=round(cosine, 4),
            mirrored=bool(pair["mirrored"]),
            near=hamming <= self.bounds.hamming and cosine >= float(np.float32(self.bounds.cosine)),
        )


def overlap(
    a: ComparedSet,
    b: ComparedSet,
    *,
    bounds: Bounds | None = None,
    encoder: NamedEncoder | None = None,
    device: str = "auto",
    pairs_wanted: bool = False,
) -> tuple[OverlapResult, Compared | None]:
    """Compare a pretraining set with a test set, or remember how they compared.

    Args:
        encoder: Its pooled features are the embedding, instead of the colour layout.
        pairs_wanted: Compare again even if the result is remembered, which the pairs are not.

    Returns:
        The result, and, unless it was remembered, all that it was counted from.
    """
    bounds = bounds or Bounds()
    embedding = LAYOUT if encoder is None else f"pooled features of {encoder.name} ({encoder.sha256[:16]})"
    path = _path(a.fingerprint, b.fingerprint, b.split, "" if a.usual else a.split, bounds, embedding)
    known = None if pairs_wanted else _load(path)
    if known is not None and (known.a.split, known.b.split) == (a.split, b.split):
        return known, None
    compared = _compare(a, b, bounds, encoder, device)
    result = _result(a, b, compared, embedding)
    remember(path, lambda: write_json(path, result.model_dump(mode="json")))
    return result, compared


def bounds_of(hamming: int | None, cosine: float | None) -> Bounds:
    """The bounds that a user gave, the usual ones where none.

    Raises:
        UserError: No Hamming distance of 64 bits, or no cosine.
    """
    usual = Bounds()
    hamming = usual.hamming if hamming is None else hamming
    cosine = usual.cosine if cosine is None else cosine
    if not 0 <= hamming <= BITS:
        raise UserError(f"--hamming {hamming}: from 0 (the same hash) to {BITS} bits may differ")
    if not -1 <= cosine <= 1:
        raise UserError(f"--cosine {cosine:g}: from -1 to 1 (the same picture) is needed")
    return Bounds(hamming, cosine)


def known_overlap(
    pretraining_fingerprint: str | None,
    test_fingerprint: str,
    test_split: str,
    *,
    pretraining_name: str | None = None,
) -> OverlapReference | None:
    """What `ssl-bench data overlap` found for these sets by the usual method; None where nobody has looked.

    Args:
        pretraining_name: The pretraining data's name in records. That of a VOC ends in the split that was learned
            from; what was found for another split of it is then not taken.
    """
    if pretraining_fingerprint is None:
        return None
    learned = (pretraining_name or "").rpartition(" ")[2]
    for split in ("", learned) if learned else ("",):
        found = _load(_path(pretraining_fingerprint, test_fingerprint, test_split, split, Bounds(), LAYOUT))
        if found is None or found.b.split != test_split:
            continue
        if not learned or found.a.split in (learned, ALL):
            return found.reference()
    return None


def overlap_of_transfer(
    pretraining: PretrainingReference | None, found: TransferData, task: str
) -> OverlapReference | None:
    """What is known for an encoder's pretraining data and the images that a transfer is judged on.

    Of a set put together from several, the part that holds the test split counts.
    """
    if pretraining is None:
        return None
    fingerprint, split = found.fingerprint, found.splits.test
    parts = getattr(found.devkit, "parts", None)
    if parts is not None:
        terms = parse_split(split)
        if len(terms) != 1:
            return None
        fingerprint, split = fingerprint_of_set(parts[terms[0].part]), terms[0].split
    kind = SEGMENTATION if task == "voc-seg" else ""
    return known_overlap(
        pretraining.data_fingerprint, fingerprint, kind + split, pretraining_name=pretraining.data_name
    )


def printable(name: str) -> str:
    """A file's name with what is no text written as an escape."""
    return name.encode("utf-8", "backslashreplace").decode()


def _compare(
    a: ComparedSet, b: ComparedSet, bounds: Bounds, encoder: NamedEncoder | None, device: str
) -> Compared:
    of_a, of_b = signatures_of(a), signatures_of(b)
    itself = np.full(len(of_b), -1, np.int64)
    if a.fingerprint == b.fingerprint:
        place = {name: index for index, name in enumerate(of_a.names)}
        itself[:] = [place.get(name, -1) for name in of_b.names]
    vectors: dict[str, Vectors] = {}
    if encoder is not None:
        from ssl_bench.stages.overlap_features import pooled_vectors  # here, for this alone needs torch

        vectors = pooled_vectors(encoder, (a, of_a), (b, of_b), device)
    with counted(f"comparing {b.name} with {a.name}") as tell:
        found = find_overlap(of_a, of_b, bounds, itself=itself, progress=tell, **vectors)
    return Compared(of_a, of_b, found, itself, bounds)


def _result(a: ComparedSet, b: ComparedSet, compared: Compared, embedding: str) -> OverlapResult:
    found, itself = compared.overlap, compared.itself >= 0
    seen = itself & ~compared.b.flat
    return OverlapResult(
        version=VERSION,
        bounds=compared.bounds,
        embedding=embedding,
        a=_summary(a, compared.a),
        b=_summary(b, compared.b),
        near=int((found.near | seen).sum()),
        exact=int((found.exact >= 0).sum()),
        by_hash=int((found.by_hash | seen).sum()),
        by_embedding=int((found.by_embedding | seen).sum()),
        itself=int(itself.sum()),
        pairs=found.n_pairs,
        nearest=tuple(compared.near_pair(pair) for pair in found.nearest[:NEAREST]),
    )


def _summary(compared: ComparedSet, signatures: Signatures) -> SetSummary:
    return SetSummary(
        name=compared.name,
        split=compared.split,
        fingerprint=compared.fingerprint,
        images=len(signatures),
        flat=int(signatures.flat.sum()),
        broken=tuple(printable(name) for name in signatures.broken),
    )


def _path(a: str, b: str, split_b: str, split_a: str, bounds: Bounds, embedding: str) -> Path:
    """Where a result lies: its name tells the sets and B's split, and what else is not as usual."""
    words = [a, b, _in_file_name(split_b), *([f"of-{_in_file_name(split_a)}"] if split_a else [])]
    if (bounds, embedding) != (Bounds(), LAYOUT):
        words.append(digest([bounds.hamming, bounds.cosine, embedding]))
    return cache_folder() / "overlaps" / f"{'-'.join(words)}.json"


def _in_file_name(split: str) -> str:
    return re.sub(r"[^\w.+-]", ".", split)


def _load(path: Path) -> OverlapResult | None:
    """A remembered result; another version or a damaged file counts as nothing."""
    try:
        found = OverlapResult.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None
    return found if found.version == VERSION else None
