"""The ResNets for small images against the paper's table, a plain forward pass, and a real checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
import torch.nn.functional as F

from ssl_bench.encoders.cifar_resnet import CifarResNet
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import build_encoder, fresh_encoder
from ssl_bench.errors import UserError


@pytest.mark.parametrize(
    # Table 6 of the paper, in millions, of which the classifier is 650.
    ("name", "millions"), [("resnet20-cifar", 0.27), ("resnet32-cifar", 0.46), ("resnet44-cifar", 0.66),
                           ("resnet56-cifar", 0.85), ("resnet110-cifar", 1.7)],
)  # fmt: skip
def test_the_published_number_of_parameters(name: str, millions: float) -> None:
    count = sum(parameter.numel() for parameter in build_encoder({"name": name}).parameters()) + 650
    assert count / 1e6 == pytest.approx(millions, abs=0.05 if millions > 1 else 0.005)


@torch.no_grad()
def test_the_network_written_out() -> None:
    encoder = fresh_encoder({"name": "resnet20-cifar"}, init="kaiming", seed=0).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    state = encoder.state_dict()

    def normalised(maps: torch.Tensor, name: str) -> torch.Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(maps, *(state[f"{name}.{key}"] for key in keys))

    maps = F.relu(normalised(F.conv2d(images, state["conv1.weight"], padding=1), "bn1"))
    for stage, channels in ((1, 16), (2, 32), (3, 64)):
        for block in range(3):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            inner = F.conv2d(maps, state[f"{at}.conv1.weight"], stride=stride, padding=1)
            inner = F.conv2d(F.relu(normalised(inner, f"{at}.bn1")), state[f"{at}.conv2.weight"], padding=1)
            shortcut = torch.zeros_like(inner)
            first = (channels - maps.shape[1]) // 2
            shortcut[:, first : first + maps.shape[1]] = maps[:, :, ::stride, ::stride]
            maps = F.relu(normalised(inner, f"{at}.bn2") + shortcut)
    torch.testing.assert_close(encoder(images), maps)
    torch.testing.assert_close(encoder.pooled(images), maps.mean((2, 3)))
    sides = [value.shape[-1] for value in encoder.forward_taps(images, list(encoder.taps)).values()]
    assert sides == [32, 32, 16, 8]


def test_weights_follow_from_the_seed() -> None:
    hashes = [
        weights_hash(fresh_encoder({"name": "resnet20-cifar"}, init="kaiming", seed=seed))
        for seed in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    encoder = build_encoder({"name": "resnet56-cifar", "width": 0.5})
    assert encoder.architecture == {"name": "resnet56-cifar", "width": 0.5}
    assert encoder.taps["stage3"].channels == 32
    assert encoder.preprocessing.size == 32
    with pytest.raises(UserError, match="unknown initialisation of a ResNet 'gaussian'"):
        fresh_encoder({"name": "resnet20-cifar"}, init="gaussian", seed=0)
    with pytest.raises(UserError, match="unknown encoder 'resnet21-cifar', did you mean 'resnet32-cifar'"):
        build_encoder({"name": "resnet21-cifar"})


def test_a_real_checkpoint_loads_completely(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    with ZipFile(shared_file("weights.zip")) as archive:
        name = next(name for name in archive.namelist() if "resnet20" in name.lower().replace("-", ""))
        stored = torch.load(archive.extract(name, tmp_path), map_location="cpu", weights_only=True)
    tensors = {key.removeprefix("module."): value for key, value in stored["state_dict"].items()}
    head = {key for key in tensors if key.startswith("linear.")}
    encoder = CifarResNet("resnet20-cifar")
    wanted = {key: value for key, value in tensors.items() if key not in head}
    missing, unexpected = encoder.load_state_dict(wanted, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing), "old files have no counters"
    assert head == {"linear.weight", "linear.bias"}
