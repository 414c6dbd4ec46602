"""`pretrain --decoded-cache`: decode a set once, in one process, and let every run map the result.

Nothing that is learned depends on it: crops are cut from the very pixels that decoding would give (see
`ssl_bench.data.decoded_cache`), so that it stands in no hash.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ssl_bench.atomic import CannotWrite, make_folder, remove_unfinished
from ssl_bench.data.augment import least_short_side
from ssl_bench.data.decoded_cache import (
    DecodedPhotos,
    cache_key,
    expected_bytes,
    open_decoded,
    write_decoded,
)
from ssl_bench.data.samples import used_places
from ssl_bench.data.shards import ShardPhotos
from ssl_bench.errors import UserError
from ssl_bench.features.threads import cores
from ssl_bench.locks import locked
from ssl_bench.progress import counted, say, say_once
from ssl_bench.recipe_schemas import DataDependentSettings, PretrainRecipe
from ssl_bench.stages.datasets import PretrainingData, cache_folder
from ssl_bench.training_schemas import InputSettings

# What a disk keeps free: the system needs some, and sizes of photos vary around those that were looked at.
LEFT_FREE = 1.05, 256 * 2**20  # a factor on what is expected, and bytes beside it
ELSEWHERE = "Free space, name another folder with SSL_BENCH_CACHE, or go without --decoded-cache."


def refuse_decoding_first(settings: PretrainRecipe) -> None:
    """Stop where there would be nothing to keep, or no use of it.

    Raises:
        UserError: Each crop chooses its own scale, or the recipe looks at a few batches alone.
    """
    if settings.input.decode == "crop":
        raise UserError(
            "--decoded-cache keeps photos as every crop sees them, and with input.decode=crop each crop decodes at a "
            "scale of its own. Set input.decode=recipe, or go without --decoded-cache."
        )
    if isinstance(settings.pretext, DataDependentSettings):
        raise UserError(
            f"{settings.name} looks at a few batches once: go without --decoded-cache, which would decode every photo"
        )


def decoded_photos(found: PretrainingData, settings: InputSettings, limit: int | None) -> DecodedPhotos:
    """Open what was decoded before, or decode it now; another process that asks for the same meanwhile waits.

    Args:
        limit: As `PhotoSamples` takes it: others are not decoded.

    Raises:
        UserError: The disk has no room, or the set lies elsewhere.
    """
    if isinstance(found.photos, ShardPhotos) and found.photos.shards.remote:
        raise UserError(
            f"{found.name} lies elsewhere: --decoded-cache is for sets that fit this disk, go without it, or copy the "
            "shards to a folder"
        )
    draft = least_short_side(settings)
    places = used_places(len(found.photos), limit)
    key = cache_key(found.fingerprint, [found.photos.names[place] for place in places], draft)
    path = cache_folder() / "decoded" / f"{key}.rgb"
    decoded = open_decoded(path)
    if decoded is None:
        make_folder(path.parent)
        with locked([path.with_suffix(".lock")], _tell_waiting):
            decoded = open_decoded(path) or _written(path, found, places, draft)
    say_once(
        f"crops are cut from {len(decoded):,} decoded photos, {in_words(decoded.bytes)} in {path} "
        "(other runs share it; remove it whenever none of them runs)"
    )
    return decoded


def _written(path: Path, found: PretrainingData, places: Sequence[int], draft: int | None) -> DecodedPhotos:
    remove_unfinished(path.parent, path.name)
    expected, free = expected_bytes(found.photos, places, draft), shutil.disk_usage(path.parent).free
    factor, more = LEFT_FREE
    if expected * factor + more > free:
        raise UserError(
            f"the decoded photos of {found.name} would take about {in_words(expected)} in {path.parent}, where "
            f"{in_words(free)} are free. {ELSEWHERE}"
        )
    say(f"decoding {len(places):,} photos of {found.name} once: about {in_words(expected)} in {path.parent}")
    try:
        with counted(f"decoding {found.name}") as tell:
            write_decoded(path, found.photos, places, draft=draft, threads=cores(), progress=tell)
    except CannotWrite as error:
        raise CannotWrite(f"{str(error).partition('. Free space')[0]}. {ELSEWHERE}") from error
    decoded = open_decoded(path)
    assert decoded is not None, "what was just written cannot be read"
    return decoded


def _tell_waiting(path: Path) -> None:
    say_once(f"another process decodes the same photos ({path}): waiting for it")


def in_words(size: int) -> str:
    """Phrase a number of bytes: 812 MB, 2.8 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
