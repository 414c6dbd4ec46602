"""The parts of region-based detection against plain loops and values worked out by hand."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.protocols.region_heads import mask_loss, paste_masks
from ssl_bench.protocols.region_scores import capped_detections
from ssl_bench.protocols.regions import (
    BACKGROUND,
    IGNORED,
    decode,
    detections_of_image,
    encode,
    label_regions,
    region_losses,
    sample_regions,
    score_floor,
)
from ssl_bench.recipes import load_protocol
from ssl_bench.region_schemas import RegionDetectionSettings


def iou_of_boxes(a: list[float], b: list[float]) -> float:
    wide, high = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in range(2))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def fast_rcnn(**changes: object) -> RegionDetectionSettings:
    protocol = load_protocol("voc07-det-fast-rcnn-40k")
    assert isinstance(protocol.settings, RegionDetectionSettings)
    return protocol.settings.model_copy(update=changes)


def capped(class_in_image: int | None, mean: int | None, image: int | None) -> RegionDetectionSettings:
    caps = fast_rcnn().caps
    values = {"class_in_image": class_in_image, "class_per_image_mean": mean, "image": image}
    return fast_rcnn(caps=caps.model_copy(update=values))


def boxes(seed: int, count: int, size: float = 100) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size * 0.6
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * size * 0.4], dim=1)


def test_offsets_by_hand() -> None:
    region = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # 20 x 40 around (20, 40)
    box = torch.tensor([[20.0, 20.0, 40.0, 100.0]])  # 20 x 80 around (30, 60)
    wanted = [10 * 10 / 20, 10 * 20 / 40, 0.0, 5 * math.log(2)]
    assert encode(region, box)[0].tolist() == pytest.approx(wanted)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_decoding_undoes_encoding(seed: int) -> None:
    regions, wanted = boxes(seed, 7), boxes(seed + 1, 7)
    found = decode(regions, encode(regions, wanted)[:, None])
    torch.testing.assert_close(found[:, 0], wanted, atol=1e-3, rtol=1e-4)


def test_wild_offsets_stay_finite() -> None:
    found = decode(torch.tensor([[0.0, 0.0, 16.0, 16.0]]), torch.full((1, 1, 4), 1e4))
    assert torch.isfinite(found).all()
    assert float(found[0, 0, 2] - found[0, 0, 0]) == pytest.approx(1000.0, rel=1e-4)
    flat = encode(torch.tensor([[5.0, 5.0, 5.0, 9.0]]), torch.tensor([[0.0, 0.0, 9.0, 9.0]]))
    assert torch.isfinite(flat).all()


def test_regions_are_labelled_as_loops_label_them() -> None:
    regions, objects = boxes(0, 200), boxes(1, 5)
    labels = torch.tensor([3, 1, 20, 7, 7])
    found, which = label_regions(regions, objects, labels, fast_rcnn())
    seen = set()
    for row, region in enumerate(regions.tolist()):
        overlaps = [iou_of_boxes(region, box) for box in objects.tolist()]
        best = int(np.argmax(overlaps))
        expected = int(labels[best]) if overlaps[best] >= 0.5 else BACKGROUND
        if overlaps[best] < 0.1:
            expected = IGNORED
        assert int(found[row]) == expected
        if expected > 0:
            assert int(which[row]) == best
        seen.add(min(expected, 1))
    assert seen == {IGNORED, BACKGROUND, 1}


def test_overlaps_of_exactly_a_half_and_a_tenth_are_in() -> None:
    objects, labels = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([4])
    regions = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 4.9], [0, 0, 10, 1], [0, 0, 10, 0.9]])
    assert label_regions(regions, objects, labels, fast_rcnn())[0].tolist() == [
        4,
        BACKGROUND,
        BACKGROUND,
        IGNORED,
    ]


def test_without_objects_everything_is_background_unless_background_needs_an_overlap() -> None:
    none, labels = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert set(label_regions(boxes(0, 4), none, labels, fast_rcnn())[0].tolist()) == {IGNORED}
    from_zero = fast_rcnn(background_least_iou=0.0)
    assert set(label_regions(boxes(0, 4), none, labels, from_zero)[0].tolist()) == {BACKGROUND}


@pytest.mark.parametrize(
    ("foreground", "background", "ignored", "expected"),
    [(40, 400, 10, (16, 48)), (5, 400, 10, (5, 59)), (40, 7, 10, (16, 7)), (0, 3, 10, (0, 3))],
)
def test_a_quarter_of_64_regions_is_foreground(
    foreground: int, background: int, ignored: int, expected: tuple[int, int]
) -> None:
    """128 in a batch of two images, of which 32 at most show an object (Girshick 2015, section 2.3)."""
    labels = torch.tensor([1 + k % 20 for k in range(foreground)] + [0] * background + [-1] * ignored)
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    torch.manual_seed(0)
    chosen = sample_regions(labels, fast_rcnn())
    found = labels[chosen]
    assert len(set(chosen.tolist())) == len(chosen)
    assert (int((found > 0).sum()), int((found == 0).sum())) == expected
    assert int((found == -1).sum()) == 0


@pytest.mark.parametrize("beta", [1.0, 0.25, 0.0])
def test_losses_are_those_of_loops(beta: float) -> None:
    torch.manual_seed(0)
    scores, offsets = torch.randn(6, 4), torch.randn(6, 3, 4)
    labels, targets = torch.tensor([0, 1, 3, 0, 2, 3]), torch.randn(6, 4)
    classification = box = 0.0
    for row in range(6):
        values = scores[row].tolist()
        label = int(labels[row])
        classification += math.log(sum(map(math.exp, values))) - values[label]
        for axis in range(4):
            if label:
                error = abs(float(offsets[row, label - 1, axis] - targets[row, axis]))
                box += error - beta / 2 if error >= beta else error**2 / (2 * beta)
    found = region_losses(scores, offsets, labels, targets, smooth_l1=beta)
    assert float(found["classifier"]) == pytest.approx(classification / 6, rel=1e-5)
    assert float(found["box"]) == pytest.approx(box / 6, rel=1e-5)


def suppressed(rows: list[tuple[float, list[float]]], threshold: float) -> list[tuple[float, list[float]]]:
    """Greedy suppression, written plainly."""
    kept: list[tuple[float, list[float]]] = []
    for score, box in sorted(rows, key=lambda row: -row[0]):
        if all(iou_of_boxes(box, other) <= threshold for _, other in kept):
            kept.append((score, box))
    return kept


@pytest.mark.parametrize("class_in_image", [None, 5])
@pytest.mark.parametrize("image", [None, 7])
def test_detections_of_an_image_are_those_of_loops(class_in_image: int | None, image: int | None) -> None:
    chosen = capped(class_in_image, None, image)
    torch.manual_seed(1)
    regions, scores, offsets = boxes(2, 40), 2 * torch.randn(40, 4), 0.3 * torch.randn(40, 3, 4)
    found = detections_of_image(scores, offsets, regions, (90, 80), chosen)
    moved = decode(regions, offsets)
    expected = []
    for k in range(3):
        rows = []
        for row in range(40):
            x0, y0, x1, y1 = moved[row, k].tolist()
            box = [min(max(x0, 0), 80), min(max(y0, 0), 90), min(max(x1, 0), 80), min(max(y1, 0), 90)]
            rows.append((float(scores[row].softmax(0)[k + 1]), box))
        rows.sort(key=lambda row: -row[0])
        expected += [(score, k, box) for score, box in suppressed(rows[:class_in_image], 0.3)]
    expected = sorted(expected, key=lambda row: -row[0])[:image]
    assert found["scores"].tolist() == pytest.approx([score for score, _, _ in expected], rel=1e-5)
    assert found["labels"].tolist() == [k for _, k, _ in expected]
    assert found["boxes"].tolist() == [pytest.approx(box, abs=1e-3) for _, _, box in expected]


def test_low_scores_are_left_out_where_a_protocol_has_a_threshold() -> None:
    chosen = capped(None, None, 100).model_copy(update={"score_threshold": 0.05})
    scores = torch.tensor([[0.0, 5.0, -5.0], [5.0, -5.0, -5.0]])
    found = detections_of_image(scores, torch.zeros(2, 2, 4), boxes(0, 2), (200, 200), chosen)
    assert found["labels"].tolist() == [0]


@pytest.mark.parametrize("most", [3, 10, 1000])
def test_the_floor_is_the_one_that_a_heap_of_the_best_scores_leaves(most: int) -> None:
    """Fast R-CNN's test script pushes all candidates onto a heap and pops the least while there are too many."""
    rng = np.random.default_rng(0)
    candidates = rng.random((2, 60)).astype(np.float32)
    candidates[1, 5:] = -1
    floors = []
    for row in candidates:
        heap: list[float] = []
        floor = -1.0
        for value in row[row >= 0]:
            heapq.heappush(heap, float(value))
            if len(heap) > most:
                heapq.heappop(heap)
                floor = heap[0]
        floors.append(floor)
    assert score_floor(torch.from_numpy(candidates), most).tolist() == pytest.approx(floors)


