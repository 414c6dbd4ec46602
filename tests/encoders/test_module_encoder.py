"""Encoders from functions in a user's own file: what is accepted, what is refused, and when code runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.files import EncoderCard, load_encoder_file, save_encoder
from ssl_bench.encoders.module_encoder import factory_encoder
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError

HEADER = """
import torch
from torch import nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.two = nn.Conv2d(4, 8, 4, stride=4)
"""
BODIES = {
    "map": "    def forward(self, x):\n        return self.two(F.relu(self.one(x)))\n",
    "dict": "    def forward(self, x):\n        a = F.relu(self.one(x))\n"
    "        return {'low': a, 'high': self.two(a)}\n",
    "list": "    def forward(self, x):\n        a = F.relu(self.one(x))\n        return [a, self.two(a)]\n",
    "features": "    def forward_features(self, x):\n        return self.two(self.one(x))\n",
    "tokens": (
        "    def forward_features(self, x):\n        t = self.two(self.one(x)).flatten(2).transpose(1, 2)\n"
        "        return torch.cat([t[:, :1] * 0, t], 1)\n"
    ),
}
MAKE = "\n\ndef make():\n    return Net()\n"


def file(folder: Path, body: str, make: str = MAKE, name: str = "net.py") -> Path:
    path = folder / name
    path.write_text(HEADER + body + make)
    return path


@pytest.mark.parametrize(
    ("kind", "taps"),
    [
        ("map", {"map": (8, 8, 3.0)}),  # 0 of the first, (4 - 1) / 2 * 2 of the second
        ("dict", {"low": (4, 2, 0.0), "high": (8, 8, 3.0)}),
        ("list", {"map1": (4, 2, 0.0), "map2": (8, 8, 3.0)}),
        ("features", {"map": (8, 8, 3.0)}),
        ("tokens", {"map": (8, 8, 3.0)}),
    ],
)
def test_whatever_gives_out_maps_is_an_encoder(
    kind: str, taps: dict[str, tuple[int, int, float]], tmp_path: Path
) -> None:
    path = file(tmp_path, BODIES[kind])
    encoder = factory_encoder(path, "make").eval()
    assert {name: (tap.channels, tap.stride, tap.centre) for name, tap in encoder.taps.items()} == taps
    assert (encoder.last_tap, encoder.dense_tap) == (list(taps)[-1],) * 2
    images = torch.randn(2, 3, 64, 96)
    maps = encoder.forward_taps(images, list(taps))
    assert list(maps) == list(taps)
    network = encoder.state_dict()
    expected = torch.conv2d(images, network["one.weight"], network["one.bias"], 2, 1)
    expected = expected if kind in ("features", "tokens") else expected.relu()
    expected = torch.conv2d(expected, network["two.weight"], network["two.bias"], 4)
    torch.testing.assert_close(maps[encoder.last_tap], expected)
    torch.testing.assert_close(encoder.pooled(images), expected.mean((2, 3)))
    assert list(encoder.state_dict()) == ["one.weight", "one.bias", "two.weight", "two.bias"]
    assert encoder.architecture == {
        "name": "factory",
        "file": "net.py",
        "function": "make",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert "are assumed" in encoder.notes[0]  # type: ignore[index]
    encoder.pooled(images).sum().backward()
    assert next(encoder.parameters()).grad is not None


def test_a_network_of_timm_and_an_encoder_of_ours_may_be_returned(tmp_path: Path) -> None:
    make = (
        "\n\ndef vit():\n    import timm\n"
        "    return timm.create_model('test_vit', num_classes=0, dynamic_img_size=True)\n"
        "\n\ndef ours():\n    from ssl_bench.encoders.resnet import ResNetEncoder\n"
        "    return ResNetEncoder('resnet18', width=0.1)\n"
        "\n\ndef hollow():\n    from ssl_bench.encoders.contract import Encoder\n    return Encoder()\n"
    )
    path = file(tmp_path, BODIES["map"], make)
    vit = factory_encoder(path, "vit").eval()
    assert [tap.stride for tap in vit.taps.values()] == [16] * 6
    assert vit.pooled(torch.zeros(2, 3, 64, 64)).shape == (2, 64)
    ours = factory_encoder(path, "ours")
    assert list(ours.taps) == ["conv1", "res2", "res3", "res4", "res5"]
    assert ours.architecture["name"] == "factory"
    with pytest.raises(UserError, match="its Encoder has no taps, preprocessing, last_tap, dense_tap"):
        factory_encoder(path, "hollow")


def test_tokens_of_small_images_keep_their_rows(tmp_path: Path) -> None:
    """17 tokens of 16 cells and a class token; the side that was found at first is kept for other sizes."""
    encoder = factory_encoder(file(tmp_path, BODIES["tokens"]), "make").eval()
    assert encoder.forward_taps(torch.zeros(1, 3, 32, 32), ["map"])["map"].shape == (1, 8, 4, 4)
    assert encoder.forward_taps(torch.zeros(1, 3, 8, 16), ["map"])["map"].shape == (1, 8, 1, 2)


def test_what_its_input_is_may_be_said(tmp_path: Path) -> None:
    said = "\n\ndef make():\n    net = Net()\n    net.preprocessing = {'size': 96, 'channels': 'BGR'}\n    return net\n"
    encoder = factory_encoder(file(tmp_path, BODIES["map"], said), "make")
    preprocessing = encoder.preprocessing
    assert (preprocessing.size, preprocessing.channels, preprocessing.mean[0]) == (96, "BGR", 0.485)
    assert encoder.notes == ()  # type: ignore[attr-defined]
    for value, message in (
        ("{'sise': 96}", "preprocessing sise: Extra inputs"),
        ("3", "its preprocessing is int"),
    ):
        wrong = f"\n\ndef make():\n    net = Net()\n    net.preprocessing = {value}\n    return net\n"
        with pytest.raises(UserError, match=message):
            factory_encoder(file(tmp_path, BODIES["map"], wrong), "make")


def test_another_seed_gives_other_weights_and_the_same_seed_the_same(tmp_path: Path) -> None:
    encoder = factory_encoder(file(tmp_path, BODIES["map"]), "make")
    hashes = []
    for seed in (0, 0, 1):
        encoder.initialise("library", torch.Generator().manual_seed(seed))  # type: ignore[operator]
        hashes.append(weights_hash(encoder))
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_file_is_loaded_again_once_its_function_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(tmp_path, BODIES["map"])
    encoder: Encoder = factory_encoder(path, "make").eval()
    card = EncoderCard(
        name="one",
        method="any",
        architecture=dict(encoder.architecture),
        preprocessing=encoder.preprocessing,
        sha256=weights_hash(encoder),
        pretraining=None,
        pretraining_seed=0,
        code_version="test",
    )
    (tmp_path / "run").mkdir()
    save_encoder(tmp_path / "run", encoder, card)
    loaded, _ = load_encoder_file(tmp_path / "run")
    assert weights_hash(loaded) == weights_hash(encoder)
    assert str(tmp_path) not in (tmp_path / "run" / "encoder.json").read_text()
    monkeypatch.setattr("ssl_bench.encoders.module_encoder._NAMED", {})
    with pytest.raises(
        UserError, match=r"made by net.py:make, which is not run unless it is named.*net.py:make"
    ):
        load_encoder_file(tmp_path / "run")
    factory_encoder(path, "make")
    path.write_text(path.read_text() + "\n# changed\n")
    with pytest.raises(UserError, match=r"net.py has changed since the encoder was made"):
        build_encoder(encoder.architecture)


def test_files_beside_it_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "beside_the_factory.py").write_text("CHANNELS = 5\n")
    make = "\n\nfrom beside_the_factory import CHANNELS\n\n\n"
    make += "def make():\n    return nn.Conv2d(3, CHANNELS, 3, padding=1)\n"
    assert factory_encoder(file(tmp_path, BODIES["map"], make), "make").taps["map"].channels == 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("\n\ndef other():\n    return Net()\n", r"unknown function in net.py: 'make'"),
        ("\n\ndef make():\n    raise KeyError('lost')\n", r"net.py:make fails: KeyError: 'lost'"),
        (
            "\n\ndef make():\n    return 3\n",
            r"net.py:make returns int: return an Encoder or a torch.nn.Module",
        ),
        ("\n\nimport nowhere_at_all\n", r"net.py cannot be run: ModuleNotFoundError: No module named"),
        ("\n\nraise SystemExit(3)\n", r"net.py cannot be run: SystemExit: 3"),
        ("\n\ndef make(:\n", r"net.py cannot be run: SyntaxError"),
        (
            "\n\ndef make():\n    return nn.Sequential(Net(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n",
            r"net.py:make: map is of shape \(1, 8\): maps .* before its pooling and classifier",
        ),
        (
            "\n\ndef make():\n    return nn.Sequential(Net(), nn.AdaptiveAvgPool2d(7))\n",
            r"net.py:make: map: 128 pixels give 7 cells and 192 give 7",
        ),
        ("\n\ndef make():\n    return nn.Linear(3, 4)\n", r"net.py:make: its network fails on a grey image"),
    ],
)
def test_a_mistake_is_said(make: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        factory_encoder(file(tmp_path, BODIES["map"], make), "make")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.py: no file to read a function from"):
        factory_encoder(tmp_path / "nowhere.py", "make")


def test_a_changed_helper_is_another_encoder(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import helper\nfrom torch import nn\n\n\n"
        "def make():\n    return nn.Sequential(nn.Conv2d(3, helper.WIDTH, 3, 2))\n"
    )
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    before = factory_encoder(tmp_path / "net.py", "make").architecture["sha256"]
    (tmp_path / "helper.py").write_text("WIDTH = 4  # the same, but who knows that\n")

    assert factory_encoder(tmp_path / "net.py", "make").architecture["sha256"] != before
