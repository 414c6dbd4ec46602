"""Class folders of drawn colours, and linear heads on a tiny network, for tests of everything that fits them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.linear_heads import LinearHeads, LinearHeadsJudge
from ssl_bench.recipes import load_protocol

COLORS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (220, 30, 30)}
SMALL = ["settings.input.size=64", "settings.test_short_side=72", "settings.input.resize.least=72"]
SMALL += ["settings.input.resize.most=72", "schedule.batch_size=6", "schedule.steps=12"]
TINY = {"name": "caffenet", "width": 0.05}


def draw_folders(path: Path, *, each: int = 6, seed: int = 0) -> Path:
    """A zip of class folders whose classes are colours: separable by one linear layer."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "val"):
            for name, color in COLORS.items():
                for number in range(each):
                    pixels = np.clip(rng.normal(color, 30, (80, 100, 3)), 0, 255).astype(np.uint8)
                    buffer = BytesIO()
                    Image.fromarray(pixels).save(buffer, "PNG")
                    archive.writestr(f"{split}/{name}/{number}.png", buffer.getvalue())
    return path


def drawn(*more: str, name: str = "linear-heads-quick") -> Protocol:
    return load_protocol(name, [*SMALL, *more])


def built(protocol: Protocol, architecture: Mapping[str, Any] = TINY) -> LinearHeads:
    encoder = fresh_encoder(dict(architecture), input_size=64, init="kaiming", seed=0)
    torch.manual_seed(0)
    return LinearHeadsJudge().build(encoder, protocol, tuple(COLORS))


def pictures(count: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)
