"""What a user can get wrong, apart from what only we can get wrong.

The command line prints a `UserError` as one message and exits with status 2; any other exception keeps
its traceback, because it is a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 40


class UserError(ValueError):
    """A mistake in the input: the message says what was given, what is allowed and what to do next."""


class BrokenImage(UserError):
    """An image file that cannot be read as a picture."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: not a readable image ({reason}). Replace or remove the file.")

    def __reduce__(self) -> tuple[type[BrokenImage], tuple[str, str]]:
        # The default would call __init__ with the finished message; loader workers send us these.
        return type(self), (self.name, self.reason)


def nearest(given: str, known: Iterable[str]) -> str:
    """Phrase ", did you mean 'x'?" for the known word nearest to `given`, or nothing if none is near."""
    matches = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a list of names, with the list and the nearest one."""
    names = sorted(known)
    if len(names) > MOST_LISTED:  # nobody reads on: the ones that resemble it, and how many there are
        near = difflib.get_close_matches(given, names, n=5, cutoff=0.3)
        return UserError(
            f"unknown {kind} {given!r}{nearest(given, names)} ({len(names)} are known; like it: "
            f"{', '.join(near) or 'none'})"
        )
    return UserError(f"unknown {kind} {given!r}{nearest(given, names)} (known: {', '.join(names) or 'none'})")
