"""Protocols that name AlexNet's taps, on networks that have others: the tap of the same role, and nothing guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.engine.loading import collate
from ssl_bench.errors import UserError
from ssl_bench.protocols.contract import Trunk, continued, judged_by_role, judged_tap, layers_to_fix
from ssl_bench.protocols.registry import JUDGES
from ssl_bench.recipes import load_protocol
from tests.data.drawn_voc import draw_voc

NETWORKS = ["timm:test_vit", "timm:test_resnet", "timm:test_convnext", "resnet18", "squeezenet", "dcgan"]
TASKS = ["voc-cls-finetune-demo", "voc-cls-frozen-demo", "voc-det-finetune-demo", "voc-seg-finetune-demo"]


def network(name: str, size: int = 96) -> Encoder:
    library = name.startswith(("timm:", "torchvision:"))
    init = "library" if library else "dcgan" if name == "dcgan" else "kaiming"
    width = {} if library else {"width": 0.125}
    return fresh_encoder({"name": name, **width}, input_size=size, init=init, seed=0)


def of_task(name: str, *words: str):
    small = {
        "voc-cls": ["settings.input.size=100"],
        "voc-seg": ["settings.crop=100", "settings.short_side=100"],
    }
    return load_protocol(name, [*small.get(name[:7], []), *words])


def built(encoder: Encoder, protocol) -> nn.Module:
    torch.manual_seed(0)
    return JUDGES[protocol.settings.kind].build(encoder, protocol)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("task", TASKS)
def test_every_network_is_judged_on_the_tap_of_the_role(name: str, task: str, tmp_path: Path) -> None:
    """One training step and one prediction; 100 px are whole patches of no network here."""
    encoder, protocol = network(name), of_task(task)
    tap = judged_tap(encoder, protocol.settings)
    assert tap == (encoder.dense_tap if "det" in task else encoder.last_tap)
    model = built(encoder, protocol)
    assert model.trunk.tap == tap
    devkit, judge = draw_voc(tmp_path), JUDGES[protocol.settings.kind]
    samples = judge.train_samples(devkit, "train", protocol, None)
    batch = collate([samples.sample(index, np.random.default_rng(0)) for index in range(2)])
    loss = model.train()(batch, "model")["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    learning = [value for value in encoder.parameters() if value.requires_grad]
    assert bool(learning) == (protocol.mode == "finetune")
    assert all(value.grad is not None for value in learning), (
        "several processes would wait for a gradient for ever"
    )
    tested = judge.test_samples(devkit, "test", protocol, 1)
    with torch.inference_mode():
        (prediction,) = model.eval().predict(collate([tested.sample(0, np.random.default_rng(0))]))
    if "seg" in task:
        sample = tested.sample(0, np.random.default_rng(0))
        assert prediction["labels"].shape == (sample["height"], sample["width"])
    else:
        assert np.isfinite(prediction["scores"]).all()


@pytest.mark.parametrize("task", TASKS)
def test_caffenet_is_judged_on_the_tap_that_the_protocol_names(task: str) -> None:
    encoder, protocol = network("caffenet"), of_task(task, "settings.tap=conv3")
    assert judged_tap(encoder, protocol.settings) == "conv3"
    assert not judged_by_role(encoder, protocol.settings)
    assert judged_tap(encoder, of_task(task).settings) == ("conv5" if "det" in task else "pool5")
    model = built(encoder, of_task(task))
    assert model.trunk.multiple == 1
    assert isinstance(getattr(model, "pool", nn.Identity()), nn.Identity)
    assert getattr(model, "multiple", 1) == 1
    assert all(value.requires_grad for value in encoder.parameters()) == ("finetune" in task)


def test_a_networks_own_tap_can_be_named() -> None:
    protocol = of_task("voc-cls-frozen-demo", "settings.tap=layer2")
    assert built(network("timm:test_resnet"), protocol).trunk.tap == "layer2"


@pytest.mark.parametrize("name", ["caffenet", "resnet18", "timm:test_vit"])
@pytest.mark.parametrize("task", TASKS)
def test_a_misspelt_tap_is_refused_on_every_network(name: str, task: str) -> None:
    protocol = of_task(task, "settings.tap=pool6")
    encoder = network(name)
    assert judged_tap(encoder, protocol.settings) == "pool6"
    with pytest.raises(UserError, match="unknown tap 'pool6'"):
        built(encoder, protocol)


def test_kinds_made_for_a_networks_own_taps_do_not_guess() -> None:
    encoder = network("resnet18")
    settings = load_protocol("voc07-det-fast-rcnn-40k").settings
    assert judged_tap(encoder, settings) == "conv5"
    settings = load_protocol("voc12-seg-linear").settings
    assert judged_tap(encoder, settings) == encoder.dense_tap, "a linear layer stands on any map"
    heads = load_protocol("linear-heads").settings
    assert judged_tap(encoder, heads) == heads.tap


def test_large_maps_are_averaged_to_seven_cells_where_the_protocol_was_not_made_for_them() -> None:
    encoder, protocol = network("timm:test_vit"), of_task("voc-cls-frozen-demo", "settings.input.size=224")
    model = built(encoder, protocol)
    channels = encoder.taps[encoder.last_tap].channels
    assert model.head[-1].in_features == channels * 7 * 7
    maps = torch.randn(2, channels, 14, 14)
    expected = maps.unflatten(3, (7, 2)).unflatten(2, (7, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(model.pool(maps), expected)
    small = built(network("timm:test_vit"), of_task("voc-cls-frozen-demo", "settings.input.size=96"))
    assert small.head[-1].in_features == channels * 6 * 6
    # A network that has the protocol's tap keeps its maps, however large.
    own = built(
        network("caffenet"), of_task("voc-cls-frozen-demo", "settings.tap=conv5", "settings.input.size=224")
    )
    assert own.head[-1].in_features == own.trunk.encoder.taps["conv5"].channels * 13 * 13


def test_images_are_continued_to_whole_patches_only_for_networks_that_ask_for_it() -> None:
    vit = Trunk(network("timm:test_vit"), "blocks.5", frozen=True)
    assert (vit.multiple, vit.map_size(96), vit.map_size(97), vit.map_size(112)) == (16, 6, 7, 7)
    images = torch.randn(1, 3, 90, 100)
    whole = torch.zeros(1, 3, 96, 112)
    whole[..., :90, :100] = images
    assert torch.equal(continued(images, 16), whole)
    assert continued(whole, 16) is whole
    torch.testing.assert_close(vit(images), vit(whole))
    convolutions = Trunk(network("resnet18"), "res5", frozen=True)
    assert (convolutions.multiple, convolutions.map_size(97)) == (1, 4)


def test_segmentation_reads_pixels_by_the_stride_and_centre_of_the_tap() -> None:
    encoder = network("timm:test_vit")
    words = ["settings.image_padding=32", "settings.fc6_kernel=3", "settings.fc6_padding=1"]
    model = built(encoder, of_task("voc-seg-finetune-demo", *words))
    assert model.stride == 16
    assert model.centre == 7.5 - 32
    cells = torch.zeros(1, 21, 8, 8)
    cells[..., 3, 5] = 1.0
    spread = model.spread(cells, (96, 96), (1.0, 1.0))[0, 0]
    # Cell (3, 5) looks at rows 16 to 31 and columns 48 to 63: 3 and 5 patches of 16 less the 32 px in front.
    peak = torch.nonzero(spread == spread.max())
    assert peak.float().mean(dim=0).tolist() == [23.5, 55.5]


def test_anchors_of_a_network_judged_by_role_lie_a_stride_apart() -> None:
    encoder = network("timm:test_vit")
    model = built(encoder, load_protocol("voc-det-finetune-demo")).eval()
    images, maps = model._maps([np.zeros((3, 90, 100), np.uint8)])
    assert images.image_sizes == [(90, 100)]
    assert images.tensors.shape[-2:] == (96, 112)
    (anchors,) = model.proposals.anchor_generator(images, [maps["maps"]])
    per_cell = len(anchors) // (6 * 7)
    steps = anchors.view(6, 7, per_cell, 4)
    assert (steps[:, 1:] - steps[:, :-1])[..., 0].unique().tolist() == [16.0]
    assert (steps[1:] - steps[:-1])[..., 1].unique().tolist() == [16.0]


def test_layers_of_alexnet_are_fixed_where_they_are_and_others_must_be_there() -> None:
    settings = load_protocol("voc-det-finetune").settings
    assert settings.fixed_layers == ["conv1"]
    assert layers_to_fix(network("timm:test_vit"), settings, ["conv1"]) == []
    assert layers_to_fix(network("resnet18"), settings, ["conv1", "conv2"]) == ["conv1"]
    assert layers_to_fix(network("caffenet"), settings, ["conv1", "conv9"]) == ["conv1", "conv9"]
    for words in (["settings.fixed_layers=[conv9]"], ["settings.fixed_layers=[stem]"]):
        with pytest.raises(UserError, match="unknown layer of the encoder"):
            built(network("timm:test_vit"), load_protocol("voc-det-finetune-demo", words))
