"""From a checkpoint's content to an encoder's tensors: where they are, whose layout it is, and which network they are.

No list of prefixes is worked through. Every place in the tree of keys is shown to every family of networks, which says
by names and shapes whether an encoder starts there; what surrounds it then names the layout, what lies beside it is
said in words, and of several encoders one is taken by the convention of its method, and that is said too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.errors import UserError
from ssl_bench.weights.contract import Checkpoint, Family, Layout, Understood
from ssl_bench.weights.families import FAMILIES
from ssl_bench.weights.fusion import Fusion, fusions_of
from ssl_bench.weights.layouts import LAYOUT_NOTES, layout_of
from ssl_bench.weights.left_out import HEADS, OTHER, grouped, words_for
from ssl_bench.weights.named_family import NamedFamily, names_of
from ssl_bench.weights.parts import chosen_part
from ssl_bench.weights.stored_preprocessing import stored_preprocessing
from ssl_bench.weights.transformer_layouts import settled_by_layout
from ssl_bench.weights.unwrapping import Contents, Leaf, Place, below, root, unwrapped

NOT_IN_FILE = "not in the file"
MOST_NAMED = 4
LONGEST = 160  # characters of a key in a message


@dataclass(frozen=True)
class Candidate:
    """An encoder found at a place: its family and its names, {given: ours}, and what is made of several given ones."""

    place: Place
    family: Family
    names: Mapping[str, str]
    joins: Mapping[str, Fusion]
    fit: int  # how many of its names are the asked architecture's; all of them where none was asked

    def tensors(self) -> dict[str, Tensor]:
        """Return the encoder's tensors by our names."""
        given = self.place.tensors
        ours = {name: self.family.converted(name, given[theirs]) for theirs, name in self.names.items()}
        return ours | {name: fusion.applied(given) for name, fusion in self.joins.items()}

    def paths(self) -> dict[str, tuple[str, ...]]:
        """Say of which full key paths each tensor of ours is."""
        leaves = self.place.leaves
        single = {ours: (leaves[given].path,) for given, ours in self.names.items()}
        return single | {
            name: tuple(leaves[source].path for source in fusion.sources)
            for name, fusion in self.joins.items()
        }


def understand(
    checkpoint: Checkpoint, *, architecture: Mapping[str, Any] | None = None, part: str | None = None
) -> Understood:
    """Find the encoder in a checkpoint.

    Args:
        architecture: What the user says it is; guessed from names and shapes where nothing is said.
        part: Which of several encoders is meant, e.g. "teacher"; the method's convention decides where nothing is said.

    Raises:
        UserError: There is no encoder of a known family in it, several between which nothing decides, or one whose
            architecture cannot be told.
    """
    contents = unwrapped(checkpoint.content)
    if not contents.leaves:
        raise UserError(f"{checkpoint.name}: holds no tensors. Give a checkpoint with a network's weights")
    candidates = _candidates(contents, architecture)
    if not candidates:
        raise UserError(_nothing_found(checkpoint, contents, architecture))
    place, choice_notes = chosen_part([candidate.place for candidate in candidates], part, checkpoint.name)
    chosen = next(candidate for candidate in candidates if candidate.place is place)
    tensors = chosen.tensors()
    stored_as = chosen.paths()
    taken = {path for paths in stored_as.values() for path in paths}
    marks = (f"format:{checkpoint.format}", *contents.paths)
    layout = layout_of(marks, chosen.family.name, wrapped=bool(place.tokens))
    guessed = dict(architecture) if architecture is not None else chosen.family.architecture(tensors)
    if guessed is None:
        raise UserError(_no_architecture(checkpoint, chosen))
    if architecture is None:
        guessed = settled_by_layout(layout.name, guessed)
    rest = [leaf for leaf in contents.leaves if leaf.path not in taken]
    rivals = [candidate.place for candidate in candidates if candidate is not chosen]
    left_out = grouped(rest, place, rivals, layout.others)
    _refuse_a_small_share(checkpoint, chosen, rest, left_out)
    preprocessing, basis = _preprocessing(contents, layout)
    return Understood(
        layout=layout.name,
        layout_title=layout.title,
        where=place.where,
        family=chosen.family.name,
        architecture=guessed,
        architecture_basis="as asked"
        if architecture is not None
        else f"names and shapes of {len(tensors)} tensors",
        tensors=tensors,
        stored_as={ours: " + ".join(paths) for ours, paths in stored_as.items()},
        left_out=left_out,
        preprocessing=preprocessing,
        preprocessing_basis=basis,
        notes=(
            *choice_notes,
            *_notes(layout, left_out),
            *dict.fromkeys(fusion.words for fusion in chosen.joins.values()),
            *(_conventions(chosen.family, tensors) if architecture is None else ()),
        ),
    )


def _candidates(contents: Contents, architecture: Mapping[str, Any] | None) -> list[Candidate]:
    """Find encoders: where an architecture is asked for, those that use its names most."""
    if architecture is None:
        return list(_found(root(contents)))
    names = names_of(architecture)
    named = NamedFamily(architecture, names)
    every = [
        best for place in _all_places(root(contents)) if (best := _best(place, (*FAMILIES, named), names))
    ]
    most = max((candidate.fit for candidate in every), default=0)
    return [candidate for candidate in every if 2 * candidate.fit > most]


