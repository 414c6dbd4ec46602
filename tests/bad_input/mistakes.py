"""How a mistake has to be answered, and ways to make one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.tiny_run import Answer, leftovers


def refused(answer: Answer, runs: Path, *named: str, kept: tuple[str, ...] = ()) -> str:
    """Check that an answer is one complaint that names what is wrong, and leaves no result; return it."""
    assert answer.status == 2, answer.err
    assert len(answer.complaints) == 1, answer.err
    complaint = answer.complaints[0]
    assert answer.err.splitlines()[-1] == complaint, "the complaint is one line, and the last one"
    assert "Traceback" not in answer.err
    for word in named:
        assert word in complaint, complaint
    assert answer.out == ""
    assert [name for name in leftovers(runs) if name not in kept] == []
    return complaint


def photos(folder: Path, count: int = 4, size: tuple[int, int] = (80, 70)) -> Path:
    """A folder of noise photos."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photo{number}.jpg")
    return folder


def truncate(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
