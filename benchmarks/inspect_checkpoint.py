"""The layout part of `ssl-bench inspect` against opening the file with torch and hashing it.

    python benchmarks/inspect_checkpoint.py [--rounds 5] [--json FILE]

The file is one of MoCo v2's with a ResNet-152, its head and its queue: 300 MB of random weights in a temporary folder.
The baseline is `torch.load` with memory maps and weights only, then SHA-256 over the bytes of every tensor; a stricter
one hashes the encoder's alone, which is what ours does. Ours reads, finds the encoder, fits it to its architecture and
hashes it; with the verdict it also tells whether the encoder is untouched. Each measurement is a process of its own,
in turns, with the file in the page cache; time counts from after the imports, memory is anonymous memory at its
highest above the imports', in a further process of each side.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import torch
from measuring import refuse_if_busy, rss_anon_mb
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ssl_bench.weights.loading import read_foreign
from ssl_bench.weights.untouched import looks_untouched

PREFIX = "module.encoder_q."
HEAD_WIDTH, QUEUE = 4096, 65536
TIME_BAR, MEMORY_BAR = 1.5, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--apart", choices=SIDES, help="only this side, in this process, as JSON")
    parser.add_argument("--file", type=Path, help="with --apart")
    parser.add_argument("--memory", action="store_true", help="with --apart, watch memory")
    arguments = parser.parse_args()
    if arguments.apart:
        measure = peak_memory_mb if arguments.memory else seconds
        print(json.dumps(measure(lambda: SIDES[arguments.apart](arguments.file))))
        return
    load = refuse_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        figures = {"load": load, **compare(written(Path(folder) / "moco.pth.tar"), arguments.rounds)}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def written(path: Path) -> Path:
    """Write the checkpoint."""
    # torchvision only here: it would count as memory of the sides that do without it
    from torchvision.models import resnet152

    torch.manual_seed(0)
    encoder = resnet152(weights=None, num_classes=1).state_dict()
    tensors = {PREFIX + name: value for name, value in encoder.items() if not name.startswith("fc.")}
    tensors |= {
        f"{PREFIX}fc.0.weight": torch.randn(HEAD_WIDTH, 2048),
        f"{PREFIX}fc.0.bias": torch.zeros(HEAD_WIDTH),
        f"{PREFIX}fc.2.weight": torch.randn(128, HEAD_WIDTH),
        f"{PREFIX}fc.2.bias": torch.zeros(128),
        "module.queue": torch.randn(128, QUEUE),
        "module.queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    torch.save({"epoch": 200, "arch": "resnet152", "state_dict": tensors}, path)
    return path


def compare(path: Path, rounds: int) -> dict[str, Any]:
    """Measure all sides in turns and print the table."""
    for side in SIDES:
        measured_apart(side, path)  # the page cache is warm for everybody
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in list(SIDES) if number % 2 == 0 else list(SIDES)[::-1]:
            times[side].append(measured_apart(side, path))
    size = path.stat().st_size / 2**20
    print(
        f"{path.name}, {size:.0f} MiB, {rounds} rounds; bars: {TIME_BAR} of the time, {MEMORY_BAR} of the file"
    )
    figures: dict[str, Any] = {
        "file_mib": size,
        "bars": {"time": TIME_BAR, "memory": MEMORY_BAR},
        "sides": {},
    }
    for side in SIDES:
        ratios = [own / base for own, base in zip(times[side], times["torch"], strict=True)]
        peak = measured_apart(side, path, "--memory")
        print(
            f"{side:18}  {statistics.median(times[side]):6.3f} s  {statistics.median(ratios):5.2f} of the baseline "
            f"(rounds {' '.join(f'{ratio:.2f}' for ratio in ratios)})  "
            f"peak {peak:5.1f} MiB above the imports, {peak / size:.3f} of the file"
        )
        figures["sides"][side] = {
            "seconds": times[side],
            "ratios": ratios,
            "peak_mib": peak,
            "of_file": peak / size,
        }
    return figures


def opened(path: Path) -> Mapping[str, Tensor]:
    content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    tensors: Mapping[str, Tensor] = content["state_dict"]
    return tensors


def hashed(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for tensor in tensors.values():
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def strictly_hashed(path: Path) -> str:
    encoder = {
        name: tensor
        for name, tensor in opened(path).items()
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}fc.")
    }
    return hashed(encoder)


def laid_out(path: Path, *, verdict: bool = False) -> None:
    found = read_foreign(path, {})
    if found.sha256 is None or len(found.match.matched) < 900:
        raise RuntimeError(f"not what was written: {found.match}")
    if verdict and not looks_untouched(found.tensors).verdict:
        raise RuntimeError("random weights are said to be trained")


SIDES: dict[str, Callable[[Path], object]] = {
    "torch": lambda path: hashed(opened(path)),
    "torch, strict": strictly_hashed,
    "ours": laid_out,
    "ours, with verdict": lambda path: laid_out(path, verdict=True),
}


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def peak_memory_mb(run: Callable[[], object]) -> float:
    """The highest anonymous memory while running, above that of the imports, in MiB."""
    before, peak, done = rss_anon_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, rss_anon_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return peak - before


def measured_apart(side: str, path: Path, *options: str) -> float:
    command = [sys.executable, __file__, "--apart", side, "--file", str(path), *options]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    main()
