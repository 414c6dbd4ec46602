"""The drawn page, once for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench.reporting.page.document import page_html
from tests.reporting.page.drawn_runs import drawn_page, write_runs


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of drawn runs."""
    return write_runs(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def drawn_html(drawn_folder: Path) -> str:
    """The page as text."""
    return page_html(drawn_page(drawn_folder))
