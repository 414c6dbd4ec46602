"""Which jobs of a suite are done, and what has changed since where one is not; nothing here imports torch.

A run counts for a job if every part that moves its numbers is what it would be now: recipe, protocol, data, weights.
The version of the code is not such a part (a fix that moves numbers raises a protocol's `implementation`, which is in
its hash); the plan names it where it differs. What cannot be told from files alone (weights that are not learned yet)
is not compared before it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ssl_bench.environment import code_version
from ssl_bench.errors import UserError
from ssl_bench.hashing import digest, settings_hash
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_names import is_probe, resolve_probe, resolve_protocol
from ssl_bench.protocol_schemas import InpaintingProtocol, Protocol
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.recipes import (
    load_inpainting_protocol,
    load_pretrain_recipe,
    load_protocol,
    measures_paintings,
    recipe_names,
)
from ssl_bench.region_schemas import GivenProposals, RegionDetectionSettings
from ssl_bench.stages.data_prints import DataPrints
from ssl_bench.stages.found_runs import (
    FoundRun,
    FoundRuns,
    like,
    network_of,
    pretrain_likeness,
    same_network,
    transfer_likeness,
)
from ssl_bench.stages.job_claims import JobClaims
from ssl_bench.stages.job_plan import NEIGHBOURS, PRETRAIN, Job
from ssl_bench.training_schemas import LIBRARIES, inits_of, our_name

if TYPE_CHECKING:
    from ssl_bench.stages.suite import SuitePlan

State = Literal["done", "not needed", "stale", "failed", "unfinished", "missing"]
FINISHED = ("done", "not needed")
RANDOM = "random"


class _Any:
    """Equal to everything: not known before another job is done."""


ANY = _Any()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run must be to count for a job."""

    likeness: tuple[Any, ...]
    parts: Mapping[str, Any]
    settings: PretrainRecipe | Protocol | ProbeProtocol | InpaintingProtocol
    network: Mapping[str, str]

    def differing(self, run: FoundRun) -> list[str]:
        """Name the parts in which a run differs."""
        return [
            name for name, value in self.parts.items() if value is not ANY and run.parts.get(name) != value
        ]


@dataclass(frozen=True, kw_only=True)
class JobState:
    """How a job stands: `changed` names the parts that make it stale, `note` says more."""

    state: State
    changed: tuple[str, ...] = ()
    note: str = ""
    run: FoundRun | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in FINISHED


