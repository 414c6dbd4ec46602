"""Mask AP against loops over sets of pixels, cases worked by hand, and the bytes that masks travel as."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ssl_bench.errors import UserError
from ssl_bench.metrics.detection_rows import Detections, DetectionTruth
from ssl_bench.metrics.instance_masks import (
    coco_mask_ap,
    decode_masks,
    encode_masks,
    pack_masks,
    unpack_masks,
)

# pycocotools 2.0.11 with numpy 2 warns at each mask that is decoded.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

HEIGHT, WIDTH, N_IMAGES, N_CLASSES = 3, 4, 2, 2
Mask = np.ndarray
DetectionRow = tuple[int, int, float, Mask]  # image, class, score, mask
ObjectRow = tuple[int, int, Mask, bool]  # image, class, mask, crowd

images, labels = st.integers(0, N_IMAGES - 1), st.integers(0, N_CLASSES - 1)
masks = arrays.arrays(bool, (HEIGHT, WIDTH), elements=st.booleans(), fill=st.nothing())
object_rows = st.lists(st.tuples(images, labels, masks, st.booleans()), max_size=8)
detection_rows = st.lists(st.tuples(images, labels, st.integers(0, 5), masks), max_size=14)
quick = settings(max_examples=80, deadline=None)


def box_of(mask: Mask) -> list[float]:
    return [0, 0, mask.shape[1], mask.shape[0]]  # boxes play no part


def mask_ap(rows: Sequence[DetectionRow], objects: Sequence[ObjectRow], **more: int) -> dict[str, float]:
    detections = Detections(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
        np.array([box_of(row[3]) for row in rows]),
    )
    truth = DetectionTruth(
        np.array([row[0] for row in objects]),
        np.array([row[1] for row in objects]),
        np.array([box_of(row[2]) for row in objects]),
        np.array([row[3] for row in objects], dtype=bool),
        N_IMAGES,
        N_CLASSES,
    )
    found = encode_masks([row[3] for row in rows])
    return coco_mask_ap(detections, found, truth, encode_masks([row[2] for row in objects]), **more)


def pixels(mask: Mask) -> set[tuple[int, ...]]:
    return set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))


def overlap(found: Mask, wanted: Mask, crowd: bool) -> float:
    a, b = pixels(found), pixels(wanted)
    whole = len(a) if crowd else len(a | b)
    return len(a & b) / whole if whole and a & b else 0.0


def oracle(rows: Sequence[DetectionRow], objects: Sequence[ObjectRow], most: int) -> dict[str, float]:
    """COCO's AP as its evaluation defines it, in loops; its own list of thresholds and recall levels."""
    values: dict[float, list[float]] = {}
    for threshold in np.linspace(0.5, 0.95, 10).tolist():
        values[threshold] = []
        for k in range(N_CLASSES):
            n_objects = sum(label == k and not crowd for _, label, _, crowd in objects)
            if n_objects:
                values[threshold].append(oracle_of_class(rows, objects, k, threshold, n_objects, most))
    each = list(values.values())
    means = [sum(ap) / len(ap) for ap in each]
    return {"AP": sum(means) / 10, "AP50": means[0], "AP75": means[5]}


def oracle_of_class(
    rows: Sequence[DetectionRow],
    objects: Sequence[ObjectRow],
    k: int,
    threshold: float,
    n_objects: int,
    most: int,
) -> float:
    outcomes: list[tuple[float, str]] = []
    for image in range(N_IMAGES):
        own = sorted((r for r in rows if r[0] == image and r[1] == k), key=lambda r: -r[2])[:most]
        plain = [mask for i, label, mask, crowd in objects if (i, label, crowd) == (image, k, False)]
        crowds = [mask for i, label, mask, crowd in objects if (i, label, crowd) == (image, k, True)]
        free = list(range(len(plain)))
        for _, _, score, mask in own:
            best, best_iou = None, threshold
            for n in free:
                if overlap(mask, plain[n], crowd=False) >= best_iou:
                    best, best_iou = n, overlap(mask, plain[n], crowd=False)
            if best is not None:
                free.remove(best)
                outcomes.append((score, "hit"))
            elif any(overlap(mask, crowd, crowd=True) >= threshold for crowd in crowds):
                outcomes.append((score, "ignored"))
            else:
                outcomes.append((score, "false"))
    points, hits = [], 0
    counted = [what for _, what in sorted(outcomes, key=lambda o: -o[0]) if what != "ignored"]
    for rank, what in enumerate(counted, start=1):
        hits += what == "hit"
        points.append((hits / n_objects, hits / rank))
    levels = np.linspace(0, 1, 101).tolist()
    return sum(max([p for r, p in points if r >= level], default=0.0) for level in levels) / 101


