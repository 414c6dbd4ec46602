"""What `ssl-bench plan` says: arithmetic by hand, a measurement from elsewhere, and its words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.costs.calibration import Calibration, calibrate, write_calibration
from ssl_bench.stages.costs.device_facts import DEVICES
from ssl_bench.stages.costs.figures import Figure, Plan, Rate, Setting
from ssl_bench.stages.costs.photos import PhotoCosts
from ssl_bench.stages.costs.plan import Asked, plan_of
from ssl_bench.stages.costs.reckoning import exchange_seconds, peak_rate, reckon
from ssl_bench.stages.costs.step_counts import StepCounts, built, count_step
from ssl_bench.stages.costs.text import amount, plan_words
from tests.tiny_run import call

Capture = pytest.CaptureFixture[str]
TINY = ("encoder.width=0.05", "input.size=96", "input.resize={least: 96, most: 96}", "schedule.batch_size=4")
COUNTS = StepCounts(
    convolution_flops=8e9,
    product_flops=2e9,
    parameters=10,
    learning=10,
    gradient_bytes=40_000_000,
    optimizer_bytes=80_000_000,
    checkpoint_bytes=120_000_000,
    encoder_bytes=7,
    kept_bytes=5,
    activation_bytes=1_000_000,
    cast_bytes=500,
    batch_bytes=1000,
    operations=200,
)
PHOTOS = PhotoCosts(
    images=1000, photo_bytes=1e5, decoded_bytes=5e5, name_bytes=92, sample_s=0.01, source="a test"
)
SETTING = Setting(
    device="h100",
    sheet=DEVICES["h100"],
    processes=1,
    cores=None,
    shares_cores=False,
    disk_mb_s=500,
    link_gb_s=1,
    watts=700,
    base_mb=100,
)


def recipe(name: str = "context-encoder-demo", *changes: str) -> PretrainRecipe:
    return load_pretrain_recipe(name, [*TINY, *changes])


def exactly(rate: float) -> Rate:
    return Rate(low=rate, high=rate, origin="measured in a test", measured=True)


def figure(plan: Plan, name: str) -> Figure:
    (found,) = [found for figures in plan.sections.values() for found in figures if found.name == name]
    return found


# Arithmetic.


def test_a_rate_from_a_data_sheet_is_operations_by_a_share_of_each_peak() -> None:
    rate = peak_rate(COUNTS, DEVICES["h100"], "fp32", 1000)
    seconds = 8e9 / 494e12 + 2e9 / 67e12
    assert (rate.low, rate.high) == (pytest.approx(0.15 / seconds), pytest.approx(0.40 / seconds))
    assert not rate.measured
    assert "reckoned, not measured" in rate.origin
    bf16 = peak_rate(COUNTS, DEVICES["h100"], "bf16", 1000)
    assert bf16.high == pytest.approx(0.40 * 989e12 / 1e10)
    assert "no bf16 units" in peak_rate(COUNTS, DEVICES["v100"], "bf16", 1000).origin


def test_small_steps_are_bound_by_the_calls_that_the_host_can_make() -> None:
    small = peak_rate(COUNTS, DEVICES["h100"], "bf16", 4)
    assert (small.low, small.high) == (pytest.approx(4 / (200 * 15e-6)), pytest.approx(4 / (200 * 5e-6)))
    assert small.by_calls
    assert not peak_rate(COUNTS, DEVICES["h100"], "bf16", 1000).by_calls
    plan = reckon(recipe(), "", COUNTS, PHOTOS, small, SETTING)
    assert "too small for the device" in plan.binds
    assert "fewer processes" in plan.advice[0]
    halves = peak_rate(COUNTS, DEVICES["h100"], "bf16", 4, 2)
    assert halves.high == pytest.approx(small.high / 2)


def test_time_disk_memory_and_energy_by_hand() -> None:
    settings = recipe("context-encoder-demo", "schedule.steps=900", "schedule.warmup_steps=0")
    plan = reckon(settings, "hash", COUNTS, PHOTOS, exactly(400), SETTING)
    training = figure(plan, "training")
    assert (training.low, training.high) == (pytest.approx(9.0), pytest.approx(9.0 * 1.01))  # 3600 crops
    assert figure(plan, "epochs").low == 3.6
    assert figure(plan, "photos").low == 1e8
    assert figure(plan, "decoded cache, if used").low == 5e8
    assert figure(plan, "checkpoints").low == 360_000_000
    assert figure(plan, "results").low == 12
    assert figure(plan, "device, together").low == 40e6 + 40e6 + 80e6 + 4 * 1e6 + 500
    assert figure(plan, "index").low == 1000 * 100
    assert figure(plan, "host, together").low == 100 * 2**20 + 100_000 + 8 * 4 * 1000
    assert figure(plan, "devices").low == pytest.approx(700 * 9 / 3600)
    assert figure(plan, "cores for decoding").low == 4  # 400 images/s by 100 of a core
    assert plan.binds.startswith("the network")


def test_the_slowest_resource_binds_and_sets_the_time() -> None:
    settings = recipe()
    fast = exactly(6000)
    by_disk = reckon(settings, "", COUNTS, PHOTOS, fast, SETTING)
    assert figure(by_disk, "all together").low == 5000
    assert by_disk.binds.startswith("the disk")
    few = dataclasses.replace(SETTING, cores=16)
    by_cores = reckon(settings, "", COUNTS, PHOTOS, fast, few)
    assert figure(by_cores, "all together").low == 1600
    assert by_cores.binds.startswith("decoding")
    assert "60 cores" in by_cores.advice[0]
    unsure = Rate(low=1000, high=2000, origin="", measured=False)
    assert reckon(settings, "", COUNTS, PHOTOS, unsure, few).binds.startswith("perhaps decoding")


def test_network_and_decoding_on_the_same_cores_add_their_seconds() -> None:
    shared = dataclasses.replace(SETTING, sheet=None, watts=None, cores=2, shares_cores=True)
    plan = reckon(recipe(), "", COUNTS, PHOTOS, exactly(50), shared)
    assert figure(plan, "all together").low == pytest.approx(1 / (1 / 50 + 1 / 200))
    assert "decoding takes 20%" in plan.binds
    assert plan.sections["energy"] == []
    assert "--watts" in plan_words(plan, as_json=False)


def test_processes_share_a_batch_and_exchange_gradients() -> None:
    assert exchange_seconds(40e6, 2, 1) == pytest.approx(0.04)
    assert exchange_seconds(40e6, 4, 1) == pytest.approx(0.06)
    plan = reckon(recipe(), "", COUNTS, PHOTOS, exactly(10), dataclasses.replace(SETTING, processes=2))
    both = figure(plan, "network, 2 processes")
    assert both.low == pytest.approx(4 / (2 / 10 + 0.04))
    assert both.high == pytest.approx(20)
    assert figure(plan, "gradients").low == 80e6
    assert figure(plan, "devices").low == pytest.approx(1400 * figure(plan, "training").low / 3600)


def test_what_does_not_fit_a_device_is_said_with_what_to_change() -> None:
    large = dataclasses.replace(COUNTS, activation_bytes=30e9)
    plan = reckon(recipe(), "", large, PHOTOS, exactly(10), SETTING)
    assert any("do not fit 80 GB" in words and "schedule.accumulate=2" in words for words in plan.advice)


def test_the_papers_fourteen_hours_stand_beside_the_plan_of_its_device() -> None:
    """Within a factor of four: the paper's batch is unknown, and its program was another one."""
    settings = load_pretrain_recipe("context-encoder")
    rate = peak_rate(count_step(settings), DEVICES["titan-x"], settings.precision, 64)
    hours = [settings.images_seen / end / 3600 for end in (rate.high, rate.low)]
    assert hours[0] < hours[1]
    assert 14 / 4 < hours[1] < 14 * 4


