"""What a protocol of frozen features may say: which features of which images, and what is fitted on them.

Fields marked `NOT_HASHED` are words for the reader; everything else moves numbers and is in the hash.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ssl_bench.hashing import NOT_HASHED
from ssl_bench.training_schemas import Count, Positive, Settings, SplitSettings, words

OTHER = "other"  # networks that a protocol does not name
Rising = Annotated[list[Positive], Field(min_length=1)]


class AveragePool(Settings):
    """Averages of `kernel` x `kernel` cells, `stride` apart; padding counts as zeros, as in the published code."""

    kind: Literal["average"]
    kernel: Count
    stride: Count
    padding: Annotated[int, Field(ge=0)]


class CellsPool(Settings):
    """Averages (or a bilinear resize) to n x n cells, n the largest with channels * n * n <= `values`.

    Never to more cells than the map has. `values` 9600 gives the published sizes of AlexNet's and ResNet-50's taps.
    """

    kind: Literal["cells"]
    values: Count
    how: Literal["average", "bilinear"]


class ResizePool(Settings):
    """A bilinear resize of the map to `side` x `side` cells."""

    kind: Literal["resize"]
    side: Count


class WholePool(Settings):
    """`map`: every cell of the map; `mean`: the mean over its cells; `embedding`: the network's own pooling."""

    kind: Literal["map", "mean", "embedding"]


PoolSettings = Annotated[AveragePool | CellsPool | ResizePool | WholePool, Field(discriminator="kind")]


class NetworkFeatures(Settings):
    """Which taps of a network are probed, how each becomes a vector, and the side of its input in pixels.

    `all_taps` instead of `taps` pools every tap that the network has in one way.
    """

    size: Annotated[int, Field(ge=16, le=1024)]
    taps: dict[str, PoolSettings] = Field(default_factory=dict)
    all_taps: PoolSettings | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> NetworkFeatures:
        if bool(self.taps) == (self.all_taps is not None):
            raise ValueError("either taps or all_taps is needed, and not both")
        return self


class FeatureSettings(Settings):
    """From an image to a vector for each tap.

    `fit`: `squash` resizes the whole image to the square, whatever its shape, after a first resize of its short side to
    `short_side` unless that is null; `centre-crop` brings the short side to `short_side` and cuts the square out of the
    middle. `networks` are architectures by name, and `other`.
    `only` null probes every tap; else these. Networks compute in `precision`; features are kept as float32.
    """

    fit: Literal["squash", "centre-crop"]
    short_side: Annotated[int, Field(ge=16, le=1024)] | None
    networks: dict[str, NetworkFeatures]
    only: list[str] | None
    precision: Literal["fp32", "bf16"]

    @model_validator(mode="after")
    def _crop_is_complete(self) -> FeatureSettings:
        if self.fit == "centre-crop" and self.short_side is None:
            raise ValueError("fit: centre-crop needs short_side")
        if self.fit == "centre-crop" and self.short_side is not None:
            for name, network in self.networks.items():
                if network.size > self.short_side:
                    raise ValueError(f"networks.{name}.size ({network.size}) is larger than short_side")
        return self


class SvmSettings(Settings):
    """One linear SVM a class (squared hinge), its cost chosen for each class by cross-validation on train.

    `positive_weight` multiplies the cost of positives; the bias is penalised like a weight. `difficult` objects'
    images are negatives in training, or left out; they never count in the test. Costs are compared by `validation_ap`,
    encoders by `ap`. `tolerance` bounds the duality gap
    relative to the objective.
    """

    kind: Literal["svm"]
    normalise: Literal["l2", "none"]
    costs: Rising
    positive_weight: Positive
    folds: Annotated[int, Field(ge=2, le=20)]
    difficult: Literal["negative", "ignored"]
    validation_ap: Literal["sklearn", "voc-area"]
    ap: Literal["voc-area", "voc-11-point", "sklearn"]
    tolerance: Positive


