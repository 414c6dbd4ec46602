"""How long `ssl-bench report` takes over 1,000 runs, and how long its page takes to open in headless Chromium.

    python benchmarks/report_rate.py [--runs 1000] [--rounds 3] [--json FILE]

The runs are fabricated: a quarter are pretrainings with a loss curve of 200 points and a picture, the others are judged
by the quick protocols of VOC, with a curve, scores of 20 classes and a recipe. The report runs in a process of its own,
imports included. Opening is the browser's own `loadEventEnd` from a cold start of the browser; playwright and Chromium
have to be installed, otherwise only the report is measured.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from measuring import refuse_if_busy
from PIL import Image
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.environment import environment
from ssl_bench.hashing import settings_hash
from ssl_bench.protocol_names import protocol_name
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import load_pretrain_recipe, load_protocol
from ssl_bench.records import (
    DatasetReference,
    EncoderReference,
    Interval,
    PretrainingReference,
    ProtocolReference,
    Record,
    Selection,
    write_record,
)

METHODS = ("autoencoder", "context-encoder", "rotation", "supervised")
TASKS = ("voc-cls", "voc-det", "voc-seg")
REPORT_BAR_S, OPEN_BAR_S = 60.0, 2.0
POINTS = 200


@cache
def recipe_of(method: str) -> PretrainRecipe:
    return load_pretrain_recipe(f"{method}-small")


@cache
def protocol_of(task: str) -> Protocol:
    return load_protocol(protocol_name(task, "finetune", "quick"))


def resolved(settings: BaseModel) -> str:
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    load = refuse_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        runs, out = Path(folder) / "runs", Path(folder) / "report"
        fabricate(runs, arguments.runs)
        reports = [seconds_to_report(runs, out) for _ in range(arguments.rounds)]
        page = out / "index.html"
        opens = [seconds_to_open(page) for _ in range(arguments.rounds)]
        size_mb = page.stat().st_size / 1e6
    known = [value for value in opens if value is not None]
    print(f"{arguments.runs} runs, page of {size_mb:.1f} MB")
    print(f"report  {statistics.median(reports):6.2f} s  (bar {REPORT_BAR_S:g} s; {told(reports)})")
    if known:
        print(f"open    {statistics.median(known):6.2f} s  (bar {OPEN_BAR_S:g} s; {told(known)})")
    else:
        print("open    not measured: playwright or Chromium is not installed")
    if arguments.json:
        figures = {
            "load": load,
            "runs": arguments.runs,
            "report_s": reports,
            "open_s": known,
            "page_mb": size_mb,
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def told(values: list[float]) -> str:
    return "rounds " + " ".join(f"{value:.2f}" for value in values)


def fabricate(folder: Path, number: int) -> None:
    """Write the runs."""
    rng = np.random.default_rng(0)
    pretrainings = max(1, number // 4)
    made_with = environment("cpu")
    for index in range(number):
        seed, method = index % 500, METHODS[index % len(METHODS)]
        if index < pretrainings:
            write_pretraining(folder / f"{method}-small-seed{seed}-{index:08x}", method, seed, made_with, rng)
        else:
            task = TASKS[index % len(TASKS)]
            run = folder / f"{task}-finetune-quick-{method}-seed{seed}-{index:08x}"
            write_judged(run, task, method, seed, made_with, rng)


def write_pretraining(
    folder: Path, method: str, seed: int, made_with: dict[str, object], rng: np.random.Generator
) -> None:
    write_common(folder, {"stage": "pretrain", "recipe": "r", "seed": seed}, made_with, rng)
    card = {
        "method": method,
        "architecture": {"name": "caffenet", "width": 1.0},
        "sha256": rng.bytes(32).hex(),
        "pretraining": learned(method).model_dump(mode="json"),
        "pretraining_seed": seed,
        "code_version": made_with["ssl_bench"],
    }
    (folder / "encoder.json").write_text(json.dumps(card, indent=2))
    (folder / "recipe.yaml").write_text(resolved(recipe_of(method)))
    Image.fromarray(rng.integers(0, 256, (120, 360, 3), dtype=np.uint8)).save(folder / "pictures.png")


def write_judged(
    folder: Path, task: str, method: str, seed: int, made_with: dict[str, object], rng: np.random.Generator
) -> None:
    protocol = protocol_of(task)
    write_common(
        folder, {"stage": "transfer", "protocol": settings_hash(protocol), "seed": seed}, made_with, rng
    )
    (folder / "recipe.yaml").write_text(resolved(protocol))
    (folder / "predictions.npz").touch()
    score = float(rng.uniform(10, 50))
    metric = protocol.main_metric
    write_record(
        folder,
        Record(
            status="done",
            run=folder.name,
            task=task,
            protocol=ProtocolReference.of(protocol),
            dataset=DatasetReference(
                name="VOC2007", train_split="trainval", test_split="test", fingerprint="f" * 64,
                n_train=5011, n_test=4952,
            ),
            encoder=EncoderReference(
                name=f"{method}-small-seed{seed}", method=method, architecture="caffenet width=1",
                sha256=rng.bytes(32).hex(), tap="pool5", source="run", pretraining=learned(method),
            ),
            pretraining_seed=seed,
            transfer_seed=seed,
            main_metric=metric,
            metrics={metric: score},
            per_class={"score": {name: float(rng.uniform(0, 90)) for name in VOC_CLASSES}},
            intervals={metric: Interval(low=score - 1, high=score + 1, level=0.95, resamples=1000)},
            selection=Selection(rule="fixed schedule, nothing chosen"),
            n_evaluated=4952,
            environment=made_with,
            created="2026-01-02T03:04:05+00:00",
        ),
    )  # fmt: skip


def write_common(
    folder: Path, identity: dict[str, object], made_with: dict[str, object], rng: np.random.Generator
) -> None:
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text(json.dumps(identity))
    (folder / "environment.json").write_text(json.dumps(made_with, indent=2))
    losses = [math.exp(-step / 60) + 0.02 * float(rng.standard_normal()) for step in range(POINTS)]
    lines = [json.dumps({"step": step, "lr": 0.01, "loss": loss}) for step, loss in enumerate(losses)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "done").touch()


def learned(method: str) -> PretrainingReference:
    recipe = recipe_of(method)
    return PretrainingReference(
        recipe=recipe.name, recipe_hash=settings_hash(recipe), data_name="photos", data_fingerprint="a" * 64,
        steps=1000, images_seen=64_000, wall_s=300.0, supervision=recipe.supervision,
    )  # fmt: skip


def seconds_to_report(runs: Path, out: Path) -> float:
    words = [sys.executable, "-m", "ssl_bench.cli", "report", "context-encoders-2"]
    began = time.perf_counter()
    subprocess.run([*words, "--runs", str(runs), "--out", str(out)], check=True, capture_output=True)
    return time.perf_counter() - began


def seconds_to_open(page: Path) -> float | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(page.as_uri())
        took = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        browser.close()
    return float(took) / 1000


if __name__ == "__main__":
    main()
