"""Which of several encoders in one file is meant: the online one, the momentum copy, the teacher, the average.

Methods with two networks differ in which of them is judged. Contrastive methods judge the network that learns by
gradients (MoCo's query encoder, BYOL's online one); self-distillation judges the teacher (DINO, section 3.1 of its
paper; DINOv2; I-JEPA's target encoder), and supervised trainers with an averaged copy judge the copy (timm).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ssl_bench.errors import UserError
from ssl_bench.weights.unwrapping import Place


@dataclass(frozen=True)
class Role:
    """What an encoder is to its method; of several, the one with the highest rank is taken."""

    words: str
    rank: int
    reason: str


AVERAGE = Role("moving average of the weights", 3, "trainers that keep an average judge by it")
TEACHER = Role("teacher", 3, "self-distillation judges the teacher")
ONLINE = Role("online encoder", 2, "the network that learns by gradients is the one that is judged")
STUDENT = Role("student", 2, "the only one of its pair")
PLAIN = Role("other encoder", 1, "copies with a momentum are not what is judged")
MOMENTUM = Role("momentum encoder", 0, "the file holds no other")

# Patterns of single tokens, the first that matches decides. A mapping of that name at the top is I-JEPA's, whose target
# encoder is judged; as a prefix inside a state dictionary it is BYOL's copy.
TOP_TARGET = re.compile(r"^target_encoder$")
ROLES: tuple[tuple[str, Role], ...] = (
    (r"(^|_)teacher(_|$)", TEACHER),
    (r"(^|_)student(_|$)", STUDENT),
    (r"^(\w+_)?ema(_\w+)?$|^shadow$", AVERAGE),
    (r"^encoder_k$|^key_encoder$|(^|_)momentum(_|$)|^target_(encoder|net|network|model|backbone)$", MOMENTUM),
    (r"^encoder_q$|^query_encoder$|^base_encoder$|^online(_|$)", ONLINE),
)


def role_of(place: Place) -> tuple[Role, str]:
    """Find what an encoder is to its method, and the word of its place that says so (nothing where none does)."""
    if place.wrappers and TOP_TARGET.match(place.tokens[0]):
        return TEACHER, place.tokens[0]
    for pattern, role in ROLES:
        for token in place.tokens:
            if re.search(pattern, token):
                return role, token
    return PLAIN, ""


def part_of(place: Place) -> str:
    """Name a part for a user: the word that tells its role, else its prefix, else the mapping it is in."""
    _, word = role_of(place)
    return word or place.prefix.rstrip(".") or "/".join(place.tokens) or "top level"


def chosen_part(places: Sequence[Place], part: str | None, file: str) -> tuple[Place, tuple[str, ...]]:
    """Choose among the encoders of a file.

    Args:
        places: Where encoders were found; at least one.
        part: What the user asks for: a part's name or any word of its place; None leaves it to the convention.
        file: For the messages.

    Returns:
        The place, and what a user should know of the choice.

    Raises:
        UserError: No such part, or nothing tells which of several is meant.
    """
    if part is not None:
        named = [place for place in places if part in (part_of(place), place.prefix, *place.tokens)]
        if not named:
            raise UserError(f"{file}: no part {part!r} with an encoder in it. Parts: {_listed(places)}")
        best = _best(named)
        if len(best) > 1:
            raise UserError(
                f"{file}: {part!r} names several encoders: {_listed(best, whole=True)}. Name one of these"
            )
        return best[0], _others(best[0], places, f"taken: {part_of(best[0])}, as asked")
    best = _best(places)
    if len(best) > 1:
        raise UserError(
            f"{file}: holds several encoders, and nothing tells which is meant: {_listed(best, whole=True)}. "
            "Name one with ?part=PART behind the file"
        )
    if len(places) == 1:
        return best[0], ()
    role, _ = role_of(best[0])
    return best[0], _others(best[0], places, f"taken: {part_of(best[0])}, since {role.reason}")


def _best(places: Sequence[Place]) -> list[Place]:
    """Keep those of the highest rank, and of those that are the same tensors in memory only the first."""
    rank = max(role_of(place)[0].rank for place in places)
    kept: dict[tuple[tuple[int, tuple[int, ...]], ...], Place] = {}
    for place in places:
        if role_of(place)[0].rank == rank:
            tensors = (leaf.tensor for leaf in place.leaves.values())
            kept.setdefault(tuple((tensor.data_ptr(), tuple(tensor.shape)) for tensor in tensors), place)
    return list(kept.values())


def _listed(places: Sequence[Place], whole: bool = False) -> str:
    return ", ".join((".".join(place.tokens) or "top level") if whole else part_of(place) for place in places)


def _others(taken: Place, places: Sequence[Place], words: str) -> tuple[str, ...]:
    rest = [place for place in places if place is not taken]
    if not rest:
        return (words,)
    listed = ", ".join(f"{role_of(place)[0].words} (?part={part_of(place)})" for place in rest)
    return (f"{words}; also in the file: {listed}",)
