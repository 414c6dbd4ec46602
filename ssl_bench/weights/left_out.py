"""What a checkpoint holds beside its encoder, in words: heads, queues, copies, the state of optimisers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ssl_bench.weights.parts import role_of
from ssl_bench.weights.unwrapping import Leaf, Place

OTHER = "other"
OPTIMISER_STATE = "optimiser state"
# A layer that is called fc is a head unless it stands in a numbered block, as in a squeeze-and-excitation or an MLP.
OUTSIDE_BLOCKS = r"^([a-z_]\w*\.)*"
# Words that repositories name their modules by, matched against the tokens of a key path joined with dots; the first
# that matches decides, so that a momentum encoder's projector counts as the momentum encoder's.
WORDS: tuple[tuple[str, str], ...] = (
    (
        r"(^|\.)(encoder_k|key_encoder|\w*momentum\w*|target_(encoder|net|network|model|backbone|projector))(\.|$)",
        "momentum encoder",
    ),
    (r"(^|\.)\w*queue\w*$", "queue"),
    (r"(^|\.)prototypes?\w*(\.|$)", "prototypes"),
    (r"(^|\.)\w*(predictor|prediction_head|prediction_mlp)\w*(\.|$)", "predictor"),
    (r"(^|\.)(\w*decoder\w*|mask_token)(\.|$)", "decoder"),
    (
        r"(^|\.)(\w*proj(ector|ection)\w*|embedding_head|contrastive_head|head_contrastive|neck|mlp_head|dino_head"
        r"|ibot_head|\w*last_layer)(\.|$)",
        "projection head",
    ),
    (
        r"(^|\.)(rpn\w*|proposal_generator|roi_heads?|fpn\w*|box_\w+|mask_head|anchor_generator)(\.|$)",
        "detection head",
    ),
    (r"(^|\.)(pixel_mean|pixel_std)$|(^|\.)(normalizer|data_preprocessor)(\.|$)", "input normalisation"),
    (r"(^|\.)\w*(loss|criterion|center)\w*(\.|$)", "state of the loss"),
    (OUTSIDE_BLOCKS + r"(fc|head)\.(mlp|layers|\d)", "projection head"),
    (
        OUTSIDE_BLOCKS
        + r"(fc\d*|linear\d*|classifier\d*|\w*classifiers?|heads?|head_dist|logits|cls_head|top_layer|fc1000_[wb]"
        r"|pred_[wb]|fc\d+_[wb]|last_fc)(\.|$)",
        "classifier",
    ),
    (r"(^|\.)(\w*steps?|\w*epoch\w*|\w*iter\w*|n_averaged|num_updates|\w*counter)$", "counters"),
    # Batch normalisation over embeddings, beside a network and not inside one (Barlow Twins).
    (
        r"^(\w+\.)*?(module\.)?bn\.(running_mean|running_var|num_batches_tracked|weight|bias)$",
        "projection head",
    ),
)
COMPILED = tuple((re.compile(pattern), words) for pattern, words in WORDS)
# What is left of a file without its backbone.
HEADS = frozenset(
    {"classifier", "projection head", "predictor", "prototypes", "queue", "detection head", "counters"}
)


def words_for(name: str) -> str:
    """Say what a tensor is, by its name; "other" where no word tells."""
    return next((words for pattern, words in COMPILED if pattern.search(name)), OTHER)


def grouped(
    leaves: Sequence[Leaf], taken: Place, rivals: Sequence[Place], others: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Group tensors that are not the encoder's.

    Args:
        leaves: Those tensors.
        taken: Where the encoder is.
        rivals: Where encoders are that were not taken; what is below them counts as theirs.
        others: A layout's own patterns of full key paths.

    Returns:
        Words to full key paths.
    """
    groups: dict[str, list[str]] = {}
    for leaf in leaves:
        groups.setdefault(_words(leaf, taken, rivals, others), []).append(leaf.path)
    return {words: tuple(paths) for words, paths in sorted(groups.items())}


def _words(leaf: Leaf, taken: Place, rivals: Sequence[Place], others: Mapping[str, str]) -> str:
    if leaf.optimiser:
        return OPTIMISER_STATE
    for pattern, words in others.items():
        if re.search(pattern, leaf.path):
            return words
    if taken.tokens and taken.holds(leaf):  # the words around the encoder say nothing of its heads
        return words_for(".".join(leaf.tokens[len(taken.tokens) :]))
    for rival in rivals:
        if rival.holds(leaf):
            return role_of(rival)[0].words
    return words_for(".".join(leaf.tokens))
