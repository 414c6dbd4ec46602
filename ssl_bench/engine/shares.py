"""A mean over a batch that several processes share.

Gradients are averaged over processes. That is the gradient of the whole batch where a loss is a mean over images, of
which each process has as many. A loss that is divided by what is counted in the batch, as pixels that were removed,
has to be divided by what is counted in the batches of all: `over_processes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_TOGETHER: ContextVar[bool] = ContextVar("one batch of all processes", default=False)


@contextmanager
def one_batch_of_all(together: bool) -> Iterator[None]:
    """Within the block the batches of all processes are one (`together`), or each is one of its own."""
    token = _TOGETHER.set(together)
    try:
        yield
    finally:
        _TOGETHER.reset(token)


def over_processes(count: Tensor) -> Tensor:
    """Average a count, by which a loss is divided, over the processes that share a batch; alone it stays as it is.

    Every process has to come here equally often.
    """
    if not _TOGETHER.get():
        return count
    total = count.detach().float()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