# The measurement that it may take.


@pytest.fixture(scope="module")
def measured() -> Calibration:
    settings = recipe()
    return calibrate(settings, built(settings), "cpu", base_mb=5.0)


# The whole, and its words.


def test_a_plan_takes_what_was_measured_elsewhere(measured: Calibration, tmp_path: Path) -> None:
    away = dataclasses.replace(
        measured, device="cuda", product="NVIDIA H100 80GB HBM3", step_s=0.5, at_work=None
    )
    write_calibration(tmp_path / "c.json", away)
    asked = Asked(device="h100", calibration=tmp_path / "c.json", images=10, pixels="100x100")
    plan = plan_of("context-encoder-demo", TINY, asked)
    assert figure(plan, "network, one process").low == 8.0
    assert figure(plan, "network, one process").origin.startswith("measured ")
    assert figure(plan, "devices").origin.startswith("reckoned: 700 W")
    with pytest.raises(UserError, match=r"measured on cuda .*, not on titan-x"):
        plan_of("context-encoder-demo", TINY, dataclasses.replace(asked, device="titan-x"))


def test_a_measurement_is_kept_and_taken_again(
    measured: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path))
    asked = Asked(device="cpu", images=10, pixels="100x100")
    times: list[Calibration] = []

    def instead(*_: object, **__: object) -> Calibration:
        times.append(
            dataclasses.replace(
                measured, step_s=1.0 + len(times), at_work=0.2 if not times else 0.9, others=1.5
            )
        )
        return times[-1]

    monkeypatch.setattr("ssl_bench.stages.costs.plan.calibrate", instead)
    rates = [
        figure(plan_of("context-encoder-demo", TINY, again), "network, one process").low
        for again in (asked, asked, asked, dataclasses.replace(asked, calibrate=True))
    ]
    # The first was disturbed and is not kept, the second is, the third is the second's, the fourth is asked for.
    assert rates == [4.0, 2.0, 2.0, 4 / 3]


