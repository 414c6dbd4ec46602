"""The plan of a suite: what is done, what is stale and by which part, how long it takes, and how it is shared out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.errors import UserError
from ssl_bench.stages.found_runs import FoundRun, FoundRuns, network_of, same_network
from ssl_bench.stages.job_doing import Standing
from ssl_bench.stages.job_plan import Job, jobs_of, parse_shard, shard
from ssl_bench.stages.job_running import SuiteReport
from ssl_bench.stages.job_states import Survey
from ssl_bench.stages.job_times import estimate
from ssl_bench.stages.plan_text import plan_lines, plan_text
from ssl_bench.stages.suite import plan_suite, run_suite
from tests.data.drawn_voc import draw_voc
from tests.stages.test_suite import RECIPE, TABLE


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The arguments of a suite that is done: a random row and a learned one, one column."""
    folder = tmp_path_factory.mktemp("suite")
    devkit = draw_voc(folder)
    (folder / "tiny.yaml").write_text(TABLE.replace("RECIPE", str(folder / "recipe.yaml")))
    (folder / "recipe.yaml").write_text(RECIPE)
    arguments = {
        "name": str(folder / "tiny.yaml"),
        "data": folder,
        "unlabelled": devkit.root / "JPEGImages",
        "out": folder / "runs",
        "scale": "demo",
        "budget": "demo",
        "device": "cpu",
        "workers": 0,
    }
    assert run_suite(plan_suite(**arguments)) == SuiteReport(done=3)
    return arguments


