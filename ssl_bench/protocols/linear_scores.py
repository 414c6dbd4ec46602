"""What linear heads are judged and chosen by: accuracy or average precision, at each tap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_bench.linear_schemas import LinearHeadsSettings
from ssl_bench.metrics.accuracy import accuracy_resampled
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.metrics.bootstrap import multilabel_map_resampled, resampled_counts
from ssl_bench.protocols.contract import (
    Prediction,
    Scores,
    mean_ap_metrics,
    percent_by_class,
    percent_interval,
)
from ssl_bench.records import Selection
from ssl_bench.training_schemas import OptimizerSettings

# What predictions are called, in front of the tap's name.
CORRECT, SCORES, TOP, TOP_SCORES = "correct", "scores", "top-classes", "top-scores"
HEADLINE = "headline"
TOP_5 = 5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The head of each tap and the headline tap, by their places, and what a record says of it."""

    heads: list[int]
    headline: int
    selection: Selection


def choose(
    predictions: Sequence[Prediction],
    labels: np.ndarray,
    optimizer: OptimizerSettings,
    settings: LinearHeadsSettings,
) -> Choice:
    """Choose by what heads do on held-out images, the first of equals.

    Args:
        predictions: `LinearHeads.validate`'s, in order of `labels`.
        optimizer: Whose learning rate and decay the heads multiply.
    """
    values = {tap: _validation(name, predictions, labels, settings.ap) for name, tap in _taps(predictions)}
    taps = list(values)
    heads = [int(values[tap].argmax()) for tap in taps]
    best = {tap: float(values[tap].max()) * 100 for tap in taps}
    searched = settings.headline == "validated"
    headline = int(np.argmax(list(best.values()))) if searched else len(taps) - 1
    pairs = [(lr * optimizer.lr, decay * optimizer.weight_decay) for lr, decay in settings.factors]
    words = (
        f"the best of {len(pairs)} learning rates and decays at each tap"
        if len(pairs) > 1
        else "one head a tap"
    )
    stands = f"the best tap ({taps[headline]})" if searched else f"the last tap ({taps[headline]})"
    return Choice(
        heads=heads,
        headline=headline,
        selection=Selection(
            rule=f"{words} on {len(labels)} images held out of train, of each class alike; {stands} stands for all",
            validation_score=round(best[taps[headline]], 4),
            trials=len(pairs) * (len(taps) if searched else 1),
            chosen={
                tap: {"lr": pairs[head][0], "weight_decay": pairs[head][1]}
                for tap, head in zip(taps, heads, strict=True)
            },
            validation_by_tap={tap: round(value, 4) for tap, value in best.items()},
        ),
    )


def accuracy_scores(predictions: Sequence[Prediction], labels: np.ndarray, classes: Sequence[str]) -> Scores:
    """Compute top-1, and top-5 of more than five classes, at each tap; the plain names are the headline tap's.

    Args:
        labels: (N,).
    """
    taps = _taps(predictions)
    _, headline = taps[int(predictions[0][HEADLINE])]
    metrics: dict[str, float] = {}
    right: dict[str, np.ndarray] = {}
    for name, tap in taps:
        top = np.stack([p[name] for p in predictions])  # (N, 6), best first
        scores = np.stack([p[f"{TOP_SCORES} {tap}"] for p in predictions])
        right[tap] = _among_best(top, scores, labels, 1)
        metrics[f"top-1 {tap}"] = float(right[tap].mean()) * 100
        if len(classes) > TOP_5:
            metrics[f"top-5 {tap}"] = float(_among_best(top, scores, labels, TOP_5).mean()) * 100
    plain = {
        f"{metric}": metrics[f"{metric} {headline}"]
        for metric in ("top-1", "top-5")
        if f"{metric} {headline}" in metrics
    }
    count = np.bincount(labels, minlength=len(classes))
    hit = np.bincount(labels[right[headline]], minlength=len(classes))
    counts = resampled_counts(len(labels))
    by_tap = {tap: accuracy_resampled(right[tap], counts) for _, tap in taps}
    by_class = np.divide(hit, count, out=np.full(len(classes), np.nan), where=count > 0)
    return Scores(
        metrics=plain | metrics,
        per_class={"top-1": percent_by_class(by_class, classes)},
        intervals={"top-1": percent_interval(by_tap[headline])},
        resampled=_percent_by_tap("top-1", by_tap, headline),
    )


def ap_scores(
    predictions: Sequence[Prediction], labels: np.ndarray, classes: Sequence[str], definition: str
) -> Scores:
    """Compute mean average precision at each tap; what has no tap in its name is the headline tap's.

    Args:
        labels: 1 present, 0 only difficult, -1 absent, (N, K).
    """
    taps = _taps(predictions)
    place = int(predictions[0][HEADLINE])
    values = [np.stack([p[name] for p in predictions]) for name, _ in taps]
    ap = [multilabel_ap(value, labels, definition) for value in values]
    metric = f"mAP[{definition}]"
    by_tap = {f"{metric} {tap}": float(np.nanmean(one)) * 100 for (_, tap), one in zip(taps, ap, strict=True)}
    counts = resampled_counts(len(labels))
    resampled = {
        tap: multilabel_map_resampled(value, labels, definition, counts)
        for (_, tap), value in zip(taps, values, strict=True)
    }
    headline = taps[place][1]
    return Scores(
        metrics=mean_ap_metrics(ap[place], (labels == 1).sum(0), definition) | by_tap,
        per_class={f"AP[{definition}]": percent_by_class(ap[place], classes)},
        intervals={metric: percent_interval(resampled[headline])},
        resampled=_percent_by_tap(metric, resampled, headline),
    )


def _percent_by_tap(metric: str, by_tap: dict[str, np.ndarray], headline: str) -> dict[str, np.ndarray]:
    """Name resampled fractions as the metrics are named; the plain name is the headline tap's."""
    named = {f"{metric} {tap}": 100 * values for tap, values in by_tap.items()}
    return {metric: 100 * by_tap[headline], **named}


def _taps(predictions: Sequence[Prediction]) -> list[tuple[str, str]]:
    """The names of the arrays that taps have in predictions, with the taps, from shallow to deep."""
    named = [name.split(" ", 1) for name in predictions[0] if name != HEADLINE]
    return [(f"{what} {tap}", tap) for what, tap in named if what != TOP_SCORES]


def _among_best(top: np.ndarray, scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Tell where fewer than k other classes score at least as high as the image's own, (N,).

    As `metrics.accuracy`: of equal scores none is preferred.

    Args:
        top: The best classes, best first, (N, R) with R > k, or all of them.
        scores: Theirs.
    """
    own = np.where(top == labels[:, None], scores, -np.inf).max(axis=1)
    found: np.ndarray = np.isfinite(own) & ((scores >= own[:, None]).sum(axis=1) <= k)
    return found


def _validation(name: str, predictions: Sequence[Prediction], labels: np.ndarray, ap: str) -> np.ndarray:
    """Score each head of a tap as a fraction, (H,); one that diverged gets zero."""
    values = np.stack([p[name] for p in predictions])
    if labels.ndim == 1:
        found: np.ndarray = values.mean(axis=0)
        return found
    return np.array(
        [
            float(np.nanmean(multilabel_ap(head, labels, ap))) if np.isfinite(head).all() else 0.0
            for head in values.transpose(1, 0, 2)
        ]
    )