def test_capping_a_class_over_the_set_before_or_after_suppression_is_the_same() -> None:
    chosen = capped(6, 2, None)
    torch.manual_seed(3)
    predictions, plain = [], []
    for image in range(4):
        regions, scores = boxes(10 + image, 30), 2 * torch.randn(30, 3)
        found = detections_of_image(scores, torch.zeros(30, 2, 4), regions, (200, 200), chosen)
        predictions.append({name: value.numpy() for name, value in found.items()})
        plain.append((regions, scores.softmax(1)[:, 1:]))
    kept = capped_detections(predictions, chosen)
    for k in range(2):
        best = [sorted(values[:, k].tolist())[-6:] for _, values in plain]
        floor = sorted((value for values in best for value in values), reverse=True)[2 * 4 - 1]
        for image, (regions, values) in enumerate(plain):
            rows = [
                (float(value), box.tolist())
                for value, box in zip(values[:, k], regions, strict=True)
                if float(value) > floor
            ]
            expected = [score for score, _ in suppressed(rows, 0.3)]
            found = kept.score[(kept.image_index == image) & (kept.label == k)]
            assert sorted(found.tolist()) == pytest.approx(sorted(expected), rel=1e-5)


def test_a_pasted_mask_lies_in_its_box() -> None:
    probabilities = torch.zeros(2, 4, 4)
    probabilities[0] = 1.0
    probabilities[1, :, :2] = 1.0  # the left half
    found = paste_masks(
        probabilities, torch.tensor([[2.0, 3.0, 10.0, 9.0], [0.0, 0.0, 16.0, 12.0]]), (12, 16)
    )
    expected = torch.zeros(12, 16, dtype=torch.bool)
    expected[3:9, 2:10] = True
    inner = torch.zeros_like(expected)
    inner[4:8, 3:9] = True
    assert found[0][inner].all()
    assert not found[0][~expected].any()
    assert found[1][1:11, 1:8].all()
    assert not found[1][:, 8:].any()
    assert paste_masks(torch.zeros(0, 4, 4), torch.zeros(0, 4), (5, 6)).shape == (0, 5, 6)


def test_the_mask_loss_looks_at_the_class_shown_and_the_object_matched() -> None:
    masks = torch.zeros(2, 20, 20, dtype=torch.uint8)
    masks[0, :, :10] = 1  # the left half of the image
    masks[1, :, 10:] = 1
    regions = torch.tensor([[0.0, 0.0, 20.0, 20.0]])
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 1, :, :2], logits[0, 1, :, 2:] = 9.0, -9.0  # class 2 says: left
    right, wrong = (
        float(mask_loss(logits, torch.tensor([2]), regions, masks, torch.tensor([which]))) for which in (0, 1)
    )
    assert right < 0.001
    assert wrong > 8
    undecided = mask_loss(logits, torch.tensor([1]), regions, masks, torch.tensor([0]))
    assert float(undecided) == pytest.approx(math.log(2), rel=1e-5)
    assert float(mask_loss(logits[:0], torch.zeros(0), regions[:0], masks, torch.zeros(0))) == 0
