"""`ssl-bench pretrain`: learn an encoder by a recipe, into a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ssl_bench.data.samples import PhotoSamples
from ssl_bench.encoders.contract import Encoder, weights_hash
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
from ssl_bench.engine.loading import default_workers, evaluation_batches, to_device, training_batches
from ssl_bench.engine.processes import Processes
from ssl_bench.engine.training import TrainingReport, train
from ssl_bench.environment import code_version, environment
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
from ssl_bench.records import PretrainingReference
from ssl_bench.reporting.figures import inpainting_gallery
from ssl_bench.runs import RunFolder, default_runs_folder, run_name
from ssl_bench.stages.datasets import PretrainingData, object_shapes, pretraining_data
from ssl_bench.stages.initialising import initialise
from ssl_bench.stages.losses import LossLog
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
) -> PretrainResult:
    """Learn an encoder; a run that is done is returned as it is, an unfinished one goes on.

    Args:
        recipe: A shipped recipe's name, or the path of a YAML file.
        overrides: Changes as "key.sub=value".
        data: Photos (folder or zip), class folders, or a VOC; MiniVOC by default.
        shapes: A VOC whose segmentation masks give random regions their shapes (mask.shapes: voc).
        out: The folder of runs.
        name: The run's own folder name; made from recipe, data and seed by default.
        seed: Of everything random.
        device: auto, cpu, cuda or mps.
        limit: Use only the first so many images (for trying).
        workers: Processes that decode images.

    Raises:
        UserError: What a user can get wrong.
    """
    settings = load_pretrain_recipe(recipe, overrides)
    if settings.pretext.method == "random":
        raise UserError(f"{recipe} learns nothing: use `--encoder random` where an encoder is asked for")
    drawing, shapes_fingerprint = _shapes(settings, shapes)
    found = pretraining_data(settings, Path(data) if data is not None else None)
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
    processes = Processes(device)
    if processes.count > 1 and isinstance(settings.pretext, InpaintingSettings):
        raise UserError(
            f"{recipe}: the inpainting network learns on one process (its two players take turns); "
            "start it without torchrun"
        )
    if processes.count > 1 and isinstance(settings.pretext, DataDependentSettings):
        raise UserError(f"{recipe} only measures, on one process: start it without torchrun")
    outlined(settings.encoder.architecture)  # what cannot be built is said before there is a folder
    if processes.is_main:
        folder.open(settings.model_dump(mode="json"), environment(str(processes.device)))
    try:
        if isinstance(settings.pretext, DataDependentSettings):
            label = folder.path.name
            encoder, wall_s = initialise(
                settings, found, processes.device, label=label, seed=seed, limit=limit, workers=workers
            )
            reference = _reference(settings, found, wall_s, limit, overrides)
            save_encoder(folder.path, encoder, _card(settings, label, encoder, reference, seed))
            folder.finish()
            say(f"wrote {folder.path / WEIGHTS_FILE}")
            return _finished(folder.path)
        pretext = _build(settings, found, drawing, seed).to(processes.device)
        pretext = pretext.to(memory_format=torch.channels_last)
        samples = PhotoSamples(
            found.photos, settings.input, extra=pretext.draw, labels=found.labels, limit=limit
        )
        say(_announcement(settings, found, folder, len(samples), pretext, str(processes.device)))
        report = _train(settings, pretext, samples, processes, folder, seed, workers)
        if processes.is_main:
            changed = [*overrides, *report.memory_change]
            reference = _reference(settings, found, report.wall_s, limit, changed)
            card = _card(settings, folder.path.name, pretext.encoder, reference, seed)
            _write_pictures(pretext, found, samples, folder.path)
            for part, module in pretext.kept().items():
                save_weights(folder.path / f"{part}.safetensors", module)
            save_encoder(folder.path, pretext.encoder, card)
            folder.finish()
            _checkpoints(folder).clear()
            say(_ending(folder.path, report))
        processes.accelerator.wait_for_everyone()
    finally:
        folder.close()
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
    _check_size(encoder, settings.input.size)
    leave_out_unreached(encoder, encoder.last_tap, settings.input.size)
    torch.manual_seed(seed)
    return build_pretext(settings, encoder, classes=found.classes, draw_shape=drawing)


def _check_size(encoder: Encoder, size: int) -> None:
    """Stop where an encoder does not take images of the recipe's size, and say which it takes."""
    tap = encoder.last_tap
    try:
        encoder.map_size(tap, size)
    except UserError as error:
        stride = encoder.taps[tap].stride
        near = [
            number
            for number in (size // stride * stride, -(-size // stride) * stride)
            if _takes(encoder, number)
        ]
        words = f" (input.size={' or input.size='.join(map(str, near))} would do)" if near else ""
        raise UserError(f"input.size = {size}: {error}{words}") from error


def _takes(encoder: Encoder, size: int) -> bool:
    try:
        return size > 0 and encoder.map_size(encoder.last_tap, size) > 0
    except UserError:
        return False


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
) -> TrainingReport:
    batches = training_batches(
        samples,
        batch_size=settings.schedule.batch_size,
        steps=settings.schedule.steps,
        seed=seed,
        workers=default_workers() if workers is None else workers,
        rank=processes.rank,
        processes=processes.count,
        pin=processes.device.type == "cuda",
    )
    log = LossLog(folder)

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
        )
    finally:
        log.close()


def _reference(
    settings: PretrainRecipe,
    found: PretrainingData,
    wall_s: float,
    limit: int | None,
    overrides: Sequence[str],
) -> PretrainingReference:
    return PretrainingReference(
        recipe=settings.name,
        recipe_hash=settings_hash(settings),
        data_name=found.name,
        data_fingerprint=found.fingerprint,
        synthetic=found.synthetic,
        steps=settings.schedule.steps,
        images_seen=settings.images_seen,
        wall_s=round(wall_s, 2),
        supervision=settings.supervision,
        changed=tuple(overrides),
        limit=limit,
    )


def _card(
    settings: PretrainRecipe, name: str, encoder: Encoder, reference: PretrainingReference, seed: int
) -> EncoderCard:
    return EncoderCard(
        name=name,
        method=settings.pretext.method,
        architecture=dict(encoder.architecture),
        preprocessing=encoder.preprocessing,
        sha256=weights_hash(encoder),
        pretraining=reference,
        pretraining_seed=seed,
        code_version=code_version(),
    )


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


def _announcement(
    settings: PretrainRecipe, found: PretrainingData, folder: RunFolder, n: int, pretext: Pretext, device: str
) -> str:
    total, parameters = (
        sum(parameter.numel() for parameter in module.parameters()) for module in (pretext, pretext.encoder)
    )
    time_note = f"; expected time: {settings.expected_time}" if settings.expected_time else ""
    return (
        f"pretrain {settings.name} ({settings.pretext.method}) on {found.name}, {n} images, on {device}: "
        f"{settings.schedule.steps} steps of {settings.schedule.batch_size}, "
        f"encoder with {parameters:,} parameters and {total - parameters:,} for the pretext task, "
        f"into {folder.path}{time_note}"
    )


def _ending(folder: Path, report: TrainingReport) -> str:
    losses = (f", {name} {value:.4f}" for name, value in report.losses.items() if name.endswith("loss"))
    loss_text = "".join(losses).replace(".loss", " loss")
    return f"wrote {folder / 'encoder.safetensors'}{loss_text}, {report.images_per_s:.0f} images/s"