@quick
@given(detection_rows, object_rows, st.sampled_from([1, 2, 100]))
def test_matches_the_loop_oracle(
    rows: list[DetectionRow], objects: list[ObjectRow], max_detections: int
) -> None:
    objects = [*objects, (0, 0, np.eye(HEIGHT, WIDTH, dtype=bool), False)]
    found = mask_ap(rows, objects, max_detections=max_detections)
    assert found == pytest.approx(oracle(rows, objects, max_detections), abs=1e-12)


@quick
@given(object_rows)
def test_perfect_predictions_have_ap_one(objects: list[ObjectRow]) -> None:
    objects = [row for row in objects if row[2].any()]  # what has no pixels cannot be found
    objects.append((1, 1, np.ones((HEIGHT, WIDTH), dtype=bool), False))
    rows = [(image, label, 0.5, mask) for image, label, mask, crowd in objects if not crowd]
    assert mask_ap(rows, objects) == pytest.approx({"AP": 1.0, "AP50": 1.0, "AP75": 1.0})


def strip(first: int, last: int) -> Mask:
    """Columns first..last-1 of a field of 10 x 100 pixels."""
    mask = np.zeros((10, 100), dtype=bool)
    mask[:, first:last] = True
    return mask


def test_worked_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    whole = [(0, 0, strip(0, 100), False)]
    # IoU 0.62 passes 0.50, 0.55 and 0.60 of the ten; 0.75 is exactly the threshold, and passes it.
    assert mask_ap([(0, 0, 0.9, strip(0, 62))], whole) == pytest.approx({"AP": 0.3, "AP50": 1.0, "AP75": 0.0})
    assert mask_ap([(0, 0, 0.9, strip(0, 75))], whole)["AP75"] == pytest.approx(1.0)
    assert mask_ap([], whole) == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    # Two of three objects found behind one false positive: precision 2/3 up to recall 2/3 (levels 0.00 to 0.66).
    three = [(image, 0, strip(start, start + 10), False) for image, start in ((0, 0), (0, 50), (1, 0))]
    rows = [(0, 0, 0.9, strip(90, 100)), (0, 0, 0.8, strip(0, 10)), (1, 0, 0.7, strip(0, 10))]
    assert mask_ap(rows, three)["AP"] == pytest.approx(67 / 101 * 2 / 3)
    assert capsys.readouterr().out == ""


def test_pixels_decide_and_not_boxes() -> None:
    upper, lower = np.zeros((10, 10), dtype=bool), np.zeros((10, 10), dtype=bool)
    upper[np.triu_indices(10)], lower[np.tril_indices(10)] = True, True  # one box, IoU 10/100
    assert mask_ap([(0, 0, 1.0, upper)], [(0, 0, lower, False)])["AP50"] == 0.0
    assert mask_ap([(0, 0, 1.0, lower)], [(0, 0, lower, False)])["AP"] == pytest.approx(1.0)


def test_crowds_are_neither_wanted_nor_counted_against() -> None:
    objects = [(0, 0, strip(0, 10), False), (0, 0, strip(20, 100), True)]
    on_crowd = [(0, 0, 0.9, strip(20, 30)), (0, 0, 0.8, strip(40, 60)), (0, 0, 0.7, strip(30, 100))]
    hit = (0, 0, 0.5, strip(0, 10))
    assert mask_ap([*on_crowd, hit], objects)["AP"] == pytest.approx(1.0)
    assert mask_ap([*on_crowd, hit], objects[:1])["AP"] == pytest.approx(0.25)
    assert mask_ap([(0, 0, 0.9, strip(10, 21)), hit], objects)["AP"] == pytest.approx(0.5)  # beside the crowd
    with pytest.raises(UserError, match="no object of the ground truth counts"):
        mask_ap([], objects[1:])


