"""Every public layout, around tiny networks, is understood whole; what cannot be is refused with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import pytest
import torch

from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.weights.contract import Checkpoint, Format, Understood
from ssl_bench.weights.matching import matched
from ssl_bench.weights.understanding import understand
from tests.weights import foreign_convolutions as foreign

assert "caffe" in get_args(Format)
RESNET = foreign.drawn(foreign.RESNET).state_dict()


def checkpoint(content: Mapping[str, Any], format: Format = "torch") -> Checkpoint:
    return Checkpoint(name="file.pth", format=format, content=content, n_bytes=1)


def read(content: Mapping[str, Any], **asked: Any) -> Understood:
    return understand(checkpoint(content), **asked)


@pytest.mark.parametrize(
    ("written", "architecture", "layout"),
    foreign.CONVOLUTIONAL,
    ids=[row[0].__name__ for row in foreign.CONVOLUTIONAL],
)
def test_a_layout_is_understood_whole(
    written: Callable[..., Any], architecture: Mapping[str, Any], layout: str
) -> None:
    state = foreign.drawn(architecture).state_dict()
    content = written(state)
    format: Format = "caffe" if layout == "caffe" else "torch"
    understood = understand(checkpoint(content, format))
    assert understood.layout == layout
    assert understood.architecture == architecture
    tensors, match = matched(understood.tensors, build_encoder(understood.architecture).state_dict())
    assert match.complete
    assert len(match.matched) + len(match.filled) == match.wanted
    for name in match.matched:
        assert torch.equal(tensors[name], state[name]), name
    listed = [
        *understood.stored_as.values(),
        *(path for paths in understood.left_out.values() for path in paths),
    ]
    assert sorted(listed) == sorted(_paths(content))
    assert "other" not in understood.left_out


def _paths(content: Any, path: str = "") -> list[str]:
    if isinstance(content, torch.Tensor):
        return [path]
    if isinstance(content, list):
        content = {str(number): value for number, value in enumerate(content)}
    below = content.items() if isinstance(content, Mapping) else ()
    return [found for key, value in below for found in _paths(value, f"{path}/{key}" if path else str(key))]


@pytest.mark.parametrize(
    ("written", "where", "part"),
    [
        (foreign.moco_v2, "state_dict, prefix module.encoder_k.", "encoder_k"),
        (foreign.moco_v3, "state_dict, prefix module.momentum_encoder.", "momentum_encoder"),
        (foreign.dino, "student, prefix module.backbone.", "student"),
        (foreign.timm, "state_dict", "state_dict"),
        (foreign.solo_learn, "state_dict, prefix momentum_backbone.", "momentum_backbone"),
        (foreign.lightly, "state_dict, prefix backbone_momentum.", "backbone_momentum"),
        (foreign.byol_pytorch, "top level, prefix target_encoder.net.", "target_encoder"),
    ],
)
def test_another_part_is_taken_when_asked_for(written: Callable[..., Any], where: str, part: str) -> None:
    content = written(RESNET)
    usual, asked = read(content), read(content, part=part)
    assert usual.where != where
    assert asked.where == where
    assert any(f"?part={part}" in note for note in usual.notes)  # what is left is said, and how to get it
    assert torch.equal(asked.tensors["conv1.weight"], usual.tensors["conv1.weight"] * 2)
    assert "as asked" in asked.notes[0]


def test_what_is_left_out_is_said_in_words() -> None:
    left = read(foreign.moco_v2(RESNET)).left_out
    assert left["projection head"] == tuple(
        f"state_dict/module.encoder_q.fc.{place}.{kind}" for place in (0, 2) for kind in ("weight", "bias")
    )
    assert left["queue"] == ("state_dict/module.queue", "state_dict/module.queue_ptr")
    assert len(left["momentum encoder"]) == len(RESNET) + 4
    assert len(left["optimiser state"]) == len(RESNET)
    assert set(read(foreign.moco_v3(RESNET)).left_out) == {"momentum encoder", "predictor", "projection head"}
    assert read(foreign.swav(RESNET)).left_out["prototypes"] == ("module.prototypes.weight",)
    assert read(foreign.torchvision(RESNET)).left_out == {"classifier": ("fc.weight", "fc.bias")}


def test_preprocessing_is_the_layouts_or_the_files_or_nobodys() -> None:
    bare = read(foreign.torchvision(RESNET))
    assert bare.preprocessing is None
    assert bare.preprocessing_basis == "not in the file"
    msra = read(foreign.detectron2(RESNET))
    assert msra.preprocessing is not None
    assert msra.preprocessing.channels == "BGR"
    assert msra.preprocessing.value_range == 255
    assert msra.preprocessing.mean == (103.53, 116.28, 123.675)
    assert any("stride" in note for note in msra.notes)
    converted = read(foreign.detectron2_converted(RESNET)).preprocessing
    assert converted is not None
    assert converted.channels == "RGB"
    stored = read(foreign.lightly_train(RESNET))
    assert stored.preprocessing is not None
    assert stored.preprocessing.mean == (0.5, 0.4, 0.3)
    assert "normalize_args in the file" in stored.preprocessing_basis


def test_buffers_of_a_detector_tell_its_input() -> None:
    content = foreign.detectron2(RESNET)
    content["model"] |= {
        "pixel_mean": torch.tensor([123.0, 116.0, 103.0]).reshape(3, 1, 1),
        "pixel_std": torch.full((3, 1, 1), 58.0),
    }
    understood = read(content)
    assert understood.preprocessing is not None
    assert understood.preprocessing.channels == "RGB"
    assert understood.preprocessing.std == (58.0, 58.0, 58.0)
    assert "input normalisation" in understood.left_out


@pytest.mark.parametrize(
    "name",
    ["resnet34", "resnet101", "resnet152", "wide_resnet50_2", "torchvision:vgg16_bn", "torchvision:alexnet"],
)
def test_other_networks_are_told_by_their_shapes(name: str) -> None:
    with torch.device("meta"):
        state = build_encoder({"name": name}).state_dict()
    assert read({"state_dict": state}).architecture == {"name": name}


@pytest.mark.parametrize(
    "name", ["resnext50_32x4d", "wide_resnet101_2", "squeezenet1_1", "densenet121", "vgg11"]
)
def test_files_of_torchvision_are_told_by_their_shapes(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        state = torchvision.models.get_model(name).state_dict()
    assert read(state).architecture == {"name": f"torchvision:{name}"}


def test_an_ungrouped_caffenet_is_told_from_a_grouped_one() -> None:
    state = dict(foreign.drawn(foreign.CAFFENET).state_dict())
    for layer in ("conv2", "conv4", "conv5"):
        state[f"{layer}.weight"] = torch.cat([state[f"{layer}.weight"]] * 2, dim=1)
    assert read(state).architecture == {"name": "caffenet", "width": 0.125, "grouped": False}


def test_a_wrong_architecture_does_not_match() -> None:
    understood = read(foreign.torchvision(RESNET), architecture={"name": "resnet34", "width": 0.125})
    assert understood.architecture_basis == "as asked"
    _, match = matched(understood.tensors, build_encoder(understood.architecture).state_dict())
    assert not match.complete
    assert "layer3.4.conv1.weight" in match.missing
    with pytest.raises(
        UserError, match=r"no tensor by a name of torchvision:vgg11; it looks like .*resnet18"
    ):
        read(foreign.torchvision(RESNET), architecture={"name": "torchvision:vgg11"})


def test_an_architecture_without_a_family_is_found_by_its_own_names() -> None:
    with torch.device("meta"):
        state = build_encoder({"name": "torchvision:mobilenet_v2"}).state_dict()
    content = {"model": foreign.prefixed("module.net.", {**state, **foreign.linear("classifier.1")})}
    with pytest.raises(UserError, match="--as"):
        read(content)
    understood = read(content, architecture={"name": "torchvision:mobilenet_v2"})
    assert understood.where == "model, prefix module.net."
    assert set(understood.tensors) == set(state)
    assert understood.left_out == {
        "classifier": ("model/module.net.classifier.1.weight", "model/module.net.classifier.1.bias")
    }


def test_a_narrow_network_is_read_as_asked_in_a_foreign_dialect() -> None:
    understood = read(foreign.lightly(RESNET), architecture=foreign.RESNET)
    assert understood.where == "state_dict, prefix backbone."
    assert set(understood.tensors) == set(RESNET)


def test_blocks_that_a_resnet_lacks_are_not_dropped() -> None:
    excited = {**RESNET, "layer1.0.se.fc1.weight": torch.ones(1, 1)}
    _, match = matched(read(excited).tensors, RESNET)
    assert match.unexpected == ("layer1.0.se.fc1.weight",)


def refused(content: Mapping[str, Any], words: str, **asked: Any) -> None:
    with pytest.raises(UserError, match=words) as error:
        read(content, **asked)
    assert "file.pth" in str(error.value)


def test_refusals_say_why_and_how_to_go_on() -> None:
    refused({"state_dict": foreign.linear("module.fc")}, "a head without its backbone")
    refused({"epoch": 3}, "holds no tensors")
    refused({"optimizer": foreign.optimiser(RESNET)}, "optimiser's state and no network")
    refused(
        {"a": torch.ones(3), "b": torch.ones(2), "c": torch.ones(1)}, "no encoder of a known family.*--as"
    )
    refused(foreign.moco_v2(RESNET), r"no part 'teacher'.*encoder_q, encoder_k", part="teacher")
    two = foreign.prefixed("left.", RESNET) | foreign.prefixed("right.", foreign.another(RESNET))
    refused(two, "nothing tells which is meant: left, right")
    assert read(two, part="left").where == "top level, prefix left."


def test_a_resnet_that_cannot_be_built_is_not_guessed() -> None:
    small_stem = {**RESNET, "conv1.weight": torch.ones(8, 3, 3, 3)}
    refused(small_stem, r"named like a resnet, but no network here.*conv1.weight \(8, 3, 3, 3\).*--as")


def test_a_chance_likeness_in_a_large_network_is_refused() -> None:
    strange = {f"blob{number}.something": torch.ones(1) for number in range(len(RESNET) + 1)}
    refused({**RESNET, **strange}, "of no known network")


def test_one_network_under_two_names_is_no_choice() -> None:
    content = {"model": dict(RESNET), "copy": dict(RESNET)}
    assert read(content).where == "model"
    content["copy"] = foreign.another(RESNET)
    refused(content, "several encoders")
