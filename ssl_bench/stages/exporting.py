"""`ssl-bench export`: an encoder in another library's form, with a card that says what is known of it."""

from __future__ import annotations

from pathlib import Path

from ssl_bench import __version__
from ssl_bench.encoders.files import EncoderCard
from ssl_bench.errors import UserError
from ssl_bench.progress import say
from ssl_bench.records import Record, load_record, record_paths
from ssl_bench.stages.encoders import named_encoder
from ssl_bench.stages.named_encoders import NamedEncoder
from ssl_bench.weights.exporting import export


def exported(given: str, runs: Path, target: Path, *, to: str = "safetensors") -> list[Path]:
    """Write an encoder into a folder of its own, with the results that finished runs below `runs` have of it.

    Args:
        given: As behind --encoder; see `named_encoder`.
        to: safetensors (ours), torchvision, timm, detectron2 or hf.

    Returns:
        The files.

    Raises:
        UserError: There is no such encoder, it has no such form, or the folder holds files already.
    """
    found = named_encoder(given, runs=runs, seed=0)
    results = judged(found.sha256, runs)
    return export(found.encoder, card_of(found), to, target, results)


def card_of(found: NamedEncoder) -> EncoderCard:
    """Make the card that travels with an encoder."""
    return EncoderCard(
        name=found.name,
        method=found.method,
        architecture=dict(found.encoder.architecture),
        preprocessing=found.encoder.preprocessing,
        sha256=found.sha256,
        pretraining=found.pretraining,
        pretraining_seed=found.pretraining_seed,
        code_version=__version__,
        weights=found.weights,
    )


def judged(sha256: str, runs: Path) -> list[Record]:
    """Read the finished records of an encoder; files that are none are named and passed over."""
    found = []
    for path in record_paths(runs) if runs.is_dir() else ():
        try:
            record = load_record(path)
        except UserError as error:
            say(str(error))
            continue
        if record.status == "done" and record.encoder is not None and record.encoder.sha256 == sha256:
            found.append(record)
    return found
