"""The whole page: head, contents, tables, figures, galleries, runs, what is stale, and how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ssl_bench.reporting.page.markup import Html, element, joined, lines, scrolled
from ssl_bench.reporting.page.run_facts import RunFacts
from ssl_bench.reporting.page.run_section import Picture, RunOnPage, picture_figure, run_section, state_mark
from ssl_bench.reporting.page.shared_texts import shared_section, shared_texts
from ssl_bench.reporting.page.staleness import KINDS, OTHER_CODE, Remark
from ssl_bench.reporting.page.table_section import OF_RUNS, filter_form, table_section
from ssl_bench.reporting.table import Table

HEADS = ("Run", "State", "Protocol or recipe", "Data", "Method", "Seed", "Score (%)", "Made")
HEAD_CLASSES = ("word", "word", "word", "word", "word", "number", "number", "word date")


Shared = Mapping[tuple[str, str], Sequence[RunFacts]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that stands on the page. `command` and `version` say how it was made; there is no clock in it."""

    title: str
    tables: Sequence[Table]
    runs: Sequence[RunOnPage]
    figures: Sequence[Picture]
    command: str
    version: str
    outputs: Mapping[str, str]


def page_html(page: Page) -> str:
    """Write the page as one HTML document; the same page gives the same bytes."""
    shared = shared_texts([run.facts for run in page.runs])
    sections = {
        "tables": ("Tables", _tables(page)),
        "figures": ("Figures", _pictures(page.figures)),
        "galleries": ("Galleries", _pictures([run.picture for run in page.runs if run.picture])),
        "runs": ("Runs", _runs(page.runs, shared)),
        "shared": ("Recipes and environments", shared_section(shared)),
        "stale": ("What to look at", _stale(page.runs)),
        "made": ("How this page was made", _made(page)),
    }
    shown = {key: (title, content) for key, (title, content) in sections.items() if content}
    contents = [element("li", element("a", title, href=f"#{key}")) for key, (title, _) in shown.items()]
    body = lines(
        element("a", "Skip to the content", href="#main", class_="skip"),
        element("header", element("h1", page.title), element("p", _summary(page.runs))),
        element("nav", element("ul", *contents), aria_label="Contents"),
        element(
            "main",
            lines(
                *(
                    element("section", lines(element("h2", title, id=f"{key}-title"), content), id=key,
                            aria_labelledby=f"{key}-title")
                    for key, (title, content) in shown.items()
                )
            ),
            id="main",
            tabindex=-1,
        ),
    )  # fmt: skip
    head = lines(
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", page.title),
        element("link", rel="icon", href="data:,"),
        element("style", Html(_beside("page.css"))),
    )
    script = element("script", Html(_beside("page.js")))
    document = element("html", lines(element("head", head), element("body", lines(body, script))), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


@cache
def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _summary(runs: Sequence[RunOnPage]) -> str:
    counts = Counter(run.facts.state for run in runs)
    told = [
        f"{counts[state]} {state}"
        for state in ("done", "failed", "unfinished", "unreadable")
        if counts[state]
    ]
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}{': ' if told else ''}{', '.join(told)}."


def _tables(page: Page) -> Html:
    addresses: dict[str, str] = {}
    for run in page.runs:
        addresses.setdefault(run.facts.name, f"#{run.id}")
    links = [element("a", words, href=href) for words, href in page.outputs.items()]
    return lines(
        *(table_section(table, addresses) for table in page.tables),
        element("p", "The same as files: ", *(joined(link, " ") for link in links), class_="files")
        if links
        else "",
    )


def _pictures(pictures: Sequence[Picture]) -> Html:
    return (
        element("div", *(picture_figure(each) for each in pictures), class_="pictures")
        if pictures
        else Html("")
    )


def _runs(runs: Sequence[RunOnPage], shared: Shared) -> Html:
    if not runs:
        return element("p", "No runs were found.")
    heads = [
        element("th", head, scope="col", class_=kind) for head, kind in zip(HEADS, HEAD_CLASSES, strict=True)
    ]
    table = element(
        "table",
        element("caption", "All runs. The choice above is also of the sections below."),
        element("thead", element("tr", *heads)),
        element("tbody", lines(*map(_run_row, runs))),
    )
    return lines(
        filter_form("all-runs", OF_RUNS),
        scrolled("All runs", table, id="all-runs", sortable=True),
        *(run_section(run, shared) for run in runs),
    )


def _run_row(run: RunOnPage) -> Html:
    facts, record = run.facts, run.facts.record
    score = record.metrics.get(record.main_metric) if record is not None else None
    seed = str(record.transfer_seed if record is not None else facts.card.get("pretraining_seed", ""))
    score_words = "–" if score is None else f"{score:.2f}"
    score_value = None if score is None else repr(score)
    return element(
        "tr",
        element("th", element("a", facts.name, href=f"#{run.id}"), scope="row"),
        element("td", state_mark(run)),
        *(element("td", words) for words in (facts.protocol, facts.data, facts.method)),
        element("td", seed, data_value=seed or None, class_="number"),
        element("td", score_words, data_value=score_value, class_="number"),
        element("td", facts.created[:10], data_value=facts.created or None, class_="date"),
        data_tells=run.id,
    )


def _stale(runs: Sequence[RunOnPage]) -> Html:
    kinds: dict[str, list[tuple[RunOnPage, Remark]]] = {kind: [] for kind in KINDS}
    for run in runs:
        for remark in run.remarks:
            kinds[remark.kind].append((run, remark))
    parts = []
    for kind, found in kinds.items():
        if not found:
            continue
        parts.append(element("h3", f"{kind} ({len(found)})"))
        parts.append(_versions(found) if kind == OTHER_CODE else _named(found))
    return lines(*parts) if parts else element("p", "Nothing: every run is done and as it would be made now.")


def _named(found: Sequence[tuple[RunOnPage, Remark]]) -> Html:
    items = [
        element(
            "li", element("a", run.facts.name, href=f"#{run.id}"), f": {remark.words}" if remark.words else ""
        )
        for run, remark in found
    ]
    return element("ul", lines(*items), class_="remarks")


def _versions(found: Sequence[tuple[RunOnPage, Remark]]) -> Html:
    counts = Counter(remark.words for _, remark in found)
    items = [
        element("li", f"{version}: {n} run{'s' if n != 1 else ''}") for version, n in sorted(counts.items())
    ]
    return element("ul", lines(*items))


def _made(page: Page) -> Html:
    times = [run.facts.created for run in page.runs if run.facts.created]
    newest = max(times, default="")
    return lines(
        element("p", "Command: ", element("code", page.command)),
        element("p", f"Program: ssl-bench {page.version}."),
        element("p", f"The newest record was made at {newest}.") if newest else "",
        element(
            "p",
            "Logs and pictures lie beside this page, predictions in the folder of runs. The page fetches nothing "
            "from a network. Numbers stand in a table only as its notes say; this page computes none.",
        ),
    )
