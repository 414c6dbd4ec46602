"""Position embeddings for another number of patches, by timm's own resampling.

Learned (or fixed sine-cosine) positions form a square of cells, behind the positions of class and register
tokens. For other images or patches the square is resampled, bicubic with antialiasing, as timm does on loading
(`timm.layers.resample_abs_pos_embed`); the tokens in front stay as they are. It is a change of the weights, so
whoever does it says so, with the words that come back.
"""

from __future__ import annotations

import math

from torch import Tensor

from ssl_bench.errors import UserError

POSITION_EMBEDDINGS = ("pos_embed",)
# Tokens in front of the patches, most usual first: a class token, none, and registers with and without one.
USUAL_PREFIXES = (1, 0, *range(2, 18))


def resized_position_embedding(
    stored: Tensor, wanted_shape: tuple[int, ...], *, prefix_tokens: int | None = None
) -> tuple[Tensor, str]:
    """Resample position embeddings to another square of cells.

    Args:
        stored: (1, prefix + side^2, D).
        wanted_shape: The same with another side.
        prefix_tokens: Tokens in front that have a position; by default what makes both numbers of cells squares.

    Returns:
        Positions of the wanted shape, float32 if they were resampled, and what happened, in words.

    Raises:
        UserError: The widths differ, or the cells are no squares.
    """
    if stored.ndim != 3 or len(wanted_shape) != 3 or stored.shape[0] != 1 or wanted_shape[0] != 1:
        raise UserError(
            f"position embeddings of shape {tuple(stored.shape)} cannot become {tuple(wanted_shape)}: "
            "both must be (1, tokens, channels)"
        )
    if stored.shape[2] != wanted_shape[2]:
        raise UserError(
            f"position embeddings have {stored.shape[2]} channels, the architecture wants {wanted_shape[2]}: "
            "this is another network; name the architecture that the file was trained with"
        )
    prefix, before, after = _squares(stored.shape[1], wanted_shape[1], prefix_tokens)
    if before == after:
        return stored, f"position embeddings of {before} x {before} cells, as stored"
    from timm.layers import (
        resample_abs_pos_embed,  # timm takes seconds to import; most files need no resampling
    )

    resized = resample_abs_pos_embed(
        stored.float(),
        new_size=[after, after],
        old_size=[before, before],
        num_prefix_tokens=prefix,
        interpolation="bicubic",
        antialias=True,
    )
    return resized, f"position embeddings from {before} x {before} to {after} x {after} cells, bicubic"


def _squares(stored: int, wanted: int, prefix: int | None) -> tuple[int, int, int]:
    """Find the tokens in front and the sides of both squares of cells."""
    for tokens in USUAL_PREFIXES if prefix is None else (prefix,):
        before, after = math.isqrt(max(stored - tokens, 0)), math.isqrt(max(wanted - tokens, 0))
        if before > 0 and after > 0 and before**2 == stored - tokens and after**2 == wanted - tokens:
            return tokens, before, after
    behind = "" if prefix is None else f" behind {prefix} token{'s' * (prefix != 1)}"
    raise UserError(
        f"{stored} position embeddings cannot become {wanted}: they are no squares of cells{behind} with the same "
        "tokens in front. Give a square img_size, and an architecture with the same class and register tokens."
    )
