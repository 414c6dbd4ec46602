"""HTML as text that cannot be mistaken: a plain string is always escaped, only `Html` is taken as it is."""

from __future__ import annotations

import hashlib
import re
from html import escape

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # HTML has no way to write these
_VOID = ("img", "input", "meta", "br", "link")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def written(text: str) -> Html:
    """Escape text for an element or an attribute; characters that HTML cannot hold become U+FFFD."""
    return text if isinstance(text, Html) else Html(escape(_CONTROL.sub("\ufffd", text)))


def element(name: str, /, *children: str, **attributes: str | int | bool | None) -> Html:
    """Write an element. Attributes: class_ is class, aria_label is aria-label; None and False are left out."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{written(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*parts: str) -> Html:
    """Put parts behind one another."""
    return Html("".join(written(part) for part in parts))


def lines(*parts: str) -> Html:
    """Put parts on lines of their own, leaving out empty ones, so that two reports can be compared line by line."""
    return Html("\n".join(written(part) for part in parts if part))


def slug(name: str) -> str:
    """Make a name of letters, digits, dots and dashes for ids and file names; other names get a hash of their own."""
    safe = _UNSAFE.sub("_", name).strip(".")
    if safe == name and name:
        return name
    return f"{safe[:60]}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def definitions(pairs: list[tuple[str, str]]) -> Html:
    """Write pairs of a word and what it means here; pairs without meaning are left out."""
    return element(
        "dl",
        lines(
            *(
                element("div", element("dt", word), element("dd", meaning))
                for word, meaning in pairs
                if meaning
            )
        ),
    )


def folded(title: str, *children: str) -> Html:
    """Write a part that opens when its title is chosen."""
    return element("details", element("summary", title), *children)


def scrolled(label: str, table: Html, *, id: str | None = None, sortable: bool = False) -> Html:
    """Let a wide table scroll by itself, with the keyboard as well; `sortable` lets the script sort it."""
    name = "scroll sortable" if sortable else "scroll"
    return element("div", table, class_=name, role="region", aria_label=label, tabindex=0, id=id)
