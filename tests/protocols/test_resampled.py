"""What judges keep of their resamples: the scores that each interval is cut out of, by the metric's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_bench.metrics.bootstrap import percentile_interval, resampled_counts
from ssl_bench.protocols.contract import Scores
from ssl_bench.protocols.inpainting import painting_scores
from ssl_bench.protocols.linear_scores import HEADLINE, TOP_SCORES, accuracy_scores, ap_scores
from ssl_bench.protocols.probes.scoring import score_images
from ssl_bench.recipes import load_inpainting_protocol
from ssl_bench.resamples import RESAMPLES_FILE, load_resamples
from tests.data.drawn_voc import draw_voc
from tests.tiny_run import call, only_run, transfer_words

RNG = np.random.default_rng(0)


def check(scores: Scores) -> None:
    """Every interval has its resamples, and every resampled metric is one of the record's."""
    assert set(scores.intervals) <= set(scores.resampled) <= set(scores.metrics)
    for name, interval in scores.intervals.items():
        assert scores.resampled[name].shape == (1000,)
        assert percentile_interval(scores.resampled[name]) == pytest.approx((interval.low, interval.high))


def test_probes() -> None:
    values, one = RNG.normal(size=(30, 3)), RNG.integers(3, size=30)
    classes = ("a", "b", "c")
    scores = score_images(values, one, classes, "voc-area")
    check(scores)
    # A resample counts right images as often as they were drawn.
    right = values.argmax(axis=1) == one
    assert scores.resampled["top-1"][:5] == pytest.approx(100 * resampled_counts(30)[:5] @ right / 30)
    check(score_images(values, RNG.choice([-1, 1], size=(30, 3)), classes, "voc-area"))


def linear_predictions() -> list[dict[str, np.ndarray]]:
    found = []
    for _ in range(30):
        order = {tap: RNG.permutation(3) for tap in ("conv1", "conv2")}
        found.append(
            {f"top {tap}": places for tap, places in order.items()}
            | {f"{TOP_SCORES} {tap}": np.array([3.0, 2.0, 1.0], np.float32) for tap in order}
            | {HEADLINE: np.array(1)}
        )
    return found


def test_linear_classifiers_keep_those_of_every_tap() -> None:
    labels, classes = RNG.integers(3, size=30), ("a", "b", "c")
    scores = accuracy_scores(linear_predictions(), labels, classes)
    check(scores)
    assert set(scores.resampled) == {"top-1", "top-1 conv1", "top-1 conv2"}
    assert (scores.resampled["top-1"] == scores.resampled["top-1 conv2"]).all()
    several = [
        {"scores conv1": RNG.normal(size=3), "scores conv2": RNG.normal(size=3), HEADLINE: np.array(0)}
        for _ in range(30)
    ]
    scores = ap_scores(several, RNG.choice([-1, 1], size=(30, 3)), classes, "voc-area")
    check(scores)
    assert (scores.resampled["mAP[voc-area]"] == scores.resampled["mAP[voc-area] conv1"]).all()


def test_paintings() -> None:
    protocol = load_inpainting_protocol("inpainting-center")
    truths = RNG.integers(0, 255, (8, 3, protocol.size, protocol.size)).astype(np.uint8)
    check(painting_scores(RNG.random((8, 3, protocol.square, protocol.square)), truths, protocol))


@pytest.mark.parametrize("task", ["voc-cls", "voc-det", "voc-seg"])
def test_a_run_leaves_its_resamples_beside_its_record(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voc = draw_voc(tmp_path / "voc")
    assert call(capsys, *transfer_words(task, voc.root, tmp_path / "judged", "random")).status == 0
    folder = only_run(tmp_path / "judged")
    assert (folder / RESAMPLES_FILE).exists()
    kept = load_resamples(folder / "result.json")
    assert kept is not None
    for values in kept.values():
        known = values[~np.isnan(values)]
        assert len(values) == 1000
        assert ((known >= 0) & (known <= 100)).all()
