"""Who started this process, and others with it: torchrun and accelerate say so in torch's variables, srun in SLURM's.

torch asks for RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. They are made from SLURM's only where one
`srun` has started several tasks of one command, which SLURM_STEP_NUM_TASKS tells: an allocation, a batch script and a
job array have SLURM_NTASKS and SLURM_PROCID as well, for a command that is alone in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping

from ssl_bench.errors import UserError

# Tasks of one srun that are runs of their own, each with its part of a table, say so by this variable.
ALONE = "SSL_BENCH_ALONE"
# Below the ports that systems hand out by themselves (32768 and up on Linux).
FIRST_PORT, PORTS = 20000, 12000
_TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def follow_slurm(variables: MutableMapping[str, str] | None = None) -> bool:
    """Set torch's variables from SLURM's, where srun started several tasks of this command; return whether it did.

    MASTER_ADDR and MASTER_PORT that are set are kept.

    Raises:
        UserError: SLURM's variables name no host for the processes to meet at.
    """
    known = os.environ if variables is None else variables
    if any(name in known for name in _TORCH) or not started_together(known):
        return False
    known["RANK"] = known["SLURM_PROCID"]
    known["WORLD_SIZE"] = known["SLURM_STEP_NUM_TASKS"]
    known["LOCAL_RANK"] = known.get("SLURM_LOCALID", "0")
    known["LOCAL_WORLD_SIZE"] = str(_tasks_here(known))
    known.setdefault("MASTER_ADDR", first_host(_hosts(known)))
    number = int(known.get("SLURM_JOB_ID", "0")) * 31 + int(known.get("SLURM_STEP_ID", "0"))
    known.setdefault("MASTER_PORT", str(FIRST_PORT + number % PORTS))
    return True


def started_together(known: Mapping[str, str]) -> bool:
    """Whether one srun has started several tasks of this command that are to be one run.

    A shell that srun gives a terminal (SLURM_PTY_PORT) is alone with what is typed into it.
    """
    if known.get(ALONE) or "SLURM_PTY_PORT" in known or "SLURM_PROCID" not in known:
        return False
    tasks = known.get("SLURM_STEP_NUM_TASKS", "1")
    return tasks.isdigit() and int(tasks) > 1


def is_alone(known: Mapping[str, str] | None = None) -> bool:
    """Whether this process is the only one of its command, by its environment alone; nothing is started."""
    known = os.environ if known is None else known
    count = known.get("WORLD_SIZE", "1")
    return not (count.isdigit() and int(count) > 1) and not started_together(known)


def is_main(known: Mapping[str, str] | None = None) -> bool:
    """Whether this process speaks and writes, by its environment alone: it is alone, or the first of several."""
    known = os.environ if known is None else known
    return known.get("WORLD_SIZE", "1") in ("", "0", "1") or known.get("RANK", "0") == "0"


def refuse_several(command: str, instead: str) -> None:
    """Stop a command that shares its work in another way than by ranks.

    Raises:
        UserError: torchrun, accelerate or srun started several processes of it.
    """
    if not is_alone():
        raise UserError(f"{command} runs as one process; {instead}")


def first_host(listed: str) -> str:
    """Name the first host of a list as SLURM writes it: "a[003-007,9],b2" is a003.

    Raises:
        UserError: It names none.
    """
    # Brackets stand for numbers, also several in a name; commas outside of them part names.
    match = re.match(r"[^,\[]*(\[[^\]]*\][^,\[]*)*", listed.strip())
    first = re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", match.group() if match else "")
    if not first:
        raise UserError(
            f"SLURM's list of nodes {listed!r} names no host: set MASTER_ADDR to the host of the first task"
        )
    return first


def _hosts(known: Mapping[str, str]) -> str:
    return known.get("SLURM_STEP_NODELIST") or known.get("SLURM_JOB_NODELIST") or ""


def _tasks_here(known: Mapping[str, str]) -> int:
    """Count the tasks on this machine from a list as "4(x2),3": four on each of two nodes, three on the third."""
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", known.get("SLURM_STEP_TASKS_PER_NODE", "")):
        counts += [int(count)] * int(times or 1)
    place = int(known.get("SLURM_NODEID", "0"))
    return counts[place] if place < len(counts) else 1
