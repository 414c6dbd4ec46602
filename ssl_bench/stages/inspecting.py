"""`ssl-bench inspect`: what an encoder is, whether all of it is there, and whether anybody trained it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.names import usual_init
from ssl_bench.encoders.registry import build_encoder, fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.stages.encoders import found_encoder, is_own, named_encoder
from ssl_bench.stages.named_encoders import NamedEncoder, describe
from ssl_bench.weights.addresses import parse_address
from ssl_bench.weights.health import HealthReport, health
from ssl_bench.weights.inspection import (
    Inspection,
    health_lines,
    inspection_data,
    inspection_lines,
    preprocessing_words,
)
from ssl_bench.weights.loading import Foreign, misfit_words, read_foreign
from ssl_bench.weights.untouched import Untouched, looks_untouched


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What was found, for people and for programs; `refusal` says why the encoder could not be used, "" if it can."""

    lines: list[str]
    data: dict[str, Any]
    refusal: str = ""


def inspected(given: str, runs: Path, *, architecture: str | None = None, look: bool = False) -> Inspected:
    """Describe an encoder. A checkpoint is read and matched, and no network is built of it unless `look` asks for it.

    Args:
        given: As behind --encoder; see `named_encoder`.
        architecture: What a checkpoint is to be matched with; by default what its tensors tell.
        look: Also run it on pictures beside a random initialisation, and look for dead and constant parts.

    Raises:
        UserError: There is no such encoder, or it cannot be read or understood.
    """
    address = parse_address(given)
    path = found_encoder(address.name, runs) if address.kind == "path" else None
    if path is not None and not is_own(path):
        options = dict(address.options) | ({"as": architecture} if architecture else {})
        return _checkpoint(read_foreign(path, options), look=look)
    if architecture is not None:
        raise UserError(
            f"--as {architecture}: {given} says itself what it is; --as is for checkpoints from elsewhere"
        )
    return _encoder(named_encoder(given, runs=runs, seed=0), look=look)


def _checkpoint(found: Foreign, *, look: bool) -> Inspected:
    report = None
    if look and found.match.complete:
        encoder = build_encoder(found.understood.architecture)
        encoder.load_state_dict(dict(found.tensors), strict=True)
        encoder.preprocessing = found.preprocessing
        report = _health(encoder)
    inspection = Inspection(
        checkpoint=found.checkpoint,
        understood=found.understood,
        match=found.match,
        taps=found.outline.taps,
        preprocessing=found.preprocessing,
        preprocessing_basis=found.preprocessing_basis,
        sha256=found.sha256,
        untouched=looks_untouched(found.tensors),
        health=report,
    )
    return Inspected(
        lines=[*inspection_lines(inspection), *_advice(found.preprocessing_basis)],
        data=inspection_data(inspection),
        refusal="" if found.match.complete else misfit_words(found),
    )


def _advice(basis: str) -> list[str]:
    """Say how an input is declared, where it is only assumed: wrong means or channels spoil features silently."""
    if not basis.startswith("assumed"):
        return []
    how = "?channels=BGR&range=255&mean=104,117,123&std=1&size=227"
    return [f"note          If its input was another one, declare it behind the file, e.g. {how}"]


def _encoder(found: NamedEncoder, *, look: bool) -> Inspected:
    tensors = found.encoder.state_dict()
    count = sum(tensor.numel() for tensor in tensors.values())
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    learned, weights, untouched = found.pretraining, found.weights, looks_untouched(tensors)
    history = f"{learned.recipe} on {learned.data_name}, {learned.steps} steps" if learned else "nothing here"
    report = _health(found.encoder) if look else None
    taps = [f"{name} ({tap.channels} x 1/{tap.stride})" for name, tap in found.encoder.taps.items()]
    lines = [
        f"name          {found.name}",
        f"method        {found.method}",
        f"architecture  {describe(dict(found.encoder.architecture))}",
        f"tensors       {len(tensors)} of {len(tensors)} matched, {count:,} values, {size / 2**20:.1f} MiB",
        f"sha256        {found.sha256}",
        f"preprocessing {preprocessing_words(found.encoder.preprocessing)}",
        *([f"based on      {weights.preprocessing_basis}"] if weights else []),
        f"taps          {', '.join(taps)}",
        f"learned       {history}",
        *([f"weights       {weights.origin} ({weights.layout})"] if weights else []),
        f"trained       {_trained(untouched)}",
        *(health_lines(report) if report else []),
        *(f"warning       {warning}" for warning in (report.warnings if report else ())),
    ]
    data = {
        "name": found.name,
        "method": found.method,
        "source": found.source,
        "architecture": dict(found.encoder.architecture),
        "tensors": len(tensors),
        "values": count,
        "bytes": size,
        "sha256": found.sha256,
        "preprocessing": found.encoder.preprocessing.model_dump(mode="json"),
        "taps": {name: asdict(tap) for name, tap in found.encoder.taps.items()},
        "pretraining": learned.model_dump(mode="json") if learned else None,
        "weights": weights.model_dump(mode="json") if weights else None,
        "untouched": asdict(untouched),
        "health": asdict(report) if report else None,
    }
    return Inspected(lines=lines, data=data)


def _health(encoder: Encoder) -> HealthReport:
    name = str(encoder.architecture["name"])
    random = fresh_encoder(encoder.architecture, init=usual_init(name), seed=0)
    return health(encoder, random=random)


def _trained(untouched: Untouched) -> str:
    if untouched.verdict:
        return f"no, it looks like an untouched initialisation: {'; '.join(untouched.reasons)}"
    return f"yes: {'; '.join(untouched.reasons[:3])}"
