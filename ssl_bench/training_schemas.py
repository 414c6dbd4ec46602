"""Settings that recipes of the pretraining stage and protocols share: input, optimiser, schedule, encoder.

Fields marked `NOT_HASHED` are words for the reader; everything else moves numbers and is in the hash.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import yaml
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


class SplitSettings(Settings):
    """Names of the lists, or of the folders of classes, to learn from and to judge on."""

    train: str
    test: str


# Networks whose fresh weights are drawn here, by the start of their names, with the ways of drawing: the usual first.
# A library draws those of its networks itself.
OWN_INITS: dict[str, tuple[str, ...]] = {
    "dcgan": ("dcgan",),
    "caffenet": ("kaiming", "gaussian"),
    "resnet": ("kaiming",),
    "wide_resnet": ("kaiming",),
    "squeezenet": ("kaiming",),
}
LIBRARIES = ("timm:", "torchvision:")
# Networks of the libraries that are built here: the same keys, the same function. `encoders.native_names` says more.
_RESNETS = r"(resnet(?:18|34|50|101|152)|wide_resnet50_2)"
BUILT_HERE = re.compile(
    rf"timm:(?:tv_)?{_RESNETS}(?:\.[^:]+)?|torchvision:{_RESNETS}|torchvision:(squeezenet)1_0"
)


def inits_of(arch: str) -> tuple[str, ...]:
    """Name the ways of drawing fresh weights of a network, the usual one first; all of them if it is not known."""
    if arch.startswith(LIBRARIES) or arch == "factory":
        return ("library",)
    kinds = [inits for name, inits in OWN_INITS.items() if arch.startswith(name)]
    return kinds[0] if kinds else ("kaiming", "gaussian")


def our_name(arch: str) -> str:
    """Name a network of ours that a library has as well; leave every other name as it is."""
    found = BUILT_HERE.fullmatch(arch)
    return next(name for name in found.groups() if name) if found else arch


def usual_encoder(name: str) -> dict[str, Any]:
    """Say what a network's name alone stands for where a recipe has settings of an encoder."""
    arch = our_name(name)
    return {"arch": arch, "width": 1.0, "init": inits_of(arch)[0]}


class EncoderSettings(Settings):
    """Which network learns. `width` multiplies its channels; `init` names the initialisation.

    `arch` is a network of ours (caffenet, resnet50), timm:NAME or torchvision:NAME, with settings of its own behind it
    if it has any (timm:vit_small_patch16_224:patch_size=32); the `library` initialises its networks itself. A name in
    place of the settings stands for `usual_encoder`.
    """

    arch: str
    width: Annotated[float, Field(gt=0, le=4)]
    init: Literal["kaiming", "gaussian", "dcgan", "library"]

    @model_validator(mode="before")
    @classmethod
    def _a_name_is_enough(cls, value: Any) -> Any:
        return usual_encoder(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _init_fits(self) -> EncoderSettings:
        if (self.init == "dcgan") != self.arch.startswith("dcgan"):
            raise ValueError("init dcgan belongs to arch dcgan and dcgan-report, and these have no other")
        if ".py:" in self.arch:
            raise ValueError(
                f"arch {self.arch}: a recipe names networks of ours, timm:NAME or torchvision:NAME, since its hash "
                "could not tell when a file is changed; code of one's own can be judged "
                "(transfer --encoder FILE.py:FUNCTION)"
            )
        own = our_name(self.arch)
        if own != self.arch:
            raise ValueError(f"arch {self.arch} is {own} here: say arch {own}, or encoder={self.arch}")
        inits = inits_of(self.arch)
        if self.init not in inits:
            raise ValueError(
                f"init {self.init}: {self.arch} has init {' or '.join(inits)} "
                f"(encoder={self.arch} sets all that belongs to it)"
            )
        if self.width != 1 and self.init == "library":
            raise ValueError(
                f"width {self.width:g}: {self.arch} has one width, 1; choose a smaller network instead"
            )
        if self.own_settings.keys() & {"width", "init", "name"}:
            raise ValueError(
                f"arch {self.arch}: width and init are keys of encoder, not settings behind a name"
            )
        return self

    @property
    def own_settings(self) -> dict[str, Any]:
        """What stands behind the network's name, as setting=value."""
        pairs = (part.partition("=") for part in self.arch.split(":") if "=" in part)
        return {key: yaml.safe_load(value) for key, _, value in pairs}

    @property
    def architecture(self) -> dict[str, Any]:
        """What the network is built from: its name, its width where it has several, its own settings."""
        name = ":".join(part for part in self.arch.split(":") if "=" not in part)
        return {
            "name": name,
            **({} if self.init == "library" else {"width": self.width}),
            **self.own_settings,
        }


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
    """Random square crops of `size` pixels, mirrored with probability one half if `flip`.

    `decode` says how far a JPEG may be made smaller while it is decoded: by what the smallest crop of the recipe
    allows (`recipe`: short sides alone, other crops are decoded whole), or by what the crop that was drawn allows.
    """

    size: Annotated[int, Field(ge=48, le=1024)]  # CaffeNet leaves one cell of 48 pixels
    resize: ResizeSettings
    flip: bool
    decode: Literal["recipe", "crop"] = Field(default="recipe", json_schema_extra=introduced_as("recipe"))


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
