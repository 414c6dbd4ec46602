"""Texts that several runs have in common (a resolved recipe, an environment): each stands on the page once.

A thousand runs are made with a few recipes on a few machines. Written once, these show which runs share them, and
the page stays small enough to open at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from ssl_bench.reporting.page.markup import Html, element, folded, lines
from ssl_bench.reporting.page.run_facts import RunFacts

RECIPE, ENVIRONMENT = "Recipe, as resolved", "Environment"


def texts_of(run: RunFacts) -> dict[str, str]:
    """The texts of a run that others may have as well, by their titles."""
    texts = {RECIPE: run.recipe.rstrip()}
    if run.environment:
        texts[ENVIRONMENT] = json.dumps(run.environment, indent=2, ensure_ascii=False)
    return {title: text for title, text in texts.items() if text}


def shared_texts(runs: Sequence[RunFacts]) -> dict[tuple[str, str], list[RunFacts]]:
    """Find the texts that more than one run has, by title and text, in order of the runs."""
    found: dict[tuple[str, str], list[RunFacts]] = {}
    for run in runs:
        for item in texts_of(run).items():
            found.setdefault(item, []).append(run)
    return {item: having for item, having in found.items() if len(having) > 1}


def text_id(text: str) -> str:
    """Name a text by its content."""
    return f"text-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def folded_texts(run: RunFacts, shared: Mapping[tuple[str, str], Sequence[RunFacts]]) -> Html:
    """Write the texts of a run, or where they stand if others have them as well."""
    parts, links = [], []
    for title, text in texts_of(run).items():
        if (title, text) not in shared:
            parts.append(folded(title, element("pre", text)))
            continue
        others = len(shared[title, text]) - 1
        link = element("a", title, href=f"#{text_id(text)}")
        links.append(element("li", link, f", as of {others} other run{'s' if others > 1 else ''}"))
    return lines(element("ul", *links) if links else "", *parts)


def shared_section(shared: Mapping[tuple[str, str], Sequence[RunFacts]]) -> Html:
    """Write every shared text once, with the names of the protocols or recipes that it is of."""
    parts = []
    for title in (RECIPE, ENVIRONMENT):
        own = [(text, having) for (kind, text), having in shared.items() if kind == title]
        if not own:
            continue
        parts.append(element("h3", title))
        for text, having in own:
            names = sorted({run.protocol for run in having if run.protocol}) if title == RECIPE else []
            words = f"{', '.join(names) or 'Shared'}: {len(having)} runs"
            parts.append(folded(words, element("pre", text, id=text_id(text))))
    return lines(*parts)
