"""The committed tables are what the commands make of the committed records with the protocols as shipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssl_bench.stages.tables import printed, table
from tests.conftest import REPOSITORY

SUBSET = REPOSITORY / "results/measured/voc2007-subset"
FROZEN = REPOSITORY / "results/measured/frozen-features"
PARIS = REPOSITORY / "results/measured/paris-streetview-eval"


@pytest.mark.parametrize(
    ("name", "records", "folder"),
    [
        ("context-encoders-2", SUBSET, SUBSET),
        (str(SUBSET / "common-classes.yaml"), SUBSET, SUBSET / "common-classes"),
        ("context-encoders-1", PARIS, PARIS),
        (str(FROZEN / "table.yaml"), FROZEN / "records", FROZEN),
        (str(FROZEN / "squeezenet/table.yaml"), FROZEN / "squeezenet/records", FROZEN / "squeezenet"),
    ],
)
def test_committed_tables_are_made_of_the_committed_records(name: str, records: Path, folder: Path) -> None:
    built = table(name, runs=[records])
    for form, file in (("markdown", "table.md"), ("latex", "table.tex"), ("csv", "table.csv")):
        if os.environ.get("SSL_BENCH_REMAKE_GOLDEN"):
            (folder / file).write_text(printed(built, form))
        assert printed(built, form) == (folder / file).read_text(), file


def test_the_shipped_records_enter_the_shipped_table() -> None:
    text = printed(table(runs=[], shipped=True), "markdown")
    assert "### Measured here: voc2007-subset, quick protocols" in text
    assert "Not in " not in text, "every record was made with a protocol that is still shipped"
