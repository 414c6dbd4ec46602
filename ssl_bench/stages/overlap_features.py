"""An encoder's pooled features as the embedding of near-duplicates, instead of the colour layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.near_duplicates import Signatures, Vectors, unit_rows
from ssl_bench.engine.processes import Processes
from ssl_bench.progress import counted
from ssl_bench.stages.named_encoders import NamedEncoder
from ssl_bench.stages.overlap_sets import ComparedSet

BATCH = 32


@dataclass(frozen=True)
class FeatureRows:
    """Features that are in memory; `mirrored` may be missing, since only one of two sets is mirrored."""

    plain: np.ndarray
    turned: np.ndarray | None = None

    def rows(self, start: int, stop: int, *, mirrored: bool = False) -> np.ndarray:
        """float32 (stop - start, D), of unit norm."""
        chosen = self.turned if mirrored else self.plain
        assert chosen is not None, "only B is mirrored"
        return chosen[start:stop]


def pooled_vectors(
    encoder: NamedEncoder, a: tuple[ComparedSet, Signatures], b: tuple[ComparedSet, Signatures], device: str
) -> dict[str, Vectors]:
    """Pooled features of A, and of B with its mirror images, as `find_overlap` takes them.

    The mean feature of A is taken off all of them: rectified features share so much that without it every cosine is
    near one. Pictures are squeezed to the square that the encoder was trained at, so that no part is left out.
    """
    place = Processes(device).device
    of_a = _features(encoder, *a, place, mirrored=False)
    mean = of_a.mean(0, keepdims=True) if len(of_a) else 0
    plain, turned = (
        unit_rows(_features(encoder, *b, place, mirrored=mirrored) - mean) for mirrored in (False, True)
    )
    return {"vectors_a": FeatureRows(unit_rows(of_a - mean)), "vectors_b": FeatureRows(plain, turned)}


@torch.inference_mode()
def _features(
    named: NamedEncoder,
    compared: ComparedSet,
    signatures: Signatures,
    device: torch.device,
    *,
    mirrored: bool,
) -> np.ndarray:
    encoder = named.encoder.eval().to(device)
    size = encoder.preprocessing.size
    found = []
    with counted(f"features of {compared.name}{' mirrored' if mirrored else ''}") as tell:
        for start in range(0, len(signatures), BATCH):
            batch = [
                _picture(compared, int(place), size, mirrored)
                for place in signatures.places[start : start + BATCH]
            ]
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(device)
            found.append(encoder.pooled(encoder.preprocessing.normalise(pixels)).float().cpu().numpy())
            tell(start + len(batch), len(signatures))
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def _picture(compared: ComparedSet, place: int, size: int, mirrored: bool) -> np.ndarray:
    photos = compared.photos
    image = read_rgb(photos.read(place), name=photos.names[place], draft=size)
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)[:, ::-1] if mirrored else np.asarray(image)
