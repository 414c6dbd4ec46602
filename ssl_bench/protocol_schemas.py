"""What a protocol of the transfer stage may say: the types and ranges of every key.

Fields marked `NOT_HASHED` are words for the reader; everything else moves numbers and is in the hash.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ssl_bench.hashing import NOT_HASHED, introduced_as
from ssl_bench.linear_schemas import LinearHeadsSettings, LinearSegmentationSettings
from ssl_bench.region_schemas import RegionDetectionSettings
from ssl_bench.training_schemas import (
    Count,
    Fraction,
    InputSettings,
    OptimizerSettings,
    Positive,
    ScheduleSettings,
    Settings,
    SplitSettings,
    words,
)


class ClassificationSettings(Settings):
    """Multi-label classification: random crops, a head on one tap, mean AP over classes.

    `fixed_hidden`: the hidden layers keep the weights they were drawn with, the last one alone is fitted.
    `batch_norm` of a trunk that is fine-tuned: `train`, or `eval` (its stored statistics are used).
    """

    kind: Literal["classification"]
    input: InputSettings
    tap: str
    normalise: Literal["none", "batchnorm"]
    hidden: list[Count]
    dropout: Fraction
    head_init: Literal["kaiming", "gaussian"]
    test_crops: Count
    ap: Literal["voc-11-point", "voc-area", "sklearn", "sklearn-ties-against"]
    fixed_hidden: bool = Field(default=False, json_schema_extra=introduced_as(False))
    batch_norm: Literal["train", "eval"] = Field(default="train", json_schema_extra=introduced_as("train"))


class DetectionSettings(Settings):
    """Faster R-CNN on one tap: torchvision's region proposals and RoI heads, fc6/fc7 on pooled regions.

    `fixed_layers` are layers of the encoder that keep their weights even when the rest is fine-tuned.
    """

    kind: Literal["detection"]
    tap: str
    fixed_layers: list[str]
    short_side: Annotated[int, Field(ge=64, le=2000)]
    long_side: Annotated[int, Field(ge=64, le=4000)]
    flip: bool
    anchor_sizes: Annotated[list[Count], Field(min_length=1)]
    anchor_ratios: Annotated[list[Positive], Field(min_length=1)]
    proposals_train: Count
    proposals_test: Count
    proposal_nms: Fraction
    regions_per_image: Count
    foreground_fraction: Fraction
    foreground_iou: Fraction
    pool_size: Count
    hidden: Annotated[list[Count], Field(min_length=2, max_length=2)]
    dropout: Fraction
    use_difficult: bool
    nms: Fraction
    score_threshold: Fraction
    detections_per_image: Count
    iou: Fraction
    ap: Literal["voc-11-point", "voc-area"]


class SegmentationSettings(Settings):
    """FCN-32s: fc6 and fc7 as convolutions on one tap, scores, bilinear upsampling.

    `short_side` null keeps an image's size; `crop` null trains on whole images, one a forward pass. `border`:
    beyond the outermost cells' centres scores `keep` theirs, or `fade` to zero as in the published network.
    """

    kind: Literal["segmentation"]
    tap: str
    image_padding: Annotated[int, Field(ge=0, le=200)]
    short_side: Annotated[int, Field(ge=64, le=2000)] | None
    crop: Annotated[int, Field(ge=64, le=2000)] | None
    flip: bool
    fc6_kernel: Count
    fc6_padding: Annotated[int, Field(ge=0)]
    hidden: Annotated[list[Count], Field(min_length=2, max_length=2)]
    dropout: Fraction
    border: Literal["keep", "fade"] = Field(default="keep", json_schema_extra=introduced_as("keep"))


class DilatedSegmentationSettings(Settings):
    """FCN on a dilated ResNet with an auxiliary head, as mmsegmentation's set-up for self-supervised encoders.

    Trained on random crops of an image scaled by `scale_least` to `scale_most` around `base_short_side`; judged
    on whole images whose short side is `base_short_side`. `largest_class`: a crop is drawn again, up to ten
    times, where one class fills more than this share of it. `photometric`: brightness, contrast, saturation and
    hue are changed at random.
    """

    kind: Literal["dilated-segmentation"]
    tap: str
    auxiliary_tap: str
    output_stride: Literal[8, 16, 32]
    channels: Count
    convolutions: Count
    concatenate_input: bool
    auxiliary_channels: Count
    auxiliary_weight: Fraction
    dropout: Fraction
    base_short_side: Annotated[int, Field(ge=64, le=2048)]
    base_long_side: Annotated[int, Field(ge=64, le=4096)]
    scale_least: Positive
    scale_most: Positive
    crop: Annotated[int, Field(ge=64, le=2048)]
    largest_class: Fraction
    flip: bool
    photometric: bool


TaskSettings = Annotated[
    ClassificationSettings
    | DetectionSettings
    | RegionDetectionSettings
    | SegmentationSettings
    | DilatedSegmentationSettings
    | LinearHeadsSettings
    | LinearSegmentationSettings,
    Field(discriminator="kind"),
]
KINDS = {
    "voc-cls": ("classification",),
    "voc-det": ("detection", "region-detection"),
    "voc-seg": ("segmentation", "dilated-segmentation", "linear-segmentation"),
    "coco-det": ("region-detection",),
    "linear": ("linear-heads",),
}
SEGMENTATION_METRICS = ["mIoU", "pixel accuracy", "mean accuracy", "frequency-weighted IoU"]


class Protocol(Settings):
    """A way of judging an encoder: everything that can move its number, but for the encoder and the seed.

    `facts` names the sources in transfer/facts/ that it follows, `departures` the keys where it does not, and
    why.
    """

    name: str = Field(json_schema_extra=NOT_HASHED)
    version: Count
    implementation: Count
    task: Literal["voc-cls", "voc-det", "voc-seg", "coco-det", "linear"]
    mode: Literal["finetune", "frozen"]
    budget: Literal["full", "quick", "demo"]
    title: str = words()
    source: str = words()
    expected: str = words()
    expected_time: str = words()
    facts: list[str] = Field(default_factory=list, json_schema_extra=NOT_HASHED)
    departures: dict[str, str] = Field(default_factory=dict, json_schema_extra=NOT_HASHED)
    main_metric: str
    splits: dict[str, SplitSettings]
    settings: TaskSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    precision: Literal["fp32", "bf16"]

    @model_validator(mode="after")
    def _something_is_fitted(self) -> Protocol:
        if self.schedule.steps < 1:
            raise ValueError("schedule.steps must be at least 1 in a protocol")
        return self

    @model_validator(mode="after")
    def _task_is_of_its_kind(self) -> Protocol:
        kinds = KINDS[self.task]
        if self.settings.kind not in kinds:
            allowed = " or ".join(kinds)
            raise ValueError(f"task {self.task} has settings of kind {allowed}, not {self.settings.kind}")
        return self

    @model_validator(mode="after")
    def _main_metric_is_computed(self) -> Protocol:
        if isinstance(
            self.settings, (SegmentationSettings, DilatedSegmentationSettings, LinearSegmentationSettings)
        ):
            computed = SEGMENTATION_METRICS
        elif isinstance(self.settings, (RegionDetectionSettings, LinearHeadsSettings)):
            computed = self.settings.metric_names
        else:
            computed = [f"mAP[{self.settings.ap}]"]
        if self.main_metric not in computed:
            allowed = " or ".join(computed)
            raise ValueError(f"main_metric must be {allowed} with these settings, not {self.main_metric}")
        return self

    @model_validator(mode="after")
    def _a_batch_can_be_normalised(self) -> Protocol:
        normalise = getattr(self.settings, "normalise", "none")
        if normalise != "none" and self.schedule.batch_size // self.schedule.accumulate < 2:
            parts = ", in each of the parts of accumulate" if self.schedule.accumulate > 1 else ""
            raise ValueError(f"normalise: {normalise} needs schedule.batch_size of at least 2{parts}")
        return self

    @model_validator(mode="after")
    def _linear_heads_stand_apart(self) -> Protocol:
        if not isinstance(self.settings, (LinearHeadsSettings, LinearSegmentationSettings)):
            return self
        if self.mode != "frozen":
            raise ValueError(f"settings of kind {self.settings.kind} need mode: frozen")
        if self.optimizer.clip is not None and isinstance(self.settings, LinearHeadsSettings):
            raise ValueError("optimizer.clip must be null: one bound over all heads would tie them together")
        return self


class NeighbourSettings(Settings):
    """How nearest-neighbour inpainting compares contexts: histograms of oriented gradients."""

    hog_orientations: Count
    hog_cell: Count
    hog_block: Count


class InpaintingProtocol(Settings):
    """How painted centres are measured. `border` is what the interior leaves out on each side of the square."""

    name: str = Field(json_schema_extra=NOT_HASHED)
    version: Count
    implementation: Count
    task: Literal["inpainting"]
    mode: Literal["frozen"]
    budget: Literal["full"]
    title: str = words()
    source: str = words()
    expected: str = words()
    expected_time: str = words()
    main_metric: str
    size: Literal[128]
    fit: Literal["resize", "crop"]
    square: Literal[64]
    border: Annotated[int, Field(ge=1, le=16)]
    neighbours: NeighbourSettings

    @property
    def regions(self) -> dict[str, slice]:
        """The measured regions by name, as rows (and columns) of the image."""
        start = (self.size - self.square) // 2
        inner = self.square - 2 * self.border
        how = {"resize": f"resized to {self.size}", "crop": f"{self.size} cut out"}[self.fit]
        return {
            f"{self.square}x{self.square}, {how}": slice(start, start + self.square),
            f"{inner}x{inner}, {how}": slice(start + self.border, start + self.square - self.border),
        }

    @property
    def metric_names(self) -> list[str]:
        """Everything that is measured."""
        return [f"{name} [{region}]" for region in self.regions for name in ("L1 %", "L2 %", "PSNR dB")]

    @model_validator(mode="after")
    def _main_metric_is_measured(self) -> InpaintingProtocol:
        if self.main_metric not in self.metric_names:
            raise ValueError(f"main_metric must be one of {', '.join(self.metric_names)}")
        return self
