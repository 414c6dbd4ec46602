"""The text of `ssl-bench inspect`, from fabricated findings."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from ssl_bench.encoders.contract import Preprocessing, Tap
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.weights.contract import Checkpoint, Match, Understood
from ssl_bench.weights.health import health
from ssl_bench.weights.inspection import Inspection, inspection_data, inspection_lines, listed
from ssl_bench.weights.layouts import LAYOUTS
from ssl_bench.weights.untouched import Untouched, looks_untouched

NAMES = tuple(f"layer1.{number}.weight" for number in range(31))


@pytest.fixture
def found() -> Inspection:
    """All well, in the layout that is the first of the list."""
    preprocessing = Preprocessing(
        size=224,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        channels="RGB",
        value_range=1,
    )
    return Inspection(
        checkpoint=Checkpoint(
            name="epoch_200.pth", format="torch", content={}, n_bytes=3 * 2**20, notes=("read as zip",)
        ),
        understood=Understood(
            layout=LAYOUTS[0].name,
            layout_title=LAYOUTS[0].title,
            where="state_dict, prefix module.encoder_q.",
            family="resnet",
            architecture={"name": "resnet50", "width": 0.5},
            architecture_basis="the shapes of 2 tensors",
            tensors={"a": torch.zeros(4, 8), "b": torch.zeros(6, dtype=torch.float16)},
            stored_as={"a": "state_dict/module.encoder_q.a", "b": "state_dict/module.encoder_q.b"},
            left_out={"projection head": ("x", "y"), "queue": ("z",)},
            preprocessing=None,
            preprocessing_basis="",
            notes=("of two encoders the first",),
        ),
        match=Match(
            wanted=2,
            matched=("a", "b"),
            missing=(),
            unexpected=(),
            wrong_shape={},
            reshaped={},
            filled=(),
            widened=1,
        ),
        taps={"res4": Tap(channels=512, stride=16, centre=0.0)},
        preprocessing=preprocessing,
        preprocessing_basis="assumed",
        sha256="ab" * 32,
        untouched=Untouched(False, ("bn1: statistics", "bn2: statistics", "x: y", "z: u"), {"a": False}),
    )


def line(lines: list[str], label: str) -> str:
    """Return the text of the one line with a label."""
    (text,) = [text[14:] for text in lines if text[:14].strip() == label]
    return text


def test_lines_say_what_was_found(found: Inspection) -> None:
    lines = inspection_lines(found)
    assert line(lines, "file") == "epoch_200.pth, torch, 3.0 MiB"
    assert LAYOUTS[0].title in line(lines, "layout")
    assert LAYOUTS[0].source in line(lines, "layout")
    assert line(lines, "encoder at") == "state_dict, prefix module.encoder_q."
    assert line(lines, "architecture") == "resnet50 width=0.5 (the shapes of 2 tensors)"
    assert line(lines, "tensors") == "2 of 2 matched, 1 of them widened from half precision"
    assert line(lines, "size") == "38 values, 0.0 MiB"
    assert [text[14:] for text in lines if text.startswith("left out")] == [
        "2 tensors: projection head",
        "1 tensor: queue",
    ]
    assert line(lines, "sha256") == "ab" * 32
    assert line(lines, "preprocessing") == (
        "RGB in 0..1, mean 0.4850 0.4560 0.4060, std 0.2290 0.2240 0.2250, 224 px, bilinear"
    )
    assert line(lines, "taps") == "res4 (512 x 1/16)"
    assert line(lines, "trained") == "yes, by 4 signs: bn1: statistics; bn2: statistics; x: y ... and 1 more"
    assert [text[14:] for text in lines if text.startswith("note")] == [
        "read as zip",
        "of two encoders the first",
    ]
    assert not [
        text for text in lines if text.startswith(("missing", "unexpected", "wrong", "health", "warning"))
    ]


def test_misfits_are_listed_eight_at_a_time(found: Inspection) -> None:
    match = replace(
        found.match,
        matched=(),
        missing=NAMES,
        unexpected=("fc2",),
        wrong_shape={"c": "(1,), wanted (2,)"},
        reshaped={"pos_embed": "from 14 x 14 to 16 x 16"},
        filled=("n",),
        widened=0,
    )
    lines = inspection_lines(replace(found, match=match, sha256=None))
    assert line(lines, "tensors") == "0 of 2 matched"
    assert line(lines, "missing") == f"31: {', '.join(NAMES[:8])} ... and 23 more"
    assert line(lines, "unexpected") == "1: fc2"
    assert line(lines, "wrong shape") == "1: c (1,), wanted (2,)"
    assert line(lines, "reshaped") == "1: pos_embed: from 14 x 14 to 16 x 16"
    assert line(lines, "filled") == "1: n"
    assert line(lines, "sha256").startswith("none")
    assert listed(NAMES[:8]) == ", ".join(NAMES[:8])


def test_the_verdict_is_said_of_whole_and_of_parts(found: Inspection) -> None:
    untouched = Untouched(True, ("2 tensors look like independent draws",), {"a": True})
    assert line(inspection_lines(replace(found, untouched=untouched)), "trained") == (
        "no, it looks like an untouched initialisation: 2 tensors look like independent draws"
    )
    partly = Untouched(False, ("c: d",), {"a": True, "b": True, "c": False})
    lines = inspection_lines(replace(found, untouched=partly))
    assert line(lines, "") == "but 2 of 3 layers look untouched: a, b"


def test_nothing_that_fits_is_not_called_trained(found: Inspection) -> None:
    nothing = replace(found, untouched=looks_untouched({}))

    assert line(inspection_lines(nothing), "trained").endswith("cannot be told: no tensor of the file fits")


def test_health_stands_in_aligned_columns(found: Inspection) -> None:
    own, other = (
        fresh_encoder({"name": "caffenet", "width": 0.25}, input_size=99, init="kaiming", seed=seed)
        for seed in (0, 1)
    )
    report = health(own, random=other, pictures=torch.randint(0, 256, (3, 3, 99, 99), dtype=torch.uint8))
    lines = inspection_lines(replace(found, health=report))
    start = next(number for number, text in enumerate(lines) if text.startswith("health"))
    table = lines[start + 1 : start + 2 + len(own.taps)]
    assert [row.split()[0] for row in table] == ["tap", *own.taps]
    column = table[0].index("cosine")
    assert all(row[column - 2 : column].isspace() and row[column].isdigit() for row in table[1:])
    assert line(lines, "warning").startswith("this is untrained")
    assert "3 pictures" in line(lines, "health")


def test_data_are_plain_json_and_keep_what_lines_shorten(found: Inspection) -> None:
    report = health(
        fresh_encoder({"name": "caffenet", "width": 0.25}, input_size=99, init="kaiming", seed=0),
        random=fresh_encoder({"name": "caffenet", "width": 0.25}, input_size=99, init="kaiming", seed=1),
        pictures=torch.zeros(2, 3, 99, 99, dtype=torch.uint8),
    )
    tap = replace(report.taps["conv1"], finite=False, rank=float("nan"))
    report = replace(report, taps={**report.taps, "conv1": tap})
    match = replace(found.match, missing=NAMES)
    text = json.dumps(inspection_data(replace(found, match=match, health=report)), allow_nan=False)
    data = json.loads(text)
    assert data["match"]["missing"] == list(NAMES)
    assert data["match"]["complete"] is False
    assert data["values"] == 38
    assert data["bytes"] == 4 * 32 + 2 * 6
    assert data["health"]["taps"]["conv1"]["rank"] is None
    assert data["layout"]["source"] == LAYOUTS[0].source
    assert data["untouched"]["verdict"] is False
    assert data["notes"] == ["read as zip", "of two encoders the first"]
