"""What a pretraining recipe may say: the types and ranges of every key.

Fields marked `NOT_HASHED` are words for the reader; everything else moves numbers and is in the hash.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ssl_bench.hashing import NOT_HASHED, introduced_as


class Settings(BaseModel):
    """Base of all settings: unknown keys and infinities are refused, values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def words(default: str = "") -> Any:
    """A field for the reader, outside the hash."""
    return Field(default=default, json_schema_extra=NOT_HASHED)


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Pixel = Annotated[int, Field(ge=0, le=255)]


class EncoderSettings(Settings):
    """Which network learns. `width` multiplies its channels; `init` names the initialisation."""

    arch: str
    width: Annotated[float, Field(gt=0, le=4)]
    init: Literal["kaiming", "gaussian", "dcgan"]

    @model_validator(mode="after")
    def _init_fits(self) -> EncoderSettings:
        if (self.init == "dcgan") != self.arch.startswith("dcgan"):
            raise ValueError("init dcgan belongs to arch dcgan and dcgan-report, and these have no other")
        return self


class ResizeSettings(Settings):
    """How large an image is made before the crop.

    `short-side`: the short side becomes a uniform random length between `least` and `most` pixels.
    `relative`: the image is scaled by a uniform random factor between `least` and `most`.
    `area`: the crop is a square of a uniform random share of the image's area between `least` and `most`.
    In the first two, an image smaller than the crop afterwards is enlarged until it covers it.
    """

    kind: Literal["short-side", "relative", "area"]
    least: Positive
    most: Positive

    @model_validator(mode="after")
    def _ordered(self) -> ResizeSettings:
        if self.least > self.most:
            raise ValueError(f"least ({self.least:g}) must not exceed most ({self.most:g})")
        if self.kind == "area" and self.most > 1:
            raise ValueError(f"most ({self.most:g}) is a share of the area, at most 1")
        return self


class InputSettings(Settings):
    """Random square crops of `size` pixels, mirrored with probability one half if `flip`."""

    size: Annotated[int, Field(ge=48, le=1024)]  # CaffeNet leaves one cell of 48 pixels
    resize: ResizeSettings
    flip: bool


class OptimizerSettings(Settings):
    """The optimiser. `beta1` is Adam's first moment or SGD's momentum; `clip` bounds the gradient norm.

    `bias_lr_factor` multiplies the learning rate of biases; `decay_biases` false leaves them, and the scales of
    normalisations, out of the weight decay.
    """

    name: Literal["sgd", "adam", "adamw"]
    lr: Positive
    beta1: Fraction
    beta2: Fraction | None
    weight_decay: Annotated[float, Field(ge=0)]
    bias_lr_factor: Positive
    clip: Positive | None
    nesterov: bool = Field(default=False, json_schema_extra=introduced_as(False))
    decay_biases: bool = Field(default=True, json_schema_extra=introduced_as(True))

    @model_validator(mode="after")
    def _adam_has_two(self) -> OptimizerSettings:
        if self.nesterov and (self.name != "sgd" or self.beta1 == 0):
            raise ValueError("nesterov belongs to sgd with a momentum")
        if (self.beta2 is None) != (self.name == "sgd"):
            raise ValueError("beta2 belongs to adam and adamw, and must be null for sgd")
        return self


class ScheduleSettings(Settings):
    """How long, in how large batches (over all processes), and how the learning rate falls.

    `step` multiplies it by `step_factor` every `step_every` steps, or at each of `milestones`; `poly` by
    (1 - step / steps) ** `power`, from 1 down to `least_factor`. Warm-up rises linearly from `warmup_from`, zero by
    default, over the decay (`milestones`) or in front of it (the others). `accumulate`: a batch is computed in so
    many parts, whose losses are averaged.
    """

    steps: Annotated[int, Field(ge=0)]
    batch_size: Count
    decay: Literal["constant", "cosine", "step", "poly"]
    warmup_steps: Annotated[int, Field(ge=0)]
    step_every: Count | None
    step_factor: Fraction | None
    milestones: list[Count] | None = Field(default=None, json_schema_extra=introduced_as(None))
    warmup_from: Fraction | None = Field(default=None, json_schema_extra=introduced_as(None))
    power: Positive | None = Field(default=None, json_schema_extra=introduced_as(None))
    least_factor: Fraction = Field(default=0.0, json_schema_extra=introduced_as(0.0))
    accumulate: Count = Field(default=1, json_schema_extra=introduced_as(1))

    @model_validator(mode="after")
    def _step_is_complete(self) -> ScheduleSettings:
        given = [self.step_every, self.milestones]
        falls = self.step_factor is not None and given.count(None) == 1
        if (self.decay == "step") != falls or (self.decay != "step" and given != [None, None]):
            raise ValueError(
                "step_factor with step_every or milestones belongs to decay: step, and must be null otherwise"
            )
        if self.milestones is not None and sorted(set(self.milestones)) != self.milestones:
            raise ValueError("milestones must rise")
        if (self.decay == "poly") != (self.power is not None):
            raise ValueError("power belongs to decay: poly, and must be null otherwise")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size ({self.batch_size}) must be a multiple of accumulate")
        return self


class MaskSettings(Settings):
    """Which pixels are removed (see ssl_bench.pretexts.masks).

    `fraction` is the share of the image's area that is removed, at most (`random-noise`: about); a square's
    side is half the image's. `overlap` is the band, in pixels, of the square that stays visible and weighs
    `overlap_weight`. `shapes` says where random regions come from: drawn, or a VOC's segmentation masks.
    """

    kind: Literal["central", "random-square", "random-block", "random-region", "random-noise", "none"]
    shapes: Literal["drawn", "voc"]
    fraction: Annotated[float, Field(ge=0, le=0.9)]
    overlap: Annotated[int, Field(ge=0)]
    overlap_weight: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _something_is_removed(self) -> MaskSettings:
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
    """A recipe of the pretraining stage."""

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

    @model_validator(mode="after")
    def _images_fit_method(self) -> PretrainRecipe:
        wanted = {"supervised": "labelled", "random": "none"}.get(self.pretext.method, "unlabelled")
        if self.images != wanted:
            raise ValueError(f"method {self.pretext.method} learns from images: {wanted}")
        if (self.schedule.steps == 0) != (self.pretext.method in WITHOUT_STEPS):
            raise ValueError(f"steps is 0 for method {', '.join(WITHOUT_STEPS)}, and above 0 for every other")
        if isinstance(self.pretext, DataDependentSettings) and self.precision != "fp32":
            raise ValueError(f"method {self.pretext.method} measures in precision fp32")
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
            raise ValueError(f"pretext.generator {self.pretext.generator} has encoder.arch {wanted}")
        if self.input.size != 128:
            raise ValueError(
                f"the inpainting network is made for images of 128 px: input.size {self.input.size}"
            )
        if self.schedule.batch_size < 2:
            raise ValueError(
                "schedule.batch_size must be at least 2: batch normalisation has nothing to compare one image with"
            )
        return self
