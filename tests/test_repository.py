"""What the documents promise: the README's commands are those that CI runs, and every recipe is listed."""

from __future__ import annotations

import re

import pytest

from ssl_bench.recipes import recipe_names
from tests.conftest import REPOSITORY


def readme_commands() -> list[str]:
    """The two command lines of the README's first section."""
    text = (REPOSITORY / "README.md").read_text()
    section = text.split("## Try it")[1].split("## Use it")[0]
    return [block.strip() for block in re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL)]


def test_ci_runs_exactly_the_test_command_of_the_readme() -> None:
    demo, tests = readme_commands()
    assert demo.endswith("ssl-bench demo")
    assert tests.endswith("pytest -q")
    assert "\n" not in demo + tests
    assert (REPOSITORY / ".ci/run").read_text().splitlines()[-1] == tests


@pytest.mark.parametrize(
    ("kind", "folder"), [("pretrain", "pretrain"), ("transfer", "transfer"), ("probes", "transfer")]
)
def test_every_recipe_stands_in_its_folders_index(kind: str, folder: str) -> None:
    text = (REPOSITORY / folder / "README.md").read_text()
    for name in recipe_names(kind):  # type: ignore[arg-type]
        listed = re.sub(r"-(mini|small|demo|quick)$", "", name)
        if kind == "transfer" and listed in ("voc-cls-finetune", "voc-det-finetune", "voc-seg-finetune"):
            listed = listed.removesuffix("-finetune")  # short forms alone have these names
        assert f"`{listed}`" in text, name
