"""HTML: well-formed, every row has all columns, numbers with all digits, and hostile text is only text."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.records import Record
from ssl_bench.reporting.html_table import to_html
from ssl_bench.reporting.table import Table
from tests.reporting.latex_structure import HOSTILE, table_of

Build = Callable[..., Table]
KNOWN = {
    *("figure", "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li"),
    *("strong", "span", "sup", "a"),
}


class Outline(HTMLParser):
    """What a browser finds: elements that are all closed, cells by row, ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[tuple[str, dict[str, str | None], list[str]]]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN
        self.open.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "tr" in self.open and self.rows[-1]:
            self.rows[-1][-1][2].append(data)


def shown(cell: tuple[str, dict[str, str | None], list[str]]) -> str:
    return " ".join("".join(cell[2]).split())


def test_structure(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    outline = Outline(to_html(table))
    n_columns = len(table.information) + len(table.columns)
    head, *rows = outline.rows
    assert [cell[1]["scope"] for cell in head] == ["col"] * n_columns
    assert [cell[1]["data-column"] for cell in head] == [h.key for h in (*table.information, *table.columns)]
    of_blocks = [row for row in rows if len(row) == 1]
    assert [shown(row[0]) for row in of_blocks] == [block.title for block in table.blocks]
    assert all(row[0][1] == {"scope": "rowgroup", "colspan": str(n_columns)} for row in of_blocks)
    full = [row for row in rows if len(row) > 1]
    assert len(full) == sum(len(block.rows) for block in table.blocks)
    assert all(len(row) == n_columns and row[0][0] == "th" and row[0][1]["scope"] == "row" for row in full)
    assert [tag for tag, _ in outline.attributes].count("tbody") == len(table.blocks)


def test_numbers_have_all_digits(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    cells = [cell for block in table.blocks for row in block.rows for cell in row.cells]
    found = [
        cell[1] for row in Outline(to_html(table)).rows for cell in row if cell[1].get("class") == "number"
    ]
    drawn = [attributes for attributes in found if "scope" not in attributes]
    assert len(drawn) == len(cells)

    def said(attributes: dict[str, str | None]) -> tuple[float | None, ...]:
        texts = [attributes.get(f"data-{name}") for name in ("value", "std", "n")]
        return tuple(float(text) if text else None for text in texts)

    assert [said(attributes) for attributes in drawn] == [(c.mean, c.std, c.n or None) for c in cells]


def test_marks_lead_to_their_notes(build: Build, golden_records: list[Record]) -> None:
    for table in (build(golden_records), table_of(HOSTILE)):
        attributes = Outline(to_html(table)).attributes
        ids = [given["id"] for _, given in attributes if "id" in given]
        links = [given["href"] for tag, given in attributes if tag == "a"]
        assert len(ids) == len(set(ids))
        assert {f"#{name}" for name in ids if "-note-" in (name or "")} == set(links)


def test_cells_lead_to_their_runs(build: Build, golden_records: list[Record]) -> None:
    table = build(golden_records)
    runs = [name for block in table.blocks[1:] for row in block.rows for c in row.cells for name in c.sources]
    links = {name: f"runs.html#{name}&x" for name in runs}
    attributes = Outline(to_html(table, links)).attributes
    hrefs = [given["href"] for tag, given in attributes if tag == "a" and "note" not in (given["href"] or "")]
    assert hrefs == [links[name] for name in runs]


@given(st.text(max_size=40))
def test_any_text_is_only_text(text: str) -> None:
    Outline(to_html(table_of(text)))


def test_hostile_text() -> None:
    text = "<script>alert('1')</script> & \"x\" \x00\n<!-- --> ' </table>"
    outline = Outline(to_html(table_of(text)))
    words = "<script>alert('1')</script> & \"x\" \ufffd <!-- --> ' </table>"
    assert shown(outline.rows[1][0]) == words
    assert not any("\x00" in each for each in outline.texts)
    [level] = [a["title"] for _, a in outline.attributes if a.get("class") == "difference"]
    assert level == f"difference to {words}, 95% interval; 2 paired seeds"


def test_what_a_cell_says_beside_its_number() -> None:
    html = to_html(table_of("x"))
    assert '<strong>0.3</strong> <span class="count">(n=1)</span>' in html
    assert (
        '<span class="difference" title="difference to x, 95% interval; 2 paired seeds">0.0 [-1.2, 2.0], p=0.020'
        in html
    )
    assert '<td class="number derived" data-value="-0.04">0.0 [-1.2, 2.0], p=0.020<sup>' in html
    assert '<td class="number derived" data-value="12">12</td>' in html
    assert 'data-value="0.3333333333333333" data-n="1" title="x. 3 settings tried">' in html
    assert '<th scope="col" class="number" data-column="b" title="the lower the better">' in html
    assert 'x <span class="citation">[x]</span>' in html
    assert '<td class="number">failed</td>' in html
    assert '<td class="number">–</td>' in html