def test_every_line_of_a_plan_has_its_origin(capsys: Capture) -> None:
    words = ["plan", "context-encoder-demo", *TINY, "--device", "h200", "--gpus", "2", "--images", "100"]
    answer = call(capsys, *words, "--pixels", "100x80")
    assert answer.status == 0
    lines = [line for line in answer.out.splitlines() if line.startswith("  ") and "to change" not in line]
    assert len(lines) > 15
    for line in lines:
        assert any(word in line for word in ("measured", "counted", "reckoned")), line
    assert "what binds: " in answer.out
    assert "2 x H200 SXM" in answer.out
    told = json.loads(call(capsys, *words, "--pixels", "100x80", "--json").out)
    assert told["processes"] == 2
    assert set(told["figures"]) == {"rate", "time", "disk", "memory of each process", "energy"}
    for figures in told["figures"].values():
        assert all(0 <= found["low"] <= found["high"] and found["origin"] for found in figures)


def test_amounts_are_phrased_in_their_units() -> None:
    def phrase(low: float, high: float, unit: str) -> str:
        return amount(Figure(name="", low=low, high=high, unit=unit, origin=""))  # type: ignore[arg-type]

    assert phrase(120e9, 120e9, "bytes") == "120 GB"
    assert phrase(157.2, 419.4, "images/s") == "157 to 419 images/s"
    assert phrase(3600, 259_200, "s") == "1:00 h to 3.0 days"
    assert phrase(900, 2500, "Wh") == "900 Wh to 2.5 kWh"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rotation", "--device", "h300"], "unknown device 'h300', did you mean"),
        (["rotation", "--gpus", "0"], "--gpus 0: at least 1 is needed"),
        (["rotation", "--gpus", "3", "--device", "h200"], "a batch of 64 images cannot be shared by so many"),
        (["random-rescaled"], "random-rescaled takes no steps"),
        (["voc-cls"], "voc-cls is a protocol: `plan` reckons what a pretraining recipe costs"),
        (["voc07-cls-all"], "ssl-bench run TABLE --dry-run"),
        (["knn"], "knn is a protocol"),
        (["rotatoin"], "did you mean 'rotation'?"),
        (["rotation", "--pixels", "500"], "--pixels 500: width x height"),
        (["rotation", "--pixels", "500x9"], "sides of 16 to 8192"),
        (["rotation", "--data", "x", "--images", "5"], "--data is measured itself"),
        (["rotation", "--data", "nowhere", "--device", "h200"], "nowhere"),
        (["rotation", "--images", "0"], "--images 0: at least 1"),
        (["rotation", "--watts", "-5"], "--watts -5: a number above 0"),
        (["rotation", "--disk-mb-s", "nan"], "--disk-mb-s nan: a number above 0"),
        (["rotation", "--calibration", "none.json"], "none.json: there is no such calibration"),
        (["rotation", "--device", "titan-x", "--calibrate"], "which has no titan-x: measure there"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    words: list[str], complaint: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(capsys, "plan", *words)
    assert (answer.status, answer.out) == (2, "")
    assert len(answer.complaints) == 1
    assert complaint in answer.err
    assert not list(tmp_path.iterdir())
