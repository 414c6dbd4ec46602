"""Fixtures shared by all tests: where the real data with known answers lies, and a small drawn VOC."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_file() -> Callable[[str], Path]:
    """Return a function that finds a file of the shared data, or skips (fails where SSL_BENCH_SHARED is set)."""

    def find(name: str) -> Path:
        named = os.environ.get("SSL_BENCH_SHARED")
        places = [Path(named)] if named else [REPOSITORY / "shared/data", REPOSITORY.parent / "shared/data"]
        for place in places:
            if (place / name).exists():
                return place / name
        if named:
            pytest.fail(f"SSL_BENCH_SHARED={named} is set, but {name} is not in it")
        pytest.skip(f"{name}: no shared data here (set SSL_BENCH_SHARED to its folder)")

    return find
