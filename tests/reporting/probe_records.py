"""Hand-made records of probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_bench.records import (
    DatasetReference,
    EncoderReference,
    FeaturesReference,
    FrozenProof,
    Interval,
    PretrainingReference,
    ProtocolReference,
    Record,
    Selection,
    SolverCertificate,
)

CONVS = {"conv1": 9600, "conv2": 9216, "conv3": 9600, "conv4": 9600, "conv5": 9216}
PROTOCOLS = {
    "voc07-svm-fair": ("voc-svm", "mAP[voc-area]"),
    "voc07-lowshot": ("voc-lowshot", "mAP[voc-area] mean over k"),
    "logistic-c-sweep": ("logistic", "mAP[voc-area]"),
    "knn-20": ("knn", "mAP[voc-area]"),
}
SUBSET = {
    "name": "VOC2007-subset",
    "train_split": "trainval",
    "test_split": "test",
    "fingerprint": "subset-a",
    "n_train": 722,
    "n_test": 729,
}
MINIVOC = {**SUBSET, "name": "MiniVOC", "fingerprint": "minivoc-v1", "synthetic": True}


def probe_protocol(name: str, budget: str = "full") -> ProtocolReference:
    """A protocol whose hash follows from its name."""
    full = name if budget == "full" else f"{name}-{budget}"
    return ProtocolReference(
        name=full, version=1, hash=f"hash-{full}", task=PROTOCOLS[name][0], mode="frozen", budget=budget
    )


def probe_record(
    values: Mapping[str, float] | None,
    protocol: str = "voc07-svm-fair",
    *,
    method: str = "autoencoder",
    headline: str | None = None,
    seed: int | None = 0,
    transfer_seed: int = 0,
    budget: str = "full",
    validation: Mapping[str, float] | None = None,
    more: Mapping[str, float] | None = None,
    chosen: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    pretraining: Mapping[str, Any] | None = None,
    encoder: Mapping[str, Any] | None = None,
    dimensions: Mapping[str, int] | None = None,
    interval: float | None = None,
    **fields: Any,
) -> Record:
    """A record with a value for each tap; None is a failed run.

    `headline` is the deepest tap by default. With `interval` every metric has one of that half width.
    """
    task, main = PROTOCOLS[protocol]
    taps = dict(dimensions or {tap: CONVS.get(tap, 1) for tap in (values or CONVS)})
    headline = headline or list(taps)[-1]
    metrics = {f"{main} {tap}": value for tap, value in (values or {}).items()} | dict(more or {})
    if values is not None:
        metrics = {main: values[headline], **metrics}
    learned = {
        "recipe": f"{method}-small",
        "recipe_hash": f"recipe-{method}",
        "data_name": "photos",
        "data_fingerprint": "photos-a",
        "steps": 100,
        "images_seen": 6400,
        "wall_s": 60.0,
        "supervision": "none",
    }
    network = {
        "name": f"{method}-{seed}",
        "method": method,
        "architecture": "caffenet",
        "sha256": f"sha-{method}-{seed}",
        "tap": headline,
        "source": "random" if method == "random" else "run",
        "pretraining": None
        if method == "random"
        else PretrainingReference(**{**learned, **(pretraining or {})}),
    }
    sha = str(network["sha256"])
    return Record(
        **{
            "status": "failed" if values is None else "done",
            "error": "out of memory\nTraceback" if values is None else None,
            "run": f"{protocol}-{method}-{seed}-{transfer_seed}",
            "task": task,
            "protocol": probe_protocol(protocol, budget),
            "dataset": DatasetReference(**{**SUBSET, **(dataset or {})}),
            "encoder": EncoderReference(**{**network, **(encoder or {})}),
            "pretraining_seed": seed,
            "transfer_seed": transfer_seed,
            "main_metric": main,
            "metrics": metrics,
            "intervals": {
                name: Interval(low=value - interval, high=value + interval, level=0.95, resamples=1000)
                for name, value in metrics.items()
            }
            if interval is not None
            else {},
            "selection": None
            if values is None
            else Selection(
                rule="cost of each class by 3-fold cross-validation on train, then fitted on all of it",
                validation_by_tap=dict(validation or {}),
                chosen=dict(chosen or {}),
            ),
            "frozen_proof": None
            if values is None
            else FrozenProof(frozen=True, sha256_before=sha, sha256_after=sha, evaluation_mode=True),
            "certificate": None
            if values is None or task == "knn"
            else SolverCertificate(problems=10400, largest_gap=3.1e-05, tolerance=1e-4, missed=0),
            "features": FeaturesReference(
                images_per_s=120.5, wall_s=12.0, reused=0, extracted=len(taps), dimensions=taps
            ),
            "n_evaluated": 729,
            "created": "2026-01-02T03:04:05+00:00",
            **fields,
        }
    )


def profile(low: float, high: float) -> dict[str, float]:
    """Five taps that rise to conv4 and fall again."""
    rise = (0.0, 0.5, 0.8, 1.0, 0.9)
    return {tap: round(low + (high - low) * part, 4) for tap, part in zip(CONVS, rise, strict=True)}


def lowshot_record(base: float, ks: tuple[int, ...] = (1, 2, 4, 8, 16), **options: Any) -> Record:
    """Low-shot learning at every tap: a doubling of k adds 3 points."""
    by_k = {k: {t: v + 3 * n for t, v in profile(base, base + 10).items()} for n, k in enumerate(ks)}
    means = {tap: sum(by_k[k][tap] for k in ks) / len(ks) for tap in CONVS}
    headline = options.get("headline") or "conv4"
    more = {
        f"mAP[voc-area] k={k} {tap}": value for k, values in by_k.items() for tap, value in values.items()
    }
    more |= {f"mAP[voc-area] k={k}": values[headline] for k, values in by_k.items()}
    given = {"headline": headline, "validation": profile(base, base + 9), "more": more, **options}
    return probe_record(means, "voc07-lowshot", **given)
