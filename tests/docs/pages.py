"""Pages of the documentation as programs: their files, their changes to the code, their commands and what these print.

In a page, by the words behind the three backticks:

- ``bash``: commands that are run, one a line; ``# status N`` at a line's end names the exit status that is due;
- ``console``: commands that are shown alone, since they need data or hours; they must still be understood;
- ``python PATH``, ``yaml PATH``: a file that the reader writes, of which a later block may be another version;
- ``diff PATH``: a change of a file of the checkout;
- ``python``: lines that are run, all of a page in one namespace;
- ``text``: what the block before it prints, or lines of it; ``...`` stands for anything.
"""

from __future__ import annotations

import doctest
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
FENCE = re.compile(r"^```(?P<kind>\w+)(?: (?P<path>\S+))?\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
DUE = re.compile(r"\s+#\s*status (\d+)\b.*$")
ANY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is, which file it is about (or ""), and its lines."""

    kind: str
    path: str
    body: str


@dataclass(frozen=True)
class Command:
    """A command of a page: its words, the status that it is to end with, and whether it is run."""

    words: tuple[str, ...]
    status: int
    run: bool

    @property
    def ours(self) -> bool:
        """Whether it is one of the program, and not of the shell."""
        return self.words[:1] == ("ssl-bench",)


def blocks(page: Path) -> list[Block]:
    """Read the fenced blocks of a page in their order."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["kind"], match["path"] or "", match["body"]) for match in found]


def commands(block: Block) -> list[Command]:
    """Read the commands of a block: lines without a comment; a backslash at the end joins two."""
    found = []
    for line in block.body.replace("\\\n", " ").splitlines():
        due = DUE.search(line)
        words = tuple(shlex.split(DUE.sub("", line.removeprefix("$ ")), comments=True))
        if words:
            found.append(Command(words, int(due[1]) if due else 0, run=block.kind == "bash"))
    return found


def changed(text: str, diff: str) -> str:
    """Apply a diff without line numbers: each part, between lines ``@@``, must stand exactly once in the text."""
    for part in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = part.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        if lines:
            assert text.count(before) == 1, f"stands {text.count(before)} times in the file:\n{before}"
            text = text.replace(before, after)
    return text


def agrees(told: str, printed: str) -> bool:
    """Whether what a page tells stands in what was printed, up to white space, as lines in this order."""
    return doctest.OutputChecker().check_output(f"...{told.strip()}...", f"x{printed.strip()}x", ANY)
