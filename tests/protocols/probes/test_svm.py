"""SVM probes choose what scikit-learn's cross-validation chooses, and predict what its SVM predicts."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import LinearSVC

from ssl_bench.errors import UserError
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.probe_schemas import LowShotSettings, SvmSettings
from ssl_bench.protocols.probes.low_shot import LowShotProbe
from ssl_bench.protocols.probes.low_shot_samples import draw, sample_rng
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures
from ssl_bench.protocols.probes.svm import SvmProbe

CPU = torch.device("cpu")
CLASSES = ("cat", "cow", "dog")
COSTS = [0.001, 0.1, 1.0, 10.0]
SVM = SvmSettings(
    kind="svm",
    normalise="l2",
    costs=COSTS,
    positive_weight=2.0,
    folds=3,
    difficult="negative",
    validation_ap="sklearn",
    ap="voc-area",
    tolerance=1e-6,
)
LOW_SHOT = LowShotSettings(
    kind="low-shot",
    normalise="l2",
    costs=COSTS,
    positive_weight=2.0,
    shots=[1, 4],
    samples=2,
    negatives=5,
    cost_chosen_on="train",
    ap="voc-area",
    tolerance=1e-6,
)


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features in which classes can be told apart, but not perfectly; some labels are difficult."""
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((count, 3)) < 0.25, 1, -1).astype(np.int8)
    values = rng.normal(size=(count, 300)) + 1.0
    values[:, :3] += 4 * (labels == 1)
    labels[rng.random((count, 3)) < 0.05] = 0
    return values.astype(np.float32), labels


def train_part() -> TrainingFeatures:
    values, labels = split(150, 0)
    return TrainingFeatures(values=values, labels=labels, classes=CLASSES)


def test_part() -> TestFeatures:
    values, labels = split(90, 1)
    return TestFeatures(values=values, labels=labels, classes=CLASSES)


test_part.__test__ = False  # type: ignore[attr-defined]


def normalised(values: np.ndarray) -> np.ndarray:
    return values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-5)


def svc(cost: float) -> LinearSVC:
    return LinearSVC(
        C=cost, class_weight={1: 2, -1: 1}, intercept_scaling=1, tol=1e-8, max_iter=100_000, dual=True
    )


def test_costs_scores_and_validation_are_those_of_scikit_learn() -> None:
    train, test = train_part(), test_part()
    fitted = SvmProbe(SVM).fit(train, seed=0, device=CPU, label="conv5")
    scores = fitted.predict(test)["scores"]
    validated = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k, name in enumerate(CLASSES):
            target = np.where(train.labels[:, k] == 1, 1, -1)
            reached = [
                cross_val_score(
                    svc(cost), normalised(train.values), target, cv=3, scoring="average_precision"
                ).mean()
                for cost in COSTS
            ]
            assert fitted.chosen["costs"][name] == COSTS[int(np.argmax(reached))]
            validated.append(max(reached))
            theirs = svc(fitted.chosen["costs"][name]).fit(normalised(train.values), target)
            expected = theirs.decision_function(normalised(test.values))
            np.testing.assert_allclose(scores[:, k], expected, atol=5e-3)
    assert fitted.validation_score == pytest.approx(100 * np.mean(validated), abs=0.3)
    assert fitted.trials == len(COSTS)
    assert fitted.certificate is not None
    assert (fitted.certificate.problems, fitted.certificate.missed) == (3 * 3 * 4 + 3, 0)


def test_the_score_leaves_difficult_images_out() -> None:
    test = test_part()
    scores = np.random.default_rng(0).normal(size=test.labels.shape).astype(np.float32)
    found = SvmProbe(SVM).score({"scores": scores}, test.labels, CLASSES)
    counted = test.labels[:, 1] != 0
    alone = multilabel_ap(scores[counted, 1:2], test.labels[counted, 1:2], "voc-area")[0]
    assert found.per_class["AP[voc-area]"]["cow"] == pytest.approx(100 * alone)
    assert found.metrics["mAP[voc-area]"] == pytest.approx(
        np.mean(list(found.per_class["AP[voc-area]"].values()))
    )


def test_difficult_images_are_negatives_or_left_out_as_the_protocol_says() -> None:
    train = train_part()
    kept = train.labels[:, 0] != 0
    ignoring = SvmProbe(SVM.model_copy(update={"difficult": "ignored", "costs": [1.0]}))
    fitted = ignoring.fit(train, seed=0, device=CPU, label="conv5")
    target = np.where(train.labels[kept, 0] == 1, 1, -1)
    expected = (
        svc(1.0).fit(normalised(train.values[kept]), target).decision_function(normalised(test_part().values))
    )
    np.testing.assert_allclose(fitted.predict(test_part())["scores"][:, 0], expected, atol=5e-3)


def with_cows(count: int) -> TrainingFeatures:
    train = train_part()
    labels = train.labels.copy()
    labels[:, 1] = -1
    labels[:count, 1] = 1
    return replace(train, labels=labels)