class LowShotSettings(Settings):
    """SVMs on `k` positives and `negatives` times as many negatives a class, drawn anew for each of `samples`.

    One cost for all classes and samples of a k: chosen on the `train` images that a sample leaves out, or, as the
    published code does, on the `test` split itself.
    """

    kind: Literal["low-shot"]
    normalise: Literal["l2", "none"]
    costs: Rising
    positive_weight: Positive
    shots: Annotated[list[Count], Field(min_length=1)]
    samples: Count
    negatives: Count
    cost_chosen_on: Literal["train", "test"]
    ap: Literal["voc-area", "voc-11-point", "sklearn"]
    tolerance: Positive


class LogisticSettings(Settings):
    """Logistic regression, penalised by half the squared norm of the weights (not of the bias) over `costs`.

    Multinomial where an image has one class, one-vs-rest where it may have several. The cost is chosen on
    a `validation` share of train, drawn for each class alike; then `refit` on all of it.
    """

    kind: Literal["logistic"]
    normalise: Literal["l2", "standardise", "none"]
    costs: Rising
    validation: Annotated[float, Field(gt=0, lt=1)]
    refit: bool
    ap: Literal["voc-area", "voc-11-point", "sklearn"]
    tolerance: Positive


class NeighboursSettings(Settings):
    """Votes of the `k` most similar training images, by cosine, weighted by exp(similarity / temperature)."""

    kind: Literal["knn"]
    k: Count
    temperature: Positive
    ap: Literal["voc-area", "voc-11-point", "sklearn"]


ProbeSettings = Annotated[
    SvmSettings | LowShotSettings | LogisticSettings | NeighboursSettings, Field(discriminator="kind")
]
PROBE_KINDS = {
    "voc-svm": "svm",
    "coco-svm": "svm",
    "voc-lowshot": "low-shot",
    "logistic": "logistic",
    "knn": "knn",
}
ON_TEST = "chosen-on-test"


class ProbeProtocol(Settings):
    """A way of judging frozen features: everything that can move its number, but for encoder and seed.

    `main_metric` is the metric at one tap, the one that `headline` names: `last`, the deepest; or `validated`, the
    one that does best on what was held out of train. Every tap's number stands beside it, as "METRIC TAP".
    """

    name: str = Field(json_schema_extra=NOT_HASHED)
    version: Count
    implementation: Count
    task: Literal["voc-svm", "coco-svm", "voc-lowshot", "logistic", "knn"]
    mode: Literal["frozen"]
    budget: Literal["full", "quick", "demo"]
    title: str = words()
    source: str = words()
    expected: str = words()
    expected_time: str = words()
    facts: list[str] = Field(default_factory=list, json_schema_extra=NOT_HASHED)
    departures: dict[str, str] = Field(default_factory=dict, json_schema_extra=NOT_HASHED)
    main_metric: str
    headline: Literal["last", "validated"]
    splits: dict[str, SplitSettings]
    features: FeatureSettings
    settings: ProbeSettings

    @model_validator(mode="after")
    def _task_is_of_its_kind(self) -> ProbeProtocol:
        if self.settings.kind != PROBE_KINDS[self.task]:
            raise ValueError(
                f"task {self.task} has settings of kind {PROBE_KINDS[self.task]}, not {self.settings.kind}"
            )
        return self

    @model_validator(mode="after")
    def _test_is_named_where_it_chooses(self) -> ProbeProtocol:
        on_test = isinstance(self.settings, LowShotSettings) and self.settings.cost_chosen_on == "test"
        if on_test != (ON_TEST in self.name):
            raise ValueError(
                f"cost_chosen_on: test and a name with {ON_TEST} belong together (the name is {self.name})"
            )
        return self

    @model_validator(mode="after")
    def _something_was_validated(self) -> ProbeProtocol:
        if self.headline == "validated" and self.settings.kind == "knn":
            raise ValueError("headline: validated needs a probe that holds out a part of train; knn does not")
        return self
