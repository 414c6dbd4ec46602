"""`ssl-bench probe`, and `transfer` with a task of frozen features: one extraction, every probe, a record for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_bench.data.labelled import LabelledImages
from ssl_bench.engine.fellows import bound_together, by_main, one_a_machine_first
from ssl_bench.engine.processes import Processes
from ssl_bench.errors import UserError, unknown
from ssl_bench.features.crew import Crew
from ssl_bench.features.extraction import Extraction, extract_together, help_with
from ssl_bench.features.store import FeatureStore
from ssl_bench.progress import say
from ssl_bench.protocol_names import PROBES, is_probe, resolve_probe
from ssl_bench.recipes import recipe_names
from ssl_bench.records import Record
from ssl_bench.runs import default_runs_folder
from ssl_bench.stages.datasets import cache_folder
from ssl_bench.stages.encoders import named_encoder
from ssl_bench.stages.judging_data import transfer_data
from ssl_bench.stages.named_encoders import refuse_untrained
from ssl_bench.stages.probe_job import ProbeJob


@dataclass
class ProbeOutcome:
    """What `probe` has done: records in the order of protocols, and why others were left out."""

    records: list[Record] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def judge_by_probe(
    task: str,
    overrides: Sequence[str] = (),
    *,
    encoder: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    seed: int = 0,
    device: str = "auto",
    limit: int | None = None,
    workers: int | None = None,
    allow_untrained: bool = False,
) -> Record:
    """Judge an encoder by one protocol of frozen features; the arguments are those of `transfer`.

    Raises:
        UserError: What a user can get wrong.
    """
    protocol, changed = resolve_probe(task, overrides, real_data=data is not None)
    runs = Path(out or default_runs_folder())
    processes = Processes(device)
    with one_a_machine_first(processes):
        subject = named_encoder(encoder, runs=runs, seed=seed)
        refuse_untrained(subject, allowed=allow_untrained)
        found = transfer_data(protocol, Path(data) if data is not None else None, limit=limit)
    job = ProbeJob(protocol, changed, subject, found, runs, processes, seed=seed, limit=limit, name=name)
    if job.folder.done:
        say(f"{job.folder.path} is done already")
        return job.finished()
    _by_all([job], processes, threads=workers)
    return job.finished()


def probe(
    encoder: str | None = None,
    *,
    protocols: Sequence[str] = (),
    budget: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    limit: int | None = None,
    workers: int | None = None,
    allow_untrained: bool = False,
) -> ProbeOutcome:
    """Judge an encoder by every protocol of frozen features that the data allows, from one extraction.

    Args:
        encoder: A run, an encoder file, or "random"; the newest finished pretraining by default.
        protocols: Only these; short names or full ones. By default each task's own.
        budget: full or quick; by default full on data that is named, quick on MiniVOC.
        data: A VOC, COCO or class folders; MiniVOC by default.
        workers: Threads that decode and compute; by default one a core. They do not move a number.
        allow_untrained: Judge an encoder that is an untouched initialisation, and say so in the records.

    Raises:
        UserError: There is no such encoder or data, or no protocol fits it.
    """
    runs = Path(out or default_runs_folder())
    processes = Processes(device)
    with one_a_machine_first(processes):
        subject = named_encoder(encoder, runs=runs, seed=seed)
    refuse_untrained(subject, allowed=allow_untrained)
    outcome = ProbeOutcome()
    jobs: list[ProbeJob] = []
    for task in protocols:
        if not is_probe(task):
            raise unknown("protocol of frozen features", task, [*PROBES, *recipe_names("probes")])
    chosen = [f"budget={budget}"] if budget else []
    for task in protocols or PROBES:
        protocol, changed = resolve_probe(task, chosen, real_data=data is not None)
        try:
            with one_a_machine_first(processes):
                found = transfer_data(protocol, Path(data) if data is not None else None, limit=limit)
        except UserError as error:
            if protocols or (data is not None and not Path(data).exists()):
                raise
            outcome.left_out[protocol.name] = str(error).split(". ")[0]
            continue
        twin = next((job for job in jobs if job.asks_the_same(protocol, found)), None)
        if twin is not None:
            outcome.left_out[protocol.name] = f"it asks the same of {found.name} as {twin.protocol.name}"
            continue
        jobs.append(ProbeJob(protocol, changed, subject, found, runs, processes, seed=seed, limit=limit))
    if not jobs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.left_out.items())
        raise UserError(f"no protocol of frozen features runs on {data}: {reasons}")
    failed = _by_all(
        [job for job in jobs if not job.folder.done],
        processes,
        threads=workers,
        go_on=True,
        keep_failures=bool(protocols),
    )
    if protocols:
        outcome.failures = [f"{name}: {reason}" for name, reason in failed.items()]
    else:
        outcome.left_out |= failed
    outcome.records = [job.finished() for job in jobs if job.folder.done]
    return outcome


def _by_all(
    jobs: Sequence[ProbeJob], processes: Processes, *, threads: int | None, **options: Any
) -> dict[str, str]:
    """Do jobs: processes of the main one's machine take features with it; it fits, scores and writes alone.

    Returns:
        As `_run_together`; in the others nothing.
    """
    failures: dict[str, str] = {}
    with bound_together(processes):
        crew = Crew(processes)
        for job in jobs:
            job.list_images()
        with by_main(processes) as mine:
            if mine:
                with crew.led():
                    failures = _run_together(jobs, crew, threads=threads, **options)
            elif crew.place is not None:
                _help(jobs, crew, threads)
    return failures


def _passes(jobs: Sequence[ProbeJob]) -> Iterator[tuple[str, LabelledImages, dict[str, Any]]]:
    """List what is looked at, split by split, and how its features are asked for, alike in all processes."""
    for part in ("train", "test"):
        for images, sharing in _by_images(jobs, part):
            asked = {
                "settings": {job.protocol.name: job.protocol.features for job in sharing},
                "store": FeatureStore(cache_folder() / "features"),
                "device": jobs[0].processes.device,
                "label": f"features of {images.set_name} {images.split}",
            }
            yield part, images, asked


def _help(jobs: Sequence[ProbeJob], crew: Crew, threads: int | None) -> None:
    for _, images, asked in _passes(jobs):
        if not help_with(jobs[0].subject.encoder, images, crew=crew, threads=threads, **asked):
            return


def _run_together(
    jobs: Sequence[ProbeJob],
    crew: Crew,
    *,
    threads: int | None,
    go_on: bool = False,
    keep_failures: bool = True,
) -> dict[str, str]:
    """Take the features of all jobs in as few passes as their pictures allow, then fit and score each.

    Returns:
        Why jobs failed, by protocol, where `go_on`; else the first failure is raised.
    """
    failures: dict[str, str] = {}
    if not jobs:
        return failures
    for job in jobs:
        job.open()
    try:
        taken: dict[str, dict[str, Extraction]] = {}  # by part, then by protocol
        for part, images, asked in _passes(jobs):
            found = extract_together(jobs[0].subject.encoder, images, crew=crew, threads=threads, **asked)
            taken.setdefault(part, {}).update(found)
        for job in jobs:
            try:
                job.run(taken["train"][job.protocol.name], taken["test"][job.protocol.name])
            except UserError as error:
                # What nobody asked for by name, and the data does not allow, has not failed.
                if keep_failures:
                    job.keep_failure(error)
                if not go_on:
                    raise
                say(f"{job.protocol.name}: {error}")
                failures[job.protocol.name] = str(error)
    finally:
        for job in jobs:
            job.folder.close()
    return failures


def _by_images(jobs: Sequence[ProbeJob], part: str) -> list[tuple[LabelledImages, list[ProbeJob]]]:
    """Group jobs by the images of their train or test split."""
    groups: dict[tuple[str, str], tuple[LabelledImages, list[ProbeJob]]] = {}
    for job in jobs:
        images = job.images[part]
        groups.setdefault((images.fingerprint, images.split), (images, []))[1].append(job)
    return list(groups.values())
