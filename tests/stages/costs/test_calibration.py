"""A measurement of steps: that it is of real ones, is refused for others, and knows when it was disturbed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.costs.calibration import (
    Calibration,
    calibrate,
    read_calibration,
    step_key,
    write_calibration,
)
from ssl_bench.stages.costs.device_facts import recognised
from ssl_bench.stages.costs.step_counts import built

TINY = ("encoder.width=0.05", "input.size=96", "input.resize={least: 96, most: 96}", "schedule.batch_size=4")


def recipe(name: str = "context-encoder-demo", *changes: str) -> PretrainRecipe:
    return load_pretrain_recipe(name, [*TINY, *changes])


@pytest.fixture(scope="module")
def measured() -> Calibration:
    settings = recipe()
    return calibrate(settings, built(settings), "cpu", base_mb=5.0)


def test_a_measurement_is_of_real_steps_and_survives_write_and_read(
    measured: Calibration, tmp_path: Path
) -> None:
    assert measured.batch == 4
    assert measured.steps >= 2
    assert measured.images_per_s == 4 / measured.step_s > 0
    write_calibration(tmp_path / "new" / "c.json", measured)
    assert read_calibration(tmp_path / "new" / "c.json", recipe()) == measured
    longer = recipe("context-encoder-demo", "schedule.steps=7", "schedule.warmup_steps=0")
    assert read_calibration(tmp_path / "new" / "c.json", longer) == measured, "the same steps, fewer of them"
    import socket

    assert socket.gethostname() not in (tmp_path / "new" / "c.json").read_text().split('"')


@pytest.mark.parametrize("change", ["precision=fp32", "schedule.batch_size=8", "encoder.width=0.1"])
def test_a_measurement_of_other_steps_is_refused(change: str, measured: Calibration, tmp_path: Path) -> None:
    other = recipe("context-encoder-demo", change)
    assert step_key(other) != step_key(recipe())
    write_calibration(tmp_path / "c.json", measured)
    with pytest.raises(UserError, match="with other settings"):
        read_calibration(tmp_path / "c.json", other)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: path.unlink(), "there is no such calibration"),
        (lambda path: path.write_text("{"), "not a calibration"),
        (lambda path: path.write_text("[]"), "not a calibration of this version"),
        (lambda path: path.write_text('{"format": 1}'), "not a calibration of this version"),
    ],
)
def test_a_damaged_measurement_is_refused(
    spoil: Callable[[Path], None], complaint: str, measured: Calibration, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    write_calibration(path, measured)
    spoil(path)
    with pytest.raises(UserError, match=complaint):
        read_calibration(path, recipe())


def test_a_disturbed_measurement_says_so(measured: Calibration) -> None:
    for at_work, others, said in ((0.3, 1.5, True), (0.3, None, True), (0.3, 0.1, False), (0.95, 1.5, False)):
        found = dataclasses.replace(measured, at_work=at_work, others=others)
        assert found.disturbed == said == ("measure again" in found.words)


def test_products_are_recognised_as_their_drivers_call_them() -> None:
    assert recognised("NVIDIA H100 80GB HBM3") == "h100"
    assert recognised("NVIDIA H200") == "h200"
    assert recognised("NVIDIA GeForce RTX 4090") == "rtx4090"
    assert recognised("NVIDIA A100-SXM4-80GB") == "a100"
    assert recognised("NVIDIA GeForce GTX TITAN X") == "titan-x"
    assert recognised("NVIDIA H100 PCIe") is None
    assert recognised("AVX512") is None
