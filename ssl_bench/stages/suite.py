"""`ssl-bench run TABLE`: make what a table still lacks. Nothing that is done and current runs again."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssl_bench.data.voc import find_devkits
from ssl_bench.engine.training import Interrupted
from ssl_bench.errors import UserError, unknown
from ssl_bench.probe_schemas import PROBE_KINDS
from ssl_bench.progress import clock, say
from ssl_bench.protocol_names import BUDGETS
from ssl_bench.recipes import INPAINTING_DEFAULT, measures_paintings
from ssl_bench.reporting.table_definition import (
    ColumnDefinition,
    RowDefinition,
    TableDefinition,
    find_definition,
)
from ssl_bench.runs import default_runs_folder
from ssl_bench.stages.pretraining import pretrain
from ssl_bench.stages.transfer import transfer

SCALES = ("demo", "mini", "small", "paper")
NEIGHBOURS = "nn:"
# Frozen features may be judged on class folders where a class an image is enough.
ANY_IMAGES = ("logistic", "knn", "linear")
PROBES = (*PROBE_KINDS, "linear")


@dataclass
class SuiteReport:
    """What became of the jobs of a suite; `failures` names each failed one with its reason."""

    done: int = 0
    failures: list[str] = field(default_factory=list)


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

    def lines(self) -> list[str]:
        """Phrase the plan."""
        described = [f"{self.definition.name}: {self.seeds} seeds, budget {self.budget}, runs in {self.out}"]
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
    """Say what makes a column's numbers, as the words of a transfer without its budget."""
    if column.task not in PROBES or column.protocols is None:
        return column.task, f"mode={column.mode}"
    for name in column.protocols:
        if next((short for short in BUDGETS[1:] if name.endswith(f"-{short}")), BUDGETS[0]) == budget:
            return (name,)
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

    Raises:
        UserError: Something is unknown or missing.
    """
    definition = find_definition(name)
    known = [row.method for row in definition.rows]
    for method in rows:
        if method not in known:
            raise unknown("row", method, known)
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
    )
    plan.jobs()  # a column without a protocol of this budget is said now
    return plan


def _has(row: RowDefinition, scale: str) -> bool:
    """Whether a row can be made at a scale; a slow one may have no recipe for the demo."""
    return row.recipes is None or scale in row.recipes


def run_suite(plan: SuitePlan) -> SuiteReport:
    """Do everything in the plan that is not done, seed by seed; a failure is kept and the rest goes on."""
    for line in plan.lines():
        say(line)
    report = SuiteReport()
    started = time.monotonic()
    jobs = plan.seeds * len(plan.rows)
    # What stands on another row's encoder comes after it.
    ordered = sorted(plan.rows, key=lambda row: bool(row.encoder and row.encoder.startswith(NEIGHBOURS)))
    number = 0
    for seed in range(plan.seeds):
        learned: dict[str, str] = {}
        for row in ordered:
            number += 1
            say(f"[{number}/{jobs}] {row.title}, seed {seed} ({clock(time.monotonic() - started)} so far)")
            _run_row(plan, row, seed, report, learned)
    return report


def _run_row(
    plan: SuitePlan, row: RowDefinition, seed: int, report: SuiteReport, learned: dict[str, str]
) -> None:
    """Learn one row's encoder with one seed and judge it in every column.

    Args:
        learned: The folder of each method's run of this seed; this row's is added.
    """
    recipe = plan.recipe(row)
    encoder: list[str] = [row.encoder or plan.random_encoder()]
    if row.encoder is not None and row.encoder.startswith(NEIGHBOURS):
        other = row.encoder.removeprefix(NEIGHBOURS)
        if other not in learned:
            report.failures.append(
                f"{row.title}, seed {seed}: it needs the row {other}, which was not learned"
            )
            say(f"FAILED {report.failures[-1]}")
            return
        encoder[0] = NEIGHBOURS + learned[other]

    def learn() -> None:
        assert recipe is not None
        shapes = plan.shapes if row.method == "context-encoder" else None
        result = pretrain(
            recipe,
            data=plan.photos(row),
            shapes=shapes,
            out=plan.out,
            seed=seed,
            device=plan.device,
            limit=plan.limit,
            workers=plan.workers,
        )
        encoder[0] = learned[row.method] = str(result.folder)

    if recipe is not None and not attempt(f"{row.title}, seed {seed}: pretraining", learn, report):
        return
    for task, *mode in plan.jobs():

        def judge(task: str = task, mode: list[str] = mode) -> None:
            paintings = measures_paintings(task)
            transfer(
                INPAINTING_DEFAULT if paintings else task,
                [] if paintings or not mode else [*mode, f"budget={plan.budget}"],
                encoder=encoder[0],
                data=plan.data,
                pool=plan.unlabelled if encoder[0].startswith("nn") else None,
                proposals=plan.proposals if (task, plan.budget) == ("voc-det", "full") else None,
                out=plan.out,
                seed=seed,
                device=plan.device,
                limit=plan.limit,
                workers=plan.workers,
            )

        attempt(f"{row.title}, seed {seed}: {task}", judge, report)


def attempt(label: str, job: Callable[[], None], report: SuiteReport) -> bool:
    """Do one job; a failure is said and kept, an interruption ends the suite."""
    try:
        job()
    except Interrupted:
        raise
    except UserError as error:
        report.failures.append(f"{label}: {error}")
    except Exception as error:
        traceback.print_exc()
        report.failures.append(f"{label}: {type(error).__name__}: {error}")
    else:
        report.done += 1
        return True
    say(f"FAILED {report.failures[-1]}")
    return False


def _path(given: str | Path | None) -> Path | None:
    return Path(given) if given is not None else None
