"""The pretext tasks that can be built from a recipe."""

from __future__ import annotations

from ssl_bench.encoders.contract import Encoder
from ssl_bench.pretexts.context_encoder import ContextEncoder
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.pretexts.inpainting import Inpainting
from ssl_bench.pretexts.masks import DrawShape, drawn_shape
from ssl_bench.pretexts.rotation import Rotation
from ssl_bench.pretexts.supervised import Supervised
from ssl_bench.recipe_schemas import (
    ContextEncoderSettings,
    InpaintingSettings,
    PretrainRecipe,
    RotationSettings,
    SupervisedSettings,
)


def build_pretext(
    recipe: PretrainRecipe,
    encoder: Encoder,
    *,
    classes: int | None = None,
    draw_shape: DrawShape = drawn_shape,
) -> Pretext:
    """Build the pretext that a recipe asks for.

    Args:
        classes: Number of classes of the labelled set; for the supervised control.
        draw_shape: Where random regions take their shapes from; for the methods that inpaint.
    """
    settings, size = recipe.pretext, recipe.input.size
    if isinstance(settings, ContextEncoderSettings):
        return ContextEncoder(encoder, settings, recipe.optimizer, size=size, draw_shape=draw_shape)
    if isinstance(settings, InpaintingSettings):
        width = recipe.encoder.width
        return Inpainting(encoder, settings, recipe.optimizer, width=width, draw_shape=draw_shape)
    if isinstance(settings, RotationSettings):
        return Rotation(encoder, settings, recipe.optimizer, size=size)
    assert isinstance(settings, SupervisedSettings)
    assert classes is not None
    return Supervised(encoder, settings, recipe.optimizer, size=size, classes=classes)