def _found(place: Place) -> list[Candidate]:
    """List the encoders at a place or, where none starts there, below it."""
    tensors = place.tensors
    for family in FAMILIES:
        names, joins = family.canonical(tensors), fusions_of(family, tensors)
        if names or joins:
            return [Candidate(place, family, names or {}, joins, len(names or ()) + len(joins))]
    return [found for branch in below(place) for found in _found(branch)]


def _all_places(place: Place) -> list[Place]:
    return [place, *(deeper for branch in below(place) for deeper in _all_places(branch))]


def _best(place: Place, families: Sequence[Family], wanted: frozenset[str]) -> Candidate | None:
    """Find the family whose names at this place are most of those wanted; None if none of them is."""
    tensors = place.tensors
    found = []
    for family in families:
        names, joins = family.canonical(tensors) or {}, fusions_of(family, tensors)
        if names or joins:
            fit = len(wanted.intersection((*names.values(), *joins)))
            found.append(Candidate(place, family, names, joins, fit))
    best = max(found, key=lambda candidate: candidate.fit, default=None)
    return best if best is not None and best.fit else None


def _preprocessing(contents: Contents, layout: Layout) -> tuple[Preprocessing | None, str]:
    """Say what the network's input is, and what that is based on."""
    stored = stored_preprocessing(contents)
    if stored is not None:
        return stored
    if layout.preprocessing is None:
        return None, NOT_IN_FILE
    return layout.preprocessing, f"not in the file; what {layout.title} trains with ({layout.source})"


def _conventions(family: Family, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Ask a family what of a guess no shape tells, e.g. the number of heads."""
    conventions = getattr(family, "conventions", None)
    return () if conventions is None else tuple(conventions(tensors))


def _notes(layout: Layout, left_out: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    notes = [LAYOUT_NOTES[layout.name]] if layout.name in LAYOUT_NOTES else []
    other = left_out.get(OTHER, ())
    if other:
        notes.append(f"{len(other)} tensors left out that no known word names: {_some(other)}")
    return tuple(notes)


def _refuse_a_small_share(
    checkpoint: Checkpoint, chosen: Candidate, rest: Sequence[Leaf], left_out: Mapping[str, tuple[str, ...]]
) -> None:
    """Refuse a network most of whose tensors are nobody's: an encoder in it would be a chance likeness.

    Raises:
        UserError: More tensors beside the encoder, at its own place, are unknown than are its own.
    """
    other = set(left_out.get(OTHER, ()))
    unknown = [leaf.path for leaf in rest if leaf.path in other and chosen.place.holds(leaf)]
    if len(unknown) > len(chosen.names) + len(chosen.joins):
        raise UserError(
            f"{checkpoint.name}: {len(chosen.names)} tensors at {chosen.place.where} look like a "
            f"{chosen.family.name}, but {len(unknown)} beside them are of no known network ({_some(unknown)}). "
            "Say what it is: --as ARCHITECTURE, or file.py:factory with a function that builds it"
        )


def _nothing_found(checkpoint: Checkpoint, contents: Contents, architecture: Mapping[str, Any] | None) -> str:
    """Phrase why no encoder was found."""
    weights = [leaf for leaf in contents.leaves if not leaf.optimiser]
    words = {words_for(".".join(leaf.tokens)) for leaf in weights}
    if not weights:
        return f"{checkpoint.name}: holds an optimiser's state and no network. Give the checkpoint of the network"
    if words <= HEADS:
        return (
            f"{checkpoint.name}: a head without its backbone ({', '.join(sorted(words))}: {_keys(weights)}). "
            "Give the checkpoint of the encoder that the head stands on"
        )
    if architecture is not None:
        guessed = [candidate.family.architecture(candidate.tensors()) for candidate in _found(root(contents))]
        like = next((f"; it looks like {guess}" for guess in guessed if guess), "")
        return (
            f"{checkpoint.name}: has no tensor by a name of {architecture['name']}{like}. "
            f"Its first tensors: {_keys(weights)}"
        )
    return (
        f"{checkpoint.name}: no encoder of a known family in {len(weights)} tensors. First ones: {_keys(weights)}. "
        "Say what it is: --as ARCHITECTURE (?as=ARCHITECTURE behind the file), or build it with file.py:factory"
    )


def _no_architecture(checkpoint: Checkpoint, chosen: Candidate) -> str:
    """Phrase that a family is known and its member not."""
    leaves = [chosen.place.leaves[given] for given in chosen.names]
    return (
        f"{checkpoint.name}: the {len(leaves)} tensors at {chosen.place.where} are named like a {chosen.family.name}, "
        f"but no network here has their shapes: {_keys(leaves)}. Say what it is: --as ARCHITECTURE "
        "(?as=ARCHITECTURE behind the file), or build it with file.py:factory"
    )


def _keys(leaves: Sequence[Leaf]) -> str:
    return _some([f"{leaf.path} {tuple(leaf.tensor.shape)}" for leaf in leaves])


def _some(words: Sequence[str]) -> str:
    shown = [word if len(word) <= LONGEST else f"{word[:LONGEST]}..." for word in words[:MOST_NAMED]]
    return ", ".join(shown) + (", ..." if len(words) > MOST_NAMED else "")