def test_a_class_with_fewer_positives_than_folds_is_chosen_on_the_folds_that_hold_one() -> None:
    train = with_cows(2)
    fitted = SvmProbe(SVM).fit(train, seed=0, device=CPU, label="conv5")
    assert fitted.chosen["validation_folds"] == {"cow": 2}
    target = np.where(train.labels[:, 1] == 1, 1, -1)
    reached = []
    for cost in COSTS:
        each = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folds = list(StratifiedKFold(3).split(target, target))
        for inside, outside in folds:
            if (target[outside] == 1).any():
                svm = svc(cost).fit(normalised(train.values[inside]), target[inside])
                scores = svm.decision_function(normalised(train.values[outside]))
                each.append(average_precision_score(target[outside] == 1, scores))
        reached.append(np.mean(each))
    assert len(each) == 2
    chosen = COSTS.index(fitted.chosen["costs"]["cow"])
    assert reached[chosen] == pytest.approx(max(reached), abs=1e-3)


def test_a_class_with_one_positive_is_named() -> None:
    with pytest.raises(UserError, match="there is one of cow"):
        SvmProbe(SVM).fit(with_cows(1), seed=0, device=CPU, label="conv5")


def low_shot_by_sklearn(k: int, number: int, place: int, cost: float, values: np.ndarray) -> np.ndarray:
    train = train_part()
    sample = draw(train.labels, k, 5, sample_rng(0, number, k), classes=CLASSES)[place]
    rows = np.concatenate([sample.positives, sample.negatives])
    target = np.r_[np.ones(len(sample.positives)), -np.ones(len(sample.negatives))]
    return svc(cost).fit(normalised(train.values[rows]), target).decision_function(normalised(values))


def test_low_shot_fits_each_class_on_its_sample_and_chooses_on_what_samples_leave_out() -> None:
    train, test = train_part(), test_part()
    fitted = LowShotProbe(LOW_SHOT).fit(train, seed=0, device=CPU, label="conv5")
    predictions = fitted.predict(test)
    assert set(predictions) == {f"scores k={k} sample={s}" for k in (1, 4) for s in (0, 1)}
    for k in (1, 4):
        cost = fitted.chosen["costs"][f"k={k}"]
        expected = low_shot_by_sklearn(k, 1, 2, cost, test.values)
        np.testing.assert_allclose(predictions[f"scores k={k} sample=1"][:, 2], expected, atol=5e-3)
    reached = {}
    for cost in COSTS:
        each = []
        for number in (0, 1):
            samples = draw(train.labels, 4, 5, sample_rng(0, number, 4), classes=CLASSES)
            for place, sample in enumerate(samples):
                left = train.labels[:, place] != 0
                left[sample.positives] = left[sample.negatives] = False
                scores = low_shot_by_sklearn(4, number, place, cost, train.values)[left]
                target = train.labels[left, place]
                each.append(multilabel_ap(scores[:, None], target[:, None], "voc-area")[0])
        reached[cost] = np.mean(each)
    assert reached[fitted.chosen["costs"]["k=4"]] == pytest.approx(max(reached.values()), abs=1e-3)
    assert fitted.choose_on_test is None


def test_low_shot_chooses_on_test_only_where_it_is_told_to_and_never_predicts_before() -> None:
    settings = LOW_SHOT.model_copy(update={"cost_chosen_on": "test"})
    fitted = LowShotProbe(settings).fit(train_part(), seed=0, device=CPU, label="conv5")
    assert fitted.chosen == {}
    assert fitted.validation_score is None
    with pytest.raises(AssertionError):
        fitted.predict(test_part())
    assert fitted.choose_on_test is not None
    predictions, chosen = fitted.choose_on_test(test_part())
    probe = LowShotProbe(settings)
    best = probe.score(predictions, test_part().labels, CLASSES).metrics["mAP[voc-area] k=4"]
    on_train = LowShotProbe(LOW_SHOT).fit(train_part(), seed=0, device=CPU, label="conv5")
    found = LowShotProbe(LOW_SHOT).score(on_train.predict(test_part()), test_part().labels, CLASSES)
    assert best >= found.metrics["mAP[voc-area] k=4"] - 1e-6
    assert set(chosen["costs"]) == {"k=1", "k=4"}


def test_low_shot_metrics_are_means_over_samples_and_over_k() -> None:
    fitted = LowShotProbe(LOW_SHOT).fit(train_part(), seed=0, device=CPU, label="conv5")
    predictions = fitted.predict(test_part())
    metrics = LowShotProbe(LOW_SHOT).score(predictions, test_part().labels, CLASSES).metrics
    each = [
        100 * multilabel_ap(predictions[f"scores k=4 sample={s}"], test_part().labels, "voc-area").mean()
        for s in (0, 1)
    ]
    assert metrics["mAP[voc-area] k=4"] == pytest.approx(np.mean(each))
    assert metrics["mAP[voc-area] k=4 std over samples"] == pytest.approx(np.std(each, ddof=1))
    assert metrics["mAP[voc-area] mean over k"] == pytest.approx(
        (metrics["mAP[voc-area] k=1"] + metrics["mAP[voc-area] k=4"]) / 2
    )


def test_equal_images_do_not_stop_low_shot() -> None:
    train = train_part()
    values = train.values.copy()
    values[1::2] = values[::2]
    fitted = LowShotProbe(LOW_SHOT).fit(replace(train, values=values), seed=0, device=CPU, label="conv5")
    assert np.isfinite(fitted.predict(test_part())["scores k=4 sample=0"]).all()
