"""A run as a section of the page: its number, and everything that says what the number means."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_bench.records import Record
from ssl_bench.reporting.durations import humanised
from ssl_bench.reporting.page.curve import loss_curve, read_curves, read_probe
from ssl_bench.reporting.page.markup import Html, definitions, element, folded, joined, lines
from ssl_bench.reporting.page.run_facts import RunFacts
from ssl_bench.reporting.page.score_tables import score_tables
from ssl_bench.reporting.page.shared_texts import folded_texts
from ssl_bench.reporting.page.staleness import OTHER_CODE, Remark


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture beside the page: its address from there, its size in pixels, and what it shows."""

    href: str
    width: int
    height: int
    words: str


@dataclass(frozen=True, kw_only=True)
class RunOnPage:
    """A run with its place on the page. `files` gives the addresses, from the page, of what lies beside it."""

    facts: RunFacts
    id: str
    remarks: Sequence[Remark]
    files: Mapping[str, str]
    picture: Picture | None = None

    @property
    def warnings(self) -> list[Remark]:
        """The remarks that are no rule: another version of the code is one."""
        return [remark for remark in self.remarks if remark.kind != OTHER_CODE]


def run_section(run: RunOnPage, shared: Mapping[tuple[str, str], Sequence[RunFacts]]) -> Html:
    """Write the section of one run; `shared` texts stand elsewhere on the page."""
    facts, record = run.facts, run.facts.record
    parts = [
        element("h3", facts.name, id=f"{run.id}-name"),
        element("p", *(joined(part, " ") for part in [state_mark(run), *_score(record)])),
        _remarks(run),
        definitions(_facts_of(record) if record is not None else _facts_of_learning(facts)),
        element("p", "Again, as the record tells it: ", element("code", command))
        if (command := command_of(facts))
        else "",
        loss_curve(read_curves(facts.log), facts.name) if facts.log else "",
        loss_curve(read_probe(facts.log), facts.name, what="Online probe") if facts.log else "",
        _files(run),
        score_tables(record) if record is not None else "",
        folded_texts(facts, shared),
        folded("Identity", element("pre", _indented(facts.identity))) if facts.identity else "",
        folded("Encoder's card", element("pre", _indented(facts.card))) if facts.card else "",
    ]
    return element(
        "article",
        lines(*parts),
        id=run.id,
        class_="run",
        aria_labelledby=f"{run.id}-name",
        data_data=facts.data or None,
        data_method=facts.method or None,
        data_protocol=facts.protocol or None,
        data_state=facts.state,
    )


def state_mark(run: RunOnPage) -> Html:
    """Say whether a run is done, failed, unfinished or unreadable; or done with remarks."""
    state = run.facts.state
    stale = state == "done" and run.warnings
    return element("span", "done, remarks" if stale else state, class_=f"state {'stale' if stale else state}")


def command_of(facts: RunFacts) -> str:
    """Write the command that makes a run again, as far as its record tells: DATA stands for the data's folder."""
    if facts.record is not None:
        return _judging_command(facts.record)
    learned = facts.pretraining
    if not learned.get("recipe"):
        return ""
    words = ["ssl-bench", "pretrain", str(learned["recipe"]), *map(str, learned.get("changed") or ())]
    words += _data_words(learned.get("data_name"), bool(learned.get("synthetic")))
    words += ["--seed", str(facts.card.get("pretraining_seed", facts.identity.get("seed", 0)))]
    return shlex.join([*words, *_limit_words(learned.get("limit"))])


def _judging_command(record: Record) -> str:
    words = ["ssl-bench", "transfer", "--task", record.protocol.name, *record.protocol.changed]
    if record.encoder is not None:
        source = record.encoder.source
        origin = record.encoder.weights.origin if record.encoder.weights is not None else record.encoder.name
        words += ["--encoder", "random" if source == "random" else origin]
    if record.dataset is not None:
        words += _data_words(record.dataset.name, record.dataset.synthetic)
    words += ["--seed", str(record.transfer_seed)]
    return shlex.join([*words, *_limit_words(record.dataset.limit if record.dataset else None)])


def _data_words(name: Any, synthetic: bool) -> list[str]:
    return [] if synthetic or not name else ["--data", "DATA"]


def _limit_words(limit: Any) -> list[str]:
    return [] if limit is None else ["--limit", str(limit)]


def _score(record: Record | None) -> list[str]:
    if record is None or record.main_metric not in record.metrics:
        return []
    return [element("strong", f"{record.main_metric} {record.score:.2f} %"), record.interval_words.strip()]


def _remarks(run: RunOnPage) -> Html:
    if not run.warnings:
        return Html("")
    items = [
        element("li", element("b", remark.kind), f": {remark.words}" if remark.words else "")
        for remark in run.warnings
    ]
    return element("ul", *items, class_="remarks")


