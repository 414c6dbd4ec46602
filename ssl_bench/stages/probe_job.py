"""One probe of one encoder: choose and fit on train, tap by tap, then open the test split, score and write down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ssl_bench.data.class_folder_set import ClassFolderSet
from ssl_bench.data.labelled import LabelledImages, from_class_folders, from_image_set
from ssl_bench.engine.processes import Processes
from ssl_bench.environment import environment, peak_memory_mb
from ssl_bench.features.extraction import Extraction
from ssl_bench.hashing import settings_hash
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.progress import say
from ssl_bench.protocols.contract import Scores
from ssl_bench.protocols.predictions import load_arrays, save_arrays
from ssl_bench.protocols.probes.contract import Certificate, Fitted, Predictions, Probe
from ssl_bench.protocols.probes.registry import probe_of
from ssl_bench.protocols.probes.sealed import SealedTest, TestFeatures, TrainingFeatures
from ssl_bench.records import (
    RESULT_FILE,
    Cost,
    DatasetReference,
    FeaturesReference,
    FrozenProof,
    ProtocolReference,
    Record,
    Selection,
    SolverCertificate,
    load_record,
    write_record,
)
from ssl_bench.resamples import write_resamples
from ssl_bench.runs import RunFolder, run_name
from ssl_bench.stages.judging_data import TransferData
from ssl_bench.stages.named_encoders import NamedEncoder
from ssl_bench.stages.overlaps import overlap_of_transfer

BETWEEN = ": "  # tap and array in the name of a kept prediction
HEADLINES = {"last": "the deepest tap", "validated": "the tap that does best on what was held out of train"}


class ProbeJob:
    """One protocol on one encoder."""

    def __init__(
        self,
        protocol: ProbeProtocol,
        changed: Sequence[str],
        subject: NamedEncoder,
        found: TransferData,
        runs: Path,
        processes: Processes,
        *,
        seed: int,
        limit: int | None,
        name: str | None = None,
    ) -> None:
        self.protocol, self.changed, self.subject, self.found = protocol, tuple(changed), subject, found
        self.processes, self.seed, self.limit = processes, seed, limit
        identity = {
            "stage": "probe",
            "protocol": settings_hash(protocol),
            "data": found.fingerprint,
            **subject.identity,
            "seed": seed,
            "limit": limit,
        }
        self.folder = RunFolder(
            runs / (name or run_name(protocol.name, seed, identity, subject.method)), identity
        )
        self.images: dict[str, LabelledImages] = {}
        self.environment = environment(str(processes.device))
        self.taps: tuple[str, ...] = ()

    def asks_the_same(self, protocol: ProbeProtocol, found: TransferData) -> bool:
        """Whether another protocol would do the same on the same images, under another name."""
        same = (protocol.settings, protocol.features) == (self.protocol.settings, self.protocol.features)
        here = (self.found.fingerprint, self.found.splits)
        return same and (found.fingerprint, found.splits) == here

    def list_images(self) -> None:
        """List the images of both splits; labels of the test split are not looked at here."""
        for part, split in (("train", self.found.splits.train), ("test", self.found.splits.test)):
            self.images[part] = labelled_images(self.found, split, self.limit)

    def open(self) -> None:
        """Take the run's folder."""
        self.folder.open(self.protocol.model_dump(mode="json"), self.environment)
        p, d = self.protocol, self.found
        say(
            f"probe {p.name} v{p.version} ({settings_hash(p)}) of {self.subject.name} on {d.name}: "
            f"{d.splits.train} ({len(self.images['train'])} images) to {d.splits.test} "
            f"({len(self.images['test'])}), into {self.folder.path}"
        )

    def run(self, train: Extraction, test: Extraction) -> None:
        """Choose and fit on train, tap by tap; then open the test split, once; write predictions and record."""
        started = time.monotonic()
        images = self.images["train"]
        self.taps = tuple(train.taps)
        probe = probe_of(self.protocol, several_classes=images.several_classes)
        sealed = SealedTest(lambda: _test_features(test, self.images["test"]))
        fitted = {
            tap: probe.fit(
                TrainingFeatures(values=features.values, labels=images.labels, classes=images.classes),
                seed=self.seed,
                device=self.processes.device,
                label=f"{self.folder.path.name} {tap}",
            )
            for tap, features in train.taps.items()
        }
        headline = self._headline(fitted)
        sealed.close_selection()
        fit_s = time.monotonic() - started
        predictions, on_test = _predictions(fitted, sealed.open())
        save_arrays(
            self.folder.path,
            {
                f"{tap}{BETWEEN}{name}": array
                for tap, arrays in predictions.items()
                for name, array in arrays.items()
            },
        )
        scores = scores_of_kept(self.folder.path, probe, self.images["test"])
        cost = Cost(
            wall_s=round(train.wall_s + test.wall_s + time.monotonic() - started, 2),
            fit_s=round(fit_s, 2),
            predict_s=round(time.monotonic() - started - fit_s, 2),
            train_images_per_s=round(train.images_per_s or 0.0, 2),
            peak_memory_mb=round(peak_memory_mb(), 1),
        )
        record = self._record(probe, fitted, headline, on_test, scores, train, test, cost)
        write_resamples(self.folder.path, resampled_by_tap(scores, headline))
        write_record(self.folder.path, record)
        self.folder.finish()
        at = f" at {headline}" if len(fitted) > 1 else ""
        say(f"{self.folder.path.name}: {record.main_metric} {record.score:.2f} %{at}{record.interval_words}")

    def finished(self) -> Record:
        """Read the record that was written."""
        return load_record(self.folder.path / RESULT_FILE)

    def keep_failure(self, error: BaseException) -> None:
        """Write down that the run failed; paths stay out of it, since a record may be published."""
        text = str(error).replace(str(self.found.devkit.root), self.found.name)
        failed = Record(
            status="failed",
            error=f"{type(error).__name__}: {text}",
            dataset=self._dataset(),
            main_metric=self.protocol.main_metric,
            **self._parts(self.taps[-1] if self.taps else ""),
        )
        write_record(self.folder.path, failed)

    def _headline(self, fitted: dict[str, Fitted]) -> str:
        """Choose the tap that stands for the encoder, by what the protocol says."""
        if self.protocol.headline == "last":
            return list(fitted)[-1]
        validated = {tap: each.validation_score for tap, each in fitted.items()}
        assert all(score is not None for score in validated.values()), "nothing was held out of train"
        return max(validated, key=lambda tap: validated[tap] or 0.0)

    def _parts(self, tap: str) -> dict[str, Any]:
        """What a record says whether the run succeeded or not."""
        return {
            "run": self.folder.path.name,
            "task": self.protocol.task,
            "protocol": ProtocolReference.of(self.protocol, self.changed),
            "encoder": self.subject.reference(tap),
            "pretraining_seed": self.subject.pretraining_seed,
            "transfer_seed": self.seed,
            "environment": self.environment,
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    def _dataset(self) -> DatasetReference:
        return DatasetReference(
            name=self.found.name,
            train_split=self.found.splits.train,
            test_split=self.found.splits.test,
            fingerprint=self.found.fingerprint,
            n_train=len(self.images["train"]),
            n_test=len(self.images["test"]),
            limit=self.limit,
            synthetic=self.found.synthetic,
            overlap=overlap_of_transfer(self.subject.pretraining, self.found, self.protocol.task),
        )

    def _record(
        self,
        probe: Probe,
        fitted: dict[str, Fitted],
        headline: str,
        on_test: dict[str, dict[str, Any]],
        scores: dict[str, Scores],
        train: Extraction,
        test: Extraction,
        cost: Cost,
    ) -> Record:
        main = probe.main_metric
        metrics = dict(scores[headline].metrics)
        intervals = dict(scores[headline].intervals)
        per_class = dict(scores[headline].per_class)
        for tap, found in scores.items():
            metrics |= {f"{name} {tap}": value for name, value in found.metrics.items()}
            intervals |= {f"{name} {tap}": interval for name, interval in found.intervals.items()}
            per_class |= {f"{name} {tap}": values for name, values in found.per_class.items()}
        assert main in metrics, metrics.keys()
        reused = sum(features.reused for part in (train, test) for features in part.taps.values())
        validated = {
            tap: each.validation_score for tap, each in fitted.items() if each.validation_score is not None
        }
        return Record(
            status="done",
            dataset=self._dataset(),
            main_metric=main,
            metrics=metrics,
            per_class=per_class,
            intervals=intervals,
            selection=Selection(
                rule=f"{probe.rule}; headline: {HEADLINES[self.protocol.headline]}",
                validation_score=validated.get(headline),
                trials=fitted[headline].trials
                * (len(fitted) if self.protocol.headline == "validated" else 1),
                chosen={tap: on_test.get(tap) or each.chosen for tap, each in fitted.items()},
                on_test=bool(on_test),
                validation_by_tap=validated,
            ),
            frozen_proof=_proof(train.proof, test.proof),
            certificate=_certificate([each.certificate for each in fitted.values()]),
            features=FeaturesReference(
                images_per_s=train.images_per_s if train.images_per_s is not None else test.images_per_s,
                wall_s=round(train.wall_s + test.wall_s, 3),
                reused=reused,
                extracted=len(train.taps) + len(test.taps) - reused,
                dimensions={tap: features.values.shape[1] for tap, features in train.taps.items()},
            ),
            n_evaluated=len(self.images["test"]),
            cost=cost,
            **self._parts(headline),
        )


def scores_of_kept(folder: Path, probe: Probe, images: LabelledImages) -> dict[str, Scores]:
    """Score by tap what a run kept, as it was kept."""
    by_tap: dict[str, Predictions] = {}
    for name, array in load_arrays(folder).items():
        tap, _, inner = name.partition(BETWEEN)
        by_tap.setdefault(tap, {})[inner] = array
    return {tap: probe.score(arrays, images.labels, images.classes) for tap, arrays in by_tap.items()}


def resampled_by_tap(scores: dict[str, Scores], headline: str) -> dict[str, Any]:
    """Name resampled scores as the record names its metrics: the headline's plainly, then every tap's."""
    by_tap = {f"{name} {tap}": values for tap, of in scores.items() for name, values in of.resampled.items()}
    return {**scores[headline].resampled, **by_tap}


def labelled_images(found: TransferData, split: str, limit: int | None) -> LabelledImages:
    """List the images of a split with their labels."""
    if isinstance(found.devkit, ClassFolderSet):
        return from_class_folders(found.devkit.folders(split), fingerprint=found.fingerprint, limit=limit)
    return from_image_set(
        found.devkit,
        split,
        name=found.name,
        fingerprint=found.fingerprint,
        synthetic=found.synthetic,
        limit=limit,
    )


def _test_features(test: Extraction, images: LabelledImages) -> dict[str, TestFeatures]:
    return {
        tap: TestFeatures(values=features.values, labels=images.labels, classes=images.classes)
        for tap, features in test.taps.items()
    }


def _predictions(
    fitted: dict[str, Fitted], test: dict[str, TestFeatures]
) -> tuple[dict[str, Predictions], dict[str, dict[str, Any]]]:
    """Predict by tap; also what the test split chose, where the protocol's name says that it does."""
    predictions: dict[str, Predictions] = {}
    chosen: dict[str, dict[str, Any]] = {}
    for tap, each in fitted.items():
        if each.choose_on_test is not None:
            predictions[tap], chosen[tap] = each.choose_on_test(test[tap])
        else:
            predictions[tap] = each.predict(test[tap])
    return predictions, chosen


def _proof(train: FrozenProof, test: FrozenProof) -> FrozenProof:
    """One proof for both passes: the weights before the first are those after the last."""
    assert train.sha256_before == test.sha256_after, "a frozen encoder changed"
    return FrozenProof(
        frozen=True,
        sha256_before=train.sha256_before,
        sha256_after=test.sha256_after,
        evaluation_mode=bool(train.evaluation_mode and test.evaluation_mode),
    )


def _certificate(each: Sequence[Certificate | None]) -> SolverCertificate | None:
    known = [certificate for certificate in each if certificate is not None]
    if not known:
        return None
    total = known[0]
    for certificate in known[1:]:
        total = total + certificate
    return SolverCertificate(
        problems=total.problems,
        largest_gap=total.largest_gap,
        tolerance=total.tolerance,
        missed=total.missed,
    )
