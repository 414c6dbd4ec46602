"""The jobs of a suite: one pretraining a row and seed, then what judges its encoder, in an order that can be done.

A job that stands on another one comes after it. Jobs that hang together (an encoder, all that is judged on it, and the
neighbours that search by its features) are one group; shards are made of whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ssl_bench.errors import UserError
from ssl_bench.recipes import INPAINTING_DEFAULT, measures_paintings

if TYPE_CHECKING:
    from ssl_bench.reporting.table_definition import RowDefinition
    from ssl_bench.stages.suite import SuitePlan

NEIGHBOURS = "nn:"
PRETRAIN: Literal["pretrain"] = "pretrain"
TRANSFER: Literal["transfer"] = "transfer"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One pretraining or one transfer.

    Attributes:
        number: Its place in the whole plan, from 0.
        group: Which jobs it hangs together with.
        words: The recipe; or the task with its settings.
        encoder: What a transfer judges; `nn:` alone are neighbours by the features that `needs` learns, and None is
            the encoder that it learns.
        needs: The number of the job whose encoder this one is about.
    """

    number: int
    group: int
    stage: Literal["pretrain", "transfer"]
    title: str
    method: str
    seed: int
    words: tuple[str, ...]
    encoder: str | None = None
    needs: int | None = None

    @property
    def what(self) -> str:
        """What is done, in a word or a few."""
        return "pretraining" if self.stage == PRETRAIN else " ".join(self.words)

    @property
    def label(self) -> str:
        """Name the job for a reader."""
        return f"{self.title}, seed {self.seed}: {'pretraining' if self.stage == PRETRAIN else self.words[0]}"

    @property
    def searches(self) -> bool:
        """Whether nearest neighbours in a pool of photos paint."""
        return self.encoder is not None and self.encoder.startswith("nn")


def jobs_of(plan: SuitePlan) -> list[Job]:
    """List all jobs of a plan, seed by seed, row by row; rows that search by another row's features last.

    Raises:
        UserError: A row stands on one that cannot be learned here.
    """
    jobs: list[Job] = []
    rows = _with_what_they_stand_on(plan)
    groups = 0
    for seed in range(plan.seeds):
        learned: dict[str, Job] = {}
        for row in rows:
            other = _stands_on(row)
            if other is None:
                group, groups = groups, groups + 1
            else:
                group = learned[other].group
            recipe = plan.recipe(row)
            needs = learned[other].number if other is not None else None
            if recipe is not None:
                learned[row.method] = Job(
                    number=len(jobs),
                    group=group,
                    stage=PRETRAIN,
                    title=row.title,
                    method=row.method,
                    seed=seed,
                    words=(recipe,),
                )
                jobs.append(learned[row.method])
                needs = jobs[-1].number
            if row in plan.rows:
                encoder = NEIGHBOURS if other else None if recipe else row.encoder or plan.random_encoder()
                jobs += [
                    Job(
                        number=len(jobs) + more,
                        group=group,
                        stage=TRANSFER,
                        title=row.title,
                        method=row.method,
                        seed=seed,
                        words=_transfer_words(words, plan.budget),
                        encoder=encoder,
                        needs=needs,
                    )
                    for more, words in enumerate(plan.jobs())
                ]
    return jobs


def _stands_on(row: RowDefinition) -> str | None:
    """Name the method by whose features a row searches, if it does."""
    found = row.encoder is not None and row.encoder.startswith(NEIGHBOURS)
    return row.encoder.removeprefix(NEIGHBOURS) if found and row.encoder else None


def _with_what_they_stand_on(plan: SuitePlan) -> list[RowDefinition]:
    """Put rows that search by another's features last, and the others in front, wanted or not."""
    rows = list(plan.rows)
    for row in plan.rows:
        other = _stands_on(row)
        if other is None or any(known.method == other for known in rows):
            continue
        below = next((known for known in plan.definition.rows if known.method == other), None)
        if below is None or plan.recipe(below) is None:
            raise UserError(f"row {row.title!r} needs the row {other}, which no recipe learns")
        rows.append(below)
    return sorted(rows, key=lambda row: _stands_on(row) is not None)


def _transfer_words(words: tuple[str, ...], budget: str) -> tuple[str, ...]:
    """Complete a task's words: a protocol's own name and the one of paintings need no more."""
    if measures_paintings(words[0]):
        return (INPAINTING_DEFAULT,)
    return words if len(words) == 1 else (*words, f"budget={budget}")


def parse_shard(text: str) -> tuple[int, int]:
    """Read `i/n`, counted from 1.

    Raises:
        UserError: It is not of that form.
    """
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise UserError(f"--shard {text}: expected i/n with i from 1 to n, e.g. --shard 1/4")
    return int(first), int(second)


def shard(jobs: Sequence[Job], part: int, parts: int) -> list[Job]:
    """Take the jobs of one shard: every `parts`-th group from the `part`-th (from 1) on, whatever is done already."""
    return [job for job in jobs if job.group % parts == part - 1]
