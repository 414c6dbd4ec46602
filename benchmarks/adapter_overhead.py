"""The forward pass through our adapter against the library's own network: what the Encoder contract costs.

    python benchmarks/adapter_overhead.py [timm:resnet50d ...] [--json FILE]

Both sides hold the same tensors and compute the deepest maps of the same images, in turns in one process, the order
changing from pass to pass; the bare side is `forward_features` of timm (without a convolution that the classifier
alone sees) and `features` of torchvision. The figure is the median of the rounds' ratios, and the bar is 1.02. On a
processor a side's time is the process's own, which waiting for a turn is no part of. A round is as many passes as take
about half a second on either side, one of each side after another, so that both meet the same neighbours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import other_load, refuse_if_busy

from ssl_bench.encoders.adopted import network_of
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.registry import build_encoder

USUAL = (
    "timm:resnet26d",
    "timm:convnext_tiny",
    "timm:vit_small_patch16_224",
    "timm:mobilenetv3_small_050",
    "torchvision:alexnet",
    "torchvision:mobilenet_v2",
)
ROUND_S = 0.5
BAR = 1.02


def bare(encoder: Encoder) -> Callable[[torch.Tensor], Any]:
    """The library's own way from images to the same depth."""
    network = network_of(encoder)
    if str(encoder.architecture["name"]).startswith("torchvision:"):
        return network.features
    if hasattr(network, "conv_head"):  # not in the maps: classifiers alone use it
        return lambda images: network.blocks(network.bn1(network.conv_stem(images)))
    return network.forward_features


def measured(name: str, *, batch: int, size: int, device: str, rounds: int) -> dict[str, Any]:
    """Milliseconds an image on both sides, and the ratios of the rounds."""
    encoder = build_encoder({"name": name}).to(device).eval()
    images = torch.randn(batch, 3, size, size, device=device)
    sides: dict[str, Callable[[torch.Tensor], Any]] = {"adapter": encoder, "bare": bare(encoder)}

    clock = time.process_time if device == "cpu" else time.perf_counter

    def seconds(compute: Callable[[torch.Tensor], Any]) -> float:
        started = clock()
        compute(images)
        if device != "cpu":
            torch.cuda.synchronize()
        return clock() - started

    def in_turns(passes: int) -> dict[str, float]:
        total = dict.fromkeys(sides, 0.0)
        for number in range(passes):
            for side in list(sides) if number % 2 == 0 else list(reversed(sides)):
                total[side] += seconds(sides[side]) / passes
        return total

    first = in_turns(2)  # kernels are chosen and memory is allocated
    passes = 2 * max(1, round(ROUND_S / 2 / first["bare"]))
    times = [in_turns(passes) for _ in range(rounds)]
    ratios = [one["adapter"] / one["bare"] for one in times]
    per_image = {side: 1000 * statistics.median(one[side] for one in times) / batch for side in sides}
    return {"name": name, **per_image, "ratio": statistics.median(ratios), "rounds": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=USUAL)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine, for a first look")
    arguments = parser.parse_args()

    load = other_load() if arguments.anyway else refuse_if_busy()
    print(f"batches of {arguments.batch} of {arguments.size} px, {arguments.device}, bar {BAR}")
    print(f"{'network':32} {'bare ms/image':>14} {'adapter':>9} {'ratio':>7}  rounds")
    rows = []
    with torch.inference_mode():
        for name in arguments.names:
            row = measured(
                name,
                batch=arguments.batch,
                size=arguments.size,
                device=arguments.device,
                rounds=arguments.rounds,
            )
            rows.append(row)
            spread = f"{min(row['rounds']):.3f} to {max(row['rounds']):.3f}"
            print(f"{name:32} {row['bare']:14.2f} {row['adapter']:9.2f} {row['ratio']:7.3f}  {spread}")
    if arguments.json:
        about = {"load": load, "torch": torch.__version__, "threads": torch.get_num_threads(), "bar": BAR}
        arguments.json.write_text(json.dumps({**about, "networks": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
