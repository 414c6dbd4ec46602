"""A trained inpainting network as a tool: pictures with holes in, completed pictures out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.files import CARD_FILE, EncoderCard, misfits, read_card
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.pretexts.inpainting import GENERATOR, Inpainting, completed
from ssl_bench.pretexts.inpainting_networks import IMAGE_SIZE, PATCH_SIZE
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipe_schemas import InpaintingSettings, PretrainRecipe
from ssl_bench.recipes import read_yaml, validated

RECIPE_FILE = "recipe.yaml"
GENERATOR_FILE = f"{GENERATOR}.safetensors"
BATCH = 32


class Inpainter:
    """Paints at 128 pixels, in evaluation mode and fp32.

    Attributes:
        card: What its encoder is and how it was learned.
        sha256: `weights_hash` of the generator.
        hole: The square that a network of patches has learned to paint, as rows and columns; None where the
            whole image is painted and any pixels may be removed.
    """

    def __init__(self, pretext: Inpainting, card: EncoderCard) -> None:
        self.pretext, self.card = pretext.eval(), card
        self.sha256 = weights_hash(pretext.generator)
        self.hole: slice | None = None
        if pretext.settings.paints == "patch":
            start = (IMAGE_SIZE - PATCH_SIZE) // 2
            band = pretext.settings.mask.overlap
            self.hole = slice(start + band, start + PATCH_SIZE - band)

    def to(self, device: torch.device) -> Inpainter:
        """Move to a device."""
        self.pretext = self.pretext.to(device)
        return self

    def central_hole(self) -> np.ndarray:
        """The central square that its training (or, of whole images, the paper) removes: uint8 (128, 128)."""
        removed = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        hole = self.hole or slice(IMAGE_SIZE // 4, 3 * IMAGE_SIZE // 4)
        removed[hole, hole] = 1
        return removed

    @torch.inference_mode()
    def paint(self, pictures: np.ndarray, removed: np.ndarray) -> np.ndarray:
        """Paint the patch (central, 64 x 64) or the whole image.

        Args:
            pictures: uint8, (N, 3, 128, 128).
            removed: uint8, (N, 1, 128, 128) or (1, 1, 128, 128).

        Returns:
            Pixels in [0, 1], float32, (N, 3, 64, 64) or (N, 3, 128, 128), not rounded.
        """
        found = []
        for images, holes in self._batches(pictures, removed):
            painted = self.pretext.paint(self.pretext.encoder.preprocessing.normalise(images), holes)
            found.append(((painted + 1) / 2).clamp(0, 1).cpu().numpy())
        return np.concatenate(found)

    @torch.inference_mode()
    def complete(self, pictures: np.ndarray, removed: np.ndarray) -> np.ndarray:
        """Put the painting where pixels were removed and keep the others: uint8, (N, 3, 128, 128)."""
        found = []
        for images, holes in self._batches(pictures, removed):
            preprocessing = self.pretext.encoder.preprocessing
            normalised = preprocessing.normalise(images)
            painted = self.pretext.paint(normalised, holes)
            corners = None
            if self.hole is not None:
                corners = torch.full((len(images), 2), (IMAGE_SIZE - PATCH_SIZE) // 2)
            found.append(preprocessing.restore(completed(normalised, painted, holes, corners)).cpu().numpy())
        return np.concatenate(found)

    @torch.inference_mode()
    def features(self, pictures: np.ndarray, removed: np.ndarray) -> np.ndarray:
        """Compute the units in the middle from what is visible, float32 (N, D)."""
        found = []
        for images, holes in self._batches(pictures, removed):
            seen = self.pretext.with_hole(self.pretext.encoder.preprocessing.normalise(images), holes)
            found.append(self.pretext.generator.units(seen).float().cpu().numpy())
        return np.concatenate(found)

    def _batches(self, pictures: np.ndarray, removed: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor]]:
        device = next(self.pretext.parameters()).device
        holes = np.broadcast_to(removed, (len(pictures), 1, IMAGE_SIZE, IMAGE_SIZE))
        return [
            (
                torch.from_numpy(np.ascontiguousarray(pictures[start : start + BATCH])).to(device),
                torch.from_numpy(holes[start : start + BATCH].copy()).to(device).float(),
            )
            for start in range(0, len(pictures), BATCH)
        ]


def load_inpainter(folder: Path) -> Inpainter:
    """Load the generator of a finished inpainting run and prove that it is that run's.

    Raises:
        UserError: No such run, one that learned something else, or weights that do not fit its recipe or card.
    """
    if not (folder / CARD_FILE).is_file():
        raise UserError(
            f"{folder}: no finished run ({CARD_FILE} is missing). Give the folder of an inpainting run, e.g. one "
            "made by `ssl-bench pretrain inpainting-mini`."
        )
    card = read_card(folder / CARD_FILE)
    recipe = validated(PretrainRecipe, read_yaml(folder / RECIPE_FILE), f"{folder / RECIPE_FILE}")
    if not isinstance(recipe.pretext, InpaintingSettings):
        raise UserError(
            f"{folder} learned by {recipe.pretext.method}, which paints no pictures at 128 px; give a run of an "
            "inpainting recipe (`ssl-bench ls recipes`)"
        )
    encoder = build_encoder(card.architecture, input_size=card.preprocessing.size)
    pretext = build_pretext(recipe, encoder)
    assert isinstance(pretext, Inpainting)
    path = folder / GENERATOR_FILE
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as a generator ({error}). Learn it again.") from error
    wrong = misfits(tensors, pretext.generator.state_dict())
    if wrong:
        settings = recipe.pretext
        raise UserError(
            f"{path}: not the {settings.generator} generator that paints the {settings.paints} with "
            f"{settings.units} units, which {RECIPE_FILE} names: {len(wrong)} tensors differ "
            f"({'; '.join(sorted(wrong)[:3])})"
        )
    pretext.generator.load_state_dict(tensors, strict=True)
    if weights_hash(pretext.encoder) != card.sha256:
        raise UserError(
            f"{path}: its encoder is not the one that {CARD_FILE} describes; one file was replaced"
        )
    return Inpainter(pretext, card)
