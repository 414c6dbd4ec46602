"""The page as a document: structure by html.parser, nothing of a record as markup, no network, the same bytes."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ssl_bench.reporting.page import document
from ssl_bench.reporting.page.document import Page, page_html
from ssl_bench.reporting.page.markup import slug
from tests.reporting.page.drawn_runs import EVIL, LEARNED, drawn_page, write_runs

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "report" / "index.html"
REMAKE = "SSL_BENCH_REMAKE_GOLDEN"
VOID = {"meta", "link", "img", "input"}
MOST_BYTES = 40_000


@dataclass
class Reading(HTMLParser):
    """What a page says: elements with their attributes, text by element, and whether everything is closed."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    stack: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.stack:
            self.texts.setdefault(self.stack[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a name."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def reading(drawn_html: str) -> Reading:
    found = Reading()
    found.feed(drawn_html)
    return found


def test_elements_close_in_order_and_ids_are_unique(reading: Reading) -> None:
    assert reading.unbalanced == []
    assert reading.stack == []
    ids = [attributes["id"] for _, attributes in reading.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_links_within_the_page_lead_somewhere(reading: Reading) -> None:
    ids = {attributes.get("id") for _, attributes in reading.elements}
    targets = [str(a["href"]) for a in reading.all("a") if str(a.get("href", "")).startswith("#")]
    assert len(targets) > 20
    assert [target for target in targets if target[1:] not in ids] == []
    named = [a["aria-labelledby"] for _, a in reading.elements if "aria-labelledby" in a]
    assert [name for name in named if name not in ids] == []


def test_landmarks_and_headings(reading: Reading) -> None:
    for landmark in ("header", "nav", "main", "h1"):
        assert len(reading.all(landmark)) == 1, landmark
    levels = [int(tag[1]) for tag, _ in reading.elements if tag in ("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels
    first_link = reading.all("a")[0]
    assert (first_link["class"], first_link["href"]) == ("skip", "#main")
    assert reading.all("html") == [{"lang": "en"}]


def test_tables_have_captions_and_scopes(reading: Reading) -> None:
    assert len(reading.all("caption")) == len(reading.all("table")) > 2
    assert all(head.get("scope") in ("col", "row", "rowgroup") for head in reading.all("th"))
    regions = [a for a in reading.all("div") if "scroll" in str(a.get("class", "")).split()]
    assert len(regions) == len(reading.all("table")), "each table scrolls by itself"
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in regions)


def test_nothing_of_a_record_becomes_markup(reading: Reading, drawn_html: str) -> None:
    assert len(reading.all("script")) == 1
    assert EVIL in "".join(text for texts in reading.texts.values() for text in texts)
    assert "alert(1)<script>" not in drawn_html
    assert "<b>50 %</b>" not in drawn_html
    assert "<b>not bold</b>" not in drawn_html
    assert not {name for _, attributes in reading.elements for name in attributes if name.startswith("on")}


def test_nothing_comes_from_a_network(reading: Reading, drawn_html: str) -> None:
    addresses = [str(a[key]) for _, a in reading.elements for key in ("src", "href") if a.get(key)]
    assert [a for a in addresses if "://" in a or a.startswith(("//", "/"))] == []
    assert "@import" not in drawn_html
    assert "url(" not in drawn_html


def test_a_cell_leads_to_each_of_its_runs(drawn_html: str) -> None:
    [row] = [line for line in drawn_html.splitlines() if 'data-value="41.0"' in line]
    for run in ("cls-context-encoder-0", "cls-context-encoder-1"):
        assert f'href="#run-{run}"' in row


def test_a_run_says_what_made_it(drawn_html: str) -> None:
    start = drawn_html.index('<article id="run-cls-context-encoder-0"')
    told = drawn_html[start : drawn_html.index("</article>", start)]
    for part in (
        "mAP 40.00 %",
        "38.50 to 41.25",
        "hash-voc-cls-finetune-quick",
        "minivoc-v1",
        "sha-context-encoder-0",
        "fixed schedule, nothing chosen",
        "aeroplane",
        ">Recipe, as resolved</a>, as of 7 other runs",
        "--task voc-cls-finetune-quick",
        '<svg viewBox="0 0 640 220"',
        'href="files/cls-context-encoder-0/metrics.jsonl"',
    ):
        assert part in told, part


def test_what_runs_share_stands_once(drawn_html: str) -> None:
    assert drawn_html.count("lr: 0.001") == 1
    [text] = re.findall(
        r'voc-cls-finetune-quick, voc-det-finetune-quick: 8 runs</summary><pre id="([^"]+)"', drawn_html
    )
    assert drawn_html.count(f'href="#{text}"') == 8
    assert drawn_html.count("&quot;dirty&quot;: true") == 1, "an environment of a single run stands with it"
    start = drawn_html.index('<article id="run-cls-context-encoder-1"')
    assert "&quot;dirty&quot;: true" in drawn_html[start : drawn_html.index("</article>", start)]


def test_what_is_stale_is_told_with_its_reason(drawn_html: str) -> None:
    told = drawn_html[drawn_html.index('<section id="stale"') :]
    for run, reason in {
        "det-random-0": "lost &lt;b&gt;50 %&lt;/b&gt; &amp; more",
        "unfinished-1": "no result yet",
        "half-written": "result.json: not a result record",
        "det-old": "version 0 (before); now version 1 (hash-voc-det-finetune-quick)",
        "cls-context-encoder-1": "commit abcdef012345 and changes",
    }.items():
        [line] = [line for line in told.splitlines() if f'href="#run-{run}"' in line]
        assert reason in line
    assert "0.0.9: 1 run" in told
    assert "12 runs" not in told
    assert f'href="#run-{LEARNED}"' not in told, "nothing is wrong with it"


def test_names_that_are_no_addresses_get_one_of_their_own() -> None:
    assert slug("voc-cls_1.0") == "voc-cls_1.0"
    names = [EVIL, EVIL + "!", "a b", "a_b", "..", "", "ä", "\ud800"]
    assert len({slug(name) for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", slug(name)) for name in names)


def test_style_and_script_are_small_and_readable() -> None:
    beside = [Path(document.__file__).with_name(name) for name in ("page.css", "page.js")]
    assert sum(path.stat().st_size for path in beside) < MOST_BYTES
    assert all(len(line) <= 200 for path in beside for line in path.read_text().splitlines())


def test_an_empty_page_says_so() -> None:
    text = page_html(Page(title="None", tables=[], runs=[], figures=[], command="c", version="v", outputs={}))
    assert "No runs were found." in text
    assert "Galleries" not in text


def test_the_page_is_golden(drawn_html: str) -> None:
    if os.environ.get(REMAKE):
        GOLDEN.write_text(drawn_html, encoding="utf-8")
        pytest.skip(f"{GOLDEN.name} was made again: look at the difference")
    assert drawn_html.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_the_same_runs_give_the_same_bytes(drawn_html: str, tmp_path: Path) -> None:
    assert page_html(drawn_page(write_runs(tmp_path / "again"))) == drawn_html
    code = (
        "import sys; from pathlib import Path; from tests.reporting.page.drawn_runs import drawn_page;"
        "from ssl_bench.reporting.page.document import page_html;"
        "sys.stdout.buffer.write(page_html(drawn_page(Path(sys.argv[1]))).encode());"
        "assert 'torch' not in sys.modules"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again")],
        capture_output=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert told.stdout.decode() == drawn_html
