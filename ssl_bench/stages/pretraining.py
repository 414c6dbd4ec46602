"""`ssl-bench pretrain`: learn an encoder by a recipe, into a run directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ssl_bench.data.samples import PhotoSamples
from ssl_bench.data.shard_places import as_place
from ssl_bench.encoders.files import (
    CARD_FILE,
    WEIGHTS_FILE,
    EncoderCard,
    read_card,
    save_encoder,
    save_weights,
)
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.encoders.unreached import leave_out_unreached
from ssl_bench.engine.checkpoints import Checkpoints
from ssl_bench.engine.compiling import Compiling
from ssl_bench.engine.fellows import bound_together, by_main, one_a_machine_first
from ssl_bench.engine.loading import default_workers, evaluation_batches, to_device, training_batches
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.shared_statistics import share_statistics
from ssl_bench.engine.training import TrainingReport, train
from ssl_bench.environment import environment
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.pretexts.masks import drawn_shape
from ssl_bench.pretexts.registry import build_pretext
from ssl_bench.progress import say
from ssl_bench.recipe_schemas import (
    ContextEncoderSettings,
    DataDependentSettings,
    InpaintingSettings,
    PretrainRecipe,
)
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.reporting.figures import inpainting_gallery
from ssl_bench.runs import RunFolder, default_runs_folder, run_name
from ssl_bench.stages.datasets import PretrainingData, object_shapes, pretraining_data
from ssl_bench.stages.decoded import decoded_photos, refuse_decoding_first
from ssl_bench.stages.initialising import initialise
from ssl_bench.stages.input_sizes import check_size
from ssl_bench.stages.losses import LossLog
from ssl_bench.stages.online_probe import OnlineProbe
from ssl_bench.stages.pretraining_card import card_of, reference_of
from ssl_bench.stages.pretraining_words import announcement, ending
from ssl_bench.stages.probe_sets import probe_set
from ssl_bench.weights.loading import outlined

PICTURES = 6


@dataclass(frozen=True)
class PretrainResult:
    """Where the encoder lies, and its card."""

    folder: Path
    card: EncoderCard


def pretrain(
    recipe: str = "context-encoder-mini",
    overrides: Sequence[str] = (),
    *,
    data: str | Path | None = None,
    shapes: str | Path | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    seed: int = 0,
    device: str = "auto",
    limit: int | None = None,
    workers: int | None = None,
    decoded_cache: bool = False,
    probe_every: int | None = None,
    probe_data: str | Path | None = None,
) -> PretrainResult:
    """Learn an encoder; a run that is done is returned as it is, an unfinished one goes on.

    Args:
        recipe: A shipped recipe's name, or the path of a YAML file.
        overrides: Changes as "key.sub=value".
        data: Photos (folder, zip, tar shards or their URL), class folders, or a VOC; MiniVOC by default.
        shapes: A VOC whose segmentation masks give random regions their shapes (mask.shapes: voc).
        out: The folder of runs.
        name: The run's own folder name; made from recipe, data and seed by default.
        seed: Of everything random.
        device: auto, cpu, cuda or mps.
        limit: Use only the first so many images (for trying).
        workers: Processes that decode images.
        decoded_cache: Decode all photos once, into a file that later runs share (see `ssl_bench.stages.decoded`).
        probe_every: Steps from one online probe to the next (see `ssl_bench.stages.online_probe`); none by default.
        probe_data: What that judges on: a VOC or class folders; MiniVOC by default.

    Raises:
        UserError: What a user can get wrong.
    """
    settings = load_pretrain_recipe(recipe, overrides)
    if settings.pretext.method == "random":
        raise UserError(f"{recipe} learns nothing: use `--encoder random` where an encoder is asked for")
    if decoded_cache:
        refuse_decoding_first(settings)
    if probe_data is not None and probe_every is None:
        raise UserError("--probe-data is for an online probe: say how often, with --probe-every STEPS")
    if probe_every is not None and settings.schedule.steps == 0:
        raise UserError(f"{recipe} takes no steps to probe between: leave --probe-every out")
    processes = Processes(device)
    with one_a_machine_first(processes):
        drawing, shapes_fingerprint = _shapes(settings, shapes)
        found = pretraining_data(settings, as_place(data) if data is not None else None)
    identity = {
        "stage": "pretrain",
        "recipe": settings_hash(settings),
        "data": found.fingerprint,
        "shapes": shapes_fingerprint,
        "seed": seed,
        "limit": limit,
    }
    folder = RunFolder(
        Path(out or default_runs_folder()) / (name or run_name(settings.name, seed, identity)), identity
    )
    if folder.done:
        say(f"{folder.path} is done already")
        return _finished(folder.path)
    watched = None
    if probe_every is not None and processes.is_main:
        watched = probe_set(Path(probe_data) if probe_data is not None else None)
        if data == probe_data:
            watched.warn_of(found.photos.names)
    outlined(settings.encoder.architecture)  # what cannot be built is said before there is a folder
    with by_main(processes) as mine:
        if mine:
            folder.open(settings.model_dump(mode="json"), environment(str(processes.device)))
    with closing(folder), bound_together(processes):
        if isinstance(settings.pretext, DataDependentSettings):
            with by_main(processes) as mine:
                if mine:
                    label = folder.path.name
                    encoder, wall_s = initialise(
                        settings,
                        found,
                        processes.device,
                        label=label,
                        seed=seed,
                        limit=limit,
                        workers=workers,
                    )
                    reference = reference_of(settings, found, wall_s, limit, overrides)
                    save_encoder(folder.path, encoder, card_of(settings, label, encoder, reference, seed))
                    folder.finish()
                    say(f"wrote {folder.path / WEIGHTS_FILE}")
            return _finished(folder.path)
        pretext = _build(settings, found, drawing, seed).to(processes.device)
        pretext = pretext.to(memory_format=torch.channels_last)
        share_statistics(pretext, processes)
        decoded = decoded_photos(found, settings.input, limit) if decoded_cache else None
        samples = PhotoSamples(
            found.photos,
            settings.input,
            extra=pretext.draw,
            labels=found.labels,
            limit=limit,
            decoded=decoded,
        )
        say(announcement(settings, found, folder, len(samples), pretext, str(processes.device)))
        probing = None
        if watched is not None and probe_every is not None:
            about: dict[str, Any] = {
                "size": settings.input.size,
                "every": probe_every,
                "steps": settings.schedule.steps,
            }
            probing = partial(
                OnlineProbe, pretext.encoder, watched, device=processes.device, folder=folder, **about
            )
        report = _train(settings, pretext, samples, processes, folder, seed, workers, probing)
        with by_main(processes) as mine:
            if mine:
                if report.compiling is not None:
                    folder.describe(compiling=report.compiling)
                changed = [*overrides, *report.memory_change]
                reference = reference_of(settings, found, report.wall_s, limit, changed)
                card = card_of(settings, folder.path.name, pretext.encoder, reference, seed)
                _write_pictures(pretext, found, samples, folder.path)
                for part, module in pretext.kept().items():
                    save_weights(folder.path / f"{part}.safetensors", module)
                save_encoder(folder.path, pretext.encoder, card)
                folder.finish()
                _checkpoints(folder).clear()
                say(ending(folder.path, report))
    return _finished(folder.path)


def _shapes(settings: PretrainRecipe, shapes: str | Path | None) -> tuple[Any, str | None]:
    """Find where random regions take their shapes from."""
    pretext = settings.pretext
    mask = pretext.mask if isinstance(pretext, ContextEncoderSettings | InpaintingSettings) else None
    if mask is None or mask.kind != "random-region" or mask.shapes == "drawn":
        if shapes is not None:
            raise UserError("--shapes is for a random-region mask with pretext.mask.shapes=voc")
        return drawn_shape, None
    if shapes is None:
        raise UserError(
            f"{settings.name} takes its shapes from a VOC's segmentation masks: name it with "
            "--shapes FOLDER_WITH_VOCdevkit, or set pretext.mask.shapes=drawn"
        )
    return object_shapes(Path(shapes))


def _build(settings: PretrainRecipe, found: PretrainingData, drawing: Any, seed: int) -> Pretext:
    """Build encoder and pretext with fresh weights that depend on the seed alone."""
    encoder = fresh_encoder(
        settings.encoder.architecture,
        input_size=settings.input.size,
        init=settings.encoder.init,
        seed=seed,
    )
    check_size(encoder, settings.input.size)
    leave_out_unreached(encoder, encoder.last_tap, settings.input.size)
    torch.manual_seed(seed)
    return build_pretext(settings, encoder, classes=found.classes, draw_shape=drawing)


def _checkpoints(folder: RunFolder) -> Checkpoints:
    return Checkpoints(folder.path / "checkpoints", str(folder.identity["recipe"]))


def _train(
    settings: PretrainRecipe,
    pretext: Pretext,
    samples: PhotoSamples,
    processes: Processes,
    folder: RunFolder,
    seed: int,
    workers: int | None,
    probing: Callable[..., OnlineProbe] | None,
) -> TrainingReport:
    batches = training_batches(
        samples,
        batch_size=settings.schedule.batch_size,
        steps=settings.schedule.steps,
        seed=seed,
        workers=default_workers(processes.device) if workers is None else workers,
        rank=processes.rank,
        processes=processes.count,
        pin=processes.device.type == "cuda",
    )
    log = LossLog(folder)
    probe = probing(log=log) if probing is not None else None

    def batches_from(first: int) -> Any:
        if processes.is_main:
            log.begin(first)
        return batches(first)

    try:
        return train(
            pretext,
            pretext.players(),
            batches_from,
            settings.schedule,
            processes=processes,
            precision=settings.precision,
            seed=seed,
            label=folder.path.name,
            checkpoints=_checkpoints(folder),
            log=log,
            compiling=Compiling(
                settings.compile, pretext, settings.schedule.steps, processes, label=folder.path.name
            ),
            between=probe,
        )
    finally:
        if probe is not None:
            probe.close()
        log.close()


def _finished(folder: Path) -> PretrainResult:
    return PretrainResult(folder, read_card(folder / CARD_FILE))


def _write_pictures(pretext: Pretext, found: PretrainingData, samples: PhotoSamples, folder: Path) -> None:
    """Draw the pretext's pictures, if it makes any: of photos held out, or else of its own."""
    if found.held_out is not None:
        samples = PhotoSamples(found.held_out, samples.settings, extra=pretext.draw)
    pretext.eval()
    device = next(pretext.parameters()).device
    batch = next(iter(evaluation_batches(samples, batch_size=PICTURES, seed=0, workers=0)))
    pictures = {title: images.cpu() for title, images in pretext.pictures(to_device(batch, device)).items()}
    if pictures:
        rows = [
            [images[i].permute(1, 2, 0).numpy() for images in pictures.values()]
            for i in range(len(batch["image"]))
        ]
        inpainting_gallery(rows, list(pictures), [""] * len(rows), folder / "pictures.png")
