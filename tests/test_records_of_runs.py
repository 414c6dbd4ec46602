"""A record that a real run leaves can be published as it is: no paths, no names of machines or people."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_bench.records import (
    RESULT_FILE,
    load_record,
    load_records,
)
from tests.data.drawn_voc import draw_voc
from tests.tiny_run import call, only_run, pretrain_words, transfer_words


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield str(key)
            yield from texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from texts(below)
    elif isinstance(value, str):
        yield value


def no_places(value: Any, tmp_path: Path) -> None:
    forbidden = [str(tmp_path), str(Path.cwd()), str(Path(__file__).parents[1])]
    people = [
        name
        for name in (platform.node(), os.environ.get("USER", ""))
        if name not in ("", "root", "localhost")
    ]
    for text in texts(value):
        assert not text.startswith(("/", "~", "file:")), text
        assert not any(place in text for place in forbidden), text
        assert not any(re.search(rf"\b{re.escape(name)}\b", text) for name in people), text


def test_a_real_run_leaves_no_paths_and_no_names_of_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voc, runs = draw_voc(tmp_path / "secret"), tmp_path / "runs"
    assert call(capsys, *pretrain_words("rotation-demo", voc.root, runs)).status == 0
    pretrained = only_run(runs)
    judged = tmp_path / "judged"
    assert call(capsys, *transfer_words("voc-cls", voc.root, judged, pretrained)).status == 0
    folder = only_run(judged)
    record = load_record(folder / RESULT_FILE)
    assert record.encoder is not None
    assert record.encoder.pretraining is not None
    assert record.dataset is not None
    assert "schedule.steps=1" in record.encoder.pretraining.changed
    assert "schedule.steps=1" in record.protocol.changed
    assert record.n_evaluated == record.dataset.n_test == 4
    interval = record.intervals[record.main_metric]
    assert 0 <= interval.low <= interval.high <= 100
    assert (interval.level, interval.resamples) == (0.95, 1000)
    for path in (*folder.glob("*.json"), *pretrained.glob("*.json")):
        no_places(json.loads(path.read_text()), tmp_path)
    for path in (folder / "recipe.yaml", pretrained / "recipe.yaml"):
        no_places(yaml.safe_load(path.read_text()), tmp_path)


def test_a_failed_run_leaves_a_reason_without_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voc, runs = draw_voc(tmp_path / "secret"), tmp_path / "runs"
    for image_id in voc.image_ids("trainval"):
        voc.image_path(image_id).write_bytes(b"no picture")
    answer = call(capsys, *transfer_words("voc-cls", voc.root, runs, "random:rotation-demo"))
    assert answer.status == 2
    [record] = load_records(runs)
    assert record.status == "failed"
    assert record.error is not None
    assert "BrokenImage: voc2007-subset/JPEGImages/0000" in record.error
    no_places(record.model_dump(mode="json"), tmp_path)
