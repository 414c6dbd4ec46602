"""What a protocol does: fit a model on an encoder, predict, score; three steps that can be repeated alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc import Kind
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.encoders.batch_norm import batch_norm_in_eval, freeze_batch_norm
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.unreached import leave_out_unreached
from ssl_bench.engine.loading import Batch, Samples
from ssl_bench.errors import UserError, unknown
from ssl_bench.metrics.bootstrap import LEVEL, FloatArray, percentile_interval
from ssl_bench.protocol_schemas import Protocol as ProtocolSettings
from ssl_bench.protocol_schemas import TaskSettings
from ssl_bench.records import Interval, Selection

# What a protocol's `batch_norm` does to a trunk that is fine-tuned.
NORMS: dict[str, Callable[[nn.Module], None]] = {
    "train": lambda trunk: None,
    "eval": batch_norm_in_eval,
    "frozen": freeze_batch_norm,
}

# Protocols of the AlexNet line name AlexNet's taps and layers. In these kinds of settings an encoder without such a tap
# is judged on its own tap of the same role: the last one, or the one that regions are pooled from.
BY_ROLE = ("classification", "detection", "segmentation", "linear-segmentation")
ROLES = {"pool5": "last_tap", "conv5": "dense_tap"}
ALEXNET_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")

# What is kept of one image: arrays by name.
Prediction = dict[str, np.ndarray]

# Classes rarer than this in the test split have an AP that a handful of images decides; the mean over the
# others stands beside the mean over all.
COMMON_CLASS_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Metrics in percent, the main metric's parts by class, and intervals over the test images.

    `resampled` holds the scores that the intervals are cut out of, (resamples,), by the metric's name, in its unit.
    """

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float | None]] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    resampled: dict[str, FloatArray] = field(default_factory=dict)


class Model(nn.Module):
    """An encoder with what is fitted on top of it."""

    def forward(self, batch: Batch, player: str) -> dict[str, Tensor]:
        """Compute the losses of a training batch; "loss" is minimised."""
        raise AssertionError("a model implements forward")

    def predict(self, batch: Batch) -> list[Prediction]:
        """Predict a test batch, one prediction an image; called in evaluation mode and fp32."""
        raise AssertionError("a model implements predict")

    def validate(self, batch: Batch) -> list[Prediction]:
        """Say of images held out of train what a choice needs; as `predict`, for models that choose."""
        raise AssertionError("a model that chooses implements validate")


class Judge(Protocol):
    """One way of judging, for all protocols of its kind."""

    test_batch_size: int

    def build(
        self, encoder: Encoder, protocol: ProtocolSettings, classes: Sequence[str] = VOC_CLASSES
    ) -> Model: ...

    def train_samples(
        self, devkit: ImageSet, split: str, protocol: ProtocolSettings, limit: int | None
    ) -> Samples: ...

    def test_samples(
        self, devkit: ImageSet, split: str, protocol: ProtocolSettings, limit: int | None
    ) -> Samples: ...

    def score(
        self,
        predictions: Sequence[Prediction],
        devkit: ImageSet,
        split: str,
        protocol: ProtocolSettings,
        limit: int | None,
    ) -> Scores: ...


@runtime_checkable
class Chooses(Protocol):
    """A judge that may hold out a part of train and choose on it; the stage asks before it predicts test images."""

    def validation_samples(
        self, devkit: ImageSet, split: str, protocol: ProtocolSettings, limit: int | None
    ) -> Samples | None:
        """Open what `train_samples` of the same arguments leaves out; None where nothing is chosen."""
        ...

    def choose(
        self, model: Model, predictions: Sequence[Prediction], samples: Any, protocol: ProtocolSettings
    ) -> Selection:
        """Fix the model's choice by what it says of `validation_samples`."""
        ...


@runtime_checkable
class NamesItsMetric(Protocol):
    """A judge whose main metric follows from what kind of labels a set has."""

    def main_metric(self, devkit: ImageSet, protocol: ProtocolSettings) -> str: ...


def judged_by_role(encoder: Encoder, settings: TaskSettings) -> bool:
    """Whether an encoder lacks the tap that its protocol names, and has another one for the same purpose."""
    return settings.kind in BY_ROLE and settings.tap in ROLES and settings.tap not in encoder.taps


def judged_tap(encoder: Encoder, settings: TaskSettings) -> str:
    """Name the tap that an encoder is judged on: the protocol's, or its own of the same role.

    A tap that neither has is returned as it is; a `Trunk` refuses it.
    """
    if not judged_by_role(encoder, settings):
        return settings.tap
    return str(getattr(encoder, ROLES[settings.tap]))


def trunk_by_role(
    encoder: Encoder,
    settings: TaskSettings,
    *,
    frozen: bool,
    fixed_layers: Sequence[str] = (),
    batch_norm: str = "train",
) -> Trunk:
    """Set up a `Trunk` that ends at the judged tap; of a network judged by role, what lies behind it learns nothing."""
    tap = judged_tap(encoder, settings)
    fixed = layers_to_fix(encoder, settings, fixed_layers)
    trunk = Trunk(encoder, tap, frozen=frozen, fixed_layers=fixed, batch_norm=batch_norm)
    if judged_by_role(encoder, settings):
        size = encoder.preprocessing.size
        leave_out_unreached(encoder, tap, size + -size % trunk.multiple)
    return trunk


