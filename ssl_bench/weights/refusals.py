"""Two ways in which a foreign file can fail, kept apart from the file's name until the end.

The readers below `reading` know bytes and not paths: they raise `Damaged` or `Refused`, and `naming` turns
both into the one message that a user sees, with the file in front and what to do next behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_bench.errors import UserError


class Damaged(Exception):
    """The bytes are not what their own format promises: cut short, or changed on the way."""


class Refused(Exception):
    """The bytes are in order and hold what we do not take; the message says what to do about it."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what the readers raise into a `UserError` that names `path`."""
    try:
        yield
    except Damaged as error:
        raise UserError(
            f"{path}: {error}. The file is truncated or damaged: fetch it again, and compare its size "
            "(or checksum) with what its publisher states."
        ) from error
    except Refused as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except MemoryError as error:
        raise UserError(
            f"{path}: reading it needs more memory than there is. Free some, or convert it."
        ) from error
