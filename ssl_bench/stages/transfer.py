"""`ssl-bench transfer`: judge one encoder by one protocol, into a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.fellows import bound_together, by_main, one_a_machine_first
from ssl_bench.engine.loading import Batch, default_workers, training_batches
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.shared_statistics import share_statistics
from ssl_bench.engine.training import Interrupted, Player, TrainingReport, train
from ssl_bench.environment import environment, peak_memory_mb
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.progress import say
from ssl_bench.protocol_names import is_probe, resolve_protocol
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.contract import Chooses, Judge, Model, NamesItsMetric, Prediction, Scores, judged_tap
from ssl_bench.protocols.predictions import load_predictions, save_predictions
from ssl_bench.protocols.registry import JUDGES
from ssl_bench.recipes import measures_paintings
from ssl_bench.records import (
    RESULT_FILE,
    Cost,
    DatasetReference,
    FrozenProof,
    ProtocolReference,
    Record,
    Selection,
    load_record,
    write_record,
)
from ssl_bench.resamples import write_resamples
from ssl_bench.runs import RunFolder, default_runs_folder, run_name
from ssl_bench.stages.encoders import named_encoder
from ssl_bench.stages.freezing import proof_of
from ssl_bench.stages.judging_data import TransferData, transfer_data
from ssl_bench.stages.named_encoders import NamedEncoder, refuse_untrained
from ssl_bench.stages.overlaps import overlap_of_transfer
from ssl_bench.stages.paintings import judge_paintings
from ssl_bench.stages.predicting import predict_in_order
from ssl_bench.stages.probing import judge_by_probe

VALIDATE = "validate"
FIXED_SCHEDULE = "fixed schedule, nothing chosen"


def transfer(
    task: str = "voc-cls",
    overrides: Sequence[str] = (),
    *,
    encoder: str | None = None,
    data: str | Path | None = None,
    pool: str | Path | None = None,
    proposals: str | Path | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    seed: int = 0,
    device: str = "auto",
    limit: int | None = None,
    workers: int | None = None,
    allow_untrained: bool = False,
) -> Record:
    """Judge an encoder; a run that is done returns its record, an unfinished one goes on.

    Args:
        task: A short name (voc-cls, voc-det, voc-seg, coco-det, voc-svm, voc-lowshot, coco-svm, logistic, knn, linear,
            inpainting), a protocol's full name, or a YAML file.
        overrides: mode=finetune|frozen, budget=full|quick|demo, and changes as "key.sub=value".
        encoder: A run, an encoder file, or "random"; the newest finished pretraining by default.
        data: A folder with a VOCdevkit (class folders for linear, photos for inpainting); MiniVOC by default.
        pool: Photos that nearest-neighbour inpainting searches.
        proposals: Boxes for Fast R-CNN, a file or a folder; computed by selective search by default.
        out: The folder of runs.
        name: The run's own folder name.
        seed: Of everything random in the transfer.
        device: auto, cpu, cuda or mps.
        limit: Use only the first so many images of each split (for trying; no table takes such a record).
        workers: Processes that decode images.
        allow_untrained: Judge an encoder that is an untouched initialisation, and say so in the record.

    Raises:
        UserError: What a user can get wrong.
    """
    shared: dict[str, Any] = {"encoder": encoder, "data": data, "out": out, "name": name, "seed": seed}
    shared |= {"device": device, "limit": limit}
    if measures_paintings(task):
        return judge_paintings(task, overrides, pool=pool, **shared)
    if pool is not None:
        raise UserError("--pool belongs to --task inpainting")
    if is_probe(task):
        if proposals is not None:
            raise UserError(f"--proposals: {task} judges whole images and needs none; leave it out")
        return judge_by_probe(task, overrides, workers=workers, allow_untrained=allow_untrained, **shared)
    protocol, changed = resolve_protocol(task, overrides, real_data=data is not None)
    runs = Path(out or default_runs_folder())
    processes = Processes(device)
    with one_a_machine_first(processes):
        subject = named_encoder(encoder, runs=runs, seed=seed)
        refuse_untrained(subject, allowed=allow_untrained)
        found = transfer_data(
            protocol,
            Path(data) if data is not None else None,
            proposals=Path(proposals) if proposals is not None else None,
            limit=limit,
            workers=workers,
        )
    identity = {
        "stage": "transfer",
        "protocol": settings_hash(protocol),
        "data": found.fingerprint,
        **subject.identity,
        "seed": seed,
        "limit": limit,
    }
    if found.proposals is not None:
        identity["proposals"] = [found.proposals.fingerprint_train, found.proposals.fingerprint_test]
    folder = RunFolder(runs / (name or run_name(protocol.name, seed, identity, subject.method)), identity)
    if folder.done:
        say(f"{folder.path} is done already")
        return load_record(folder.path / RESULT_FILE)
    job = _Job(protocol, changed, subject, found, folder, processes, seed, limit, workers)
    train_set, test_set = job.samples()
    with by_main(processes) as mine:
        if mine:
            folder.open(protocol.model_dump(mode="json"), job.environment)
            say(job.announcement(len(train_set), len(test_set)))
    try:
        with bound_together(processes):
            record = job.run(train_set, test_set)
    except Interrupted:
        raise
    except Exception as error:
        if processes.is_main:
            write_record(folder.path, job.failure(error))
        raise
    finally:
        folder.close()
    return record


class _Job:
    """One transfer: what is judged, on what, how; and the steps of doing it."""

    def __init__(
        self,
        protocol: Protocol,
        changed: Sequence[str],
        subject: NamedEncoder,
        found: TransferData,
        folder: RunFolder,
        processes: Processes,
        seed: int,
        limit: int | None,
        workers: int | None,
    ) -> None:
        self.protocol, self.changed, self.subject, self.found = protocol, tuple(changed), subject, found
        self.folder, self.processes, self.seed, self.limit = folder, processes, seed, limit
        self.workers = default_workers(self.processes.device) if workers is None else workers
        self.judge: Judge = JUDGES[protocol.settings.kind]
        self.environment = environment(str(processes.device))
        self.main_metric = protocol.main_metric
        if isinstance(self.judge, NamesItsMetric):
            self.main_metric = self.judge.main_metric(found.devkit, protocol)

    def samples(self) -> tuple[Any, Any]:
        """Open both splits; what is missing is said here, before anything is trained."""
        devkit, splits = self.found.devkit, self.found.splits
        return (
            self.judge.train_samples(devkit, splits.train, self.protocol, self.limit),
            self.judge.test_samples(devkit, splits.test, self.protocol, self.limit),
        )

    def announcement(self, n_train: int, n_test: int) -> str:
        """Say what is about to be done, and for long forms how long it takes."""
        p, d = self.protocol, self.found
        time_note = f"; expected time: {p.expected_time}" if p.expected_time else ""
        return (
            f"transfer {p.name} v{p.version} ({settings_hash(p)}) of {self.subject.name} on {d.name}: "
            f"{d.splits.train} ({n_train} images) to {d.splits.test} ({n_test}), on {self.processes.device}: "
            f"{p.schedule.steps} steps of {p.schedule.batch_size}, into {self.folder.path}{time_note}"
        )

    def run(self, train_set: Any, test_set: Any) -> Record:
        """Fit, predict, score; write predictions and record."""
        started = time.monotonic()
        before = self.subject.sha256
        torch.manual_seed(self.seed)
        model = self.judge.build(self.subject.encoder, self.protocol, self.found.devkit.classes)
        model = model.to(self.processes.device).to(memory_format=torch.channels_last)
        share_statistics(model, self.processes)
        report = self._fit(model, train_set)
        self.environment |= report.memory_note
        evaluating = not any(layer.training for layer in self.subject.encoder.modules())
        selection = self._select(model)
        predicting = time.monotonic()
        predictions = self._predict(model, model.predict, test_set, "predict")
        predict_s = time.monotonic() - predicting
        frozen = self.protocol.mode == "frozen"
        proof = proof_of(self.subject.encoder, before, frozen=frozen, evaluating=evaluating)
        with by_main(self.processes) as mine:
            if mine:
                save_predictions(self.folder.path, predictions)
                scores = self._score(load_predictions(self.folder.path))
                cost = Cost(
                    wall_s=round(report.wall_s + time.monotonic() - started - report.sitting_s, 2),
                    fit_s=round(report.wall_s, 2),
                    predict_s=round(predict_s, 2),
                    train_images_per_s=round(report.images_per_s, 2),
                    peak_memory_mb=round(peak_memory_mb(), 1),
                )
                record = self._record(scores, selection, proof, cost, len(train_set), len(test_set))
                write_resamples(self.folder.path, scores.resampled)
                write_record(self.folder.path, record)
                self.folder.finish()
                self._checkpoints().clear()  # after it: a kill between the two must not cost the training
                say(
                    f"{self.folder.path.name}: {record.main_metric} {record.score:.2f} %{record.interval_words}"
                )
        return load_record(self.folder.path / RESULT_FILE)

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder.path / "checkpoints", str(self.folder.identity["protocol"]))

    def _fit(self, model: Model, train_set: Any) -> TrainingReport:
        schedule = self.protocol.schedule
        batches = training_batches(
            train_set,
            batch_size=schedule.batch_size,
            steps=schedule.steps,
            seed=self.seed,
            workers=self.workers,
            rank=self.processes.rank,
            processes=self.processes.count,
            pin=self.processes.device.type == "cuda",
        )

        def batches_from(first: int) -> Any:
            if self.processes.is_main:
                self.folder.keep_log_until(first)
            return batches(first)

        model.train()
        return train(
            model,
            [Player(name="model", parts=[model], optimizer=self.protocol.optimizer)],
            batches_from,
            schedule,
            processes=self.processes,
            precision=self.protocol.precision,
            seed=self.seed,
            label=f"{self.folder.path.name} fit",
            checkpoints=self._checkpoints(),
            log=self.folder.log,
        )

    def _select(self, model: Model) -> Selection:
        """Let a judge that chooses do so, on what it held out of train."""
        judge, data = self.judge, self.found
        if isinstance(judge, Chooses):
            held_out = judge.validation_samples(data.devkit, data.splits.train, self.protocol, self.limit)
            if held_out is not None:
                found = self._predict(model, model.validate, held_out, VALIDATE)
                return judge.choose(model, found, held_out, self.protocol)
        return Selection(rule=FIXED_SCHEDULE)

    def _predict(
        self, model: Model, predict: Callable[[Batch], list[Prediction]], samples: Any, what: str
    ) -> list[Prediction]:
        model.eval()
        return predict_in_order(
            predict,
            samples,
            batch_size=self.judge.test_batch_size,
            seed=self.seed,
            workers=self.workers,
            processes=self.processes,
            label=f"{self.folder.path.name} {what}",
            everywhere=what == VALIDATE,  # what is chosen is chosen in every process
        )

    def _score(self, predictions: Sequence[Prediction]) -> Scores:
        return self.judge.score(
            predictions, self.found.devkit, self.found.splits.test, self.protocol, self.limit
        )

    def _parts(self) -> dict[str, Any]:
        """What a record says whether the run succeeded or not."""
        p = self.protocol
        return {
            "run": self.folder.path.name,
            "task": p.task,
            "protocol": ProtocolReference.of(p, self.changed),
            "encoder": self.subject.reference(judged_tap(self.subject.encoder, p.settings)),
            "pretraining_seed": self.subject.pretraining_seed,
            "transfer_seed": self.seed,
            "main_metric": self.main_metric,
            "environment": self.environment,
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    def _dataset(self, n_train: int, n_test: int) -> DatasetReference:
        return DatasetReference(
            name=self.found.name,
            train_split=self.found.splits.train,
            test_split=self.found.splits.test,
            fingerprint=self.found.fingerprint,
            n_train=n_train,
            n_test=n_test,
            limit=self.limit,
            synthetic=self.found.synthetic,
            proposals=self.found.proposals,
            overlap=overlap_of_transfer(self.subject.pretraining, self.found, self.protocol.task),
        )

    def _record(
        self, scores: Scores, selection: Selection, proof: FrozenProof, cost: Cost, n_train: int, n_test: int
    ) -> Record:
        assert self.main_metric in scores.metrics, scores.metrics.keys()
        return Record(
            status="done",
            dataset=self._dataset(n_train, n_test),
            metrics=scores.metrics,
            per_class=scores.per_class,
            intervals=scores.intervals,
            selection=selection,
            frozen_proof=proof,
            n_evaluated=n_test,
            cost=cost,
            **self._parts(),
        )

    def failure(self, error: BaseException) -> Record:
        """Describe a run that failed; paths stay out of it, since a record may be published."""
        text = str(error).replace(str(self.found.devkit.root), self.found.name)
        return Record(
            status="failed",
            error=f"{type(error).__name__}: {text}",
            dataset=self._dataset(0, 0),
            **self._parts(),
        )