@pytest.fixture
def copy(finished: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The same with runs, table and recipe of its own, to be changed."""
    folder = Path(finished["name"]).parent
    for name in ("runs", "recipe.yaml", "tiny.yaml"):
        subprocess.run(["cp", "-rp", str(folder / name), str(tmp_path / name)], check=True)
    text = (tmp_path / "tiny.yaml").read_text().replace(str(folder), str(tmp_path))
    (tmp_path / "tiny.yaml").write_text(text)
    return {**finished, "name": str(tmp_path / "tiny.yaml"), "out": tmp_path / "runs"}


def states(arguments: dict[str, Any], **more: Any) -> list[str]:
    """How the jobs stand: Random: voc-cls; Rotation: pretraining, voc-cls."""
    standing = Standing(plan_suite(**arguments, **more))
    found = [standing.states[job.number] for job in standing.jobs]
    return [" ".join([one.state, *one.changed]) for one in found]


def run_of(arguments: dict[str, Any], start: str) -> Path:
    (found,) = (path for path in Path(arguments["out"]).glob(f"{start}*"))
    return found


def edit(path: Path, *keys: str, value: Any) -> None:
    content = json.loads(path.read_text())
    here = content
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    path.write_text(json.dumps(content))


def test_what_is_done_is_done_and_another_seed_is_missing(finished: dict[str, Any]) -> None:
    assert states(finished) == ["done"] * 3
    assert states(finished, seeds=2) == ["done"] * 3 + ["missing"] * 3
    assert states(finished, limit=3) == ["missing"] * 3


def test_another_recipe_makes_its_row_stale(copy: dict[str, Any], tmp_path: Path) -> None:
    with (tmp_path / "recipe.yaml").open("a") as file:
        file.write("precision: fp32\n")
    assert states(copy) == ["done", "stale recipe", "stale recipe"]
    before = run_of(copy, "tiny-rotation")
    assert run_suite(plan_suite(**copy)) == SuiteReport(done=2, found=1)
    assert before.exists(), "the old run stays"
    assert states(copy) == ["done"] * 3


def test_another_network_makes_random_weights_stale(copy: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("0.05", "0.06"))
    assert states(copy) == ["stale network", "stale recipe", "stale recipe"]


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        (("protocol", "hash"), "protocol"),
        (("dataset", "fingerprint"), "data"),
        (("encoder", "sha256"), "weights"),
        (("encoder", "pretraining", "recipe_hash"), "recipe"),
        (("encoder", "pretraining", "data_fingerprint"), "pretraining data"),
    ],
)
def test_the_part_that_changed_is_named(copy: dict[str, Any], keys: tuple[str, ...], part: str) -> None:
    edit(run_of(copy, "voc-cls-frozen-demo-rotation") / "result.json", *keys, value="other")
    assert states(copy) == ["done", "done", f"stale {part}"]
    assert f"stale ({part})" in "\n".join(told(copy))


def told(arguments: dict[str, Any]) -> list[str]:
    standing = Standing(plan_suite(**arguments))
    return plan_lines(standing.jobs, standing.states, standing.times(), finished=True)


def test_new_photos_make_a_pretraining_stale(copy: dict[str, Any]) -> None:
    run = run_of(copy, "tiny-rotation")
    edit(run / "identity.json", "data", value="other")
    edit(run / "encoder.json", "pretraining", "data_fingerprint", value="other")
    record = run_of(copy, "voc-cls-frozen-demo-rotation") / "result.json"
    edit(record, "encoder", "pretraining", "data_fingerprint", value="other")
    assert states(copy) == ["done", "stale data", "stale pretraining data"]


def test_an_encoder_that_nobody_needs_is_not_learned_again(copy: dict[str, Any]) -> None:
    learned = run_of(copy, "tiny-rotation")
    (learned / "done").unlink()
    assert states(copy) == ["done", "not needed", "done"]
    assert run_suite(plan_suite(**copy)) == SuiteReport(found=3)
    (run_of(copy, "voc-cls-frozen-demo-rotation") / "done").unlink()
    assert states(copy) == ["done", "unfinished", "unfinished"]
    subprocess.run(["rm", "-r", str(learned)], check=True)
    assert states(copy) == ["done", "missing", "unfinished"]


def test_a_failure_before_is_told_and_tried_again(copy: dict[str, Any]) -> None:
    run = run_of(copy, "voc-cls-frozen-demo-random")
    record = json.loads((run / "result.json").read_text())
    failed = {**record, "status": "failed", "error": "UserError: no luck", "metrics": {}, "cost": None}
    (run / "failure.json").write_text(json.dumps(failed))
    for name in ("result.json", "done"):
        (run / name).unlink()
    assert states(copy) == ["failed", "done", "done"]
    assert "failed before" in "\n".join(told(copy))
    assert "(UserError: no luck)" in "\n".join(told(copy))
    assert run_suite(plan_suite(**copy)).done == 1
    assert states(copy) == ["done"] * 3


def test_files_that_cannot_be_read_count_for_nothing(copy: dict[str, Any]) -> None:
    path = run_of(copy, "voc-cls-frozen-demo-random") / "result.json"
    path.write_text(path.read_text()[:100])
    assert states(copy)[0] in ("missing", "unfinished")


def test_later_looks_read_only_what_changed(copy: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = FoundRuns(Path(copy["out"]))
    assert len(found.look()) == 3
    read: list[Path] = []
    monkeypatch.setattr("ssl_bench.stages.found_runs._read_run", read.append)
    found.look()
    assert read == []
    run = run_of(copy, "tiny-rotation")
    (run / "done").unlink()
    found.look()
    assert read == [run]


def test_a_finished_table_needs_no_torch_and_no_hashing(finished: dict[str, Any]) -> None:
    words = ["run", finished["name"], "--out", finished["out"], "--scale", "demo", "--budget", "demo"]
    words += ["--data", finished["data"], "--unlabelled", finished["unlabelled"]]
    code = (
        "import sys, hashlib\n"
        "from ssl_bench.cli import main\n"
        "hashed = []\n"
        "real = hashlib.file_digest\n"
        "hashlib.file_digest = lambda *words: hashed.append(1) or real(*words)\n"
        f"assert main({[str(word) for word in words]!r}) == 0\n"
        "assert 'torch' not in sys.modules\n"
        "assert not hashed, 'files were hashed again'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "jobs: 3 done; nothing is left to do" in done.stderr


# Estimates.


def protocol_wanted(name: str = "p", network: str = "caffenet") -> Any:
    return SimpleNamespace(
        likeness=("transfer", "m", name, "data", 0, None),
        parts={"protocol": f"hash-{name}"},
        settings=None,
        network=network_of(network),
    )


def found_run(**changes: Any) -> FoundRun:
    values: dict[str, Any] = {
        "name": "r",
        "folder": Path("r"),
        "status": "done",
        "likeness": ("transfer", "other", "p", "data", 3, None),
        "parts": {"protocol": "hash-p"},
        "wall_s": 10.0,
        "network": network_of("caffenet"),
        "environment": here(),
    }
    return FoundRun(**{**values, **changes})


def here(**changes: Any) -> dict[str, Any]:
    from ssl_bench.environment import environment

    return {**environment("cpu"), **changes}


def test_an_estimate_is_the_middle_of_runs_like_it() -> None:
    times = [found_run(wall_s=seconds) for seconds in (10.0, 12.0, 60.0)]
    slower = found_run(wall_s=500.0, network=network_of("resnet50"))
    assert estimate(protocol_wanted(), [*times, slower]) == 12.0
    assert estimate(protocol_wanted(network="resnet50"), [*times, slower]) == 500.0
    assert estimate(protocol_wanted(network="vgg"), times) == 12.0, "another network is better than nothing"
    assert estimate(protocol_wanted("q"), times) is None


@pytest.mark.parametrize(
    "other",
    [
        {"status": "failed"},
        {"wall_s": None},
        {"environment": here(cores=1000)},
        {"environment": here(machine="pdp11")},
        {"environment": {}},
        {"environment": here(device="cuda:0")},
        {"likeness": ("transfer", "m", "p", "data", 0, 5)},
        {"likeness": ("pretrain", "r", "data", 0, None)},
    ],
)
def test_runs_that_were_other_do_not_tell(other: dict[str, Any]) -> None:
    assert estimate(protocol_wanted(), [found_run()], "cpu") == 10.0
    assert estimate(protocol_wanted(), [found_run(**other)], "cpu") is None


def test_a_longer_schedule_takes_longer_in_proportion(copy: dict[str, Any], tmp_path: Path) -> None:
    edit(run_of(copy, "tiny-rotation") / "encoder.json", "pretraining", "wall_s", value=7.0)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("steps: 2", "steps: 20"))
    standing = Standing(plan_suite(**copy))
    (learning,) = (job for job in standing.jobs if job.stage == "pretrain")
    assert standing.seconds(learning) == pytest.approx(70.0)


def test_the_same_network_in_the_words_of_recipes_and_records() -> None:
    for words, recipe in (
        ("caffenet width=0.25", {"name": "caffenet", "width": 0.25}),
        ("caffenet width=1", {"name": "caffenet", "width": 1.0}),
        ("resnet50", {"name": "resnet50", "width": 1.0}),
        ("timm:vit img_size=128", {"name": "timm:vit", "img_size": 128}),
    ):
        assert network_of(words) == same_network(recipe)
    assert network_of("resnet50 width=0.25") != network_of("resnet50")


@pytest.mark.parametrize(
    ("encoder", "network", "name"),
    [
        ("random:resnet50", {"name": "resnet50"}, "random-kaiming-seed0"),
        ("random:resnet50:width=0.25", {"name": "resnet50", "width": "0.25"}, "random-kaiming-seed0"),
        ("random:timm:vit:img_size=128", {"name": "timm:vit", "img_size": "128"}, "random-library-seed0"),
        ("random:rotation-demo", {"name": "caffenet", "width": "0.25"}, "random-kaiming-seed0"),
    ],
)
def test_what_is_known_of_random_weights(
    finished: dict[str, Any], encoder: str, network: dict[str, str], name: str
) -> None:
    standing = Standing(plan_suite(**finished, rows=["random"]))
    (job,) = standing.jobs
    drawn = replace(job, encoder=encoder)
    parts = Survey(standing.plan, [drawn]).wanted(drawn).parts
    assert (parts["network"], parts["initialisation"]) == (network, name)


# Shards.


@given(seeds=st.integers(1, 5), parts=st.integers(1, 12))
def test_shards_are_whole_groups_and_make_up_the_plan(seeds: int, parts: int) -> None:
    jobs = jobs_of(plan_suite("context-encoders-2", scale="mini", budget="quick", seeds=seeds))
    shares = [shard(jobs, part, parts) for part in range(1, parts + 1)]
    numbers = sorted(job.number for share in shares for job in share)
    assert numbers == list(range(len(jobs)))
    for share in shares:
        here_too = {job.number for job in share}
        assert all(job.needs is None or job.needs in here_too for job in share)
    sizes = [len({job.group for job in share}) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def painted() -> list[Job]:
    return jobs_of(plan_suite("context-encoders-1", scale="mini", budget="quick", rows=["nn-features"]))


def test_a_row_that_searches_by_anothers_features_comes_with_its_pretraining() -> None:
    learning, judged = painted()
    assert (learning.stage, learning.method, learning.words) == (
        "pretrain",
        "inpainting-joint",
        ("inpainting-mini",),
    )
    assert (judged.method, judged.needs, judged.group) == ("nn-features", learning.number, learning.group)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_shard_is_i_of_n(text: str) -> None:
    assert parse_shard("2/3") == (2, 3)
    with pytest.raises(UserError, match="expected i/n"):
        parse_shard(text)


def test_rows_that_a_user_brings_are_not_made() -> None:
    plan = plan_suite("resnet50-svm")
    assert [row.method for row in plan.rows] == ["random"]
    assert "rows are of weights that you bring" in plan.lines()[-1]
    with pytest.raises(UserError, match="nothing here learns it"):
        plan_suite("resnet50-svm", rows=["byol"])


# Other forms of a plan.


def test_a_plan_as_json(copy: dict[str, Any]) -> None:
    found = json.loads(plan_text(plan_suite(**copy, seeds=2), as_json=True, resumable=75))
    assert [job["state"] for job in found["jobs"]] == ["done"] * 3 + ["missing"] * 3
    assert found["of_unknown_time"] == 0
    assert found["seconds_left"] == pytest.approx(sum(job["seconds"] for job in found["jobs"][3:]), abs=0.02)
    assert found["jobs"][5]["needs"] == 4


SCHEDULER = """#!/bin/bash
echo "$(basename "$0") $*" >> "$LOG"
"""
STOPS = """#!/bin/bash
echo "ssl-bench $*" >> "$LOG"
trap 'exit 75' TERM
kill -USR1 "$PPID"
for i in $(seq 200); do sleep 0.05; done
exit 0
"""


@pytest.mark.parametrize(
    ("worker", "status", "sent_again"),
    [("exit 0", 0, False), ("exit 1", 1, False), ("exit 75", 0, True), (STOPS, 0, True)],
)
def test_a_batch_script_sends_itself_again_when_time_is_up(
    finished: dict[str, Any], tmp_path: Path, worker: str, status: int, sent_again: bool
) -> None:
    words = ["ssl-bench", "run", "tiny.yaml", "--out", "my runs"]
    script = plan_text(plan_suite(**finished, seeds=3), slurm_of=words, resumable=75)
    assert "#SBATCH --array=1-6\n" in script
    (tmp_path / "job.sh").write_text(script)
    for name, text in (
        ("scontrol", SCHEDULER),
        ("ssl-bench", worker if worker == STOPS else f"#!/bin/bash\n{worker}\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "LOG": str(tmp_path / "log"),
        "SLURM_ARRAY_JOB_ID": "12",
        "SLURM_ARRAY_TASK_ID": "3",
    }
    done = subprocess.run(["bash", str(tmp_path / "job.sh")], env=environment, check=False, timeout=30)
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert done.returncode == status
    assert ("scontrol requeue 12_3" in log) == sent_again
    if worker == STOPS:
        assert "ssl-bench run tiny.yaml --out my runs --shard 3/6" in log
