"""`ssl-bench transfer --task inpainting`: measure painted centres, into a record as every other transfer's.

What paints is a finished inpainting run, or nearest neighbours in a pool of photos: `nn-hog` compares contexts
by gradient histograms, `nn:RUN` by that run's features.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.photos import Photos, open_photos, voc_photos
from ssl_bench.engine.fellows import bound_together, by_main, one_a_machine_first
from ssl_bench.engine.processes import Processes
from ssl_bench.environment import environment, peak_memory_mb
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.hashing import digest, settings_hash
from ssl_bench.pretexts.inpainter import Inpainter, load_inpainter
from ssl_bench.progress import progress, say, say_once
from ssl_bench.protocol_schemas import InpaintingProtocol
from ssl_bench.protocols.inpainting import fitted, hog_of_context, neighbour_paintings, painting_scores
from ssl_bench.protocols.predictions import save_predictions
from ssl_bench.recipes import INPAINTING, INPAINTING_DEFAULT, load_inpainting_protocol
from ssl_bench.records import (
    RESULT_FILE,
    Cost,
    DatasetReference,
    EncoderReference,
    PretrainingReference,
    ProtocolReference,
    Record,
    Selection,
    load_record,
    write_record,
)
from ssl_bench.resamples import write_resamples
from ssl_bench.runs import RunFolder, default_runs_folder, run_name
from ssl_bench.stages.datasets import MINIVOC, fingerprint_of, minivoc
from ssl_bench.stages.encoders import newest_run
from ssl_bench.stages.named_encoders import describe

NN_HOG, NN_FEATURES = "nn-hog", "nn-features"
PORTION = 256  # photos of the pool that are in memory at a time
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """Photos with their name and fingerprint."""

    photos: Photos
    name: str
    fingerprint: str
    synthetic: bool


@dataclass(frozen=True, kw_only=True)
class Painter:
    """What paints, and what a record says about it."""

    reference: EncoderReference
    seed: int | None
    inpainter: Inpainter | None
    pool: PhotoSet | None

    def paint(
        self, pictures: np.ndarray, protocol: InpaintingProtocol, device: torch.device
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Paint centres, (N, 3, 64, 64) in [0, 1]; with the photo of the pool that each is from, if any."""
        start = (protocol.size - protocol.square) // 2
        place = slice(start, start + protocol.square)
        removed = np.zeros((1, 1, protocol.size, protocol.size), np.uint8)
        if self.inpainter is not None:
            self.inpainter.to(device)
            removed[0, 0] = self.inpainter.central_hole()
        if self.pool is None:
            assert self.inpainter is not None
            painted = self.inpainter.paint(pictures, removed)
            return (painted if self.inpainter.hole else painted[:, :, place, place]), None
        removed[:, :, place, place] = 1  # a neighbour must not be chosen by pixels that are measured
        inpainter = self.inpainter

        def describe_context(portion: np.ndarray) -> np.ndarray:
            if inpainter is None:
                return hog_of_context(portion, protocol)
            return inpainter.features(portion, removed)

        return neighbour_paintings(pictures, portions(self.pool, protocol), describe_context, protocol)


def judge_paintings(
    task: str,
    overrides: Sequence[str] = (),
    *,
    encoder: str | None,
    data: str | Path | None,
    pool: str | Path | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    seed: int = 0,
    device: str = "auto",
    limit: int | None = None,
) -> Record:
    """Measure painted centres of photos; a run that is done returns its record.

    Args:
        task: `inpainting`, a protocol's full name, or a YAML file.
        encoder: An inpainting run; `nn-hog` or `nn:RUN` for nearest neighbours; by default the newest run.
        data: Photos to judge on (a folder or a zip); MiniVOC's test images by default.
        pool: Photos that nearest neighbours are searched in.
        seed: Kept in the record; nothing here is random.

    Raises:
        UserError: What a user can get wrong.
    """
    protocol = load_inpainting_protocol(INPAINTING_DEFAULT if task == INPAINTING else task, overrides)
    runs = Path(out or default_runs_folder())
    processes = Processes(device)
    with one_a_machine_first(processes):
        photos = photo_set(data, "test")
        painter = named_painter(encoder, runs=runs, pool=pool, protocol=protocol)
    identity = {
        "stage": "transfer",
        "protocol": settings_hash(protocol),
        "data": photos.fingerprint,
        "encoder": painter.reference.sha256,
        "pool": painter.pool.fingerprint if painter.pool else None,
        "seed": seed,
        "limit": limit,
    }
    method = painter.reference.method
    folder = RunFolder(runs / (name or run_name(protocol.name, seed, identity, method)), identity)
    if folder.done:
        say(f"{folder.path} is done already")
        return load_record(folder.path / RESULT_FILE)
    with bound_together(processes), by_main(processes) as mine:
        if mine:
            _measure(painter, photos, folder, protocol, overrides, processes.device, seed=seed, limit=limit)
    return load_record(folder.path / RESULT_FILE)


