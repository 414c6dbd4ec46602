"""Networks of timm (1.0 and later) behind the Encoder contract: feature stages and transformer blocks as taps.

Taps go by timm's own names of the modules they stand behind (stages.0, layer3, blocks.11). A stage of a convolutional
network is taken as the next one gets it. A block of a transformer is taken as maps, without class and other prefix
tokens, and before normalisation, but for the last, which passes the final normalisation as the network's own output
does. Keys are those of `timm.create_model(NAME, num_classes=0)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.encoders.adopted import adopt, network_of, seeded
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.geometry import dense_tap_of, grey, measured_taps, only_looking
from ssl_bench.encoders.timm_support import made, made_for_any_size, preprocessing_of
from ssl_bench.errors import UserError, unknown

INITS = ("library",)
# Sides in pixels of the images that a network with stages is looked at with: more than one cell of stride 32 each,
# and apart by a multiple of every usual stride.
LOOKED_AT = (128, 192)
# What timm's networks raise when an image does not have the size they were built for.
REFUSALS = (AssertionError, RuntimeError, ValueError)


class TimmEncoder(Encoder):
    """A network of timm.

    Attributes:
        notes: What a user should know of the adaptation.
        inits: Kinds of initialisation.
        fixed_size: The only side in pixels that it takes, or None where it takes any (or any multiple of its patch).
    """

    inits = INITS

    def __init__(self, name: str, *, input_size: int | None = None, **options: Any) -> None:
        """Build the network.

        Args:
            name: As timm names it, with or without the name of weights behind a dot (whose preprocessing is taken).
            input_size: The side in pixels it is going to be trained at, for the preprocessing record; timm's if None.
            options: Of timm's network, e.g. img_size, patch_size, drop_path_rate.

        Raises:
            UserError: There is no such network, it cannot be built with these options, or it gives out no maps.
        """
        super().__init__()
        network, flexible = made_for_any_size(name, options)
        if not hasattr(network, "forward_intermediates"):
            raise UserError(
                f"timm:{name} ({type(network).__name__}) does not give out its maps (forward_intermediates); networks "
                "that do: ResNets, ConvNeXt, EfficientNet, RegNet, ViT, DeiT, Swin and most others of timm 1.0"
            )
        adopt(self, network)
        self.architecture = {"name": f"timm:{name}", **options}
        self.preprocessing, notes = preprocessing_of(network, options, input_size)
        self._indices = {
            str(stage["module"] or f"stage{index}"): index for index, stage in enumerate(_stages(network))
        }
        self._made_with = (name, options, flexible)
        self._norm_last, self._patch = False, 1
        self.fixed_size: int | None = None
        self._look()
        if self._norm_last:  # rows of patches, and no rest of an image that would be left out
            self._patch = _patch(network)
        self.last_tap = list(self.taps)[-1]
        self.dense_tap = dense_tap_of(self.taps)
        self.notes = (*notes, *self._more_notes())

    def _look(self) -> None:
        """Find out how the network may be used: sizes, taps, final normalisation, taps that are written over."""
        network, names = network_of(self), list(self._indices)
        small, large = self._sizes()
        try:
            self.taps = measured_taps(
                network, lambda images: self._maps(images, names), size=small, larger=large
            )
        except REFUSALS as error:
            if isinstance(error, UserError):
                raise
            small = self.fixed_size = _built_for(network, self.preprocessing.size)
            try:
                strides = dict(zip(names, (stage["reduction"] for stage in _stages(network)), strict=True))
                self.taps = measured_taps(
                    network,
                    lambda images: self._maps(images, names),
                    size=small,
                    larger=None,
                    strides=strides,
                )
            except REFUSALS as again:
                raise UserError(
                    f"{self.architecture['name']} cannot be run at {small} pixels: {again}"
                ) from again
        with only_looking(network):
            image = torch.randn(grey(network, small).shape, generator=torch.Generator().manual_seed(0))
            self._norm_last = _output_is_normalised(network, image, self._maps(image, names[-1:])[names[-1]])
            if _writes_over(network) and not self._taps_stay(image):
                for module in network.modules():
                    if getattr(module, "inplace", False):
                        module.inplace = False

    def _sizes(self) -> tuple[int, int]:
        unit = math.lcm(*(stage["reduction"] for stage in _stages(network_of(self))))
        if unit == _patch(network_of(self)):
            return 2 * unit, 4 * unit  # a transformer of one stride: as few tokens as tell it
        return LOOKED_AT if LOOKED_AT[0] % (2 * unit) == 0 else (4 * unit, 8 * unit)

    def _taps_stay(self, image: Tensor) -> bool:
        """Whether no tap is written over by what comes after it; without values, on the meta device, nobody knows."""
        if image.is_meta:
            return False
        together = self._maps(image, list(self.taps))
        return all(torch.equal(self._maps(image, [tap])[tap], together[tap]) for tap in self.taps)

    def _more_notes(self) -> tuple[str, ...]:
        if self.fixed_size is not None:
            return (f"it takes images of {self.fixed_size} x {self.fixed_size} pixels only",)
        if "dynamic_img_size" in self._made_with[2] and self._norm_last:
            return ("position embeddings are interpolated where an image has another size than the network",)
        return ()

    def _maps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        names = sorted(set(taps), key=self._indices.__getitem__)
        found = network_of(self).forward_intermediates(
            images,
            indices=[self._indices[name] for name in names],
            norm=False,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return dict(zip(names, found, strict=True))

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps as the contract says.

        Raises:
            UserError: There is no such tap, or the network does not take images of this size.
        """
        for tap in taps:
            if tap not in self.taps:
                raise unknown("tap", tap, self.taps)
        self._refuse_size(images)
        maps = self._maps(images, taps)
        if self._norm_last and self.last_tap in maps:
            cells = maps[self.last_tap].permute(0, 2, 3, 1)  # (N, h, w, C)
            maps[self.last_tap] = network_of(self).norm(cells).permute(0, 3, 1, 2)
        return maps

    def _refuse_size(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        if self.fixed_size is not None and (height, width) != (self.fixed_size, self.fixed_size):
            raise UserError(
                f"{self.architecture['name']} takes {self.fixed_size} x {self.fixed_size} pixels, not {height} x "
                f"{width}: use that size, or build it for yours where timm can (img_size={height})"
            )
        patch = self._patch
        if height % patch or width % patch:
            raise UserError(
                f"{self.architecture['name']} takes images of whole patches of {patch} pixels, not {height} x {width}"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Compute the deepest maps, (N, C, h, w)."""
        return self.forward_taps(images, [self.last_tap])[self.last_tap]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute the network's own vector an image, (N, D): what its classifier would get."""
        self._refuse_size(images)
        network = network_of(self)
        vectors: Tensor = network.forward_head(network.forward_features(images), pre_logits=True)
        return vectors.flatten(1)

    @torch.no_grad()
    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights.

        Args:
            kind: `library`: as timm initialises the network.
            generator: Where the randomness comes from.

        Raises:
            UserError: Another kind.
        """
        if kind not in INITS:
            raise unknown("initialisation of a network of timm", kind, INITS)
        name, options, flexible = self._made_with
        self.load_state_dict(seeded(lambda: made(name, options, **flexible), generator))


def _stages(network: Any) -> list[dict[str, Any]]:
    info = network.feature_info
    return list(info if isinstance(info, list) else info.info)


def _patch(network: Any) -> int:
    """Side of the patches that a network cuts an image into, 1 if it does not."""
    size = getattr(getattr(network, "patch_embed", None), "patch_size", 1)
    return math.lcm(*size) if isinstance(size, tuple | list) else int(size)


def _built_for(network: Any, usual: int) -> int:
    """Side of the images that a network of one size was built for."""
    size = getattr(getattr(network, "patch_embed", None), "img_size", None) or usual
    return int(size[-1]) if isinstance(size, tuple | list) else int(size)


def _writes_over(network: nn.Module) -> bool:
    return any(getattr(module, "inplace", False) for module in network.modules())


def _output_is_normalised(network: Any, image: Tensor, maps: Tensor) -> bool:
    """Whether a network's output is tokens, of which the last are the last block's after its `norm`."""
    tokens = network.forward_features(image)
    if tokens.ndim != 3 or not isinstance(getattr(network, "norm", None), nn.Module):
        return False
    cells = maps.flatten(2).transpose(1, 2)  # (1, h * w, C)
    own = tokens[:, tokens.shape[1] - cells.shape[1] :]
    if own.shape != cells.shape:
        return False
    return image.is_meta or torch.allclose(network.norm(cells), own, atol=1e-4, rtol=1e-4)
