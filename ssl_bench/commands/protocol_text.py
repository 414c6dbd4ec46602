"""A protocol line by line, as `ssl-bench transfer --dry-run` prints it: each key, its value, what it is, whose it is.

What is printed is YAML, a flat mapping of dotted keys as key=value takes them; everything else stands in comments.
A value is either a published one, with where it was read, or ours. Where a protocol departs from what was
published, the published value and the reason follow.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ssl_bench.facts import ABSENT, Fact, departing, facts_of, reason_for, sources, values_of
from ssl_bench.hashing import settings_hash
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_schemas import Protocol

WIDTH = 140
OURS = "ours"
GAP = "  "
MOST_OF_VALUE = 22
MOST_OF_SOURCE = 47

# What a key is, where no fact says it more closely. Keys that several kinds share stand once.
PHRASES: Mapping[str, str] = {
    "mode": "whether the trunk is trained",
    "precision": "of training; judging is in fp32",
    "optimizer.name": "optimiser",
    "optimizer.lr": "learning rate",
    "optimizer.beta1": "momentum, or Adam's first moment",
    "optimizer.beta2": "Adam's second moment",
    "optimizer.weight_decay": "weight decay",
    "optimizer.bias_lr_factor": "biases' learning rate, times",
    "optimizer.clip": "bound of the gradient's norm",
    "optimizer.nesterov": "Nesterov's momentum",
    "optimizer.decay_biases": "whether biases and norms decay",
    "schedule.steps": "iterations",
    "schedule.batch_size": "images a step",
    "schedule.decay": "how the learning rate falls",
    "schedule.warmup_steps": "iterations of warm-up",
    "schedule.step_every": "steps between two falls",
    "schedule.step_factor": "factor of each fall",
    "schedule.milestones": "where it falls",
    "schedule.warmup_from": "first rate of the warm-up",
    "schedule.power": "power of the decay",
    "schedule.least_factor": "least share of the learning rate",
    "schedule.accumulate": "parts of a batch",
    "settings.kind": "kind of judge",
    "settings.tap": "map that the head stands on",
    "settings.ap": "definition of average precision",
    "settings.hidden": "units of the hidden layers",
    "settings.dropout": "dropout of the head",
    "settings.flip": "mirrored at random",
    "settings.normalise": "normalisation of the features",
    "settings.head_init": "how the head is drawn",
    "settings.test_crops": "crops whose scores are summed",
    "settings.fixed_hidden": "whether hidden layers stay as drawn",
    "settings.batch_norm": "the trunk's normalisations",
    "settings.input.size": "side of the crop in pixels",
    "settings.input.resize.kind": "what is drawn at random",
    "settings.input.resize.least": "from",
    "settings.input.resize.most": "to",
    "settings.input.flip": "mirrored at random",
    "settings.input.decode": "JPEGs decoded as small as it allows: recipe (the smallest crop), crop (the crop drawn)",
    "settings.fixed_layers": "layers that keep their weights",
    "settings.short_side": "short side of images",
    "settings.long_side": "limit of the long side",
    "settings.train_short_sides": "short side in training",
    "settings.train_scale": "one of these, or between two",
    "settings.train_long_side": "limit of the long side in training",
    "settings.test_short_side": "short side at test",
    "settings.test_long_side": "limit of the long side at test",
    "settings.use_difficult": "difficult objects are learned from",
    "settings.skip_empty": "images without objects are left out",
    "settings.anchor_sizes": "anchors' sides",
    "settings.anchor_ratios": "anchors' height over width",
    "settings.proposals_train": "proposals in training",
    "settings.proposals_test": "proposals at test",
    "settings.proposal_nms": "overlap at which a proposal is dropped",
    "settings.proposals.kind": "where regions come from",
    "settings.proposals.most": "boxes taken of an image",
    "settings.proposals.search": "selective search where none are given",
    "settings.proposals.anchor_sizes": "anchors' sides",
    "settings.proposals.anchor_ratios": "anchors' height over width",
    "settings.proposals.before_train": "proposals before suppression, training",
    "settings.proposals.after_train": "and after it",
    "settings.proposals.before_test": "proposals before suppression, test",
    "settings.proposals.after_test": "and after it",
    "settings.proposals.nms": "overlap at which a proposal is dropped",
    "settings.proposals.foreground_iou": "least overlap of an object's anchor",
    "settings.proposals.background_iou": "overlap below which it is background",
    "settings.proposals.sampled": "anchors sampled of an image",
    "settings.proposals.sampled_foreground": "share of objects among them",
    "settings.head.kind": "what stands on regions",
    "settings.head.cells": "pooled cells a side",
    "settings.head.hidden": "units of fc6 and fc7",
    "settings.head.dropout": "behind fc6 and fc7",
    "settings.head.init": "how fc6 and fc7 are drawn",
    "settings.head.sampling_ratio": "samples a cell side",
    "settings.head.extra_norm": "a normalisation behind the stage",
    "settings.masks": "masks",
    "settings.masks.channels": "channels of the mask head",
    "settings.pool_size": "pooled cells a side",
    "settings.regions_per_image": "regions sampled of an image",
    "settings.foreground_fraction": "share of objects among them",
    "settings.foreground_iou": "least overlap of an object",
    "settings.background_least_iou": "least overlap of background",
    "settings.smooth_l1": "where the box loss turns linear",
    "settings.nms": "overlap at which a box is dropped",
    "settings.score_threshold": "least score of a detection",
    "settings.detections_per_image": "detections of an image",
    "settings.caps.class_in_image": "detections of a class in an image",
    "settings.caps.class_per_image_mean": "of a class over all images",
    "settings.caps.image": "detections of an image",
    "settings.iou": "overlap that counts as found",
    "settings.image_padding": "zeros around the image",
    "settings.crop": "side of the crop",
    "settings.fc6_kernel": "cells a side that fc6 sees",
    "settings.fc6_padding": "zeros around the map before fc6",
    "settings.border": "scores beyond the outermost cells",
    "settings.auxiliary_tap": "map of the auxiliary head",
    "settings.output_stride": "pixels a cell",
    "settings.channels": "channels of the head",
    "settings.convolutions": "convolutions of the head",
    "settings.concatenate_input": "its input joins before the last layer",
    "settings.auxiliary_channels": "channels of the auxiliary head",
    "settings.auxiliary_weight": "weight of its loss",
    "settings.base_short_side": "short side before the random scale",
    "settings.base_long_side": "limit of the long side",
    "settings.scale_least": "least random scale",
    "settings.scale_most": "greatest random scale",
    "settings.largest_class": "share from which a crop is drawn again",
    "settings.photometric": "colours are changed at random",
    "settings.classes": "classes that a set must have",
    "settings.all_taps": "how every tap becomes a vector",
    "settings.head_std": "weights of heads are N(0, this)",
    "settings.lr_factors": "heads' learning rates, times",
    "settings.decay_factors": "heads' weight decays, times",
    "settings.headline": "tap that stands for the encoder",
    "headline": "tap that stands for the encoder",
    "features.fit": "how an image becomes a square",
    "features.short_side": "short side before the cut",
    "features.only": "taps that are probed, null all",
    "features.precision": "in which the network computes",
    "settings.costs": "costs that are compared",
    "settings.positive_weight": "cost of positives, times",
    "settings.folds": "folds of the cross-validation",
    "settings.difficult": "images with difficult objects alone",
    "settings.validation_ap": "average precision that compares costs",
    "settings.tolerance": "distance from the optimum, at most",
    "settings.shots": "positives of a class",
    "settings.samples": "samples for each of these",
    "settings.negatives": "negatives for each positive",
    "settings.cost_chosen_on": "what chooses the cost",
    "settings.validation": "share of train that chooses",
    "settings.refit": "fitted again on all of train",
    "settings.k": "neighbours that vote",
    "settings.temperature": "a vote is exp(similarity over this)",
}
# The same for poolings, whose keys have names of networks and taps in them.
POOLINGS = ("features.networks.", "settings.taps.", "settings.all_taps.")
NETWORK_PHRASES: Mapping[str, str] = {
    "size": "side of the input in pixels",
    "kind": "how a map becomes a vector",
    "kernel": "cells a side of an average",
    "stride": "cells between two averages",
    "padding": "zeros around the map",
    "values": "numbers of a vector, at most",
    "how": "averages, or a bilinear resize",
    "side": "cells a side of the vector's map",
}


def phrase(key: str) -> str:
    """What a key is, in a few words."""
    if key.startswith("splits."):
        return "images to learn from" if key.endswith(".train") else "images to judge on"
    if key.startswith(POOLINGS):
        return NETWORK_PHRASES.get(key.split(".")[-1], "")
    return PHRASES.get(key, "")


def protocol_lines(protocol: Protocol | ProbeProtocol) -> list[str]:
    """Print a protocol line by line, at most `WIDTH` characters wide.

    Raises:
        UserError: It names a source of facts that is not there.
    """
    head = {
        "name": protocol.name,
        "version": protocol.version,
        "hash": settings_hash(protocol),
        "title": protocol.title,
        "task": protocol.task,
        "budget": protocol.budget,
        "main_metric": protocol.main_metric,
    }
    lines = [line for key, value in head.items() for line in _wrapped(f"{key}: {_inline(value)}", "  ")]
    follows = [f"{name} ({sources()[name].title})" for name in protocol.facts if name in sources()]
    facts = facts_of(protocol)  # complains of a source that is not there
    lines += _comment(f"follows {'; '.join(follows)}" if follows else "names no published source")
    lines += ["", *_table(protocol, facts)]
    if loose := [fact for fact in facts if fact.key is None]:
        lines += ["", "# facts without a key"]
        lines += [line for fact in loose for line in _comment(f"- {fact.what} ({fact.where})", "  ")]
    lines += ["", "# data"]
    for name, lists in protocol.splits.items():
        lines += _comment(f"- {name}: learns from {lists.train}, judged on {lists.test}", "  ")
    return lines


def _table(protocol: Protocol | ProbeProtocol, facts: Sequence[Fact]) -> list[str]:
    """One row a key, in aligned columns, and what it departs from below it."""
    values = {key: _inline(value) for key, value in values_of(protocol).items()}
    keyed = {fact.key: fact for fact in facts if fact.key is not None}
    departed = {fact.key: fact for fact, _ in departing(protocol)}
    named = {key: keyed[key].where if key in keyed and key not in departed else OURS for key in values}
    widths = [
        max(len(key) + 1 for key in values),
        min(MOST_OF_VALUE, max(map(len, values.values()))),
        0,
        min(MOST_OF_SOURCE, max(map(len, named.values()))),
    ]
    widths[2] = WIDTH - sum(widths) - len("# ") - 3 * len(GAP)
    lines: list[str] = []
    for key, value in values.items():
        what = keyed[key].what if key in keyed and key not in departed else phrase(key)
        lines += _row([f"{key}:", value, what, named[key]], widths)
        if key in departed:
            lines += _departure(protocol, departed[key])
        elif key in protocol.departures:
            lines += _comment(f"  departs: {protocol.departures[key]}", "    ")
    for fact in departed.values():
        if fact.key not in values:
            lines += _comment(f"{fact.key}: {ABSENT}", "  ") + _departure(protocol, fact)
    return lines


def _departure(protocol: Protocol | ProbeProtocol, fact: Fact) -> list[str]:
    text = f"  published: {_inline(fact.value)} ({fact.where}); {reason_for(protocol, str(fact.key))}"
    return _comment(text, "    ")


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Lay the cells of one row side by side; what is too long for its cell goes on below, in comments.

    A value longer than its column moves what stands behind it; only a list longer than the page is broken.
    """
    key, value, what, source = cells
    left = f"{key:<{widths[0]}}{GAP}{value:<{widths[1]}}"
    right = widths[0] + len(GAP) + widths[1]
    if len(left) > right:
        lines, left = _wrapped(left, "  "), f"{'':<{right}}"
    else:
        lines = []
    whats = textwrap.wrap(what, widths[2]) or [""]
    names = textwrap.wrap(source, widths[3]) or [""]
    for row in range(max(len(whats), len(names))):
        middle = whats[row] if row < len(whats) else ""
        last = names[row] if row < len(names) else ""
        lines.append(f"{left}{GAP}# {middle:<{widths[2]}}{GAP}{last}".rstrip())
        left = f"{'':<{right}}"
    return lines


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent=f"# {indent}")


def _wrapped(text: str, indent: str) -> list[str]:
    """Break a line of YAML where it is too long: a plain or quoted scalar may go on, indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False)


def _inline(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
