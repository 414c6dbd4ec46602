"""Which sizes of images an encoder takes."""

from __future__ import annotations

from ssl_bench.encoders.contract import Encoder
from ssl_bench.errors import UserError


def check_size(encoder: Encoder, size: int) -> None:
    """Stop where an encoder does not take images of the recipe's size, and say which it takes."""
    tap = encoder.last_tap
    try:
        encoder.map_size(tap, size)
    except UserError as error:
        stride = encoder.taps[tap].stride
        near = [
            number
            for number in (size // stride * stride, -(-size // stride) * stride)
            if _takes(encoder, number)
        ]
        words = f" (input.size={' or input.size='.join(map(str, near))} would do)" if near else ""
        raise UserError(f"input.size = {size}: {error}{words}") from error


def _takes(encoder: Encoder, size: int) -> bool:
    try:
        return size > 0 and encoder.map_size(encoder.last_tap, size) > 0
    except UserError:
        return False
