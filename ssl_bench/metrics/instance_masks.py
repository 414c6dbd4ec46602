"""COCO's average precision of instance masks, and masks as bytes.

A mask travels as `b"HEIGHT WIDTH COUNTS"`, the counts being COCO's compressed run lengths (down the columns).
They are printable characters without spaces or line ends, so many masks joined by line ends make one array of
bytes that fits beside the boxes in a predictions file. COCO's objects take 120 bytes at the median and 300 on
the average. The AP of the boxes around them is `coco_detection_ap`'s.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_bench.errors import UserError
from ssl_bench.metrics.detection_rows import BoolArray, Detections, DetectionTruth, check_range

ENCODED = re.compile(rb"([0-9]{1,9}) ([0-9]{1,9}) ([0-o]*)")  # "0" to "o" are the 64 characters of the counts
SEPARATOR = b"\n"


def encode_masks(masks: Sequence[npt.ArrayLike]) -> list[bytes]:
    """Write each mask (H, W), bool or 0 and 1, as bytes; sizes may differ.

    Raises:
        UserError: a mask is not of two dimensions, or has other values.
    """
    from pycocotools import mask as coco_mask

    encoded = []
    for row, given in enumerate(masks):
        mask = np.asarray(given)
        if mask.ndim != 2 or not (mask.dtype == bool or np.isin(mask, (0, 1)).all()):
            raise UserError(
                f"mask {row} has shape {mask.shape} and type {mask.dtype}; it must be (H, W) of True and False."
            )
        counts = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"] if mask.size else b""
        encoded.append(b"%d %d %s" % (*mask.shape, counts))
    return encoded


def decode_masks(encoded: Sequence[bytes]) -> list[BoolArray]:
    """Read masks that `encode_masks` wrote, bool (H, W) each.

    Raises:
        UserError: the bytes are not those of a whole mask; names its position.
    """
    from pycocotools import mask as coco_mask

    masks = []
    for row, data in enumerate(encoded):
        rle = _rle(data, f"mask {row}")
        height, width = rle["size"]
        if height * width == 0:
            masks.append(np.zeros((height, width), dtype=bool))
            continue
        try:
            pixels = coco_mask.decode(rle)
        except ValueError:
            raise _broken(f"mask {row}", data) from None
        # Where the runs end early, the decoder leaves the rest of the pixels as the memory was.
        if coco_mask.encode(pixels)["counts"] != rle["counts"]:
            raise _broken(f"mask {row}", data)
        masks.append(pixels.astype(bool))
    return masks


def pack_masks(encoded: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """Join encoded masks, such as those of one image, to one array of bytes, uint8 (B,)."""
    return np.frombuffer(SEPARATOR.join(encoded), dtype=np.uint8)


def unpack_masks(packed: npt.NDArray[np.uint8]) -> list[bytes]:
    """Take apart what `pack_masks` joined."""
    return packed.tobytes().split(SEPARATOR) if packed.size else []


def coco_mask_ap(
    detections: Detections,
    masks: Sequence[bytes],
    truth: DetectionTruth,
    truth_masks: Sequence[bytes],
    max_detections: int = 100,
) -> dict[str, float]:
    """COCO mask AP through pycocotools: mean over classes and IoU 0.50, 0.55, ..., 0.95; and at 0.50, 0.75.

    The overlap is that of pixels; boxes play no part. `truth.difficult` is handed over as `iscrowd`, with the
    meaning that it has in `coco_detection_ap`. COCO's rules hold: a detection takes the free object that it
    overlaps most, an IoU of exactly the threshold matches, precision is read at 101 levels of recall (Lin et
    al. 2014 and its evaluation code). "mAP^r at 0.5" of the VOC and SBD papers (Hariharan et al. 2014) is a
    VOC-like AP and another number.

    Args:
        detections: All detections of the split; equal scores rank by image, then by row.
        masks: One encoded mask for each row of `detections`, of its image's size.
        truth: All objects of the split.
        truth_masks: One encoded mask for each row of `truth`.
        max_detections: Highest-scored detections kept per image and class (100 officially).

    Returns:
        {"AP", "AP50", "AP75"}, fractions in [0, 1].

    Raises:
        UserError: masks and rows differ in number, masks of one image in size; a mask is broken; an index of
            `detections` is out of range; or no object counts.
    """
    from pycocotools.cocoeval import COCOeval

    check_range("detections", detections, truth)
    if not (~truth.difficult).any():
        raise UserError("no object of the ground truth counts (none, or all difficult), so there is no AP.")
    found = _rles("detections", detections, masks)
    wanted = _rles("ground truth", truth, truth_masks)
    _check_sizes(truth, wanted, detections, found)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress by print
        evaluation = COCOeval(_coco_set(truth, wanted, truth), _coco_set(detections, found, truth), "segm")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0]  # (IoU thresholds, 101 recall levels, classes)
    at = evaluation.params.iouThrs
    of = {"AP": at > 0, "AP50": np.isclose(at, 0.50), "AP75": np.isclose(at, 0.75)}
    # -1 stands for a class without objects that count.
    return {name: float(precision[rows][precision[rows] > -1].mean()) for name, rows in of.items()}


def _rle(data: bytes, where: str) -> dict[str, Any]:
    match = ENCODED.fullmatch(data)
    if match is None:
        raise _broken(where, data)
    height, width, counts = match.groups()
    return {"size": [int(height), int(width)], "counts": counts}


def _broken(where: str, data: bytes) -> UserError:
    shown = data[:40].decode("ascii", "replace") + ("..." if len(data) > 40 else "")
    return UserError(f"{where}: {shown!r} is no mask as encode_masks writes it. Were its bytes cut off?")


def _rles(what: str, rows: Detections | DetectionTruth, masks: Sequence[bytes]) -> list[dict[str, Any]]:
    if len(masks) != len(rows.label):
        raise UserError(f"{what}: {len(masks)} masks for {len(rows.label)} rows; each row needs one.")
    return [_rle(data, f"{what}, mask {row}") for row, data in enumerate(masks)]


def _check_sizes(
    truth: DetectionTruth, wanted: list[dict[str, Any]], detections: Detections, found: list[dict[str, Any]]
) -> None:
    """Refuse masks of different sizes in one image, whose overlap would silently be none."""
    sizes: dict[int, list[int]] = {}
    for what, rows, rles in (("ground truth", truth, wanted), ("detections", detections, found)):
        for row, (image, rle) in enumerate(zip(rows.image_index.tolist(), rles, strict=True)):
            expected = sizes.setdefault(image, rle["size"])
            if rle["size"] != expected:
                raise UserError(
                    f"{what}, mask {row}: is {rle['size'][1]} x {rle['size'][0]}, others of image {image} are "
                    f"{expected[1]} x {expected[0]}. Paste masks into the stored image's size."
                )


def _coco_set(
    rows: Detections | DetectionTruth, rles: Sequence[dict[str, Any]], truth: DetectionTruth
) -> Any:
    """A pycocotools COCO object of masks, made in memory; ids count from 1, because 0 means unmatched there."""
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO

    if isinstance(rows, DetectionTruth):
        own: list[dict[str, float]] = [{"iscrowd": int(crowd)} for crowd in rows.difficult]
    else:
        own = [{"iscrowd": 0, "score": score} for score in rows.score.tolist()]
    images, labels = rows.image_index.tolist(), rows.label.tolist()
    coco = COCO()
    coco.dataset = {
        # Sizes are asked for and not used: they matter to polygons only.
        "images": [{"id": i, "height": 0, "width": 0} for i in range(truth.n_images)],
        "categories": [{"id": k} for k in range(truth.n_classes)],
        "annotations": [
            {"id": i + 1, "image_id": images[i], "category_id": labels[i], "segmentation": rle,
             "area": float(coco_mask.area(rle)), **own[i]}
            for i, rle in enumerate(rles)
        ],
    }  # fmt: skip
    coco.createIndex()
    return coco
