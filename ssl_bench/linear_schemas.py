"""What a protocol may say that fits nothing but linear layers by gradient descent on a frozen encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ssl_bench.probe_schemas import PoolSettings
from ssl_bench.training_schemas import InputSettings, Positive, Settings

NotNegative = Annotated[float, Field(ge=0)]


class LinearHeadsSettings(Settings):
    """Linear classifiers on many taps, and with several learning rates and decays on each, in one training.

    Judged on one crop of `input.size` out of the middle, of images whose short side is `test_short_side`. Either
    `taps` names the maps and how each becomes a vector, or `all_taps` does so for every tap of a network. The
    normalisation in front of a tap's heads has no scale and shift, and statistics of `channels` or of single
    `values`. Weights are drawn from N(0, `head_std`), biases are zero.

    There is a head for each product of `lr_factors` and `decay_factors`, which multiply the optimiser's learning
    rate and weight decay. With more than one, or with the `headline` tap `validated`, a `validation` share of
    train is held out, of each class alike, and chooses; else nothing is chosen. `ap` counts where images have
    several classes, accuracy elsewhere. `classes` is how many a set must have, null any number.
    """

    kind: Literal["linear-heads"]
    classes: Annotated[int, Field(ge=2)] | None
    input: InputSettings
    test_short_side: Annotated[int, Field(ge=48, le=1024)]
    taps: dict[str, PoolSettings]
    all_taps: PoolSettings | None
    normalise: Literal["none", "channels", "values"]
    head_std: NotNegative
    lr_factors: Annotated[list[Positive], Field(min_length=1)]
    decay_factors: Annotated[list[NotNegative], Field(min_length=1)]
    validation: Annotated[float, Field(gt=0, lt=1)] | None
    headline: Literal["last", "validated"]
    ap: Literal["voc-area", "voc-11-point", "sklearn"]

    @property
    def tap(self) -> str:
        """The taps as a record names them."""
        return ", ".join(self.taps) or "all"

    @property
    def metric_names(self) -> list[str]:
        """What a protocol may have as its main metric: that of single classes, and that of several."""
        return ["top-1", self.multilabel_metric]

    @property
    def multilabel_metric(self) -> str:
        """The metric where an image may have several classes."""
        return f"mAP[{self.ap}]"

    @property
    def factors(self) -> list[tuple[float, float]]:
        """What each head of a tap multiplies learning rate and decay by."""
        return [(lr, decay) for lr in self.lr_factors for decay in self.decay_factors]

    @model_validator(mode="after")
    def _one_of_both(self) -> LinearHeadsSettings:
        if bool(self.taps) == (self.all_taps is not None):
            raise ValueError("either taps or all_taps is needed, and not both (empty taps: {})")
        return self

    @model_validator(mode="after")
    def _crop_fits(self) -> LinearHeadsSettings:
        if self.test_short_side < self.input.size:
            raise ValueError(
                f"test_short_side ({self.test_short_side}) is smaller than input.size ({self.input.size})"
            )
        return self

    @model_validator(mode="after")
    def _choice_has_its_images(self) -> LinearHeadsSettings:
        for name, given in (("lr_factors", self.lr_factors), ("decay_factors", self.decay_factors)):
            if len(set(given)) != len(given):
                raise ValueError(f"{name} has a value twice")
        chooses = len(self.factors) > 1 or self.headline == "validated"
        if chooses != (self.validation is not None):
            raise ValueError(
                "validation, a share of train, belongs to more than one head a tap or to headline: validated, and "
                "must be null otherwise"
            )
        return self


class LinearSegmentationSettings(Settings):
    """A normalisation without scale and shift and one 1 x 1 convolution on a frozen map, bilinear to the pixels.

    `short_side` null keeps an image's size; `crop` null trains on whole images, one a forward pass. Weights are
    drawn from N(0, `head_std`), biases are zero.
    """

    kind: Literal["linear-segmentation"]
    tap: str
    short_side: Annotated[int, Field(ge=64, le=2000)] | None
    crop: Annotated[int, Field(ge=64, le=2000)] | None
    flip: bool
    normalise: Literal["none", "channels"]
    head_std: NotNegative