def _facts_of(record: Record) -> list[tuple[str, str]]:
    protocol, data, encoder, selection = record.protocol, record.dataset, record.encoder, record.selection
    pairs: list[tuple[str, str]] = [
        ("Task", f"{record.task}, {protocol.mode}, {protocol.budget}"),
        ("Protocol", f"{protocol.name} version {protocol.version}"),
        ("Protocol hash", _hash(protocol.hash)),
    ]
    if data is not None:
        synthetic = " (synthetic)" if data.synthetic else ""
        splits = f"{data.train_split} ({data.n_train}) to {data.test_split} ({data.n_test})"
        pairs += [
            ("Data", f"{data.name}{synthetic}: {splits}"),
            ("Data fingerprint", _hash(data.fingerprint)),
        ]
    if encoder is not None:
        pairs += [
            ("Encoder", f"{encoder.name}, {encoder.architecture}, at {encoder.tap}"),
            ("Weights hash", _hash(encoder.sha256)),
        ]
        if encoder.weights is not None:
            weights = encoder.weights
            matched = f"{weights.matched} of {weights.wanted} tensors"
            pairs.append(("Weights from", f"{weights.origin}, {weights.layout}, {matched}"))
        if encoder.pretraining is not None:
            learned = encoder.pretraining
            by = f"{learned.recipe} ({learned.recipe_hash}), {learned.steps} steps"
            pairs.append(("Learned", f"{by} on {learned.data_name or 'nothing'}"))
    seeds = f"pretraining {'unknown' if record.pretraining_seed is None else record.pretraining_seed}"
    pairs.append(("Seeds", f"{seeds}, transfer {record.transfer_seed}"))
    if selection is not None:
        pairs.append(("Selection", _selection_words(record)))
    if record.frozen_proof is not None:
        same = record.frozen_proof.sha256_before == record.frozen_proof.sha256_after
        kept = "unchanged, bit by bit" if same else "changed by the fit"
        pairs.append(("Encoder's weights", f"{kept}{'; frozen' if record.frozen_proof.frozen else ''}"))
    if record.cost is not None:
        took = f"{humanised(record.cost.wall_s)}, at most {record.cost.peak_memory_mb:.0f} MiB"
        pairs.append(("Took", took))
    return [*pairs, ("Made", record.created), ("Code", str(record.environment.get("ssl_bench", "")))]


def _selection_words(record: Record) -> str:
    assert record.selection is not None
    selection = record.selection
    tried = f"{selection.trials} setting{'s' if selection.trials != 1 else ''} tried"
    words = [selection.rule, tried]
    if selection.validation_score is not None:
        words.append(f"validation {selection.validation_score:.2f} %")
    if selection.chosen:
        words.append(f"chosen: {json.dumps(selection.chosen, ensure_ascii=False)}")
    if selection.on_test:
        words.append("chosen on the test split, and therefore too high")
    return "; ".join(words)


def _facts_of_learning(facts: RunFacts) -> list[tuple[str, str]]:
    learned = facts.pretraining
    if not learned:
        return [(word, _hash(str(facts.identity.get(key) or ""))) for word, key in
                (("Recipe hash", "recipe"), ("Protocol hash", "protocol"), ("Data fingerprint", "data"))
                if facts.identity.get(key)]  # fmt: skip
    pairs: list[tuple[str, str]] = [
        ("Method", facts.method),
        ("Recipe", str(learned.get("recipe", ""))),
        ("Recipe hash", _hash(str(learned.get("recipe_hash", "")))),
        ("Data", f"{learned.get('data_name') or 'none'}{' (synthetic)' if learned.get('synthetic') else ''}"),
        ("Data fingerprint", _hash(str(learned.get("data_fingerprint") or ""))),
        ("Steps", f"{learned.get('steps', '?')}, {learned.get('images_seen', '?')} images seen"),
        ("Seed", str(facts.card.get("pretraining_seed", ""))),
        ("Weights hash", _hash(str(facts.card.get("sha256", "")))),
    ]
    pairs.append(("Code", str(facts.card.get("code_version", ""))))
    if isinstance(learned.get("wall_s"), int | float):
        pairs.append(("Took", humanised(float(learned["wall_s"]))))
    return pairs


def _files(run: RunOnPage) -> Html:
    links = [element("a", words, href=href) for words, href in run.files.items()]
    found = element("p", "Files: ", *(joined(link, " ") for link in links), class_="files") if links else ""
    return lines(found, picture_figure(run.picture) if run.picture is not None else "")


def picture_figure(picture: Picture) -> Html:
    """Write a picture that leads to itself at full size, and is loaded when it comes into view."""
    image = element(
        "img",
        src=picture.href,
        alt=picture.words,
        width=picture.width,
        height=picture.height,
        loading="lazy",
    )
    return element("figure", element("a", image, href=picture.href), element("figcaption", picture.words))


def _hash(value: str) -> Html:
    return element("code", value) if value else Html("")


def _indented(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
