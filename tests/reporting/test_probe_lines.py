"""The lines under a table of probes: how the numbers came about, and aloud what is not as it should be."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_bench.records import FeaturesReference, FrozenProof, Selection, SolverCertificate
from ssl_bench.reporting.probe_lines import chosen_words
from tests.reporting.probe_records import probe_record
from tests.reporting.test_probe_table import line_of, written


def test_a_line_says_how_the_numbers_came_about() -> None:
    costs = {"conv4": {"costs": {"car": 0.01, "cat": 0.5, "dog": 1.0, "cow": 0.5}}, "conv5": {"cost": 2.0}}
    record = probe_record(
        {"conv4": 40.0, "conv5": 41.0}, chosen=costs, interval=1.25, validation={"conv4": 1.0, "conv5": 2.0}
    )
    line = line_of(written(record, decimals=1), "voc07-svm-fair")
    assert line == (
        "- voc07-svm-fair: mAP[voc-area] in %, version 1 of the protocol, VOC2007-subset, trainval (722 images) to"
        " test (729 images). Headline 41.0 at conv5 (39.8 to 42.2 in 95% of resampled test sets). Selection: cost "
        "of each class by 3-fold cross-validation on train, then fitted on all of it; conv4: costs 0.01 to 1; "
        "conv5: cost 2. Solver: largest gap 3.1e-05 of the objective (0.0001 asked for), none of 10,400 problems "
        "missed it. Encoder unchanged, in evaluation mode. Features: 2 extracted in 12 s, 120.5 images a second. "
        "At the tap conv5, the best one on held-out training images."
    )


SAME = {"frozen": True, "sha256_before": "a", "sha256_after": "a"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"certificate": SolverCertificate(problems=1200, largest_gap=0.2, tolerance=1e-4, missed=7)},
            "largest gap 0.2 of the objective (0.0001 asked for), 7 of 1,200 problems missed it",
        ),
        (
            {
                "features": FeaturesReference(
                    images_per_s=None, wall_s=0.2, reused=1, extracted=0, dimensions={"conv5": 2}
                )
            },
            "Features: 1 reused from the store in < 1 s.",
        ),
        ({"frozen_proof": None}, "NO PROOF that the encoder was frozen"),
        ({"frozen_proof": FrozenProof(**{**SAME, "sha256_after": "b"})}, "THE ENCODER CHANGED"),
        ({"frozen_proof": FrozenProof(**{**SAME, "frozen": False})}, "THE ENCODER CHANGED"),
        (
            {"frozen_proof": FrozenProof(**SAME, evaluation_mode=False)},
            "Encoder unchanged, NOT ALWAYS IN EVALUATION MODE",
        ),
        ({"frozen_proof": FrozenProof(**SAME)}, "Encoder unchanged. "),
        ({"selection": None}, "not said how anything was chosen"),
        (
            {"selection": Selection(rule="best on test.", on_test=True)},
            "Selection: best on test. Solver",
        ),
        (
            {"selection": Selection(rule="x", on_test=True)},
            "Chosen on the test split, and therefore too high",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_said(fields: dict[str, Any], words: str) -> None:
    assert words in line_of(written(probe_record({"conv5": 5.0}, **fields)), "voc07-svm-fair")


def test_lines_speak_for_all_seeds() -> None:
    records = [
        probe_record(
            {"conv5": 5.0},
            seed=seed,
            chosen={"conv5": {"cost": 10.0**seed}},
            certificate=SolverCertificate(
                problems=100, largest_gap=10.0**-seed, tolerance=0.1, missed=1 + seed
            ),
        )
        for seed in (0, 1)
    ]
    line = line_of(written(*records), "voc07-svm-fair")
    assert "conv5: cost 1 to 10." in line
    assert "largest gap 1 of the objective (0.1 asked for), 3 of 200 problems missed it" in line
    assert "Features: 2 extracted in 24 s" in line


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ([{}], ""),
        ([{"conv1": 0.5, "conv2": 0.5, "conv3": 2}], "conv1, conv2: 0.5; conv3: 2"),
        ([{"conv1": {"lr": 0.1, "weight_decay": 0.0}}], "conv1: lr 0.1, weight decay 0"),
        ([{"conv1": {"1": 0.1, "2": 0.2, "4": 0.4, "8": 0.8}}], "conv1: 0.1 to 0.8"),
        ([{"conv1": [1.0, 3.0, 2.0]}, {"conv1": [9.0]}], "conv1: 1 to 9"),
        ([{"tap": "conv4"}, {"tap": "conv5"}, {"tap": "conv4"}], "tap: conv4, conv5"),
        ([{"refitted": True, "nothing": None}], "refitted: True"),
        ([{"conv1": {"a": {"x": 1, "y": "words"}}}], "conv1: a x 1, y words"),
        ([{"conv1": {}}], ""),
        (
            [
                {tap: {"cost": cost, "validation_by_cost": {"1": 2.0}, "at_the_end_of_the_costs": cost > 1}}
                for tap, cost in (("a", 1.0), ("b", 10.0), ("b", 0.1))
            ],
            "a: cost 1; b: cost 0.1 to 10, at the end of the costs (1 of 2 runs)",
        ),
        ([{"a": {"cost": 1.0, "at_the_end": True}}], "a: cost 1, at the end"),
    ],
)
def test_what_was_chosen_in_words(chosen: list[Any], words: str) -> None:
    assert chosen_words(chosen) == words
