"""What a pretraining recipe may say: the types and ranges of every key.

Fields marked `NOT_HASHED` are words for the reader; everything else moves numbers and is in the hash.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ssl_bench.hashing import NOT_HASHED, introduced_as
from ssl_bench.training_schemas import (
    Count,
    EncoderSettings,
    Fraction,
    InputSettings,
    OptimizerSettings,
    Pixel,
    ScheduleSettings,
    Settings,
    words,
)


class MaskSettings(Settings):
    """Which pixels are removed (see ssl_bench.pretexts.masks).

    `fraction` is the share of the image's area that is removed, at most (`random-noise`: about); a square's
    side is half the image's. `overlap` is the band, in pixels, of the square that stays visible and weighs
    `overlap_weight`. `shapes` says where random regions come from: drawn, or a VOC's segmentation masks.
    `granularity`: `pixels`, or `patches`, whole cells of the encoder's last map, so that a transformer sees no patch
    of which a part is gone.
    """

    kind: Literal["central", "random-square", "random-block", "random-region", "random-noise", "none"]
    shapes: Literal["drawn", "voc"]
    fraction: Annotated[float, Field(ge=0, le=0.9)]
    overlap: Annotated[int, Field(ge=0)]
    overlap_weight: Annotated[float, Field(ge=0)]
    granularity: Literal["pixels", "patches"] = Field(
        default="pixels", json_schema_extra=introduced_as("pixels")
    )

    @model_validator(mode="after")
    def _something_is_removed(self) -> MaskSettings:
        if self.kind == "none" and self.granularity != "pixels":
            raise ValueError("granularity is pixels for mask kind none, which removes nothing")
        if self.kind in ("random-block", "random-region") and self.fraction < 0.02:
            raise ValueError(f"fraction must be at least 0.02 for a {self.kind} mask")
        if self.kind in ("central", "random-square") and self.overlap_weight not in range(1, 256):
            raise ValueError("overlap_weight must be a whole number from 1 to 255 for a square")
        if self.kind == "random-noise" and not 0.1 <= self.fraction <= 0.4:
            raise ValueError(
                "fraction must be from 0.1 to 0.4 for a random-noise mask: others are hardly ever drawn"
            )
        return self


class ContextEncoderSettings(Settings):
    """Inpainting for features. With mask kind `none` it is the autoencoder."""

    method: Literal["context-encoder", "autoencoder"]
    mask: MaskSettings
    decoder_channels: Annotated[list[Count], Field(min_length=4, max_length=4)]
    decoder_kernel: Annotated[int, Field(ge=3, le=7)]

    @model_validator(mode="after")
    def _autoencoder_removes_nothing(self) -> ContextEncoderSettings:
        if (self.method == "autoencoder") != (self.mask.kind == "none"):
            raise ValueError("an autoencoder has mask.kind none, and a context encoder has another one")
        if self.decoder_kernel % 2 == 0:
            raise ValueError("decoder_kernel must be odd")
        return self


# What the reconstruction's and the adversarial loss are multiplied by. The paper and the released code: 0.999
# and 0.001. The report gives lambda 1 = 0.1 and lambda 2 = 0.9 and does not say which is which.
LOSS_WEIGHTS = {
    "reconstruction-only": (1.0, 0.0),
    "paper": (0.999, 0.001),
    "report-adversarial-0.9": (0.1, 0.9),
    "report-adversarial-0.1": (0.9, 0.1),
}


class InpaintingSettings(Settings):
    """Inpainting for pictures: a generator that may play against a discriminator.

    `paints`: the network's output, the 64 x 64 patch or the whole image. `reconstruction`: the squared error
    counts where the mask says (`masked`), or everywhere alike (`whole-image`). `sees`: the discriminator
    judges the patch alone, the completed image, or the generator's whole image. `fill`: the pixel (RGB, 0 to
    255) that removed ones are set to. `one_mask_a_batch`: the first image's mask serves the whole batch.
    """

    method: Literal["inpainting-joint", "inpainting-l2"]
    generator: Literal["official", "report"]
    paints: Literal["patch", "whole"]
    units: Annotated[int, Field(ge=4, le=20_000)]
    mask: MaskSettings
    one_mask_a_batch: bool
    fill: tuple[Pixel, Pixel, Pixel]
    reconstruction: Literal["masked", "whole-image"]
    weights: Literal["reconstruction-only", "paper", "report-adversarial-0.9", "report-adversarial-0.1"]
    discriminator: Literal["official", "report-listing", "report"] | None
    sees: Literal["patch", "completed", "painted"] | None
    discriminator_optimizer: OptimizerSettings | None

    @model_validator(mode="after")
    def _two_play_or_one(self) -> InpaintingSettings:
        alone = self.method == "inpainting-l2"
        if alone != (self.weights == "reconstruction-only"):
            raise ValueError("inpainting-l2 has weights reconstruction-only, and inpainting-joint has others")
        for name in ("discriminator", "sees", "discriminator_optimizer"):
            if alone != (getattr(self, name) is None):
                raise ValueError(f"{name} belongs to inpainting-joint, and is null for inpainting-l2")
        return self

    @model_validator(mode="after")
    def _output_fits_mask(self) -> InpaintingSettings:
        if self.mask.kind == "none":
            raise ValueError("mask.kind none leaves nothing to paint")
        if self.mask.granularity != "pixels":
            raise ValueError(
                "mask.granularity patches is for method context-encoder; the inpainting network has pixels"
            )
        if self.paints == "patch" and self.one_mask_a_batch:
            raise ValueError("one_mask_a_batch is for paints whole: a patch is cut where its own hole lies")
        if self.mask.shapes != "drawn" and self.mask.kind != "random-region":
            raise ValueError("mask.shapes is drawn for every kind but random-region")
        if self.paints == "patch" and self.mask.kind not in ("central", "random-square"):
            raise ValueError("paints patch needs a square hole: mask.kind central or random-square")
        if self.paints == "whole" and self.sees == "patch":
            raise ValueError("sees patch needs paints patch; choose completed or painted")
        if self.paints == "patch" and (self.sees == "painted" or self.reconstruction == "whole-image"):
            raise ValueError("paints patch makes no whole image to compare or to judge")
        if self.paints == "whole" and self.generator == "report":
            raise ValueError("the report's generator paints the patch")
        return self


class RotationSettings(Settings):
    """Which of four rotations: all four of each image in a batch, or one drawn for each."""

    method: Literal["rotation"]
    rotations_per_image: Literal[1, 4]
    hidden: list[Count]
    dropout: Fraction


class SupervisedSettings(Settings):
    """The control that may see labels."""

    method: Literal["supervised"]
    hidden: list[Count]
    dropout: Fraction


class RandomSettings(Settings):
    """The control that learns nothing."""

    method: Literal["random"]


class DataDependentSettings(Settings):
    """The control that only looks at `batches` batches, of schedule.batch_size, and sets its scales by them.

    `kmeans-init` clusters weights from at most `patches` patches of what each layer sees, `random-rescaled` draws
    them (`patches` is null). `beta` is the mean of each layer's outputs. `rescale`: layers are balanced afterwards.
    """

    method: Literal["kmeans-init", "random-rescaled"]
    rescale: bool
    beta: float
    batches: Count
    patches: Count | None

    @model_validator(mode="after")
    def _patches_are_clustered(self) -> DataDependentSettings:
        if (self.weights == "kmeans") != (self.patches is not None):
            raise ValueError("patches belongs to kmeans-init, and is null for random-rescaled")
        return self

    @property
    def weights(self) -> Literal["kmeans", "random"]:
        """From what a layer's weights come."""
        return "kmeans" if self.method == "kmeans-init" else "random"


