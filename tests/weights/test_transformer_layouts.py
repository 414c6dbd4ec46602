"""Layouts of transformers and ConvNeXts: each file is recognised as what it is, and says what else it holds."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision

from ssl_bench.weights.contract import Layout
from ssl_bench.weights.fusion import fusions_of
from ssl_bench.weights.transformer_families import TRANSFORMER_FAMILIES
from ssl_bench.weights.transformer_layouts import TRANSFORMER_LAYOUTS
from tests.weights import foreign_convnexts, foreign_transformers
from tests.weights.foreign_networks import ForeignFile

BUILDERS = foreign_transformers.BUILDERS | foreign_convnexts.BUILDERS


def recognised(paths: list[str]) -> Layout | None:
    """The first layout whose marks all match a key path."""
    return next(
        (
            layout
            for layout in TRANSFORMER_LAYOUTS
            if all(any(re.search(mark, path) for path in paths) for mark in layout.marks)
        ),
        None,
    )


def encoder_paths(file: ForeignFile) -> set[str]:
    """The full key paths of the tensors that the file's family uses."""
    family = next(family for family in TRANSFORMER_FAMILIES if family.name == file.family)
    used = set(family.canonical(file.given()) or {})
    used |= {source for fusion in fusions_of(family, file.given()).values() for source in fusion.sources}
    return {"/".join((*file.wrappers, f"{file.prefix}{name}")) for name in used}


@pytest.mark.parametrize("name", BUILDERS)
def test_each_file_is_recognised(name: str) -> None:
    file = BUILDERS[name]()
    layout = recognised(file.key_paths())
    assert layout is not None
    assert layout.name == file.layout
    assert layout.families == (file.family,)


@pytest.mark.parametrize("name", BUILDERS)
def test_what_is_left_out_has_words_and_the_encoder_has_none(name: str) -> None:
    file = BUILDERS[name]()
    layout = recognised(file.key_paths())
    assert layout is not None
    here = "/".join((*file.wrappers, file.prefix))
    encoder = encoder_paths(file)
    for path in file.key_paths():
        named = any(re.search(pattern, path) for pattern in layout.others)
        if path in encoder:
            assert not named, path
        elif path.startswith(here):
            assert named, path


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "squeezenet1_0"])
def test_convolutional_networks_have_no_layout_here(name: str) -> None:
    with torch.device("meta"):
        paths = list(torchvision.models.get_model(name).state_dict())
    assert recognised(paths) is None


def test_layouts_are_told_apart_by_more_than_their_order() -> None:
    marks = [layout.marks for layout in TRANSFORMER_LAYOUTS]
    assert len(set(marks)) == len(marks)
    families = {family.name for family in TRANSFORMER_FAMILIES}
    assert all(set(layout.families) <= families for layout in TRANSFORMER_LAYOUTS)
