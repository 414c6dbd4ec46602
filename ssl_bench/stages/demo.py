"""`ssl-bench demo`: everything once, on the embedded synthetic data, in a few minutes."""

from __future__ import annotations

import time
from pathlib import Path

from ssl_bench.progress import clock, say
from ssl_bench.stages.datasets import minivoc
from ssl_bench.stages.inpaint import inpaint
from ssl_bench.stages.pretraining import pretrain
from ssl_bench.stages.report import report
from ssl_bench.stages.suite import SuiteReport, attempt, plan_suite, run_suite

DEMO_TABLE = "context-encoders-2"
DEMO_SEEDS = 2
DEMO_PICTURES = 6


def demo(*, out: str | Path = "demo", device: str = "auto", workers: int | None = None) -> SuiteReport:
    """Pretrain, transfer to three tasks and make the table, loss curves and pictures, with two seeds."""
    folder = Path(out)
    minivoc()  # made before the clock starts: it is made once and stays
    started = time.monotonic()
    plan = plan_suite(
        DEMO_TABLE,
        out=folder / "runs",
        seeds=DEMO_SEEDS,
        scale="demo",
        budget="demo",
        device=device,
        workers=workers,
    )
    outcome = run_suite(plan)
    attempt("inpainting", lambda: _show_inpainting(folder, device, workers), outcome)
    report(DEMO_TABLE, runs=folder / "runs", out=folder, seeds=DEMO_SEEDS)
    say(
        f"demo: {outcome.done} jobs in {clock(time.monotonic() - started)}. Its measured numbers check the "
        "plumbing: a few seconds of training on synthetic pictures say nothing about any method."
    )
    say(f"table, loss curves and inpainting pictures are in {folder.resolve()}")
    return outcome


def _show_inpainting(folder: Path, device: str, workers: int | None) -> None:
    """Play the inpainting game for a moment, and complete pictures that it has not seen."""
    run = pretrain("inpainting-demo", out=folder / "runs", device=device, workers=workers).folder
    pictures = minivoc().root / "JPEGImages"  # the test images come first
    inpaint(run, pictures, out=folder / "inpainted", device=device, limit=DEMO_PICTURES)
