"""`ssl-bench show RUN`: what was judged, on what, how good it is, and what the number rests on, in a screenful."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ssl_bench.progress import clock
from ssl_bench.recipes import read_yaml
from ssl_bench.records import FAILURE_FILE, RESULT_FILE, PretrainingReference, Record, load_record
from ssl_bench.runs import IDENTITY_FILE, METRICS_FILE, PROBE_SCORE, read_log
from ssl_bench.stages.describing import (
    CARD_FILE,
    ENVIRONMENT_FILE,
    RECIPE_FILE,
    described,
    read_json,
    run_place,
)
from ssl_bench.stages.outdated import stale_reasons
from ssl_bench.stages.run_listing import age, moment
from ssl_bench.stages.run_states import PRETRAIN, run_state, score_unit
from ssl_bench.stages.sound_records import faults

SHORT_HASH = 12
MOST_METRICS = 6
Lines = list[tuple[str, str]]


def shown(name: str, runs: Path, *, whole: bool = False) -> str:
    """Summarise a run; print a recipe or protocol, or with `whole` a run too, as YAML.

    Raises:
        UserError: Nothing has this name, or a file of it cannot be read.
    """
    place = run_place(name, runs)
    if whole or place is None:
        return described(name, runs)
    lines = summary(place)
    width = max(len(head) for head, _ in lines)
    return "".join(f"{head:{width}}  {text}".rstrip() + "\n" for head, text in lines)


def summary(place: Path) -> Lines:
    """Describe the run in a folder, or a committed record, as heads with their texts; an empty head goes on."""
    if place.is_file():
        return _record_lines(load_record(place), [])
    for name in (RESULT_FILE, FAILURE_FILE):
        if (place / name).exists():
            return _record_lines(load_record(place / name), _files(place))
    return _unjudged(place)


def _record_lines(record: Record, files: Lines) -> Lines:
    wrong = faults(record)
    done = record.status == "done"
    stale = stale_reasons(record) if done else []
    lines: Lines = [("run", record.run)]
    lines.append(("state", "done" if done else f"failed: {record.error or 'no reason given'}"))
    lines += [("broken", fault) for fault in wrong] + [("stale", reason) for reason in stale]
    lines += _judged(record)
    if done:
        lines.append(("score", f"{record.main_metric} {_number(record.main_metric, record)}"))
        others = [name for name in record.metrics if name != record.main_metric]
        lines += [("", f"{name} {_number(name, record)}") for name in others[:MOST_METRICS]]
        if len(others) > MOST_METRICS:
            lines.append(("", f"and {len(others) - MOST_METRICS} more (--yaml)"))
    return [*lines, *_selection(record), *_weights(record), *_proof(record), *_made(record), *files]


def _judged(record: Record) -> Lines:
    """Say by which protocol the run judged, and on which images."""
    p, d = record.protocol, record.dataset
    changed = f", changed: {', '.join(p.changed)}" if p.changed else ""
    lines: Lines = [
        ("protocol", f"{p.name} v{p.version} ({p.hash}): {p.task}, {p.mode}, budget {p.budget}{changed}")
    ]
    if d is not None:
        notes = ["synthetic"] * d.synthetic + ([f"--limit {d.limit}: a trial"] if d.limit is not None else [])
        note = f" ({'; '.join(notes)})" if notes else ""
        splits = f"{d.train_split} ({d.n_train} images) to {d.test_split} ({d.n_test})"
        lines.append(("data", f"{d.name}{note}: {splits}, fingerprint {d.fingerprint[:SHORT_HASH]}"))
        if d.proposals is not None:
            lines.append(("", f"proposals: {d.proposals.source}, {d.proposals.boxes_per_image:.0f} an image"))
        if d.overlap is not None:
            found, of = d.overlap.near_duplicates, d.overlap.test_images
            lines.append(("", f"{found} of {of} test images were near those of pretraining"))
    return lines


def _number(name: str, record: Record) -> str:
    text = f"{record.metrics[name]:.2f}{score_unit(name)}"
    interval = record.intervals.get(name)
    if interval is None:
        return text
    return (
        f"{text} ({interval.level:.0%} of resampled test images: {interval.low:.2f} to {interval.high:.2f})"
    )


def _selection(record: Record) -> Lines:
    chosen = record.selection
    if chosen is None:
        return []
    text = chosen.rule
    if chosen.trials > 1:
        text += f"; {chosen.trials} trials"
    if chosen.validation_score is not None:
        text += f"; {chosen.validation_score:.2f} % on what was held out"
    return [("selection", text + ("; CHOSEN ON THE TEST SPLIT" if chosen.on_test else ""))]


def _weights(record: Record) -> Lines:
    """Say which encoder was judged, at which tap, and where its weights are from."""
    e = record.encoder
    if e is None:
        return [("encoder", "none was read")]
    lines: Lines = [("encoder", f"{e.name}: {e.method}, {e.architecture}, at {e.tap}")]
    origin = f"weights {e.sha256[:SHORT_HASH]}, from: {e.source}"
    seeds = f"seed {record.transfer_seed}"
    if record.pretraining_seed is not None:
        seeds = f"seed {record.pretraining_seed} of pretraining, {record.transfer_seed} of the transfer"
    lines.append(("", f"{origin}; {seeds}"))
    if e.pretraining is not None:
        lines.append(("learned", _learned(e.pretraining)))
    if (w := e.weights) is not None:
        lines.append(("loaded", f"{w.origin} as {w.layout}: {w.matched} of {w.wanted} tensors"))
        lines.append(("", f"input: {w.preprocessing_basis}"))
        lines += [("UNTRAINED", sign) for sign in w.untrained]
    return lines


def _learned(p: PretrainingReference) -> str:
    changed = f", changed: {', '.join(p.changed)}" if p.changed else ""
    data = f"{p.data_name}{' (synthetic)' * p.synthetic}" if p.data_name else "nothing"
    limit = f", --limit {p.limit}" if p.limit is not None else ""
    return (
        f"{p.recipe} ({p.recipe_hash}{changed}) from {data}{limit}: {p.steps:,} steps, "
        f"{p.images_seen:,} images, {clock(p.wall_s)}"
    )


def _proof(record: Record) -> Lines:
    lines: Lines = []
    if (proof := record.frozen_proof) is not None:
        same = proof.sha256_before == proof.sha256_after
        if proof.frozen:
            kept = "frozen: weights the same before and after, bit by bit" if same else "FROZEN, BUT CHANGED"
        else:
            kept = "fine-tuned" + (", but the weights did not change" if same else ": weights changed")
        lines.append(("proof", kept + ("; not in evaluation mode" if proof.evaluation_mode is False else "")))
    if (c := record.certificate) is not None:
        missed = f"{c.missed} above {c.tolerance:g}" if c.missed else f"all within {c.tolerance:g}"
        lines.append(("solver", f"{c.problems} problems, worst gap {c.largest_gap:.2g}, {missed}"))
    return lines


def _made(record: Record) -> Lines:
    """Say with what code, on what device, when, and at what cost."""
    lines = _environment(record.environment)
    if (c := record.cost) is not None:
        parts = f"fit {clock(c.fit_s)}, predict {clock(c.predict_s)}"
        speed = f"{c.train_images_per_s:.0f} images/s, {c.peak_memory_mb:,.0f} MiB at most"
        lines.append(("cost", f"{clock(c.wall_s)} ({parts}); {speed}"))
    when = moment(record.created)
    lines.append(
        ("made", f"{record.created} ({age(record.created, datetime.now(UTC))} ago)" if when else "?")
    )
    return lines


def _environment(found: dict[str, Any]) -> Lines:
    git, packages = found.get("git"), found.get("packages")
    dirty = ", CHANGED since its commit" if isinstance(git, dict) and git.get("dirty") else ""
    torch = f", torch {packages['torch']}" if isinstance(packages, dict) and "torch" in packages else ""
    device = f"{found.get('device', '?')} with {found.get('cores', '?')} cores"
    code = f"ssl-bench {found.get('ssl_bench', '?')}{dirty}"
    since = (found.get("compiling") or {}).get("since")
    compiled = f", compiled from step {since} on" if since and found["compiling"].get("compiled") else ""
    return (
        [("environment", f"{code}, Python {found.get('python', '?')}{torch}, {device}{compiled}")]
        if found
        else []
    )


def _unjudged(place: Path) -> Lines:
    """Describe a pretraining run, or one that is not finished and says no more than what it is."""
    state, identity = run_state(place), read_json(place / IDENTITY_FILE)
    lines: Lines = [("run", place.name), ("state", state.state + (f": {state.note}" if state.note else ""))]
    recipe = read_yaml(place / RECIPE_FILE)
    title = f": {recipe['title']}" if recipe.get("title") else ""
    lines.append(("recipe" if identity.get("stage") == PRETRAIN else "protocol", f"{state.protocol}{title}"))
    seed = identity.get("seed")
    if (place / CARD_FILE).exists():
        card = read_json(place / CARD_FILE)
        learned = PretrainingReference.model_validate(card["pretraining"])
        architecture = " ".join(f"{key}={value}" for key, value in card["architecture"].items())
        lines.append(("encoder", f"{card['method']}, {architecture}, weights {card['sha256'][:SHORT_HASH]}"))
        lines.append(("learned", f"{_learned(learned)}; seed {seed}"))
    else:
        data = f"fingerprint {str(identity.get('data'))[:SHORT_HASH]}"
        lines.append(("data", f"{data}, seed {seed}"))
    lines += _curve(place, recipe) + _environment(read_json(place / ENVIRONMENT_FILE))
    return lines + _files(place)


def _curve(place: Path, recipe: dict[str, Any]) -> Lines:
    """Say how far the training came, and its last losses."""
    log = read_log(place / METRICS_FILE) if (place / METRICS_FILE).exists() else []
    if not log:
        return []
    # Online probes have lines of their own, without a loss.
    last = next((line for line in reversed(log) if any("loss" in name for name in line)), log[-1])
    losses = [f"{name} {value:.4g}" for name, value in last.items() if "loss" in name]
    probes = [(line["step"], line[PROBE_SCORE]) for line in log if PROBE_SCORE in line]
    if probes:
        losses.append(f"{PROBE_SCORE} {probes[-1][1]:.2f} % at step {probes[-1][0]}")
    steps = recipe.get("schedule", {}).get("steps", "?")
    return [("training", f"step {last.get('step', '?')} of {steps}: {', '.join(losses) or 'no loss logged'}")]


def _files(place: Path) -> Lines:
    sizes = [
        f"{path.name} ({_size(path.stat().st_size)})"
        for path in sorted(place.iterdir())
        if path.is_file() and not path.name.startswith(".") and path.stat().st_size
    ]
    return [("files", str(place)), *(("", text) for text in sizes)]


def _size(size: int) -> str:
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"
