"""`ssl-bench run TABLE`: make what a table still lacks. Nothing that is done and current runs again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.data.voc import find_devkits
from ssl_bench.errors import UserError, unknown
from ssl_bench.progress import say
from ssl_bench.protocol_names import BUDGETS, TASKS, protocol_name
from ssl_bench.recipes import measures_paintings
from ssl_bench.reporting.table_definition import (
    ColumnDefinition,
    RowDefinition,
    TableDefinition,
    find_definition,
)
from ssl_bench.runs import default_runs_folder
from ssl_bench.stages.job_doing import Standing, runner_of
from ssl_bench.stages.job_plan import parse_shard
from ssl_bench.stages.job_running import Runner, SuiteReport, Worker, attempt
from ssl_bench.stages.plan_text import plan_lines

__all__ = ["SuitePlan", "SuiteReport", "attempt", "plan_suite", "run_suite"]

SCALES = ("demo", "mini", "small", "paper")
# Frozen features may be judged on class folders where a class an image is enough.
ANY_IMAGES = ("logistic", "knn", "linear")


@dataclass(frozen=True, kw_only=True)
class SuitePlan:
    """Everything a suite is to do, in a form that can be said before it is done."""

    definition: TableDefinition
    rows: tuple[RowDefinition, ...]
    scale: str
    budget: str
    seeds: int
    data: Path | None
    unlabelled: Path | None
    labelled: Path | None
    shapes: Path | None
    proposals: Path | None
    out: Path
    device: str
    limit: int | None
    workers: int | None
    shard: tuple[int, int] | None = None

    def lines(self) -> list[str]:
        """Phrase the plan."""
        part = f", shard {self.shard[0]} of {self.shard[1]}" if self.shard else ""
        described = [
            f"{self.definition.name}: {self.seeds} seeds, budget {self.budget}, runs in {self.out}{part}"
        ]
        for row in self.rows:
            recipe = self.recipe(row)
            learned = (
                f"pretrain {recipe} on {self.photos(row) or 'MiniVOC (synthetic)'}"
                if recipe
                else row.encoder or "random"
            )
            tasks = ", ".join(" ".join(job) for job in self.jobs())
            described.append(
                f"  {row.title}: {learned}; then {tasks} on {self.data or 'MiniVOC (synthetic)'}"
            )
        given = sum(row.given for row in self.definition.rows)
        if given:
            described.append(
                f"  {given} rows are of weights that you bring: ssl-bench transfer --encoder 'FILE?method=NAME'"
            )
        return described

    def jobs(self) -> list[tuple[str, ...]]:
        """List what every row is judged by, each once: a task with its mode, or the name of a probe's protocol.

        Several columns may show one job's numbers, as those of a probe's taps do.

        Raises:
            UserError: A column has no protocol of the plan's budget.
        """
        return list(dict.fromkeys(_job(column, self.budget) for column in self.definition.columns))

    def recipe(self, row: RowDefinition) -> str | None:
        """Name the row's pretraining recipe at the plan's scale, or None where nothing is learned."""
        if row.recipes is None:
            return None
        if self.scale not in row.recipes:
            raise UserError(f"row {row.title!r} has no recipe at scale {self.scale}")
        return row.recipes[self.scale]

    def photos(self, row: RowDefinition) -> Path | None:
        """Say what the row learns from."""
        return self.labelled if row.method == "supervised" else self.unlabelled

    def random_encoder(self) -> str:
        """Name the control: random weights in the network that the other rows have at this scale."""
        learned = next((row for row in self.definition.rows if row.recipes is not None), None)
        recipe = self.recipe(learned) if learned is not None else None
        return f"random:{recipe}" if recipe else "random"


def _job(column: ColumnDefinition, budget: str) -> tuple[str, ...]:
    """Say what makes a column's numbers, as the words of a transfer without its budget.

    A task with its mode where that is the column's protocol, else the protocol's own name.
    """
    short = column.task, f"mode={column.mode}"
    if column.protocols is None or measures_paintings(column.task):
        return short
    for name in column.protocols:
        if next((form for form in BUDGETS[1:] if name.endswith(f"-{form}")), BUDGETS[0]) == budget:
            usual = column.task in TASKS and protocol_name(column.task, column.mode, budget) == name
            return short if usual else (name,)
    raise UserError(
        f"column {column.title!r} has no protocol of budget {budget}, only {', '.join(column.protocols)}"
    )


def plan_suite(
    name: str = "context-encoders-2",
    *,
    data: str | Path | None = None,
    unlabelled: str | Path | None = None,
    labelled: str | Path | None = None,
    shapes: str | Path | None = None,
    proposals: str | Path | None = None,
    out: str | Path | None = None,
    seeds: int = 1,
    scale: str | None = None,
    budget: str | None = None,
    rows: Sequence[str] = (),
    device: str = "auto",
    limit: int | None = None,
    workers: int | None = None,
    shard: str | None = None,
) -> SuitePlan:
    """Plan a suite.

    Args:
        data: A folder with a VOCdevkit to judge on; MiniVOC by default.
        unlabelled: Photos to learn from; needed where `data` is given.
        labelled: Class folders for the supervised control; needed where `data` is given.
        shapes: A VOC whose masks give random regions their shapes; for scale paper.
        proposals: Boxes for detection in full (Fast R-CNN); computed by default.
        seeds: Seeds 0 to seeds - 1, of pretraining and transfer together.
        scale: demo, mini, small or paper; mini on MiniVOC, small on photos of one's own by default.
        budget: full, quick or demo; quick on MiniVOC, full on real data by default.
        rows: Only these methods.
        shard: `i/n`, to make only the i-th of n parts.

    Raises:
        UserError: Something is unknown or missing.
    """
    definition = find_definition(name)
    known = [row.method for row in definition.rows]
    for method in rows:
        if method not in known:
            raise unknown("row", method, known)
        if next(row for row in definition.rows if row.method == method).given:
            raise UserError(
                f"--rows {method}: nothing here learns it; judge weights that you bring with ssl-bench transfer "
                f"--encoder 'FILE?method={method}'"
            )
    scale = scale or ("small" if unlabelled is not None else "mini")
    chosen = tuple(row for row in definition.rows if row.method in rows or (not rows and _has(row, scale)))
    budget = budget or ("full" if data is not None else "quick")
    for kind, given, allowed in (("scale", scale, SCALES), ("budget", budget, BUDGETS)):
        if given not in allowed:
            raise unknown(kind, given, allowed)
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: at least 1 is needed")
    methods = {row.method for row in chosen}
    for flag, photos in (("--unlabelled", unlabelled), ("--labelled", labelled)):
        if photos is not None and not Path(photos).exists():
            raise UserError(f"{flag} {photos}: there is no such folder or zip")
    if data is not None:
        if unlabelled is None and methods - {"random", "supervised"}:
            raise UserError("say which photos to learn from: --unlabelled FOLDER_OR_ZIP")
        if labelled is None and "supervised" in methods:
            raise UserError(
                "say whose labels the supervised control may see: --labelled CLASS_FOLDERS_OR_ZIP, "
                "or leave the row out with --rows"
            )
        if any(
            not measures_paintings(column.task) and column.task not in ANY_IMAGES
            for column in definition.columns
        ):
            find_devkits(Path(data))
    plan = SuitePlan(
        definition=definition,
        rows=chosen,
        scale=scale,
        budget=budget,
        seeds=seeds,
        data=_path(data),
        unlabelled=_path(unlabelled),
        labelled=_path(labelled),
        shapes=_path(shapes),
        proposals=_path(proposals),
        out=Path(out or default_runs_folder()),
        device=device,
        limit=limit,
        workers=workers,
        shard=parse_shard(shard) if shard is not None else None,
    )
    plan.jobs()  # a column without a protocol of this budget is said now
    return plan


def _has(row: RowDefinition, scale: str) -> bool:
    """Whether a row can be made at a scale; a slow one may have no recipe for the demo."""
    return not row.given and (row.recipes is None or scale in row.recipes)


def run_suite(plan: SuitePlan, *, runner: Runner | None = None) -> SuiteReport:
    """Do everything in the plan that is not done, beside other workers; a failure is kept and the rest goes on.

    Args:
        runner: Does one job; by default `pretrain` and `transfer` do.
    """
    standing = Standing(plan)
    for line in (*plan.lines(), *plan_lines(standing.jobs, standing.states, standing.times())):
        say(line)
    worker = Worker(standing.jobs, runner or runner_of(plan), standing, standing.survey.claims)
    return worker.work()


def _path(given: str | Path | None) -> Path | None:
    return Path(given) if given is not None else None