def layers_to_fix(encoder: Encoder, settings: TaskSettings, names: Sequence[str]) -> list[str]:
    """Leave out of the layers that a protocol fixes those of AlexNet that a network judged by role does not have."""
    if not judged_by_role(encoder, settings):
        return list(names)
    own = dict(encoder.named_children())
    return [name for name in names if name in own or name not in ALEXNET_LAYERS]


class Trunk(nn.Module):
    """The encoder inside a model, frozen or not.

    Frozen means no gradients, and evaluation mode whatever mode the rest of the model is in. A transformer that takes
    whole patches only gets them: images are continued with the mean pixel at the right and at the bottom.
    """

    def __init__(
        self,
        encoder: Encoder,
        tap: str,
        *,
        frozen: bool,
        fixed_layers: Sequence[str] = (),
        batch_norm: str = "train",
    ) -> None:
        """Set up.

        Args:
            fixed_layers: Names of layers that keep their weights although the rest is trained.
            batch_norm: A key of NORMS: learn as usual, use stored statistics, or keep scales and shifts, too.

        Raises:
            UserError: The encoder has no such tap or layer.
        """
        super().__init__()
        if tap not in encoder.taps:
            raise unknown("tap", tap, encoder.taps)
        layers = dict(encoder.named_children())
        for name in fixed_layers:
            if name not in layers:
                raise unknown("layer of the encoder", name, layers)
        self.encoder, self.tap, self.frozen = encoder, tap, frozen
        self.fixed_layers = tuple(fixed_layers)
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(not frozen and name.split(".")[0] not in fixed_layers)
        NORMS[batch_norm](encoder)
        self.multiple = _needed_multiple(encoder, tap)

    def train(self, mode: bool = True) -> Trunk:
        """Switch mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        for name in self.fixed_layers:
            self.encoder.get_submodule(name).eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Compute the tap's maps of normalised images, (N, C, h, w)."""
        images = continued(images, self.multiple)
        return self.encoder.forward_taps(images, [self.tap])[self.tap]

    def map_size(self, size: int) -> int:
        """Compute the side, in cells, of the maps of square images of `size` pixels."""
        return self.encoder.map_size(self.tap, size + -size % self.multiple)


def continued(images: Tensor, multiple: int) -> Tensor:
    """Continue normalised images, (N, 3, H, W), with the mean pixel until their sides are multiples of a number."""
    height, width = images.shape[-2:]
    missing = (-height % multiple, -width % multiple)
    return F.pad(images, (0, missing[1], 0, missing[0])) if any(missing) else images


def _needed_multiple(encoder: Encoder, tap: str) -> int:
    """Find what an encoder wants image sides to be multiples of: whole patches, or 1 where it takes any size."""
    stride = encoder.taps[tap].stride
    try:
        encoder.map_size(tap, 8 * stride + 1)
    except UserError:
        return stride
    return 1


def limited(ids: tuple[str, ...], limit: int | None) -> tuple[str, ...]:
    """Take the first `limit` images of a list."""
    return ids if limit is None else ids[:limit]


def require_positives(devkit: ImageSet, split: str, limit: int | None, kind: Kind = "Main") -> None:
    """Check that a test split has something to find, before anything is trained.

    Raises:
        UserError: No image holds any class that is not only difficult.
    """
    labels = devkit.image_labels(split, kind)
    if not (labels[:limit] == 1).any():
        raise UserError(
            f"{devkit.list_path(split, kind)}: none of the {len(labels[:limit])} images to judge on holds an object "
            "that is not difficult. Choose another split, or a larger --limit."
        )


def percent_by_class(values: np.ndarray, classes: Sequence[str]) -> dict[str, float | None]:
    """Name fractions by class, in percent; a class that could not be scored is None."""
    return {
        name: None if np.isnan(value) else float(value) * 100
        for name, value in zip(classes, values, strict=True)
    }


def mean_ap_metrics(ap: np.ndarray, images_of_class: np.ndarray, definition: str) -> dict[str, float]:
    """Average AP over all classes, and over the classes with enough test images.

    Args:
        ap: Fractions, (K,); nan where a class has no positive.
        images_of_class: Test images that hold the class, (K,).
    """
    metrics = {f"mAP[{definition}]": float(np.nanmean(ap)) * 100}
    common = images_of_class >= COMMON_CLASS_IMAGES
    if common.any():
        metrics[f"mAP[{definition}] over classes in >= {COMMON_CLASS_IMAGES} test images"] = (
            float(np.nanmean(ap[common])) * 100
        )
    return metrics


def percent_interval(resampled: np.ndarray) -> Interval:
    """Describe the spread of resampled fractions in percent."""
    low, high = percentile_interval(resampled)
    return Interval(low=low * 100, high=high * 100, level=LEVEL, resamples=len(resampled))


def require_finite(name: str, value: Any) -> None:
    """Stop where a prediction is not a number: a diverged model has no score."""
    assert np.isfinite(value).all(), f"{name} is not finite"
