"""`ssl-bench pretrain` for recipes that take no steps: data-dependent initialisation from a few batches.

The batches are the crops that a pretraining with the same seed would begin with.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from ssl_bench import __version__
from ssl_bench.atomic import make_folder
from ssl_bench.data.photos import open_photos
from ssl_bench.data.samples import PhotoSamples
from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.data_dependent import LayerStart, initialise_within_layers
from ssl_bench.encoders.files import WEIGHTS_FILE, save_encoder
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.encoders.rescaling import Rescaling, rescale_between_layers
from ssl_bench.encoders.weight_layers import refuse_unsupported
from ssl_bench.engine.loading import default_workers, training_batches
from ssl_bench.engine.sampling import STEP_STREAM, generator
from ssl_bench.progress import counted, say
from ssl_bench.recipe_schemas import DataDependentSettings, PretrainRecipe
from ssl_bench.stages.datasets import PretrainingData
from ssl_bench.stages.encoders import named_encoder, refuse_to_replace
from ssl_bench.stages.exporting import card_of
from ssl_bench.training_schemas import InputSettings, ResizeSettings


def initialise(
    settings: PretrainRecipe,
    found: PretrainingData,
    device: torch.device,
    *,
    label: str,
    seed: int,
    limit: int | None,
    workers: int | None,
) -> tuple[Encoder, float]:
    """Build an encoder whose weights follow from a few batches of photos.

    Args:
        label: What the run is called while it is under way.
        seed: Of the crops, the random weights and the clusters.

    Returns:
        The encoder, and the seconds that it took.

    Raises:
        UserError: The encoder normalises by itself, or the photos leave a layer without signal.
    """
    pretext = settings.pretext
    assert isinstance(pretext, DataDependentSettings)
    encoder = build_encoder(settings.encoder.architecture, input_size=settings.input.size)
    refuse_unsupported(encoder)
    encoder = encoder.to(device)
    samples = PhotoSamples(found.photos, settings.input, limit=limit)
    say(
        f"pretrain {settings.name} ({pretext.method}) on {found.name}, {len(samples)} images, on {device}: "
        f"{pretext.batches} batches of {settings.schedule.batch_size}"
        + (f"; expected time: {settings.expected_time}" if settings.expected_time else "")
    )
    started = time.monotonic()
    batches = _batches(settings, samples, encoder, device, label=label, seed=seed, workers=workers)
    rng = generator(seed, STEP_STREAM)  # free for this use: there are no steps
    with counted(label, unit="layers") as tell:
        starts = initialise_within_layers(
            encoder,
            batches,
            weights=pretext.weights,
            beta=pretext.beta,
            patches=pretext.patches or 1,
            rng=rng,
            tell=tell,
        )
    say(f"{label}: {_phrase_starts(starts)}")
    if pretext.rescale:
        # One batch, as the released code does it.
        say(f"{label}: {_phrase_rescaling(rescale_between_layers(encoder, batches[:1], rng=rng))}")
    return encoder, time.monotonic() - started


def rescale_by_photos(
    encoder: Encoder, photos: str | Path, *, batch_size: int = 16, seed: int = 0
) -> Rescaling:
    """Balance the layers of any encoder, learned or not, over one batch of photos (the released code's -cs).

    Args:
        photos: A folder or zip of photos; square crops over their whole short side are seen, at the encoder's size.
        batch_size: 16 in the released code.
        seed: Of the choice of photos, their crops, and the random gradient.

    Raises:
        UserError: The encoder normalises by itself, or a layer has no signal.
    """
    refuse_unsupported(encoder)
    size = encoder.preprocessing.size
    resize = ResizeSettings(kind="short-side", least=size, most=size)
    samples = PhotoSamples(open_photos(Path(photos)), InputSettings(size=size, resize=resize, flip=False))
    loaded = training_batches(samples, batch_size=batch_size, steps=1, seed=seed, workers=0)
    device = next(encoder.parameters()).device
    (images,) = (encoder.preprocessing.normalise(batch["image"].to(device)) for batch in loaded(0))
    return rescale_between_layers(encoder, [images], rng=generator(seed, STEP_STREAM))


def rescaled(given: str, photos: str | Path, target: Path, *, runs: Path, seed: int = 0) -> Path:
    """Write an encoder with its layers balanced over photos into a folder of its own; return the weights' file.

    Its method is the encoder's with "-rescaled" behind it, so that a table tells the two apart.

    Raises:
        UserError: There is no such encoder, the folder holds one already, or as `rescale_by_photos`.
    """
    found = named_encoder(given, runs=runs, seed=seed)
    encoder, card = found.encoder, card_of(found)
    refuse_unsupported(encoder)
    refuse_to_replace(target)
    say(_phrase_rescaling(rescale_by_photos(encoder, photos, seed=seed)))
    changes = {
        "name": f"{card.name}-rescaled",
        "method": f"{card.method}-rescaled",
        "sha256": weights_hash(encoder),
        "code_version": __version__,
    }
    make_folder(target)
    save_encoder(target, encoder, card.model_copy(update=changes))
    return target / WEIGHTS_FILE


def _batches(
    settings: PretrainRecipe,
    samples: PhotoSamples,
    encoder: Encoder,
    device: torch.device,
    *,
    label: str,
    seed: int,
    workers: int | None,
) -> list[Tensor]:
    """Decode, crop and normalise all batches, each (N, 3, S, S)."""
    pretext = settings.pretext
    assert isinstance(pretext, DataDependentSettings)
    size = settings.schedule.batch_size
    loaded = training_batches(
        samples,
        batch_size=size,
        steps=pretext.batches,
        seed=seed,
        workers=default_workers(device) if workers is None else workers,
    )
    batches: list[Tensor] = []
    broken: set[str] = set()
    with counted(f"{label}: photos") as tell:
        for number, batch in enumerate(loaded(0), start=1):
            batches.append(encoder.preprocessing.normalise(batch["image"].to(device)))
            broken.update(name for names in batch["broken"] for name in names)
            tell(number * size, pretext.batches * size)
    if broken:
        some = ", ".join(sorted(broken)[:3])
        say(f"{label}: skipped {len(broken)} photos that cannot be read ({some})")
    return batches


def _phrase_starts(starts: list[LayerStart]) -> str:
    """Say from what the layers' weights come, and which outputs never vary."""
    kinds = Counter(start.weights for start in starts)
    words = "; ".join(f"{number} layers with {kind} weights" for kind, number in kinds.items())
    still = [f"{start.still} of {start.name}" for start in starts if start.still]
    return words + (f"; outputs that do not vary over the photos: {', '.join(still)}" if still else "")


def _phrase_rescaling(found: Rescaling) -> str:
    """Say how far apart the layers' gradient-to-weight ratios were and are."""
    before, after = (max(ratios.values()) / min(ratios.values()) for ratios in (found.before, found.after))
    ending = "" if found.balanced else ", not within 1 %: the network is not homogeneous"
    return (
        f"gradients relative to weights were a factor of {before:.3g} apart between layers, and are "
        f"{after:.3g} after {found.rounds} rounds{ending}"
    )
