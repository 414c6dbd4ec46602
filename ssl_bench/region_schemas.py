"""What a protocol of region-based detection may say: where regions come from, what stands on them, what counts.

One kind serves the published detectors of this line of papers: Fast R-CNN on selective-search boxes with fc6 and
fc7 (AlexNet), and Fast, Faster and Mask R-CNN whose head is the last stage of a ResNet (R50-C4).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ssl_bench.training_schemas import Count, Fraction, Positive, Settings

Side = Annotated[int, Field(ge=64, le=4000)]


class GivenProposals(Settings):
    """Boxes made before: published files, or selective search in one of its modes where none are named.

    `most` null takes all of an image.
    """

    kind: Literal["given"]
    most: Count | None
    search: Literal["fast", "quality", "small"]


class NetworkProposals(Settings):
    """A region proposal network on the tap (Ren et al. 2015). The counts are before and after its suppression."""

    kind: Literal["network"]
    anchor_sizes: Annotated[list[Count], Field(min_length=1)]
    anchor_ratios: Annotated[list[Positive], Field(min_length=1)]
    before_train: Count
    after_train: Count
    before_test: Count
    after_test: Count
    nms: Fraction
    foreground_iou: Fraction
    background_iou: Fraction
    sampled: Count
    sampled_foreground: Fraction


class FullyConnectedHead(Settings):
    """Max-pooled cells, then fc6 and fc7. Their init as in ssl_bench.encoders.heads."""

    kind: Literal["fully-connected"]
    cells: Count
    hidden: Annotated[list[Count], Field(min_length=2, max_length=2)]
    dropout: Fraction
    init: Literal["kaiming", "gaussian"]


class StageHead(Settings):
    """Aligned cells, then the encoder's stage behind the tap, then the mean over cells (He et al. 2016, section A).

    `extra_norm` puts a batch normalisation behind the stage, as MoCo's detector has it.
    """

    kind: Literal["stage"]
    cells: Count
    sampling_ratio: Annotated[int, Field(ge=0, le=8)]
    extra_norm: bool


class MaskSettings(Settings):
    """Masks from the stage's cells: one transposed convolution of `channels`, one map a class (He et al. 2017)."""

    channels: Count


class CapSettings(Settings):
    """How many detections are kept; null is no limit.

    `class_in_image`: the best of a class in an image, before suppression. `class_per_image_mean`: of a class over
    the whole set, this many times the number of images, counted before suppression. `image`: of an image, last.
    """

    class_in_image: Count | None
    class_per_image_mean: Count | None
    image: Count | None


class RegionDetectionSettings(Settings):
    """Detection by classifying regions of one tap.

    `fixed_layers` keep their weights even when the rest is fine-tuned. `batch_norm` of the trunk: `train`, or
    `frozen` (statistics and scales fixed). Training brings the short side to one of `train_short_sides` (`choice`),
    or to a length between the least and the greatest (`range`), never the long side beyond its limit.
    Regions are foreground from `foreground_iou` on, background below it down to `background_least_iou`, else
    unused; `regions_per_image` are sampled. `smooth_l1` is where the box loss turns from square to linear; 0 is
    L1. `use_difficult`: learn from difficult (COCO: crowd) objects, too. Masks are learned and judged if given.
    """

    kind: Literal["region-detection"]
    tap: str
    fixed_layers: list[str]
    batch_norm: Literal["train", "frozen"]
    train_short_sides: Annotated[list[Side], Field(min_length=1)]
    train_scale: Literal["choice", "range"]
    train_long_side: Side
    test_short_side: Side
    test_long_side: Side
    flip: bool
    use_difficult: bool
    skip_empty: bool
    proposals: Annotated[GivenProposals | NetworkProposals, Field(discriminator="kind")]
    head: Annotated[FullyConnectedHead | StageHead, Field(discriminator="kind")]
    masks: MaskSettings | None
    regions_per_image: Count
    foreground_fraction: Fraction
    foreground_iou: Fraction
    background_least_iou: Fraction
    smooth_l1: Annotated[float, Field(ge=0)]
    nms: Fraction
    score_threshold: Fraction
    caps: CapSettings
    iou: Fraction
    ap: Literal["voc-11-point", "voc-area", "voc-11-point-over-iou", "coco"]

    @property
    def metric_names(self) -> list[str]:
        """What is computed; the first is the one that a table shows."""
        if self.ap == "coco":
            kinds = ["", "mask "] if self.masks else [""]
            return [f"{kind}{name}[coco]" for kind in kinds for name in ("AP", "AP50", "AP75")]
        if self.ap == "voc-11-point-over-iou":
            return [f"{name}[voc-11-point]" for name in ("AP", "AP50", "AP75")]
        return [f"mAP[{self.ap}]"]

    @model_validator(mode="after")
    def _parts_fit(self) -> RegionDetectionSettings:
        if self.masks is not None and (self.head.kind != "stage" or self.ap != "coco"):
            raise ValueError("masks stand on a head of kind stage, and are judged with ap: coco")
        if self.background_least_iou >= self.foreground_iou:
            raise ValueError("background_least_iou must be below foreground_iou")
        if self.train_scale == "range" and len(self.train_short_sides) != 2:
            raise ValueError("train_scale range needs two train_short_sides, the least and the greatest")
        for which in ("train", "test"):
            shorts = self.train_short_sides if which == "train" else [self.test_short_side]
            if max(shorts) > getattr(self, f"{which}_long_side"):
                raise ValueError(f"{which}_long_side must not be below the short side")
        return self
