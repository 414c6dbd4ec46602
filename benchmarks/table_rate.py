"""How long does `ssl-bench table` take over many records, and how much memory? The bars are 3 s and 500 MB for 10,000.

    python benchmarks/table_rate.py [--records 10000] [--rounds 3] [--keep FOLDER]

Writes records of 400 rows, five seeds and five columns (run folders as the runs write them, each with its identity and
environment beside), then asks for a table in a fresh interpreter, and again with the comparisons of `statistics`.
Wall time is of the whole process, imports and all; memory is its peak resident set. The process must not import torch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from measuring import refuse_if_busy

from ssl_bench.recipes import shipped_folder
from ssl_bench.records import RESULT_FILE
from ssl_bench.resamples import write_resamples
from ssl_bench.stages.tables import shipped_protocols

COLUMNS = ("voc07-svm-fair", "voc07-svm-fair-quick", "knn-20", "knn-20-quick", "logistic-c-sweep-quick")
SEEDS = 5
TAPS = ("conv1", "conv2", "conv3", "conv4", "conv5")
CHILD = """
import resource, sys, time
started = time.perf_counter()
from ssl_bench.stages.tables import printed, table
text = printed(table(sys.argv[1], runs=[sys.argv[2]]), "markdown")
assert "torch" not in sys.modules, "torch was imported"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(text), round(peak, 1), round(time.perf_counter() - started, 3))
"""


def write_records(folder: Path, count: int) -> None:
    """Write finished runs: every protocol of COLUMNS, seed after seed, row after row."""
    real = min((shipped_folder("results") / "measured").rglob("voc07-svm-fair-context-encoder-*.json"))
    template = json.loads(real.read_text())
    protocols = {protocol.name: protocol.model_dump(mode="json") for protocol in shipped_protocols()}
    rng = np.random.default_rng(0)
    for number in range(count):
        row, rest = divmod(number, SEEDS * len(COLUMNS))
        seed, column = divmod(rest, len(COLUMNS))
        run = folder / f"{COLUMNS[column]}-row{row}-seed{seed}-{number:08x}"
        run.mkdir(parents=True)
        value = record(template, protocols[COLUMNS[column]], run.name, row, seed, float(rng.uniform(20, 60)))
        (run / RESULT_FILE).write_text(json.dumps(value, indent=2))
        (run / "identity.json").write_text(json.dumps({"stage": "probe", "seed": seed}))
        (run / "environment.json").write_text(json.dumps(value["environment"], indent=2))
        kept = {
            name: (value["metrics"][name] + rng.normal(size=1000)).astype(np.float32)
            for name in value["intervals"]
        }
        write_resamples(run, kept)


def record(
    template: dict[str, Any], protocol: dict[str, Any], run: str, row: int, seed: int, score: float
) -> dict[str, Any]:
    """A record as large as a real one: per class and per tap."""
    value = json.loads(json.dumps(template))
    value |= {"run": run, "protocol": protocol, "task": protocol["task"], "pretraining_seed": seed}
    value["metrics"] = dict.fromkeys(value["metrics"], score)
    value["created"] = f"2026-01-02T03:{seed:02d}:05.{row:06d}+00:00"
    value["encoder"] |= {
        "name": f"row{row}-seed{seed}",
        "sha256": f"{row}-{seed}",
        "method": "context-encoder",
    }
    if value["encoder"]["pretraining"] is not None:
        value["encoder"]["pretraining"] |= {"recipe_hash": f"{row}"}
    return value


def definition(folder: Path, *, compared: bool) -> Path:
    """The shipped table of frozen features, with or without comparisons."""
    shipped = yaml.safe_load((shipped_folder("results") / "tables" / "frozen-features.yaml").read_text())
    shipped["statistics"] = {"bold": True, "baseline": "random", "rank": True} if compared else {}
    path = folder / f"table-{'compared' if compared else 'plain'}.yaml"
    path.write_text(yaml.safe_dump(shipped))
    return path


def measured(table: Path, runs: Path) -> tuple[float, float]:
    """Wall time of a fresh process in seconds, and its peak memory in MB."""
    started = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-c", CHILD, str(table), str(runs)], capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - started
    if finished.returncode:
        sys.exit(finished.stderr)
    _, peak, _ = finished.stdout.split()
    return wall, float(peak)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="write the records here, or take those that are here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        runs = folder / "runs"
        if not runs.exists():
            write_records(runs, given.records)
        refuse_if_busy()
        print("| table | records | wall s | peak MB |\n|---|---|---|---|")
        for words, compared in (("without comparisons", False), ("with comparisons", True)):
            path = definition(folder, compared=compared)
            rounds = [measured(path, runs) for _ in range(given.rounds)]
            walls = ", ".join(f"{wall:.2f}" for wall, _ in rounds)
            print(f"| {words} | {given.records} | {walls} | {max(peak for _, peak in rounds):.0f} |")


if __name__ == "__main__":
    main()
