"""What `ssl-bench inspect` says of a checkpoint: what the file is, what of it fits, and whether anybody trained it.

Lines for people and a mapping for programs, made from the same findings; nothing is read or computed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ssl_bench.encoders.contract import Preprocessing, Tap
from ssl_bench.weights.contract import Checkpoint, Match, Understood
from ssl_bench.weights.health import HealthReport, TapHealth
from ssl_bench.weights.layouts import LAYOUTS
from ssl_bench.weights.untouched import Untouched

LABEL = 14  # columns before the text of a line
MOST_NAMES = 8
MOST_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that is known of a checkpoint.

    Attributes:
        taps: Those of the encoder that it was matched with.
        preprocessing: What the encoder is going to be given.
        preprocessing_basis: What that is based on.
        sha256: `tensors_hash` of what fits, None where not all of it does.
        untouched: Of the tensors that fit.
        health: Where it was asked for.
    """

    checkpoint: Checkpoint
    understood: Understood
    match: Match
    taps: Mapping[str, Tap]
    preprocessing: Preprocessing
    preprocessing_basis: str
    sha256: str | None
    untouched: Untouched
    health: HealthReport | None = None

    @property
    def n_values(self) -> int:
        """Numbers in the encoder's tensors, parameters and buffers."""
        return sum(tensor.numel() for tensor in self.understood.tensors.values())

    @property
    def n_bytes(self) -> int:
        """Bytes of the encoder's tensors, as they are stored."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.understood.tensors.values())

    @property
    def layout_source(self) -> str | None:
        """The repository that writes such files, None where the layout is nobody's in particular."""
        return next((layout.source for layout in LAYOUTS if layout.name == self.understood.layout), None)


def inspection_lines(found: Inspection) -> list[str]:
    """Describe a checkpoint for people, line by line."""
    checkpoint, understood = found.checkpoint, found.understood
    notes = (*checkpoint.notes, *understood.notes)
    warnings = found.health.warnings if found.health else ()
    return [
        _line("file", f"{checkpoint.name}, {checkpoint.format}, {_mebibytes(checkpoint.n_bytes)}"),
        _line("layout", _layout(found)),
        _line("encoder at", understood.where),
        _line(
            "architecture",
            f"{architecture_words(understood.architecture)} ({understood.architecture_basis})",
        ),
        *_match_lines(found.match),
        _line("size", f"{found.n_values:,} values, {_mebibytes(found.n_bytes)}"),
        *(
            _line("left out", f"{len(paths)} tensor{'s' * (len(paths) != 1)}: {words}")
            for words, paths in understood.left_out.items()
        ),
        _line("sha256", found.sha256 or "none: not all of the encoder is in the file"),
        _line("preprocessing", preprocessing_words(found.preprocessing)),
        _line("based on", found.preprocessing_basis),
        _line(
            "taps", ", ".join(f"{name} ({tap.channels} x 1/{tap.stride})" for name, tap in found.taps.items())
        ),
        *_trained_lines(found.untouched),
        *(_line("note", note) for note in notes),
        *(health_lines(found.health) if found.health else ()),
        *(_line("warning", warning) for warning in warnings),
    ]


def inspection_data(found: Inspection) -> dict[str, Any]:
    """Describe a checkpoint for programs: plain values that JSON can hold; what is not a number is None."""
    understood, match = found.understood, found.match
    data = {
        "file": {
            "name": found.checkpoint.name,
            "format": found.checkpoint.format,
            "bytes": found.checkpoint.n_bytes,
        },
        "layout": {
            "name": understood.layout,
            "title": understood.layout_title,
            "source": found.layout_source,
            "where": understood.where,
        },
        "family": understood.family,
        "architecture": understood.architecture,
        "architecture_basis": understood.architecture_basis,
        "match": {**asdict(match), "complete": match.complete},
        "values": found.n_values,
        "bytes": found.n_bytes,
        "left_out": understood.left_out,
        "sha256": found.sha256,
        "preprocessing": found.preprocessing.model_dump(mode="json"),
        "preprocessing_basis": found.preprocessing_basis,
        "taps": {name: asdict(tap) for name, tap in found.taps.items()},
        "untouched": asdict(found.untouched),
        "notes": [*found.checkpoint.notes, *understood.notes],
        "health": asdict(found.health) if found.health else None,
    }
    plain: dict[str, Any] = _plain(data)
    return plain