def test_only_the_highest_of_an_image_count() -> None:
    rows, objects = (
        [(0, 0, 0.9, strip(50, 60)), (0, 0, 0.5, strip(0, 10))],
        [(0, 0, strip(0, 10), False)],
    )
    assert mask_ap(rows, objects, max_detections=1)["AP50"] == 0.0
    assert mask_ap(rows, objects, max_detections=2)["AP50"] == pytest.approx(0.5)


any_mask = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9))


@quick
@given(st.lists(any_mask, max_size=5))
def test_masks_survive_bytes_and_a_file(given_masks: list[Mask]) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, masks=pack_masks(encode_masks(given_masks)))
    stream.seek(0)
    back = decode_masks(unpack_masks(np.load(stream, allow_pickle=False)["masks"]))
    assert len(back) == len(given_masks)
    for one, other in zip(back, given_masks, strict=True):
        assert one.dtype == bool
        assert one.shape == other.shape
        assert np.array_equal(one, other)


def test_the_bytes_are_coco_run_lengths() -> None:
    from pycocotools import mask as coco_mask

    mask = np.array([[0, 1, 1], [0, 1, 0]])
    (encoded,) = encode_masks([mask])
    height, width, counts = encoded.split(b" ")
    assert (height, width) == (b"2", b"3")
    assert counts == coco_mask.frPyObjects({"size": [2, 3], "counts": [2, 3, 1]}, 2, 3)["counts"]


@pytest.mark.parametrize(
    "data", [b"", b"2 3", b"2 3 \n", b"-2 3 231", b"2 3 zz", b"2 3 2", b"2 3 23", b"200 300 231", b"2 2 231"]
)
def test_broken_bytes_are_refused(data: bytes) -> None:
    good = encode_masks([np.array([[0, 1, 1], [0, 1, 0]])])
    assert good == [b"2 3 231"]
    with pytest.raises(UserError, match=r"mask 1: .* is no mask as encode_masks writes it"):
        decode_masks([*good, data])


def test_mistakes_are_refused() -> None:
    with pytest.raises(UserError, match=r"mask 0 has shape \(2, 2, 2\)"):
        encode_masks([np.zeros((2, 2, 2), dtype=bool)])
    with pytest.raises(UserError, match=r"mask 1 .*type float64; it must be \(H, W\) of True and False"):
        encode_masks([np.zeros((2, 2)), np.full((2, 2), 0.5)])
    one = np.ones((HEIGHT, WIDTH), dtype=bool)
    objects: list[Any] = [(1, 0, one, False)]
    with pytest.raises(UserError, match=r"detections, mask 1: is 3 x 4, others of image 1 are 4 x 3\. Paste"):
        mask_ap([(0, 0, 0.5, one.T), (1, 0, 0.5, one.T)], objects)
    with pytest.raises(UserError, match="row 0: label is 2"):
        mask_ap([(0, 2, 0.5, one)], objects)
    detections = Detections(np.array([0]), np.array([0]), np.array([0.5]), np.array([[0, 0, 1, 1]]))
    truth = DetectionTruth(np.array([0]), np.array([0]), np.array([[0, 0, 1, 1]]), np.array([False]), 1, 1)
    encoded = encode_masks([one])
    with pytest.raises(UserError, match="detections: 2 masks for 1 rows; each row needs one"):
        coco_mask_ap(detections, encoded * 2, truth, encoded)
    with pytest.raises(UserError, match="ground truth: 0 masks for 1 rows"):
        coco_mask_ap(detections, encoded, truth, [])
    with pytest.raises(UserError, match=r"detections, mask 0: .* is no mask"):
        coco_mask_ap(detections, [b"3 4"], truth, encoded)
