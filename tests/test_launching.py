"""SLURM's variables become torch's where one srun started several tasks of a command, and nowhere else."""

from __future__ import annotations

import pytest

from ssl_bench.cli import main
from ssl_bench.errors import UserError
from ssl_bench.launching import FIRST_PORT, PORTS, first_host, follow_slurm, is_alone, is_main
from ssl_bench.progress import progress, say

# As `srun --nodes 2 --ntasks-per-node 4` gives them to its sixth task.
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "2",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_NODELIST": "gpu[06-08]",
}
WITHOUT = {name: value for name, value in SRUN.items() if not name.startswith("SLURM_STEP")}


def test_tasks_of_one_srun_become_ranks() -> None:
    known = dict(SRUN)
    assert follow_slurm(known)
    assert {name: value for name, value in known.items() if name not in SRUN} == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": str(FIRST_PORT + (1234 * 31 + 2) % PORTS),
    }
    assert not follow_slurm(known), "a second look changes nothing"
    assert not is_main(known)
    assert not is_alone(SRUN)


def test_an_address_that_is_given_is_kept() -> None:
    known = {**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4711"}
    assert follow_slurm(known)
    assert (known["MASTER_ADDR"], known["MASTER_PORT"]) == ("10.0.0.1", "4711")


@pytest.mark.parametrize(
    "known",
    [
        {},
        WITHOUT,  # in an allocation or a batch script of eight tasks, outside of srun
        {**WITHOUT, "SLURM_ARRAY_TASK_ID": "3", "SLURM_NTASKS": "1"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
        {**SRUN, "SLURM_PTY_PORT": "4711"},  # srun --pty bash
        {**SRUN, "RANK": "0", "WORLD_SIZE": "2"},  # torchrun as a task of srun
        {**SRUN, "SSL_BENCH_ALONE": "1"},
    ],
)
def test_where_a_command_is_alone_nothing_is_set(known: dict[str, str]) -> None:
    found = dict(known)
    assert not follow_slurm(found)
    assert found == known


@pytest.mark.parametrize(
    ("listed", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu[07-12]", "gpu07"),
        ("gpu[3,7-9],cpu1", "gpu3"),
        ("a1,b[2-3]", "a1"),
        ("rack[1-2]n[03-04].site", "rack1n03.site"),
    ],
)
def test_the_first_host_of_a_list(listed: str, first: str) -> None:
    assert first_host(listed) == first


def test_a_list_without_a_host_is_said() -> None:
    with pytest.raises(UserError, match="set MASTER_ADDR to the host of the first task"):
        follow_slurm({name: value for name, value in SRUN.items() if "NODELIST" not in name})


def test_of_several_processes_the_first_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for world, rank in [("2", "0"), ("2", "1"), ("1", "3")]:
        monkeypatch.setenv("WORLD_SIZE", world)
        monkeypatch.setenv("RANK", rank)
        say(f"{rank} of {world}")
        with progress("shown", 1) as advance:
            advance(1)
    assert capsys.readouterr().err.splitlines() == ["0 of 2", "3 of 1"]


@pytest.mark.parametrize("verb", ["run", "demo"])
def test_a_suite_shares_its_jobs_and_no_ranks(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("SSL_BENCH_ALONE", "1")
    assert main([verb]) == 2
    assert f"ssl-bench {verb} runs as one process" in capsys.readouterr().err
