"""What to do when memory is short: compute a batch in more parts, whose gradients are averaged.

The batch that a step learns from stays what it was, and so does the schedule. Where a network normalises by the
statistics of a batch these are of the parts from then on, and dropout draws anew; records say in how many parts a batch
was computed. Losses that are weighted within a batch (by objects, by pixels) are weighted within its parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

# How allocators outside of CUDA say it; they raise a plain RuntimeError.
MESSAGES = ("can't allocate memory", "not enough memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in MESSAGES)


def fewest_images(module: nn.Module) -> int:
    """How many images a part must have: batch normalisation needs two."""
    return 2 if any(isinstance(layer, _BatchNorm) and layer.training for layer in module.modules()) else 1


@dataclass
class Parts:
    """In how many parts a batch is computed; `since` is the step at which memory first was short."""

    count: int
    since: int | None = None

    def doubled(self, batch_size: int, fewest: int) -> bool:
        """Halve the parts of a batch of so many images; False where that cannot be."""
        if batch_size % (2 * self.count) or batch_size // (2 * self.count) < fewest:
            return False
        self.count *= 2
        return True


def give_back_cached() -> None:
    """Return what the CUDA allocator keeps in blocks that were cut for larger parts."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
