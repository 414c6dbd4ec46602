"""The bibliography: the shipped one has every key, and a strict reader refuses the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from ssl_bench.errors import UserError
from ssl_bench.reporting.bibliography import (
    REFERENCES_FILE,
    Reference,
    load_bibliography,
    plain,
    printed_in,
)

RESULTS = Path(__file__).resolve().parents[2] / "results"
GOOD = "@article{a2020,\n  title = {One},\n  year = {2020},\n}\n"


@pytest.fixture(scope="module")
def shipped() -> dict[str, Reference]:
    return load_bibliography(RESULTS / REFERENCES_FILE)


def read(tmp_path: Path, text: str) -> dict[str, Reference]:
    path = tmp_path / REFERENCES_FILE
    path.write_text(text, encoding="utf-8")
    return load_bibliography(path)


def test_every_published_key_has_its_entry(shipped: dict[str, Reference], published: pd.DataFrame) -> None:
    assert list(shipped) == sorted(set(published["key"]))
    assert (published["citation"] != "").all()


def test_shipped_entries_agree_with_the_sources(
    shipped: dict[str, Reference], published: pd.DataFrame
) -> None:
    """What published.csv and published.md say of a publication: its arXiv number, its year."""
    explained = (RESULTS / "published.md").read_text(encoding="utf-8")
    for key, reference in shipped.items():
        [line] = re.findall(rf"^\| `{key}` \| (.*) \|$", explained, re.MULTILINE)
        numbers = re.findall(r"arXiv:(\d{4}\.\d{5})", line)
        assert reference.fields.get("eprint") in (numbers[:1] or [None, reference.fields.get("eprint")])
        for venue in re.findall(r"(?:CVPR|ICCV|ECCV|ICLR|ICML|NeurIPS) \d{4}", line):
            name, year = venue.split()
            assert f"({name})" in reference.fields["booktitle"]
            assert reference.fields["year"] == year
        if re.search(r"\d{4}", key):
            assert reference.fields["year"] in key
    texts = [reference.text for reference in shipped.values()]
    assert len(set(texts)) == len(texts)


def test_citations_as_readers_see_them(shipped: dict[str, Reference]) -> None:
    assert shipped["pathak2016"].text == "Pathak et al. 2016"
    assert shipped["noroozi2016"].text == "Noroozi & Favaro 2016"
    assert shipped["misra2020"].text == "Misra & van der Maaten 2020"
    assert shipped["mmselfsup2021"].text == "MMSelfSup Contributors 2021"
    assert shipped["openselfsup2020"].text == "OpenSelfSup 2020"
    assert shipped["bardes2022b"].text == "Bardes et al. 2022b"


def test_accents_and_braces() -> None:
    assert plain(r"Kr{\"a}henb{\"u}hl, {P}hilipp") == "Krähenbühl, Philipp"
    assert plain(r"J\'egou and {\'E}cole\n  {VOC}".replace(r"\n", "\n")) == "Jégou and École VOC"


def test_names_first_last_and_line_numbers(tmp_path: Path) -> None:
    text = "% about\n\n" + GOOD.replace("{One}", "{One {Two\n Three}},\n author = {Ann Lee and Bo Chi}")
    entries = read(tmp_path, text + "@misc{b, title = {Of nobody}}")
    assert entries["a2020"].fields["title"] == "One {Two Three}"
    assert entries["a2020"].text == "Lee & Chi 2020"
    assert entries["b"].text == "Of nobody"
    assert read(tmp_path, "% nothing but a comment\n") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + GOOD, "line 5: there are two entries 'a2020'"),
        (
            GOOD.replace("@article", "@artikle"),
            "line 1: unknown kind of entry 'artikle', did you mean 'article'",
        ),
        (GOOD.replace("title", "titel"), "a2020: unknown field 'titel', did you mean 'title'"),
        (GOOD.replace("title = {One},", ""), "a2020: title is missing"),
        (GOOD.replace("{2020}", "{202}"), "year '202' is not a year"),
        (GOOD.replace("{2020}", '"2020"'), "expected name = {value}"),
        (GOOD.replace("year", "eprint"), "eprint '2020' is not an arXiv number"),
        (GOOD.replace("year", "title"), "there are two fields 'title'"),
        (GOOD.replace("{One}", "{{One"), "a2020, title: a brace is never closed"),
        (GOOD.replace("{One}", "{One") + GOOD, "line 1: a2020: expected name = {value}"),
        (GOOD.rstrip()[:-1], "or } at the end, not 'the end'"),
        ("title = {One}", "line 1: expected an entry"),
    ],
)
def test_what_is_not_plain_bibtex_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        read(tmp_path, text)
    assert REFERENCES_FILE in str(raised.value)


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as BibTeX"):
        load_bibliography(tmp_path / "absent.bib")


def test_places_in_words() -> None:
    assert printed_in("zhang2017", "zhang2017-t4") == "Table 4"
    assert printed_in("grill2020", "grill2020-t4a") == "Table 4a"
    assert printed_in("he2020", "he2020-readme-detection") == "README detection"
    assert printed_in("noroozi2017", "noroozi2017") == ""