def architecture_words(architecture: Mapping[str, Any]) -> str:
    """Phrase an architecture: its name and its settings, e.g. "caffenet width=0.5"."""
    settings = (f"{key}={value}" for key, value in architecture.items() if key != "name")
    return " ".join([str(architecture["name"]), *settings])


def preprocessing_words(settings: Preprocessing) -> str:
    """Phrase an encoder's input, e.g. "RGB in 0..1, mean 0.4850 ..., std 0.2290 ..., 224 px, bilinear"."""
    mean, std = (" ".join(f"{value:.4f}" for value in values) for values in (settings.mean, settings.std))
    return (
        f"{settings.channels} in 0..{settings.value_range}, mean {mean}, std {std}, {settings.size} px, "
        f"{settings.interpolation}"
    )


def health_lines(report: HealthReport) -> list[str]:
    """Lay out the health of an encoder's taps as a table, each number with the random network's in brackets."""
    zero, copies = (sum(found.values()) for found in (report.weights.zero, report.weights.copies))
    header = ["tap", "channels", "dead %", "constant %", "effective rank", "variance", "cosine"]
    rows = [[name, str(tap.channels), *_cells(tap, report.random[name])] for name, tap in report.taps.items()]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [header, *rows]
    ]
    return [
        _line(
            "filters",
            f"{report.weights.n_filters:,}, of which {zero} are zero and {copies} are copies of others",
        ),
        _line(
            "health",
            f"features of {report.n_pictures} {report.pictures}; in brackets a random initialisation's",
        ),
        *(f"  {row}".rstrip() for row in table),
    ]


def _cells(own: TapHealth, random: TapHealth) -> list[str]:
    """Phrase a tap's numbers, each beside the random network's."""
    return [
        f"{100 * own.dead:.0f} ({100 * random.dead:.0f})",
        f"{100 * own.constant:.0f} ({100 * random.constant:.0f})",
        f"{own.rank:.1f} of {own.most_rank} ({random.rank:.1f})",
        f"{own.variance:.2g} ({random.variance:.2g})",
        f"{own.cosine:.3f} ({random.cosine:.3f})",
    ]


def _match_lines(match: Match) -> list[str]:
    widened = f", {match.widened} of them widened from half precision" if match.widened else ""
    groups: dict[str, Sequence[str]] = {
        "missing": match.missing,
        "unexpected": match.unexpected,
        "wrong shape": [f"{name} {words}" for name, words in match.wrong_shape.items()],
        "reshaped": [f"{name}: {words}" for name, words in match.reshaped.items()],
        "filled": match.filled,
    }
    return [
        _line("tensors", f"{len(match.matched)} of {match.wanted} matched{widened}"),
        *(_line(label, f"{len(names)}: {listed(names)}") for label, names in groups.items() if names),
    ]


def _trained_lines(untouched: Untouched) -> list[str]:
    if not untouched.layers:
        return [_line("trained", "cannot be told: no tensor of the file fits")]
    if untouched.verdict:
        return [
            _line("trained", f"no, it looks like an untouched initialisation: {'; '.join(untouched.reasons)}")
        ]
    lines = [
        _line(
            "trained",
            f"yes, by {len(untouched.reasons)} signs: {listed(untouched.reasons, MOST_REASONS, '; ')}",
        )
    ]
    fresh = [name for name, looks in untouched.layers.items() if looks]
    if fresh:
        lines.append(
            _line("", f"but {len(fresh)} of {len(untouched.layers)} layers look untouched: {listed(fresh)}")
        )
    return lines


def _layout(found: Inspection) -> str:
    source = f", as written by {found.layout_source}" if found.layout_source else ""
    return f"{found.understood.layout_title} ({found.understood.layout}){source}"


def listed(names: Sequence[str], most: int = MOST_NAMES, between: str = ", ") -> str:
    """List names, the first few of many: "a, b, c" or "a, b ... and 29 more"."""
    rest = len(names) - most
    more = f" ... and {rest} more" if rest > 0 else ""
    return between.join(names[:most]) + more


def _line(label: str, text: str) -> str:
    return f"{label:{LABEL}}{text}"


def _mebibytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB"


def _plain(value: Any) -> Any:
    """Turn mappings, sequences and numbers into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
