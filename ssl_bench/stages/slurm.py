"""A batch script for SLURM that makes a table by shards, as text; it says nothing about any one cluster."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

LAST_MINUTES_S = 180  # between the warning and the end of the time limit: enough to finish a step and save it

SCRIPT = """#!/bin/bash
# {jobs} jobs of the table {table} in {shards} shards; a shard's pretraining comes before what is judged on it.
# Shards share one folder of runs. Sent again, a job goes on where it stopped, and what is done does not run again.
#SBATCH --job-name=ssl-bench-{table}
#SBATCH --array=1-{shards}
#SBATCH --output=ssl-bench-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@{last}
# Yours to choose: time, memory, cores, accelerator, partition, account.
#SBATCH --time=24:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8

set -u
shards={shards}  # also where only some of the array is sent again

again() {{ scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"; exit 0; }}
warned=
# ssl-bench takes TERM as a request to save and stop (exit status {resumable}).
trap 'warned=yes; kill -TERM "$worker" 2>/dev/null' USR1

{command} --shard "${{SLURM_ARRAY_TASK_ID}}/$shards" &
worker=$!
wait "$worker"
status=$?
if [ -n "$warned" ]; then wait "$worker"; status=$?; fi  # the signal ended the first wait, not the worker
if [ -n "$warned" ] && [ "$status" -ne 0 ]; then again; fi
if [ "$status" -eq {resumable} ]; then again; fi
exit "$status"
"""


def slurm_script(table: str, words: Sequence[str], *, jobs: int, shards: int, resumable: int) -> str:
    """Write the script.

    Args:
        words: The command that makes the whole table, without a shard.
        resumable: The exit status of a worker that was asked to stop and saved where it is.
    """
    stem = table.rsplit("/", 1)[-1].removesuffix(".yaml").removesuffix(".yml")
    return SCRIPT.format(
        table=stem,
        jobs=jobs,
        shards=shards,
        command=shlex.join(words),
        resumable=resumable,
        last=LAST_MINUTES_S,
    )
