"""What one training step of a recipe takes, counted and not timed: operations, parameters, states, activations.

The recipe's own modules take one real step of few images on the CPU, in the training loop's own code, under counters.
Operations are those of convolutions and matrix products, forward and backward (two a multiplication and addition);
everything else, normalisation and the optimiser among it, is bound by memory and not in the sum. Activations are the
tensors that automatic differentiation keeps for the backward pass: what a step needs beside weights and states, but for
the workspace of single operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.encoders.unreached import leave_out_unreached
from ssl_bench.engine.loading import Batch, collate
from ssl_bench.engine.optimisation import build_optimizer
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import take_step
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.recipe_schemas import PretrainRecipe

COUNTED_IMAGES = 4  # batch normalisation needs two in each turn of a pretext that turns every n-th image
CLASSES = 1000  # of the supervised control: ImageNet's


@dataclass(frozen=True, kw_only=True)
class StepCounts:
    """Counts of one step.

    Attributes:
        convolution_flops, product_flops: An image, forward and backward, of every player.
        parameters, learning: Numbers of weights, and of those that learn.
        gradient_bytes: What processes exchange in a step.
        optimizer_bytes: The optimisers' states.
        checkpoint_bytes: One checkpoint: weights, buffers and states.
        encoder_bytes, kept_bytes: Files that stay: the encoder's, and those of other parts.
        activation_bytes: An image, kept for the backward pass, summed over the players.
        cast_bytes: Kept beside it whatever the number of images.
        operations: Calls that a step hands to a device one after the other, the optimisers' among them.
        batch_bytes: An image with all that the pretext drew for it, as a loader hands it over.
    """

    convolution_flops: float
    product_flops: float
    parameters: int
    learning: int
    gradient_bytes: int
    optimizer_bytes: int
    checkpoint_bytes: int
    encoder_bytes: int
    kept_bytes: int
    activation_bytes: float
    cast_bytes: float
    batch_bytes: float
    operations: int

    @property
    def flops(self) -> float:
        """Operations of an image."""
        return self.convolution_flops + self.product_flops

    def as_json(self) -> dict[str, float]:
        """The counts by name, with their sum of operations."""
        return {**asdict(self), "flops": self.flops}


def built(recipe: PretrainRecipe, *, seed: int = 0) -> Pretext:
    """Build a recipe's network with fresh weights; shapes of regions are drawn, and a label is one of `CLASSES`."""
    encoder = fresh_encoder(
        recipe.encoder.architecture, input_size=recipe.input.size, init=recipe.encoder.init, seed=seed
    )
    leave_out_unreached(encoder, encoder.last_tap, recipe.input.size)
    torch.manual_seed(seed)
    return build_pretext(recipe, encoder, classes=CLASSES).to(memory_format=torch.channels_last)


def synthetic_batch(recipe: PretrainRecipe, pretext: Pretext, count: int) -> Batch:
    """Make a batch of random pixels of the recipe's size, with everything that a loader would add."""
    rng = np.random.default_rng(0)
    size = recipe.input.size
    samples: list[dict[str, Any]] = []
    for index in range(count):
        sample: dict[str, Any] = {"image": rng.integers(0, 256, (3, size, size), dtype=np.uint8)}
        sample.update(pretext.draw(rng))
        if recipe.images == "labelled":
            sample["label"] = np.int64(rng.integers(CLASSES))
        samples.append({**sample, "index": index, "broken": ()})
    return collate(samples)


def count_step(recipe: PretrainRecipe) -> StepCounts:
    """Count one step of a recipe, by taking one of `COUNTED_IMAGES` images."""
    pretext = built(recipe)
    players = pretext.players()
    optimizers = [build_optimizer(player.parts, player.optimizer) for player in players]
    batch = synthetic_batch(recipe, pretext, COUNTED_IMAGES)
    schedule = recipe.schedule.model_copy(update={"accumulate": 1})
    processes = Processes("cpu")
    pretext.train()

    def kept_of(batch: Batch) -> int:
        kept = KeptForBackward(pretext)
        with kept.counting():
            take_step(pretext, players, optimizers, batch, schedule, 0, processes, recipe.precision, 0)
        return kept.bytes

    backward = {torch.ops.aten.convolution_backward: convolution_backward_flops}
    with _Calls() as calls, FlopCounterMode(display=False, custom_mapping=backward) as counter:
        few = kept_of(batch)
    # Weights that autocast brings to bfloat16 are kept as well, once and not an image: only the growth is an image's.
    an_image = (kept_of(synthetic_batch(recipe, pretext, 2 * COUNTED_IMAGES)) - few) / COUNTED_IMAGES
    by_operation = counter.get_flop_counts()["Global"]
    convolutions = sum(n for name, n in by_operation.items() if "convolution" in str(name))
    flops = sum(by_operation.values())
    states = sum(_bytes(optimizer.state_dict()["state"]) for optimizer in optimizers)
    return StepCounts(
        convolution_flops=convolutions / COUNTED_IMAGES,
        product_flops=(flops - convolutions) / COUNTED_IMAGES,
        parameters=sum(parameter.numel() for parameter in pretext.parameters()),
        learning=sum(parameter.numel() for parameter in pretext.parameters() if parameter.requires_grad),
        gradient_bytes=sum(_size(parameter) for parameter in pretext.parameters() if parameter.requires_grad),
        optimizer_bytes=states,
        checkpoint_bytes=_bytes(pretext.state_dict()) + states,
        encoder_bytes=_bytes(pretext.encoder.state_dict()),
        kept_bytes=sum(_bytes(module.state_dict()) for module in pretext.kept().values()),
        activation_bytes=an_image,
        cast_bytes=max(0.0, few - an_image * COUNTED_IMAGES),
        operations=calls.number,
        batch_bytes=_bytes({k: v for k, v in batch.items() if isinstance(v, Tensor)}) / COUNTED_IMAGES,
    )


def convolution_backward_flops(
    grad_shape: Sequence[int],
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """Operations of a convolution's backward pass: those of its forward pass for each gradient that is asked for.

    PyTorch's own formula (2.15) counts the gradient of grouped weights once for every group.
    """
    places = math.prod((input_shape if transposed else grad_shape)[2:])
    return 2 * input_shape[0] * places * math.prod(weight_shape) * sum(output_mask[:2])


class _Calls(TorchDispatchMode):
    """Counts the operations that are called within a block."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


class KeptForBackward:
    """Adds up the storages that are kept for the backward pass, each once a forward pass, weights left out."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.bytes = module, 0
        self.weights = {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}
        self.seen: set[int] = set()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """The context in which a step is taken."""
        # What the backward pass of one player gave back may lie at the same address in the forward pass of the next.
        begins = self.module.register_forward_pre_hook(lambda *_: self.seen.clear())
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor):
                yield
        finally:
            begins.remove()

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights | self.seen:
            self.seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _bytes(state: Any) -> int:
    """Bytes of all tensors in nested mappings."""
    if isinstance(state, Tensor):
        return _size(state)
    return sum(_bytes(value) for value in state.values()) if isinstance(state, Mapping) else 0