PretextSettings = Annotated[
    ContextEncoderSettings
    | InpaintingSettings
    | RotationSettings
    | SupervisedSettings
    | RandomSettings
    | DataDependentSettings,
    Field(discriminator="method"),
]
# Methods that take no steps.
WITHOUT_STEPS = ("random", "kmeans-init", "random-rescaled")


class PretrainRecipe(Settings):
    """A recipe of the pretraining stage.

    `compile`: the network is compiled at once (`on`), or from some step on if that was measured to pay (`auto`), which
    rounds differently from there on.
    """

    name: str = Field(json_schema_extra=NOT_HASHED)
    title: str = words()
    description: str = words()
    source: str = words()
    supervision: str = words()
    expected_time: str = words()
    implementation: Count
    images: Literal["unlabelled", "labelled", "none"]
    encoder: EncoderSettings
    input: InputSettings
    pretext: PretextSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    precision: Literal["fp32", "bf16"]
    compile: Literal["off", "on", "auto"] = Field(default="off", json_schema_extra=introduced_as("off"))

    @field_validator("compile", mode="before")
    @classmethod
    def _yaml_has_its_own_on_and_off(cls, value: Any) -> Any:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _images_fit_method(self) -> PretrainRecipe:
        wanted = {"supervised": "labelled", "random": "none"}.get(self.pretext.method, "unlabelled")
        if self.images != wanted:
            raise ValueError(f"method {self.pretext.method} learns from images: {wanted}")
        if (self.schedule.steps == 0) != (self.pretext.method in WITHOUT_STEPS):
            raise ValueError(f"steps is 0 for method {', '.join(WITHOUT_STEPS)}, and above 0 for every other")
        if isinstance(self.pretext, DataDependentSettings) and self.precision != "fp32":
            raise ValueError(f"method {self.pretext.method} measures in precision fp32")
        if self.schedule.steps == 0 and self.compile != "off":
            raise ValueError(
                f"method {self.pretext.method} takes no steps that could be compiled: compile=off"
            )
        return self

    @property
    def images_seen(self) -> int:
        """How many crops a run looks at."""
        pretext = self.pretext
        batches = pretext.batches if isinstance(pretext, DataDependentSettings) else self.schedule.steps
        return batches * self.schedule.batch_size

    @model_validator(mode="after")
    def _a_hole_is_left(self) -> PretrainRecipe:
        mask = getattr(self.pretext, "mask", None)
        if mask and mask.kind in ("central", "random-square") and 2 * mask.overlap >= self.input.size // 2:
            raise ValueError(
                f"pretext.mask.overlap {mask.overlap} leaves nothing of a square of {self.input.size // 2} px"
            )
        return self

    @model_validator(mode="after")
    def _inpainting_fits(self) -> PretrainRecipe:
        if not isinstance(self.pretext, InpaintingSettings):
            return self
        wanted = "dcgan" if self.pretext.generator == "official" else "dcgan-report"
        if self.encoder.arch != wanted:
            raise ValueError(
                f"pretext.generator {self.pretext.generator} has encoder.arch {wanted}, not {self.encoder.arch}: the "
                "inpainting network is encoder and decoder in one. Recipes context-encoder take any encoder"
            )
        if self.input.size != 128:
            raise ValueError(
                f"the inpainting network is made for images of 128 px: input.size {self.input.size}"
            )
        if self.schedule.batch_size < 2:
            raise ValueError(
                "schedule.batch_size must be at least 2: batch normalisation has nothing to compare one image with"
            )
        return self
