"""Memory of pretraining against the number of images: it must not grow.

    python benchmarks/pretraining_memory.py [--recipe context-encoder-mini] [--data PHOTOS]

Each number of images runs in a process of its own, with the images decoded in that process, so that nothing
hides in a worker. Memory is the highest anonymous resident memory above that of the imports.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

from measuring import rss_anon_mb


def peak_above_imports(recipe: str, data: Path | None, limit: int, steps: int) -> float:
    """Run a short pretraining on the first `limit` images; return the peak in MiB above the imports."""
    from ssl_bench.stages.pretraining import pretrain

    baseline, peak, stop = rss_anon_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.is_set():
            peak = max(peak, rss_anon_mb())
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        pretrain(recipe, [f"schedule.steps={steps}"], data=data, out=folder, limit=limit, workers=0)
    stop.set()
    watcher.join()
    return peak - baseline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="context-encoder-mini")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000, 3000])
    arguments = parser.parse_args()
    for limit in arguments.images:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            job = (arguments.recipe, arguments.data, limit, arguments.steps)
            print(
                f"{limit:6d} images: {pool.apply(peak_above_imports, job):7.1f} MiB above the imports",
                flush=True,
            )


if __name__ == "__main__":
    main()