def _measure(
    painter: Painter,
    photos: PhotoSet,
    folder: RunFolder,
    protocol: InpaintingProtocol,
    overrides: Sequence[str],
    device: torch.device,
    *,
    seed: int,
    limit: int | None,
) -> None:
    """Paint, score, and write the record."""
    made_with = environment(str(device))
    folder.open(protocol.model_dump(mode="json"), made_with)
    try:
        started = time.monotonic()
        pictures = read_all(photos, protocol, limit)
        say(
            f"transfer {protocol.name} v{protocol.version} ({settings_hash(protocol)}) of {painter.reference.name} "
            f"on {photos.name}: {len(pictures)} photos"
            + (f", neighbours from {painter.pool.name}" if painter.pool else "")
            + f", into {folder.path}"
        )
        predicting = time.monotonic()
        paintings, source = painter.paint(pictures, protocol, device)
        predict_s = time.monotonic() - predicting
        scores = painting_scores(paintings, pictures, protocol)
        save_predictions(folder.path, _kept(paintings, source))
        write_resamples(folder.path, scores.resampled)
        record = Record(
            status="done",
            run=folder.path.name,
            task=protocol.task,
            protocol=ProtocolReference.of(protocol, overrides),
            dataset=_dataset_reference(photos, len(pictures), limit),
            encoder=painter.reference,
            pretraining_seed=painter.seed,
            transfer_seed=seed,
            main_metric=protocol.main_metric,
            metrics=scores.metrics,
            intervals=scores.intervals,
            selection=Selection(rule="nothing is fitted, nothing chosen"),
            n_evaluated=len(pictures),
            cost=Cost(
                wall_s=round(time.monotonic() - started, 2),
                fit_s=0.0,
                predict_s=round(predict_s, 2),
                train_images_per_s=0.0,
                peak_memory_mb=round(peak_memory_mb(), 1),
            ),
            environment=made_with,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        write_record(folder.path, record)
        folder.finish()
    finally:
        folder.close()


def _kept(paintings: np.ndarray, source: np.ndarray | None) -> list[dict[str, np.ndarray]]:
    """What is kept of each image: the painting in 8 bits, and which photo of the pool it is from."""
    kept = [{"painting": np.round(painting * 255).astype(np.uint8)} for painting in paintings]
    if source is None:
        return kept
    return [{**one, "neighbour": np.array([place])} for one, place in zip(kept, source, strict=True)]


def _dataset_reference(photos: PhotoSet, count: int, limit: int | None) -> DatasetReference:
    return DatasetReference(
        name=photos.name,
        train_split="none",
        test_split=ALL,
        fingerprint=photos.fingerprint,
        n_train=0,
        n_test=count,
        limit=limit,
        synthetic=photos.synthetic,
    )


def photo_set(given: str | Path | None, split: str) -> PhotoSet:
    """Open photos, or MiniVOC's of one split where none are named."""
    if given is None:
        say_once(
            f"no photos named: taking MiniVOC's {split} images, a synthetic look-alike (point to your own with "
            "--data FOLDER_OR_ZIP)"
        )
        devkit = minivoc()
        return PhotoSet(
            photos=voc_photos(devkit, split),
            name=f"{MINIVOC} {split}",
            fingerprint=fingerprint_of(devkit),
            synthetic=True,
        )
    photos = open_photos(Path(given))
    with progress(f"fingerprint of {photos.name}", len(photos)) as advance:
        fingerprint = photos.fingerprint(progress=lambda done, total: advance(done))
    return PhotoSet(photos=photos, name=photos.name, fingerprint=fingerprint, synthetic=False)


def named_painter(
    given: str | None, *, runs: Path, pool: str | Path | None, protocol: InpaintingProtocol
) -> Painter:
    """Load what a user means by an inpainting run, `nn-hog` or `nn:RUN`.

    Raises:
        UserError: A pool is missing, or named where none is searched; the run is not an inpainting run.
    """
    by_hog, by_features = given == NN_HOG, given is not None and given.startswith("nn:")
    if (by_hog or by_features) != (pool is not None):
        raise UserError(
            "nearest neighbours are searched in a pool of photos: name it with --pool FOLDER_OR_ZIP"
            if pool is None
            else "--pool belongs to nearest neighbours: --encoder nn-hog or --encoder nn:RUN"
        )
    searched = photo_set(pool, "unlabelled") if pool is not None else None
    if by_hog:
        assert searched is not None
        compared = digest(
            {"method": NN_HOG, **protocol.neighbours.model_dump(), "pool": searched.fingerprint}
        )
        reference = EncoderReference(
            name=f"{NN_HOG} in {searched.name}",
            method=NN_HOG,
            architecture="HOG",
            sha256=compared,
            tap="context",
            source="none",
            pretraining=_searching(NN_HOG, None, searched),
        )
        return Painter(reference=reference, seed=None, inpainter=None, pool=searched)
    wanted = given.removeprefix("nn:") if given else str(newest_run(runs, control=", nn-hog or nn:RUN"))
    path = Path(wanted) if Path(wanted).exists() else runs / wanted
    inpainter = load_inpainter(path)
    card = inpainter.card
    source: Literal["run"] = "run"
    method = NN_FEATURES if by_features else card.method
    reference = EncoderReference(
        name=f"nn:{card.name} in {searched.name}" if searched else card.name,
        method=method,
        architecture=describe(dict(card.architecture)),
        sha256=inpainter.sha256,
        tap="units" if by_features else "generator",
        source=source,
        pretraining=_searching(NN_FEATURES, card.pretraining, searched) if searched else card.pretraining,
    )
    return Painter(reference=reference, seed=card.pretraining_seed, inpainter=inpainter, pool=searched)


def _searching(method: str, learned: PretrainingReference | None, pool: PhotoSet) -> PretrainingReference:
    """Describe what neighbours know: the pool, and what their features were learned from if it is another set."""
    if learned is not None:
        other = f"{learned.data_name}; " if learned.data_fingerprint != pool.fingerprint else ""
        return learned.model_copy(update={"data_name": f"{other}pool {pool.name}"})
    return PretrainingReference(
        recipe=method,
        recipe_hash=digest(method),
        data_name=f"pool {pool.name}",
        data_fingerprint=pool.fingerprint,
        synthetic=pool.synthetic,
        steps=0,
        images_seen=len(pool.photos),
        wall_s=0.0,
        supervision="-",
    )


def read_all(photos: PhotoSet, protocol: InpaintingProtocol, limit: int | None) -> np.ndarray:
    """Read the photos to judge on, uint8 (N, 3, 128, 128); a broken one is an error, as their number counts."""
    count = min(limit or len(photos.photos), len(photos.photos))
    return np.stack([_read(photos.photos, index, protocol) for index in range(count)])


def portions(pool: PhotoSet, protocol: InpaintingProtocol) -> Iterator[np.ndarray]:
    """Read a pool in portions; photos that cannot be read are left out and counted."""
    broken: list[str] = []
    with progress(f"searching {pool.name}", len(pool.photos)) as advance:
        for first in range(0, len(pool.photos), PORTION):
            read: list[np.ndarray] = []
            for index in range(first, min(first + PORTION, len(pool.photos))):
                try:
                    read.append(_read(pool.photos, index, protocol))
                except BrokenImage as error:
                    broken.append(error.name)
            if read:
                yield np.stack(read)
            advance(min(first + PORTION, len(pool.photos)))
    if broken:
        say(f"left out {len(broken)} photos of the pool that cannot be read ({', '.join(broken[:3])})")


def _read(photos: Photos, index: int, protocol: InpaintingProtocol) -> np.ndarray:
    name = photos.names[index]
    return fitted(read_rgb(photos.read(index), name=name), protocol, name=name)
