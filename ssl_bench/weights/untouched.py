"""Whether an encoder is an initialisation that nobody trained, told from its weights alone.

The commonest failure of transfer experiments is a checkpoint that did not load: random features get into the table.
Certain signs of training come first: statistics of batch normalisation that have seen pictures, scales of
normalisation that are not constant, biases that are neither constant nor drawn as PyTorch draws them. What is left,
networks without normalisation or bias above all, is decided by whether weights look like independent draws. The
verdict is that of the weakest evidence: an encoder is untouched only if every tensor may be.

Not recognised as untouched, because their initialisations depend on data or carry structure: data-dependent
initialisations, and the convolution-like ones of some vision transformers (ConViT). Taken for untouched: a network
without biases and normalisation, drawn from normal distributions, after so few or so small steps that no filter stands
out of the noise that it started from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_bench.weights.independent_draws import (
    FEWEST_ENTRIES,
    NOT_FINITE,
    ROUNDING,
    SIGMAS,
    shape_of,
    unlike_draws,
)

SCALES = ("weight", "gamma", "scale", "gain", "g")  # how names of scales of one value a channel end
# Buffers that hold no weights: statistics, judged by themselves, and tables computed from coordinates.
COMPUTED = ("running_mean", "running_var", "relative_coords_table", "attn_mask", "inv_freq", "freqs_cis")
COUNTER = "num_batches_tracked"
# N(0, 1e-6), the biases of a transformer's MLPs in the original code of the Vision Transformer; N(1, 0.02), the
# scales of batch normalisation in Radford et al., arXiv:1511.06434, section 4.
TINY_BIAS = (0.0, 1e-6)
DCGAN_SCALE = (1.0, 0.02)


@dataclass(frozen=True)
class Untouched:
    """Whether an encoder looks like an initialisation.

    Attributes:
        verdict: True if every tensor looks as it is initialised.
        reasons: What shows training, by tensor, the surest first; or what makes it look untouched.
        layers: For every layer (a name without its last part) whether all of its tensors look initialised.
    """

    verdict: bool
    reasons: tuple[str, ...]
    layers: Mapping[str, bool]

    @property
    def n_untouched(self) -> int:
        """The number of layers that look initialised."""
        return sum(self.layers.values())


@torch.no_grad()
def looks_untouched(tensors: Mapping[str, Tensor]) -> Untouched:
    """Decide whether weights are those of an initialisation.

    Args:
        tensors: An encoder's parameters and buffers by name; they may be memory maps, of which parts are read.
    """
    sure: list[str] = []
    likely: list[str] = []
    layers: dict[str, bool] = {}
    for name, tensor in tensors.items():
        sign = certain_sign(name, tensor, tensors)
        doubt = None if sign else _doubt(name, tensor)
        if sign:
            sure.append(f"{name}: {sign}")
        if doubt:
            likely.append(f"{name}: {doubt}")
        layer = name.rpartition(".")[0] or name
        layers[layer] = layers.get(layer, True) and not (sign or doubt)
    if sure or likely:
        return Untouched(False, (*sure, *likely), layers)
    if not tensors:
        return Untouched(False, ("there are no tensors",), layers)
    return Untouched(True, _as_initialised(tensors), layers)


def certain_sign(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> str | None:
    """Say what in a tensor only training leaves behind, None if nothing.

    Args:
        tensors: All of the encoder's, since what a bias may be depends on the weight beside it.
    """
    layer, _, last = name.rpartition(".")
    if last == COUNTER:
        return f"normalised {int(tensor.max())} batches in training" if bool((tensor > 0).any()) else None
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return None
    if last in ("running_mean", "running_var"):
        return (
            None if bool((tensor == (last == "running_var")).all()) else "statistics of pictures it has seen"
        )
    if _is_constant(tensor):
        return None
    if tensor.ndim == 1 and not bool(torch.isfinite(tensor).all()):
        return NOT_FINITE
    if tensor.ndim == 1 and "bias" in last:
        weight = tensors.get(f"{layer}.{last.replace('bias', 'weight')}".lstrip("."))
        return _sign_in_bias(tensor, weight)
    if tensor.squeeze().ndim != 1 or not _is_scale(last):
        return None
    as_dcgan = f"{layer}.running_mean" in tensors and _drawn(tensor, DCGAN_SCALE)
    return None if as_dcgan else "a scale of normalisation that differs by channel"


def _sign_in_bias(bias: Tensor, weight: Tensor | None) -> str | None:
    """Judge a bias that is not constant: PyTorch draws it uniformly within +-1/sqrt(fan-in) of its weight."""
    if weight is not None and weight.ndim > 1:
        values = bias.detach().float()
        largest = float(values.abs().max()) * math.sqrt(math.prod(weight.shape[1:]))
        # The largest of n uniform values is below exp(-16 / n) of their bound once in e^16.
        fills = math.exp(-16 / len(values)) <= largest <= ROUNDING
        if fills and (len(values) < FEWEST_ENTRIES or shape_of(values) == "uniform"):
            return None
    if _drawn(bias, TINY_BIAS):
        return None
    return "a bias that is neither constant nor as PyTorch draws it"


def _drawn(tensor: Tensor, normal: tuple[float, float]) -> bool:
    """Whether values may be draws of a normal distribution of a known mean and standard deviation."""
    mean, std = normal
    values = (tensor.detach().float().reshape(-1) - mean) / std
    near = SIGMAS / math.sqrt(len(values))  # of the mean; that of the standard deviation is 1 / sqrt(2 n)
    size = float(values.square().mean().sqrt())
    return abs(float(values.mean())) < near and abs(size - 1) < near and shape_of(values) is not None


def _is_scale(last: str) -> bool:
    return last in SCALES or "scale" in last


def _doubt(name: str, tensor: Tensor) -> str | None:
    """Say what in a tensor no draw would look like, None if nothing."""
    drawn = tensor.squeeze()
    last = name.rpartition(".")[2]
    if not tensor.is_floating_point() or drawn.ndim == 0 or not drawn.numel() or last in COMPUTED:
        return None
    if drawn.ndim == 1 and (drawn.numel() < FEWEST_ENTRIES or "bias" in last or _is_scale(last)):
        return None  # too few to tell, or judged as a certain sign
    if _is_constant(drawn) or _is_waves(drawn):
        return None
    return unlike_draws(drawn if drawn.ndim < 3 or min(tensor.shape[2:]) == 1 else tensor)


def _is_constant(tensor: Tensor) -> bool:
    """Whether all values are equal; the first and the last alone tell it of nearly every tensor that is not."""
    flat = tensor.detach().reshape(-1)
    return bool(flat[0] == flat[-1]) and bool((flat == flat[0]).all())


def _is_waves(tensor: Tensor) -> bool:
    """Whether it is a table of sines and cosines, (positions, D), as fixed position embeddings are.

    Of each frequency a row has the sine and the cosine, so that its squares sum to D / 2; the class token's is zero.
    """
    if tensor.ndim != 2:
        return False
    for rows in (tensor[:4], tensor):  # few first: a large matrix of weights need not be squared as a whole
        energies = rows.detach().float().square().mean(1)
        energies = energies[energies > 0]
        if len(energies) < 2 or not bool(((energies - 0.5).abs() < 2e-3).all()):
            return False
    return True


def _as_initialised(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Say what makes weights look untouched."""
    floats = {
        name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()
    }
    constant = sum(_is_constant(tensor) for tensor in floats.values())
    reasons = [
        f"{len(floats) - constant} tensors look like independent draws",
        f"{constant} are constant",
    ]
    if any(name.endswith("running_mean") for name in tensors):
        reasons.append("batch normalisation has seen no picture")
    return tuple(reasons)
