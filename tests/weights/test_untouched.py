"""An untouched initialisation is told from a trained network by its weights alone."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.weights.independent_draws import shape_of, unlike_draws
from ssl_bench.weights.untouched import looks_untouched

TIMM_TINY = sorted(timm.list_models("test_*"))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TIMM_TINY)
def test_fresh_networks_of_timm_look_untouched(name: str) -> None:
    torch.manual_seed(1)
    found = looks_untouched(timm.create_model(name, num_classes=0).state_dict())
    assert found.verdict, found.reasons
    assert all(found.layers.values())


@pytest.mark.parametrize(
    "name", ["alexnet", "squeezenet1_0", "squeezenet1_1", "resnet18", "mobilenet_v3_small", "convnext_tiny"]
)
def test_fresh_networks_of_torchvision_look_untouched(name: str) -> None:
    torch.manual_seed(2)
    found = looks_untouched(torchvision.models.get_model(name, weights=None).state_dict())
    assert found.verdict, found.reasons


def test_a_fresh_vgg_and_vision_transformer_look_untouched() -> None:
    torch.manual_seed(3)
    assert looks_untouched(torchvision.models.vgg11(weights=None).features.state_dict()).verdict
    transformer = torchvision.models.VisionTransformer(64, 16, 2, 4, 96, 384)
    found = looks_untouched(transformer.state_dict())  # xavier, biases N(0, 1e-6), positions N(0, 0.02)
    assert found.verdict, found.reasons


@pytest.mark.parametrize(
    ("name", "width", "init"),
    [
        ("caffenet", 1.0, "gaussian"),
        ("caffenet", 0.25, "kaiming"),
        ("squeezenet", 0.5, "kaiming"),
        ("resnet18", 0.125, "kaiming"),
        ("dcgan", 1.0, "dcgan"),
    ],
)
def test_our_own_initialisations_look_untouched(name: str, width: float, init: str) -> None:
    encoder = fresh_encoder({"name": name, "width": width}, init=init, seed=4)
    found = looks_untouched(encoder.state_dict())
    assert found.verdict, found.reasons


def drawn(initialise: Callable[[Tensor], object], *shape: int) -> Tensor:
    torch.manual_seed(5)
    weight = torch.empty(*shape)
    initialise(weight)
    return weight


@pytest.mark.parametrize("shape", [(64, 32, 3, 3), (96, 1, 7, 7), (48, 3, 11, 11), (256, 64), (16, 4, 1, 1)])
@pytest.mark.parametrize(
    "initialise",
    [
        nn.init.kaiming_normal_,
        lambda weight: nn.init.kaiming_normal_(weight, mode="fan_out"),
        nn.init.kaiming_uniform_,
        lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)),
        nn.init.xavier_normal_,
        nn.init.xavier_uniform_,
        lambda weight: nn.init.normal_(weight, std=0.01),
        lambda weight: nn.init.uniform_(weight, -0.05, 0.05),
        lambda weight: nn.init.trunc_normal_(weight, std=0.02),
        lambda weight: nn.init.trunc_normal_(weight, std=1.0),
        nn.init.orthogonal_,
    ],
)
def test_the_usual_initialisations_look_like_draws(
    initialise: Callable[[Tensor], object], shape: tuple[int, ...]
) -> None:
    weight = drawn(initialise, *shape)
    assert unlike_draws(weight) is None
    assert unlike_draws(weight.bfloat16()) is None
    assert looks_untouched({"conv.weight": weight, "conv.bias": torch.ones(shape[0])}).verdict


def test_the_stray_value_of_truncated_draws_is_no_sign_of_training() -> None:
    weight = drawn(lambda tensor: nn.init.trunc_normal_(tensor, std=0.02), 96, 64, 2, 2)
    weight[3, 5, 1, 1] = -2.0
    assert unlike_draws(weight) is None
    weight[3, 5, 1, 1] = -1.5
    assert unlike_draws(weight) is not None


def test_distributions_are_told_apart() -> None:
    uniform = torch.rand(20000, generator=seeded(0)) - 0.5
    normal = torch.randn(20000, generator=seeded(0))
    assert shape_of(uniform) == "uniform"
    assert shape_of(normal) == "normal"
    assert shape_of(normal[normal.abs() < 2]) == "normal truncated at 2"
    heavy = normal * (1 + 2 * (torch.rand(20000, generator=seeded(1)) < 0.1))
    assert shape_of(heavy) is None


def spoilt(change: Callable[[Tensor], Tensor]) -> str | None:
    return unlike_draws(change(torch.randn(64, 32, 3, 3, generator=seeded(6)) * 0.1))


def test_each_trace_of_training_is_found() -> None:
    assert spoilt(lambda weight: weight) is None
    gains = torch.linspace(0.85, 1.15, 64)[:, None, None, None]
    assert "energy" in str(spoilt(lambda weight: weight * gains))
    smooth = nn.functional.avg_pool2d
    assert "neighbouring pixels" in str(
        spoilt(lambda weight: weight + 0.4 * smooth(weight, 3, stride=1, padding=1, count_include_pad=False))
    )
    one, other = torch.randn(64, generator=seeded(7)), torch.randn(32 * 9, generator=seeded(8))
    update = (one[:, None] * other / one.norm() / other.norm()).reshape(64, 32, 3, 3)
    assert spoilt(lambda weight: weight + 1.0 * update) is None  # within what chance makes
    assert "singular value" in str(spoilt(lambda weight: weight + 3.6 * update))
    assert spoilt(lambda weight: weight + 0.01) is not None
    assert "means of its filters" in str(spoilt(lambda weight: weight + weight.mean((1, 2, 3), keepdim=True)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bn1.running_mean", torch.full((16,), 0.01)),
        ("bn1.running_var", torch.full((16,), 0.9)),
        ("bn1.num_batches_tracked", torch.tensor(7)),
        ("bn1.weight", torch.linspace(0.8, 1.2, 16)),
        ("bn1.bias", torch.linspace(-1e-3, 1e-3, 16)),
    ],
)
def test_a_normalisation_that_moved_is_a_certain_sign(name: str, value: Tensor) -> None:
    encoder = fresh_encoder({"name": "resnet18", "width": 0.25}, init="kaiming", seed=0)
    tensors = encoder.state_dict()
    assert tensors[name].shape == value.shape
    assert looks_untouched(tensors).verdict
    found = looks_untouched({**tensors, name: value})
    assert not found.verdict
    assert len(found.reasons) == 1
    assert found.reasons[0].startswith(name)
    assert [layer for layer, fresh in found.layers.items() if not fresh] == ["bn1"]


def test_a_scale_of_layer_normalisation_that_moved_a_little_is_a_certain_sign() -> None:
    moved = torch.ones(96) + 1e-4 * torch.randn(96, generator=seeded(0))
    assert looks_untouched({"norm.weight": torch.ones(96), "norm.bias": torch.zeros(96)}).verdict
    assert not looks_untouched({"norm.weight": moved, "norm.bias": torch.zeros(96)}).verdict
    assert not looks_untouched({"norm.weight": torch.ones(96), "norm.bias": moved - 1}).verdict


def test_biases_are_judged_by_the_weight_beside_them() -> None:
    weight = drawn(lambda tensor: nn.init.kaiming_uniform_(tensor, a=math.sqrt(5)), 40, 16, 3, 3)
    default = (2 * torch.rand(40, generator=seeded(9)) - 1) / math.sqrt(16 * 9)
    assert looks_untouched({"c.weight": weight, "c.bias": default}).verdict
    for moved in (default + 0.02, default * 0.2, torch.arange(40.0)):
        found = looks_untouched({"c.weight": weight, "c.bias": moved})
        assert not found.verdict
        assert "c.bias" in found.reasons[0]


def test_fixed_sines_are_no_sign_of_training() -> None:
    angles = torch.arange(49.0)[:, None] / 10000 ** (torch.arange(32) / 32)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)[None]  # (1, 49, 64)
    with_token = torch.cat([torch.zeros(1, 1, 64), waves], dim=1)
    assert looks_untouched({"pos_embed": with_token}).verdict
    assert not looks_untouched({"pos_embed": with_token * torch.linspace(0.8, 1.2, 64)}).verdict


def test_values_that_are_not_finite_are_not_untouched() -> None:
    weight = torch.randn(16, 8, 3, 3, generator=seeded(0))
    weight[3, 2] = float("nan")
    assert not looks_untouched({"conv.weight": weight}).verdict
    assert not looks_untouched({}).verdict


def test_empty_and_whole_number_tensors_say_nothing() -> None:
    weight = torch.randn(16, 8, 3, 3, generator=seeded(0))
    silent = {"none.weight": torch.zeros(0, 4), "index": torch.arange(100), "scalar": torch.tensor(0.3)}
    assert looks_untouched({"conv.weight": weight, **silent}).verdict


def stripes(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Pictures of stripes in four directions, and which."""
    labels = torch.randint(0, 4, (count,), generator=generator)
    across = torch.linspace(0, 18, 24)
    directions = (across[:, None] + 0 * across, across + 0 * across[:, None], across[:, None] + across,
                  across[:, None] - across)  # fmt: skip
    pictures = torch.stack(
        [(directions[label] + 6 * torch.rand(1, generator=generator)).sin() for label in labels]
    )
    colours = torch.rand(count, 3, 1, 1, generator=generator)
    return pictures[:, None] * colours + 0.2 * torch.randn(count, 3, 24, 24, generator=generator), labels


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("init", ["default", "kaiming"])
def test_a_few_dozen_steps_without_normalisation_are_noticed(init: str, bias: bool) -> None:
    torch.manual_seed(10)
    encoder = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2, bias=bias),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=bias),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=bias),
        nn.ReLU(),
    )
    for layer in encoder:
        if init == "kaiming" and isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    assert looks_untouched(encoder.state_dict()).verdict
    head = nn.Linear(32, 4)
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1, momentum=0.9)
    generator = seeded(11)
    for _ in range(40):
        pictures, labels = stripes(generator, 16)
        loss = nn.functional.cross_entropy(head(encoder(pictures).mean((2, 3))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = looks_untouched(encoder.state_dict())
    assert not found.verdict
    assert found.n_untouched < 3


@pytest.fixture
def stored(shared_file: Callable[[str], Path]) -> Callable[[str], dict[str, Tensor]]:
    """Return a function that loads one of the real checkpoints."""

    def load(ending: str) -> dict[str, Tensor]:
        with ZipFile(shared_file("weights.zip")) as archive:
            name = next(name for name in archive.namelist() if name.endswith(ending))
            content = torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
        tensors: dict[str, Tensor] = content.get("state_dict", content)
        return tensors

    return load


@pytest.mark.parametrize("ending", ["bgr255.pth", ".th"])
def test_real_trained_weights_are_not_untouched(
    stored: Callable[[str], dict[str, Tensor]], ending: str
) -> None:
    assert not looks_untouched(stored(ending)).verdict


def test_real_kernels_alone_are_not_draws(stored: Callable[[str], dict[str, Tensor]]) -> None:
    weights = {name: value for name, value in stored("bgr255.pth").items() if value.ndim == 4}
    unlike = {name: unlike_draws(value) for name, value in weights.items()}
    assert [name for name, reason in unlike.items() if reason is None] in (
        [],
        ["features.4.expand1x1.weight"],
    )
    assert looks_untouched({name: torch.randn_like(value) for name, value in weights.items()}).verdict


def test_a_partly_loaded_encoder_is_told_by_layer(stored: Callable[[str], dict[str, Tensor]]) -> None:
    fresh = fresh_encoder({"name": "squeezenet"}, init="kaiming", seed=0).state_dict()
    real = stored("bgr255.pth")
    kept = {name: real[name] for name in fresh if name.split(".")[1] in ("0", "3", "4")}
    found = looks_untouched({**fresh, **kept})
    assert not found.verdict
    touched = {layer for layer, looks in found.layers.items() if not looks}
    assert touched == {name.rpartition(".")[0] for name in kept}
    assert (found.n_untouched, len(found.layers)) == (18, 25)
