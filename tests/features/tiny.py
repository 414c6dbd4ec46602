"""A network of a few channels, drawn pictures and settings, with which an extraction takes a moment."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ssl_bench.data.labelled import LabelledImages
from ssl_bench.encoders.caffenet import CaffeNet
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.features.extraction import Extraction, extract
from ssl_bench.features.store import FeatureStore
from ssl_bench.probe_schemas import FeatureSettings

CPU = torch.device("cpu")
SIZE = 67  # conv1 15, conv5 3 cells
TAPS = {
    "conv1": {"kind": "average", "kernel": 5, "stride": 5, "padding": 0},
    "conv3": {"kind": "map"},
    "conv5": {"kind": "mean"},
}


def picture(number: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A PNG of noise that depends on the number."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def drawn_images(count: int, *, broken: Sequence[int] = (), split: str = "train") -> LabelledImages:
    """So many pictures; `broken` ones are no pictures."""
    content = [b"nothing" if number in broken else picture(number) for number in range(count)]
    return LabelledImages(
        set_name="drawn",
        split=split,
        fingerprint="f1" * 32,
        synthetic=True,
        names=tuple(f"picture{number}" for number in range(count)),
        labels=np.random.default_rng(0).integers(-1, 2, (count, 3)).astype(np.int8),
        classes=("a", "b", "c"),
        read=content.__getitem__,
    )


def settings(**changes: object) -> FeatureSettings:
    """The three taps of `TAPS`, squashed; `taps` and `only` may be given as well as the fields."""
    taps = changes.pop("taps", TAPS)
    return FeatureSettings.model_validate(
        {
            "fit": "squash",
            "short_side": None,
            "only": None,
            "precision": "fp32",
            "networks": {"caffenet": {"size": SIZE, "taps": taps}},
            **changes,
        }
    )


def tiny_encoder(seed: int = 0) -> CaffeNet:
    encoder = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=SIZE, init="kaiming", seed=seed)
    assert isinstance(encoder, CaffeNet)
    return encoder


def extracted(
    root: Path,
    images: LabelledImages,
    wanted: FeatureSettings | None = None,
    *,
    encoder: Encoder | None = None,
    threads: int | None = None,
) -> Extraction:
    """Extract into the store at `root`."""
    return extract(
        encoder or tiny_encoder(),
        images,
        wanted or settings(),
        store=FeatureStore(root),
        device=CPU,
        threads=threads,
    )


def contents(extraction: Extraction) -> dict[str, bytes]:
    return {tap: found.values.tobytes() for tap, found in extraction.taps.items()}
