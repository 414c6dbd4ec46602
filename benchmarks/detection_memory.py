"""Memory of detecting on more and more images: it must not grow with them, but for the detections kept.

    python benchmarks/detection_memory.py [--images 50 100 200 400]

A fresh process for each number of MiniVOC's test images, with Fast R-CNN's quick form on a random CaffeNet. Boxes
proposed are random: what is measured is the loop. Anonymous memory above the imports' baseline, at its highest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import torch
from measuring import refuse_if_busy, rss_anon_mb

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ssl_bench.data.proposals import Proposals
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import evaluation_batches
from ssl_bench.protocols.region_detection import RegionDetectionJudge
from ssl_bench.protocols.region_samples import ProposedSet
from ssl_bench.recipes import load_protocol
from ssl_bench.stages.datasets import minivoc

PROTOCOL = "voc07-det-fast-rcnn-40k-quick"
BOXES = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--apart", type=int, help="only this many images, in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.apart:
        print(json.dumps(detect(arguments.apart)))
        return
    refuse_if_busy()
    for count in arguments.images:
        command = [sys.executable, __file__, "--apart", str(count)]
        peak, kept = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{count:5} images   peak {peak:6.0f} MiB above the imports   detections kept {kept:6.1f} MiB")


def detect(count: int) -> tuple[float, float]:
    """Detect on `count` images; return the highest anonymous memory and that of the detections, in MiB."""
    before, peak, done = rss_anon_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, rss_anon_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    devkit, protocol, judge = minivoc(), load_protocol(PROTOCOL), RegionDetectionJudge()
    rng = np.random.default_rng(0)
    boxes = {}
    for image_id in devkit.image_ids("test"):
        corner = rng.uniform(0, 60, (BOXES, 2))
        boxes[image_id] = np.concatenate([corner, corner + rng.uniform(8, 60, (BOXES, 2))], axis=1)
    images = ProposedSet(devkit, {"test": Proposals.of(boxes, "random")})
    model = judge.build(
        fresh_encoder({"name": "caffenet", "width": 1.0}, input_size=128, init="kaiming", seed=0), protocol
    ).eval()
    samples = judge.test_samples(images, "test", protocol, count)
    found = []
    with torch.inference_mode():
        for batch in evaluation_batches(samples, batch_size=1, seed=0, workers=0):
            found += model.predict(batch)
    done.set()
    watcher.join()
    kept = sum(value.nbytes for prediction in found for value in prediction.values())
    return peak - before, kept / 2**20


if __name__ == "__main__":
    main()
