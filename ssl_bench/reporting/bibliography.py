"""The publications behind the published numbers: BibTeX entries, read strictly, and how a table cites them.

`results/references.bib` holds one entry for each `key` of published.csv, so that a paper can cite with `\\cite{KEY}`
what a table quotes. Only a plain part of BibTeX is read: entries with values in braces, accents as in `{\\"o}`, and
lines that start with %. Anything else is refused rather than guessed at.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.errors import UserError, unknown

REFERENCES_FILE = "references.bib"
KINDS = ("inproceedings", "article", "misc")
FIELDS = (
    "title",
    "author",
    "booktitle",
    "journal",
    "year",
    "eprint",
    "archiveprefix",
    "howpublished",
    "note",
    "key",
)
MANY = 3  # authors from which on a citation says "et al."

_ENTRY = re.compile(r"@(?P<kind>\w+)\s*\{\s*(?P<key>[^\s,{}]+)\s*,")
_FIELD = re.compile(r"\s*(?P<name>\w+)\s*=\s*\{")
_ACCENT = re.compile(r"""\\(?P<accent>["'`^~=.])\s*(?:\{(?P<braced>\w)\}|(?P<letter>\w))""")
_ACCENTS = {
    '"': "\u0308",
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    "~": "\u0303",
    "=": "\u0304",
    ".": "\u0307",
}
_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_YEAR = re.compile(r"(19|20)\d\d")
_TABLE = re.compile(r"t(?P<number>\d+[a-z]?)")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One entry; the fields' values are without their outer braces, as BibTeX has them."""

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def text(self) -> str:
        """Author and year as a reader sees them: Pathak et al. 2016; the title where no author is named.

        The letter of a key like bardes2022b sets two papers of one author and year apart.
        """
        authors = re.split(r"\s+and\s+", self.fields.get("author", ""))
        names = [_surname(author) for author in authors if author]
        if not names:
            who = plain(self.fields["title"])
        elif len(names) < MANY:
            who = " & ".join(names)
        else:
            who = f"{names[0]} et al."
        year = self.fields.get("year", "")
        letter = self.key.rpartition(year)[2] if year and year in self.key else ""
        return f"{who} {year}{letter}".strip()


def load_bibliography(path: Path) -> dict[str, Reference]:
    """Read the entries of a BibTeX file by key, in the file's order.

    Raises:
        UserError: The file cannot be read, or an entry is wrong, unknown in kind or field, or there twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as BibTeX ({error})") from error
    # A comment is blanked and not cut out, so that line numbers stay those of the file.
    text = re.sub(r"(?m)^[ \t]*%.*$", "", text)
    entries: dict[str, Reference] = {}
    place = 0
    while rest := text[place:].lstrip():
        place = len(text) - len(rest)
        where = f"{path}, line {text.count(chr(10), 0, place) + 1}"
        entry, place = _entry(text, place, where)
        if entry.key in entries:
            raise UserError(f"{where}: there are two entries {entry.key!r}; each may stand once")
        entries[entry.key] = entry
    return entries


def plain(text: str) -> str:
    """Write BibTeX text as Unicode on one line: braces go, accents join their letters."""

    def joined(match: re.Match[str]) -> str:
        letter = match["braced"] or match["letter"]
        return unicodedata.normalize("NFC", letter + _ACCENTS[match["accent"]])

    return " ".join(_ACCENT.sub(joined, text).replace("{", "").replace("}", "").split())


def printed_in(key: str, table: str) -> str:
    """Say in words where in a publication a number stands: `table` is "KEY-t2" for Table 2, or ends in words."""
    place = table.removeprefix(key).removeprefix("-")
    match = _TABLE.fullmatch(place)
    if match is not None:
        return f"Table {match['number']}"
    return place.replace("-", " ").replace("readme", "README")


def _entry(text: str, start: int, where: str) -> tuple[Reference, int]:
    """Read the entry that starts at `start`; return it with the place behind it."""
    head = _ENTRY.match(text, start)
    if head is None:
        raise UserError(f"{where}: expected an entry, @inproceedings{{key, ... (a comment starts with %)")
    kind, key = head["kind"].lower(), head["key"]
    if kind not in KINDS:
        raise UserError(f"{where}: {unknown('kind of entry', kind, KINDS)}")
    fields: dict[str, str] = {}
    place = head.end()
    while field := _FIELD.match(text, place):
        name = field["name"].lower()
        if name not in FIELDS:
            raise UserError(f"{where}: {key}: {unknown('field', name, FIELDS)}")
        if name in fields:
            raise UserError(f"{where}: {key}: there are two fields {name!r}")
        end = _closing(text, field.end(), f"{where}: {key}, {name}")
        fields[name] = " ".join(text[field.end() : end].split())
        place = end + 1
        comma = re.compile(r"\s*,").match(text, place)
        if comma is None:
            break
        place = comma.end()
    end_of_entry = re.compile(r"\s*\}").match(text, place)
    if end_of_entry is None:
        found = text[place:].strip().splitlines()
        raise UserError(
            f"{where}: {key}: expected name = {{value}}, or }} at the end, not {found[0] if found else 'the end'!r}"
        )
    _check(where, key, fields)
    return Reference(key=key, kind=kind, fields=fields), end_of_entry.end()


def _closing(text: str, start: int, where: str) -> int:
    """Find the brace that closes the one before `start`."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place
    raise UserError(f"{where}: a brace is never closed")


def _check(where: str, key: str, fields: Mapping[str, str]) -> None:
    if not fields.get("title"):
        raise UserError(f"{where}: {key}: title is missing")
    if "year" in fields and not _YEAR.fullmatch(fields["year"]):
        raise UserError(f"{where}: {key}: year {fields['year']!r} is not a year")
    if "eprint" in fields and not _ARXIV.fullmatch(fields["eprint"]):
        raise UserError(
            f"{where}: {key}: eprint {fields['eprint']!r} is not an arXiv number such as 1604.07379"
        )


def _surname(author: str) -> str:
    """Take the last name of "Last, First" or of "First Last"; a name in braces is an institution's, kept whole."""
    if author.startswith("{"):
        return plain(author)
    last, comma, _ = author.partition(",")
    return plain(last if comma else author.split()[-1])
