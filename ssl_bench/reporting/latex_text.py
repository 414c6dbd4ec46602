"""Any text as LaTeX: what LaTeX does not know is spelled out, never passed on."""

from __future__ import annotations

import re
import unicodedata

_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "`": r"{\char96}",
    "[": r"{[}",  # after \\ a bracket would be an optional length
    "]": r"{]}",
    "–": "--",
    "—": "---",
    "\N{MINUS SIGN}": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"\dag{}",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\u00a0": "~",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
_KEYS = re.compile(r"[A-Za-z0-9:_./+,-]+")


def latex_text(text: str) -> str:
    """Write any text on one line so that LaTeX shows it as it is."""
    line = " ".join(text.split())
    # Two hyphens or apostrophes in a row would be drawn as a dash or a quotation mark.
    apart = [
        first + "{}" if first in "-'" and first == second else _character(first)
        for first, second in zip(line, line[1:] + " ", strict=False)
    ]
    return "".join(apart)


def latex_words(text: str) -> str:
    """Write text whose long `key=value` may break after the sign."""
    return r"=\allowbreak{}".join(latex_text(part) for part in text.split("="))


def latex_number(text: str) -> str:
    """Write a number, with or without its deviation or interval; its minus is a minus."""
    minus = re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", text)
    return latex_text(minus).replace(r" $\pm$ ", r"\,$\pm$\,")


def latex_cite(keys: str) -> str:
    """Cite keys of a bibliography, joined by commas; what cannot be a key is written in brackets."""
    if not keys:
        return ""
    return rf"~\cite{{{keys}}}" if _KEYS.fullmatch(keys) else f" {latex_text(f'[{keys}]')}"


def latex_label(name: str) -> str:
    """Make the label of a table: tab:NAME, or NAME where it has a prefix of its own."""
    prefix, colon, rest = name.rpartition(":")
    return f"{latex_name(prefix)}:{latex_name(rest)}" if colon and prefix else f"tab:{latex_name(rest)}"


def latex_name(name: str) -> str:
    """Keep ASCII letters and digits of a name; anything else becomes a hyphen."""
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in name)


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if " " <= character <= "\x7e":
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[1] in _ACCENTS and parts[0].isascii() and parts[0].isalpha():
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"