class Survey:
    """Compares the jobs of a plan with what lies in its folder of runs."""

    def __init__(self, plan: SuitePlan, jobs: Sequence[Job]) -> None:
        self.plan, self.jobs = plan, {job.number: job for job in jobs}
        self.found = FoundRuns(plan.out)
        self.claims = JobClaims(plan.out)
        self.runs: list[FoundRun] = []
        self._wanted: dict[int, Wanted | UserError] = {}
        self._prints = DataPrints()

    def look(self) -> dict[int, JobState]:
        """Say how every job stands now."""
        self.runs = self.found.look()
        states: dict[int, JobState] = {}
        for job in self.jobs.values():
            states[job.number] = self._state(job, states)
        for job in self.jobs.values():
            above = [other.number for other in self.jobs.values() if other.needs == job.number]
            unmade = not states[job.number].finished
            if unmade and job.stage == PRETRAIN and above and all(states[n].finished for n in above):
                note = "what it would be judged by is done"
                states[job.number] = JobState(state="not needed", note=note)
        return states

    def wanted(self, job: Job) -> Wanted:
        """Say what a run must be to count for a job.

        Raises:
            UserError: The job cannot be done: its recipe, protocol or data is not there.
        """
        if job.number not in self._wanted:
            try:
                self._wanted[job.number] = self._learns(job) if job.stage == PRETRAIN else self._judges(job)
            except UserError as error:
                self._wanted[job.number] = error
        found = self._wanted[job.number]
        if isinstance(found, UserError):
            raise found
        return found

    def key(self, job: Job) -> str:
        """Name a job in the same way for all workers that share the folder."""
        try:
            wanted = self.wanted(job)
        except UserError:
            return digest(
                [self.plan.definition.name, self.plan.budget, self.plan.scale, job.label, job.words]
            )
        known = {name: value for name, value in wanted.parts.items() if value is not ANY}
        return digest([list(wanted.likeness), known])

    def _state(self, job: Job, states: Mapping[int, JobState]) -> JobState:
        try:
            wanted = self.wanted(job)
        except UserError as error:
            return JobState(state="missing", note=str(error))
        if job.needs is not None and not measures_paintings(job.words[0]):
            learned = states[job.needs].run if job.needs in states else None
            sure = learned is not None and states[job.needs].state == "done"
            weights = learned.parts["weights"] if learned is not None and sure else ANY
            wanted = Wanted(
                likeness=wanted.likeness,
                parts={**wanted.parts, "weights": weights},
                settings=wanted.settings,
                network=wanted.network,
            )
        return self._compared(job, wanted)

    def _compared(self, job: Job, wanted: Wanted) -> JobState:
        alike = [(wanted.differing(run), run) for run in like(self.runs, wanted.likeness)]
        for differing, run in alike:
            if not differing and run.status == "done":
                other = run.code != self._code and bool(run.code)
                return JobState(state="done", note=f"by code {run.code}" if other else "", run=run)
        for differing, run in alike:
            if not differing and run.status == "failed":
                return JobState(state="failed", note=run.message, run=run)
        message = self.claims.failure(self.key(job))
        if message is not None:
            return JobState(state="failed", note=message)
        if any(self._unfinished(job, wanted, run) for run in self.runs):
            return JobState(state="unfinished", note="goes on from its last checkpoint")
        older = [(len(differing), differing, run) for differing, run in alike if run.status == "done"]
        if older:
            _, differing, run = min(older, key=lambda one: one[0])
            return JobState(state="stale", changed=tuple(differing), note=f"{run.name} stays", run=run)
        return JobState(state="missing")

    def _unfinished(self, job: Job, wanted: Wanted, run: FoundRun) -> bool:
        """Whether a run was begun that would count for a job; of a transfer's encoder it says only the weights."""
        if run.status != "unfinished":
            return False
        if job.stage == PRETRAIN:
            same_seed = run.likeness[3:] == wanted.likeness[3:]
            return same_seed and not wanted.differing(run)
        known = {"protocol": wanted.parts["protocol"], "data": wanted.parts["data"], "seed": job.seed}
        weights = wanted.parts["weights"]
        known |= {"limit": self.plan.limit} | ({} if weights is ANY else {"encoder": weights})
        random = job.method if weights is ANY else ""  # such a run's folder names the method
        return random in run.name and all(run.parts.get(name) == value for name, value in known.items())

    @cached_property
    def _code(self) -> str:
        return code_version()

    def _learns(self, job: Job) -> Wanted:
        settings = load_pretrain_recipe(job.words[0])
        row = next(row for row in self.plan.definition.rows if row.method == job.method)
        name, fingerprint = self._prints.pretraining(settings, self.plan.photos(row))
        shapes = self.plan.shapes if job.method == "context-encoder" else None
        return Wanted(
            likeness=pretrain_likeness(settings.name, name, job.seed, self.plan.limit),
            parts={
                "recipe": settings_hash(settings),
                "data": fingerprint,
                "shapes": None if shapes is None else self._prints.shapes(shapes),
            },
            settings=settings,
            network=same_network(settings.encoder.architecture),
        )

    def _judges(self, job: Job) -> Wanted:
        task, *words = job.words
        protocol: Protocol | ProbeProtocol | InpaintingProtocol
        if measures_paintings(task):
            protocol = load_inpainting_protocol(task)
            name, fingerprint = self._prints.photos(self.plan.data, "test")
        else:
            resolve = resolve_probe if is_probe(task) else resolve_protocol
            protocol, _ = resolve(task, words, real_data=self.plan.data is not None)
            assert not isinstance(protocol, InpaintingProtocol)
            name, fingerprint = self._prints.judged(protocol, self.plan.data)
        parts = {"protocol": settings_hash(protocol), "data": fingerprint, "weights": ANY}
        if handed_proposals(job, self.plan.budget):
            parts["proposals"] = "given" if self.plan.proposals is not None else "own"
        if job.searches and self.plan.unlabelled is not None:
            parts["pool"] = self._prints.photos(self.plan.unlabelled, "unlabelled")[1]
        about, network = self._encoder_parts(job)
        return Wanted(
            likeness=transfer_likeness(job.method, protocol.name, name, job.seed, self.plan.limit),
            parts=parts | about,
            settings=protocol,
            network=network,
        )

    def _encoder_parts(self, job: Job) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Say what is known of an encoder before it is there."""
        if job.needs is not None:
            learned = self.wanted(self.jobs[job.needs])
            return {
                "recipe": learned.parts["recipe"],
                "pretraining data": (learned.parts["data"], self.plan.limit),
                "pretraining seed": job.seed,
            }, learned.network
        kind, _, given = (job.encoder or "").partition(":")
        if kind != RANDOM:
            return {}, {}
        if given in recipe_names("pretrain") or given.endswith((".yaml", ".yml")):
            settings = load_pretrain_recipe(given).encoder
            init, network = str(settings.init), same_network(settings.architecture)
        else:
            words = given.split(":")
            count = 2 if given.startswith(LIBRARIES) else 1
            name = our_name(":".join(words[:count]))
            network = network_of(" ".join([name, *words[count:]]))
            init = network.pop("init", inits_of(name)[0])
        seeded = {"pretraining seed": job.seed, "initialisation": f"random-{init}-seed{job.seed}"}
        return {"network": network, **seeded}, network


def handed_proposals(job: Job, budget: str) -> bool:
    """Whether --proposals is for a job: one whose detector is given its boxes."""
    name = job.words[0]
    if name not in recipe_names("transfer"):
        return (name, budget) == ("voc-det", "full")
    settings = load_protocol(name).settings
    return isinstance(settings, RegionDetectionSettings) and isinstance(settings.proposals, GivenProposals)


def judged_encoder(job: Job, learned: str | None) -> str:
    """Name what a transfer judges, given the folder of the run that it needs."""
    if job.needs is None:
        assert job.encoder is not None
        return job.encoder
    assert learned is not None
    return f"{NEIGHBOURS}{learned}" if job.encoder == NEIGHBOURS else learned
