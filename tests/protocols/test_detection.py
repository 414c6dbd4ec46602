"""Detection: boxes keep their place through scaling and mirroring, and the pool takes the maxima."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bench.data.voc import find_devkits
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.metrics.detection import voc_detection_ap
from ssl_bench.protocol_schemas import DetectionSettings
from ssl_bench.protocols.detection import (
    MAPS,
    DetectionSamples,
    RegionPool,
    detection_truth,
    detections_of,
)
from ssl_bench.recipes import load_protocol
from tests.data.drawn_voc import draw_voc


def settings_of(name: str, *overrides: str) -> DetectionSettings:
    settings = load_protocol(name, overrides).settings
    assert isinstance(settings, DetectionSettings)
    return settings


def test_boxes_scale_and_mirror_with_their_image(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    samples = DetectionSamples(
        devkit, "train", settings_of("voc-det-finetune-demo"), training=True, limit=None
    )
    annotation = devkit.annotation(samples.ids[0])
    plain, mirrored = None, None
    for seed in range(20):
        sample = samples.sample(0, np.random.default_rng(seed))
        flipped = np.array_equal(sample["image"], plain["image"][..., ::-1]) if plain else False
        plain = plain or sample
        mirrored = sample if flipped else mirrored
    assert plain is not None
    assert mirrored is not None
    height, width = plain["image"].shape[1:]
    assert min(height, width) == 128
    kept = [item for item in annotation.objects if not item.difficult]
    unmirrored = {tuple(np.round(row, 3)) for row in mirrored["boxes"]}
    for sample, flip in ((plain, False), (mirrored, True)):
        for row, item in zip(sample["boxes"], kept, strict=True):
            x0, y0, x1, y1 = (value * width / annotation.width for value in item.box)
            expected = (width - x1, y0, width - x0, y1) if flip else (x0, y0, x1, y1)
            alternatives = (expected, (width - expected[2], expected[1], width - expected[0], expected[3]))
            assert any(np.allclose(row, alternative, atol=0.51) for alternative in alternatives)
    assert unmirrored != {tuple(np.round(row, 3)) for row in plain["boxes"]}


def test_difficult_objects_are_not_trained_on_unless_asked(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    counts = {}
    for use in ("true", "false"):
        settings = settings_of("voc-det-finetune-demo", f"settings.use_difficult={use}")
        samples = DetectionSamples(devkit, "trainval", settings, training=True, limit=None)
        counts[use] = sum(
            len(samples.sample(i, np.random.default_rng(0))["labels"]) for i in range(len(samples))
        )
    objects = [
        item for image_id in devkit.image_ids("trainval") for item in devkit.annotation(image_id).objects
    ]
    assert counts == {"true": len(objects), "false": sum(not item.difficult for item in objects)}
    assert counts["true"] > counts["false"]


def test_the_region_pool_takes_the_maximum_of_each_part() -> None:
    """A box of 12 x 12 cells, pooled to 6 x 6: each output is the maximum of its 2 x 2 cells."""
    maps = torch.randn(1, 2, 20, 20)
    box = torch.tensor([[3.0, 4.0, 14.0, 15.0]]) * 16  # cells 3 to 14 and 4 to 15, ends included
    pooled = RegionPool(6, 16)({MAPS: maps}, [box], [(320, 320)])
    expected = maps[0, :, 4:16, 3:15].reshape(2, 6, 2, 6, 2).amax((2, 4))
    torch.testing.assert_close(pooled[0], expected)


def test_true_boxes_as_detections_score_full_marks_in_stored_pixels(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    ids = devkit.image_ids("test")
    predictions = []
    for image_id in ids:
        objects = devkit.annotation(image_id).objects
        predictions.append(
            {
                "boxes": np.array([item.box for item in objects], np.float32).reshape(-1, 4),
                "scores": np.linspace(1, 0.5, len(objects)),
                "labels": np.array([VOC_CLASSES.index(item.name) for item in objects], np.int16),
            }
        )
    ap = voc_detection_ap(detections_of(predictions), detection_truth(devkit, ids))
    assert np.nanmin(ap) == pytest.approx(1.0)
    assert find_devkits(tmp_path)["VOC2007"].root == devkit.root
