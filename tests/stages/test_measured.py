"""The committed tables are what the commands make of the committed records with the protocols as shipped."""

from __future__ import annotations

import pytest

from ssl_bench.stages.tables import printed, table
from tests.conftest import REPOSITORY

SUBSET = REPOSITORY / "results/measured/voc2007-subset"


@pytest.mark.parametrize(
    ("name", "folder"),
    [("context-encoders-2", SUBSET), (str(SUBSET / "common-classes.yaml"), SUBSET / "common-classes")],
)
def test_committed_tables_are_made_of_the_committed_records(name: str, folder) -> None:
    built = table(name, runs=[SUBSET])
    for form, file in (("markdown", "table.md"), ("latex", "table.tex"), ("csv", "table.csv")):
        assert printed(built, form) == (folder / file).read_text(), file


def test_the_shipped_records_enter_the_shipped_table() -> None:
    text = printed(table(runs=[], shipped=True), "markdown")
    assert "### Measured here: voc2007-subset, quick protocols" in text
    assert "Not in " not in text, "every record was made with a protocol that is still shipped"
