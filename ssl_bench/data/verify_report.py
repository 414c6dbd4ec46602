"""What a check of a data set found: problems by kind with the first names, and notes that are no problems."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAX_NAMED = 20


@dataclass
class Problem:
    """How often one kind of problem was met, and the first `MAX_NAMED` places."""

    count: int = 0
    first: list[str] = field(default_factory=list)


@dataclass
class Section:
    """The result for one VOC year, folder, zip or set of shards."""

    name: str
    place: Path | str
    checked: str = ""
    fingerprint: str | None = None
    problems: dict[str, Problem] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def add(self, kind: str, where: str) -> None:
        """Count a problem of this kind at one more place."""
        problem = self.problems.setdefault(kind, Problem())
        problem.count += 1
        if len(problem.first) < MAX_NAMED:
            problem.first.append(where)

    def lines(self) -> list[str]:
        """The result as text."""
        lines = [f"{self.name} ({self.place}): {'ok' if self.ok else 'NOT OK'}", f"  checked: {self.checked}"]
        for kind, problem in self.problems.items():
            lines.append(f"  problem: {problem.count} x {kind}")
            lines += [f"    {where}" for where in problem.first]
            if problem.count > len(problem.first):
                lines.append(f"    and {problem.count - len(problem.first)} more")
        lines += [f"  note: {note}" for note in self.notes]
        lines.append(f"  fingerprint: {self.fingerprint or 'none while files are missing or broken'}")
        return lines


@dataclass(frozen=True)
class VerifyReport:
    """The results for everything that was found under one root."""

    sections: tuple[Section, ...]

    @property
    def ok(self) -> bool:
        """Whether no problem was found; notes do not count."""
        return all(section.ok for section in self.sections)

    def lines(self) -> list[str]:
        """The report as text, one string a line."""
        return [line for section in self.sections for line in section.lines()]


def named(names: list[str]) -> str:
    """The first names of a list, with the number of those left out."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
