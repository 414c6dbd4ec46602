"""A table as a section of the page: how to find rows, the table with cells that lead to their runs, its notes."""

from __future__ import annotations

from collections.abc import Mapping

from ssl_bench.reporting.html_table import html_grid, html_notes
from ssl_bench.reporting.page.markup import Html, element, lines, scrolled, slug
from ssl_bench.reporting.table import Table

FILTERS = {"data": "Data", "method": "Method", "protocol": "Protocol"}
OF_RUNS = {**FILTERS, "state": "State"}


def table_section(table: Table, addresses: Mapping[str, str]) -> Html:
    """Write a table; `addresses` gives for each run's name that of its section."""
    name = f"sorted-{slug(table.name)}"
    notes = html_notes(table)
    return element(
        "section",
        lines(
            element("h3", table.title, id=f"{name}-title"),
            filter_form(name, FILTERS),
            scrolled(f"Table: {table.title}", Html(html_grid(table, addresses)), id=name, sortable=True),
            element("div", element("h4", "Notes"), Html(notes), class_="notes") if notes else "",
        ),
        aria_labelledby=f"{name}-title",
    )


def filter_form(table_id: str, lists: Mapping[str, str]) -> Html:
    """Write the form that chooses rows: a text box, and lists by the words of the runs that a row leads to.

    The script fills the lists and shows the form; without it every row is shown and the form is not.
    """
    choices = [
        element("label", f"{label} ", element("select", name=key), hidden=True)
        for key, label in lists.items()
    ]
    return element(
        "form",
        element("label", "Find ", element("input", type="search", name="text", autocomplete="off")),
        *choices,
        element("button", "Show all", type="reset"),
        element("output", aria_live="polite"),
        class_="filter",
        data_filters=table_id,
        role="search",
        aria_label="Choose rows",
        hidden=True,
    )
