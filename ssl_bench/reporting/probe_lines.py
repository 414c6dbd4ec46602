"""What stands under a table of probes: for each protocol one line that says how its numbers came about.

What was chosen and where, how near the solver came to the optimum, whether the encoder stayed as it was, and
what the features took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_bench.records import Record
from ssl_bench.reporting.durations import humanised
from ssl_bench.reporting.probe_table import Judged, data_title
from ssl_bench.reporting.table import cell_value
from ssl_bench.reporting.tap_metrics import headline_tap

VALIDATION = "validation"
MOST_NAMED = 3  # numbers of a mapping that are each named; of more only their range


def protocol_line(judged: Judged, decimals: int) -> str:
    """Say how one protocol's numbers of one encoder came about."""
    column, done = judged.column, judged.done
    protocol, data = column.protocol, column.dataset
    sentences = [
        f"{column.title}: {column.metric} in %, version {protocol.version} of the protocol, {data_title(data)}, "
        f"{data.train_split} ({data.n_train} images) to {data.test_split} ({data.n_test} images)"
    ]
    if protocol.changed:
        sentences.append(f"changed: {', '.join(protocol.changed)}")
    if data.limit is not None:
        sentences.append(f"only a trial, --limit {data.limit}")
    if done:
        sentences += [
            _headline(judged, decimals),
            _selection(done),
            _certificate(done),
            _proof(done),
            _features(done),
        ]
    sentences += judged.runs.notes
    return ". ".join(sentence.rstrip(".") for sentence in sentences if sentence) + "."


def chosen_words(values: Sequence[Any]) -> str:
    """Summarise what several runs chose, given as JSON values: numbers as their range, settings by name.

    Taps for which it is the same stand together. A mapping or list of more than three numbers (costs by class)
    becomes one range. What is said of the validation itself (`validation...`) is left to the record.
    """
    if not all(isinstance(value, Mapping) for value in values):
        return _words(values)
    same: dict[str, list[str]] = {}
    for key in _keys(values):
        same.setdefault(_words([value[key] for value in values if key in value]), []).append(key)
    return "; ".join(f"{', '.join(keys)}: {words}" for words, keys in same.items() if words)


def _words(values: Sequence[Any]) -> str:
    leaves = _numbers(values)
    flat = all(not isinstance(value, Mapping) for value in values)
    if leaves is not None and (flat or len(_keys(values)) > MOST_NAMED):
        return _range(leaves)
    if all(isinstance(value, Mapping) for value in values):
        named = {key: [value[key] for value in values if key in value] for key in _keys(values)}
        parts = [_setting(key, of_key) for key, of_key in named.items() if not key.startswith(VALIDATION)]
        return ", ".join(part for part in parts if part)
    return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))


def _setting(key: str, values: Sequence[Any]) -> str:
    """Say a setting's value after its name; of yes and no only a yes, as the name alone."""
    name = key.replace("_", " ")
    if all(isinstance(value, bool) for value in values):
        count = sum(values)
        return f"{name} ({count} of {len(values)} runs)" if 0 < count < len(values) else name if count else ""
    words = _words(values)
    return f"{name} {words}" if words else ""


def _keys(values: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(key for value in values if isinstance(value, Mapping) for key in value))


def _numbers(values: Sequence[Any]) -> list[float] | None:
    """List the numbers that values are, or hold directly; None where anything else is among them."""
    found: list[float] = []
    for value in values:
        inner = (
            value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
        )
        for number in inner:
            if isinstance(number, bool) or not isinstance(number, int | float):
                return None
            found.append(float(number))
    return found or None


def _range(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _headline(judged: Judged, decimals: int) -> str:
    done = judged.done
    taps = list(dict.fromkeys(headline_tap(record) or "" for record in done))
    words = f"Headline {cell_value(judged.headline, decimals)} at {', '.join(sorted(taps))}"
    if len(done) > 1:
        return f"{words} over {len(done)} runs"
    interval = done[0].intervals.get(done[0].main_metric)
    if interval is None:
        return words
    low, high = f"{interval.low:.{decimals}f}", f"{interval.high:.{decimals}f}"
    return f"{words} ({low} to {high} in {interval.level:.0%} of resampled test sets)"


def _selection(done: Sequence[Record]) -> str:
    selections = [record.selection for record in done if record.selection is not None]
    if not selections:
        return "It is not said how anything was chosen"
    rules = "; ".join(dict.fromkeys(selection.rule for selection in selections))
    chosen = chosen_words([selection.chosen for selection in selections])
    return f"Selection: {rules.rstrip('.')}" + (f"; {chosen}" if chosen else "")


def _certificate(done: Sequence[Record]) -> str:
    certificates = [record.certificate for record in done if record.certificate is not None]
    if not certificates:
        return ""
    problems = sum(certificate.problems for certificate in certificates)
    missed = sum(certificate.missed for certificate in certificates)
    gap = max(certificate.largest_gap for certificate in certificates)
    tolerance = max(certificate.tolerance for certificate in certificates)
    return (
        f"Solver: largest gap {gap:.2g} of the objective ({tolerance:.2g} asked for), "
        f"{missed or 'none'} of {problems:,} problems missed it"
    )


def _proof(done: Sequence[Record]) -> str:
    proofs = [record.frozen_proof for record in done]
    known = [proof for proof in proofs if proof is not None]
    if len(known) < len(proofs):
        return "NO PROOF that the encoder was frozen"
    if any(not proof.frozen or proof.sha256_before != proof.sha256_after for proof in known):
        return "THE ENCODER CHANGED"
    modes = {proof.evaluation_mode for proof in known}
    mode = {True: ", in evaluation mode", None: ""}.get(next(iter(modes))) if len(modes) == 1 else None
    return "Encoder unchanged" + (mode if mode is not None else ", NOT ALWAYS IN EVALUATION MODE")


def _features(done: Sequence[Record]) -> str:
    features = [record.features for record in done if record.features is not None]
    if not features:
        return ""
    extracted, reused = sum(f.extracted for f in features), sum(f.reused for f in features)
    seconds = humanised(sum(f.wall_s for f in features))
    speeds = [f.images_per_s for f in features if f.images_per_s is not None]
    parts = [
        f"{extracted} extracted" if extracted else "",
        f"{reused} reused from the store" if reused else "",
    ]
    speed = f", {_range([round(speed, 1) for speed in speeds])} images a second" if speeds else ""
    return f"Features: {' and '.join(part for part in parts if part) or 'none'} in {seconds}{speed}"
