"""What every benchmark here shares: the load of other processes, and anonymous memory.

A benchmark prints how busy other processes keep this machine and refuses to measure above 0.2 cores.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

MOST_LOAD = 0.2
WATCH_S = 3.0


def busy_seconds() -> float:
    """Seconds that all cores together were busy since the machine started (Linux)."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Seconds that this process and its finished children computed."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


def other_load(seconds: float = WATCH_S) -> float:
    """Measure how many cores other processes keep busy, while this one sleeps."""
    started, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    time.sleep(seconds)
    elapsed = time.monotonic() - started
    return max(0.0, (busy_seconds() - busy) - (own_seconds() - own)) / elapsed


def refuse_if_busy() -> float:
    """Print the load of other processes; end the program where it is too high to measure anything."""
    load = other_load()
    print(f"load of other processes: {load:.2f} cores")
    if load > MOST_LOAD:
        sys.exit(f"above {MOST_LOAD} cores: nothing is measured. Wait until the machine is quiet.")
    return load


def rss_anon_mb() -> float:
    """This process's anonymous resident memory in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell RssAnon")
