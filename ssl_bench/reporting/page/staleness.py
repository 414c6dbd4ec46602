"""What a reader should know before using a run: what became of it, and what has changed since it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssl_bench.records import ProtocolReference, Record
from ssl_bench.reporting.entries import first_line
from ssl_bench.reporting.page.run_facts import RunFacts

FAILED = "Failed"
UNFINISHED = "Unfinished"
UNREADABLE = "Cannot be read"
OTHER_PROTOCOL = "Made with a protocol or recipe that is no longer shipped so"
CHANGED = "Settings changed on the command line"
TRIAL = "Only a trial (--limit)"
DIRTY = "Made with code that was changed since its commit"
UNTRAINED = "Judged weights that nobody trained"
OTHER_CODE = "Made with another version of the code than this page"
# In this order on the page. The last one is the rule and not the exception: it marks no run.
KINDS = (FAILED, UNREADABLE, UNFINISHED, OTHER_PROTOCOL, CHANGED, TRIAL, DIRTY, UNTRAINED, OTHER_CODE)


@dataclass(frozen=True)
class Remark:
    """One thing to know about a run: which of `KINDS`, and the particulars."""

    kind: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """What is shipped now: the protocols, the hash of each recipe by name, and the version of the code."""

    protocols: Sequence[ProtocolReference]
    recipes: Mapping[str, str]
    code: str


def remarks_on(run: RunFacts, shipped: Shipped) -> list[Remark]:
    """List what there is to know about a run, in the order of `KINDS`."""
    found = []
    if run.state == "failed":
        found.append(Remark(FAILED, first_line(run.error)))
    elif run.state == "unreadable":
        found.append(Remark(UNREADABLE, first_line(run.error)))
    elif run.state == "unfinished":
        found.append(Remark(UNFINISHED, "no result yet; the same command goes on from where it stopped"))
    found += _of_record(run.record, shipped) if run.record is not None else _of_pretraining(run, shipped)
    git = run.environment.get("git")
    if isinstance(git, Mapping) and git.get("dirty"):
        found.append(Remark(DIRTY, f"commit {str(git.get('commit', 'unknown'))[:12]} and changes"))
    code = run.environment.get("ssl_bench") or run.card.get("code_version")
    if code and code != shipped.code:
        found.append(Remark(OTHER_CODE, str(code)))
    return sorted(found, key=lambda remark: KINDS.index(remark.kind))


def _of_record(record: Record, shipped: Shipped) -> list[Remark]:
    protocol, found = record.protocol, []
    if protocol.changed:
        found.append(Remark(CHANGED, f"{protocol.name} with {', '.join(protocol.changed)}"))
    elif protocol.hash not in {each.hash for each in shipped.protocols}:
        found.append(Remark(OTHER_PROTOCOL, _protocol_words(protocol, shipped.protocols)))
    if record.dataset is not None and record.dataset.limit is not None:
        found.append(Remark(TRIAL, f"--limit {record.dataset.limit}"))
    learned = record.encoder.pretraining if record.encoder is not None else None
    if learned is not None and learned.limit is not None:
        found.append(Remark(TRIAL, f"its encoder was learned with --limit {learned.limit}"))
    weights = record.encoder.weights if record.encoder is not None else None
    if weights is not None and weights.untrained:
        found.append(Remark(UNTRAINED, "; ".join(weights.untrained)))
    return found


def _protocol_words(protocol: ProtocolReference, shipped: Sequence[ProtocolReference]) -> str:
    given = f"{protocol.name} version {protocol.version} ({protocol.hash})"
    for now in shipped:
        if now.name == protocol.name:
            return f"{given}; now version {now.version} ({now.hash})"
    return f"{given}; none is called so now"


def _of_pretraining(run: RunFacts, shipped: Shipped) -> list[Remark]:
    learned, found = run.pretraining, []
    if learned.get("changed"):
        found.append(Remark(CHANGED, f"{run.protocol} with {', '.join(map(str, learned['changed']))}"))
    elif learned.get("recipe_hash"):
        now = shipped.recipes.get(run.protocol)
        if now != learned["recipe_hash"]:
            ending = f"now {now}" if now else "none is called so now"
            found.append(Remark(OTHER_PROTOCOL, f"{run.protocol} ({learned['recipe_hash']}); {ending}"))
    if learned.get("limit") is not None:
        found.append(Remark(TRIAL, f"--limit {learned['limit']}"))
    return found
