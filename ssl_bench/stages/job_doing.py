"""The jobs of a suite in a folder of runs: how they stand, how long they take, and what does them.

What computes is imported when a job begins, since a finished table needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ssl_bench.errors import UserError
from ssl_bench.stages.job_plan import PRETRAIN, Job, jobs_of, shard
from ssl_bench.stages.job_running import Runner
from ssl_bench.stages.job_states import JobState, Survey, handed_proposals, judged_encoder
from ssl_bench.stages.job_times import estimate

if TYPE_CHECKING:
    from ssl_bench.stages.suite import SuitePlan


class Standing:
    """How the jobs of a plan stand; `states` is from the last look."""

    def __init__(self, plan: SuitePlan) -> None:
        self.plan = plan
        self.jobs = jobs_of(plan) if plan.shard is None else shard(jobs_of(plan), *plan.shard)
        self.survey = Survey(plan, self.jobs)
        self.states: Mapping[int, JobState] = self.survey.look()

    def finished(self) -> Mapping[int, str]:
        """List the jobs that are done now, by number, each with the folder of its run."""
        self.states = self.survey.look()
        return {
            number: str(state.run.folder) if state.run is not None else ""
            for number, state in self.states.items()
            if state.finished
        }

    def key(self, job: Job) -> str:
        """Name a job in the same way for all workers that share the folder."""
        return self.survey.key(job)

    def seconds(self, job: Job) -> float | None:
        """Estimate how long a job takes from what was found at the last look."""
        try:
            return estimate(self.survey.wanted(job), self.survey.runs, self.plan.device)
        except UserError:
            return None

    def times(self) -> dict[int, float | None]:
        """Estimate every job."""
        return {job.number: self.seconds(job) for job in self.jobs}


def runner_of(plan: SuitePlan) -> Runner:
    """Make what does a plan's jobs."""

    def do(job: Job, needed: str | None) -> str:
        if job.stage == PRETRAIN:
            return _learn(plan, job)
        return _judge(plan, job, judged_encoder(job, needed))

    return do


def _learn(plan: SuitePlan, job: Job) -> str:
    from ssl_bench.stages.pretraining import pretrain

    row = next(row for row in plan.definition.rows if row.method == job.method)
    result = pretrain(
        job.words[0],
        data=plan.photos(row),
        shapes=plan.shapes if job.method == "context-encoder" else None,
        out=plan.out,
        seed=job.seed,
        device=plan.device,
        limit=plan.limit,
        workers=plan.workers,
    )
    return str(result.folder)


def _judge(plan: SuitePlan, job: Job, encoder: str) -> str:
    from ssl_bench.stages.transfer import transfer

    record = transfer(
        job.words[0],
        list(job.words[1:]),
        encoder=encoder,
        data=plan.data,
        pool=plan.unlabelled if job.searches else None,
        proposals=plan.proposals if handed_proposals(job, plan.budget) else None,
        out=plan.out,
        seed=job.seed,
        device=plan.device,
        limit=plan.limit,
        workers=plan.workers,
    )
    return str(plan.out / record.run)
