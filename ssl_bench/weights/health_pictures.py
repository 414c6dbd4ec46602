"""The fixed pictures on which an encoder's health is looked at: MiniVOC's scenes, which are synthetic.

They are drawn where they are needed, the same ones on every machine, so that health needs no data. They have edges,
textures, objects and colours enough for a channel to fire on; no score is made from them.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_bench.data.minivoc import render_scene

SEED, SPLIT = 0, "unlabelled"
COUNT = 24  # a ResNet-50 and a random one look at them within ten seconds on two cores
WORDS = "synthetic scenes of MiniVOC"


def synthetic_pictures(size: int, *, count: int = COUNT, bicubic: bool = False) -> Tensor:
    """Draw scenes and bring them to a side of `size` pixels: uint8 RGB (count, 3, size, size).

    Args:
        bicubic: Whether to resize so, instead of bilinearly; as the encoder's preprocessing says.
    """
    resample = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    scenes = (Image.fromarray(render_scene(SEED, SPLIT, index).image) for index in range(count))
    resized = np.stack([np.asarray(scene.resize((size, size), resample)) for scene in scenes])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous()
