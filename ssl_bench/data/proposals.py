"""Object proposals by image: boxes in which Fast R-CNN looks for objects, published or of our own.

Boxes leave as continuous half-open xyxy in pixels of the stored image. The published selective-search files
(voc_2007_trainval.mat and its like, which fast-rcnn fetches) hold `images`, a cell array of names, and `boxes`,
a cell array of (R, 4) with columns y1 x1 y2 x2, 1-based and inclusive: lib/datasets/pascal_voc.py of
rbgirshick/fast-rcnn swaps the columns and subtracts 1, and every width there is x2 - x1 + 1. It trusts the
order of the rows; here the names in `images` decide. `selective_search` computes proposals where none are given.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_bench.atomic import write_atomically
from ssl_bench.errors import UserError

BoxArray = npt.NDArray[np.float32]

GET_PROPOSALS = (
    "give the published selective-search .mat files of Fast R-CNN, or compute boxes with "
    "`ssl-bench data proposals --data VOCDEVKIT --split SPLIT --out FILE.npz`"
)
SUFFIXES = (".mat", ".npz")
_SPLIT_OF_A_YEAR = re.compile(r"VOC(\d{4}):(\w+)")  # as combined sets write it, "VOC2007:trainval + ..."


@dataclass(frozen=True, eq=False)
class Proposals:
    """Boxes of many images in one table, so that processes which share it copy nothing.

    Args:
        ids: Names of the images, each once.
        starts: Image i has the rows starts[i] to starts[i + 1]; int64 (N + 1,).
        rows: All boxes, float32 (sum of R, 4).
        source: Where they come from, in words, for the record.
    """

    ids: tuple[str, ...]
    starts: npt.NDArray[np.int64]
    rows: BoxArray
    source: str

    @classmethod
    def of(cls, boxes: Mapping[str, npt.ArrayLike], source: str) -> Proposals:
        """Put boxes (R, 4) by image id into one table, and check them.

        Raises:
            UserError: A box is not finite, inverted or empty; names `source` and the image.
        """
        arrays = [_checked(value, f"{source}, image {image_id}") for image_id, value in boxes.items()]
        starts = np.concatenate([[0], np.cumsum([len(array) for array in arrays], dtype=np.int64)])
        rows = np.concatenate([np.empty((0, 4), np.float32), *arrays])
        return cls(tuple(boxes), starts.astype(np.int64), rows, source)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {image_id: index for index, image_id in enumerate(self.ids)}

    def _find(self, image_id: str) -> int | None:
        """An image's place, under its own id or, for an id of a combined set, behind the last slash."""
        found = self._place.get(image_id)
        return self._place.get(image_id.rpartition("/")[2]) if found is None else found

    def boxes(self, image_id: str) -> BoxArray:
        """Boxes of one image, float32 (R, 4), in the order of their file.

        Raises:
            UserError: The image is not there.
        """
        index = self._find(image_id)
        if index is None:
            raise UserError(f"{self.source}: no proposals for image {image_id}; {GET_PROPOSALS}.")
        return self.rows[self.starts[index] : self.starts[index + 1]]

    def check(self, ids: Iterable[str]) -> None:
        """Stop before training where images have no box to look in.

        Raises:
            UserError: One for all, with their number and the first names.
        """
        wanted = list(ids)
        missing = [name for name in wanted if self._find(name) is None or not len(self.boxes(name))]
        if missing:
            first = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
            raise UserError(
                f"{self.source}: {len(missing)} of {len(wanted)} images have no proposals: {first}. "
                f"For these, too, {GET_PROPOSALS}."
            )

    def select(self, ids: Sequence[str]) -> Proposals:
        """The same boxes for these images alone, under these ids; checked as by `check`."""
        self.check(ids)
        return Proposals.of({image_id: self.boxes(image_id) for image_id in ids}, self.source)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids and boxes, whatever the order of the images; for a run, that of `select`."""
        total = hashlib.sha256()
        for image_id in sorted(self.ids):
            content = hashlib.sha256(np.ascontiguousarray(self.boxes(image_id), dtype="<f4").tobytes())
            total.update(f"{content.hexdigest()} {image_id}\n".encode())
        return total.hexdigest()


def _checked(value: npt.ArrayLike, where: str) -> BoxArray:
    boxes = np.asarray(value)
    if boxes.size == 0:
        return np.empty((0, 4), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iuf":
        raise UserError(
            f"{where}: boxes are {boxes.dtype} of shape {boxes.shape}; expected are numbers (R, 4)."
        )
    boxes = boxes.astype(np.float32)
    wrong = ~np.isfinite(boxes).all(axis=1) | ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{where}, box {row + 1}: {boxes[row].tolist()} (x0, y0, x1, y1) is not finite, inverted or empty. "
            "Repair or make the file again."
        )
    return boxes


def read_mat_proposals(path: Path) -> Proposals:
    """Read a file of Fast R-CNN's layout (see the module's words).

    Raises:
        UserError: No such file, not MATLAB's format up to version 7, `images` or `boxes` missing or of
            different lengths, an image named twice with different boxes, or a box that is none.
    """
    images, cells = _load_mat(path)
    if len(images) != len(cells):
        raise UserError(f"{path}: {len(images)} names in `images`, {len(cells)} arrays in `boxes`.")
    found: dict[str, BoxArray] = {}
    for name, cell in zip(images, cells, strict=True):
        image_id = _image_name(name, path)
        values = np.asarray(cell)
        if values.size and (values.ndim != 2 or values.shape[1] != 4 or values.dtype.kind not in "iuf"):
            raise UserError(f"{path}, image {image_id}: boxes are {values.dtype} of shape {values.shape}.")
        # As numbers with a sign first: the files may hold uint16, in which 0 - 1 is 65535.
        corners = values.reshape(-1, 4).astype(np.float64)[:, [1, 0, 3, 2]] - [1, 1, 0, 0]
        boxes = _checked(corners, f"{path}, image {image_id}")
        if image_id in found and not np.array_equal(found[image_id], boxes):
            raise UserError(f"{path}: image {image_id} stands twice, with different boxes.")
        found[image_id] = boxes
    return Proposals.of(found, f"{path.name} (published boxes)")


def _load_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from scipy.io import loadmat  # here, because only these files need it

    try:
        with path.open("rb") as file:
            content: dict[str, Any] = loadmat(file, variable_names=["images", "boxes"])
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; {GET_PROPOSALS}.") from None
    except NotImplementedError:
        raise UserError(f"{path}: MATLAB 7.3 (HDF5). Save it again with `save(..., '-v7')`.") from None
    except Exception as error:  # broken bytes make the reader raise whatever they first lead to
        raise UserError(f"{path}: not a readable .mat file ({error}). Fetch it again.") from None
    images, boxes = content.get("images"), content.get("boxes")
    if images is None or boxes is None or images.dtype != object or boxes.dtype != object:
        raise UserError(
            f"{path}: expected are the cell arrays `images` and `boxes`, as Fast R-CNN's files have them."
        )
    return np.ravel(images), np.ravel(boxes)


def _image_name(cell: Any, path: Path) -> str:
    name = np.ravel(cell)
    if name.size != 1 or not isinstance(name[0], str):
        raise UserError(f"{path}: `images` must hold names in text, found {cell!r}.")
    return str(name[0]).strip().removesuffix(".jpg")


def write_proposals(path: Path, proposals: Proposals) -> None:
    """Write our own layout, atomically: an npz with `ids`, `counts`, `boxes` (as `Proposals`) and `source`.

    Raises:
        UserError: It cannot be written.
    """
    columns: dict[str, Any] = {
        "ids": np.array(proposals.ids, dtype=np.str_),
        "counts": np.diff(proposals.starts),
        "boxes": proposals.rows,
        "source": np.array(proposals.source),
    }
    write_atomically(path, lambda file: np.savez_compressed(file, **columns))


def read_proposals(path: Path) -> Proposals:
    """Read one file of either layout, .mat or .npz.

    Raises:
        UserError: As `read_mat_proposals`.
    """
    if path.suffix.lower() == ".mat":
        return read_mat_proposals(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            ids, counts, rows, source = (content[name] for name in ("ids", "counts", "boxes", "source"))
            starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            if len(counts) != len(ids) or starts[-1] != len(rows) or (counts < 0).any():
                raise UserError(
                    f"{path}: {len(ids)} ids, {len(counts)} counts, {len(rows)} boxes: torn apart."
                )
            names = [str(image_id) for image_id in ids]
            if len(set(names)) != len(names):
                raise UserError(f"{path}: an image stands more than once.")
            return Proposals(tuple(names), starts, _checked(rows, str(path)), str(source))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; {GET_PROPOSALS}.") from None
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a file of proposals ({error}); {GET_PROPOSALS}.") from None


def find_proposals(place: Path, name: str, split: str) -> Proposals:
    """Read a file of proposals, or those of a folder that belong to a split; several are put together.

    In a folder, voc_2007_trainval.mat (or .npz) is taken for split "trainval" of VOC2007, one such file for
    each part of a combined split, and where one of them is not there, every .mat and .npz.

    Args:
        place: The file or folder.
        name: The image set's: VOC2007, VOC2012.
        split: A split, or an expression like "VOC2007:trainval + VOC2012:trainval".

    Raises:
        UserError: Nothing there, or two files have different boxes for one image.
    """
    if not place.is_dir():
        return read_proposals(place)
    parts = _SPLIT_OF_A_YEAR.findall(split) or _SPLIT_OF_A_YEAR.findall(f"{name}:{split}")
    named = [_first_file(place, f"voc_{year}_{part}") for year, part in parts]
    files = [path for path in named if path is not None]
    if not files or len(files) != len(named):
        files = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{place}: no .mat or .npz file of proposals in this folder; {GET_PROPOSALS}.")
    return merge_proposals([read_proposals(path) for path in dict.fromkeys(files)])


def _first_file(folder: Path, stem: str) -> Path | None:
    there = [folder / f"{stem}{suffix}" for suffix in SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
    return there[0] if there else None


def merge_proposals(parts: Sequence[Proposals]) -> Proposals:
    """Put several sets together; an image may stand in two of them only with the same boxes.

    Raises:
        UserError: An image has different boxes in two of them.
    """
    if len(parts) == 1:
        return parts[0]
    found: dict[str, BoxArray] = {}
    owner: dict[str, str] = {}
    for part in parts:
        for image_id in part.ids:
            boxes = part.boxes(image_id)
            if image_id in found and not np.array_equal(found[image_id], boxes):
                raise UserError(
                    f"image {image_id} has different boxes in {owner[image_id]} and in {part.source}: "
                    "name one file, or a folder with one of them."
                )
            found.setdefault(image_id, boxes)
            owner.setdefault(image_id, part.source)
    return Proposals.of(found, " + ".join(part.source for part in parts))
