"""Exported encoders: each library's own loader takes them, and what comes back is the encoder bit by bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from timm.data import resolve_data_config
from torch import Tensor

from ssl_bench.encoders.contract import Encoder, Preprocessing, tensors_hash, weights_hash
from ssl_bench.encoders.files import EncoderCard, load_encoder_file
from ssl_bench.encoders.registry import build_encoder, fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.weights.exporting import FORMATS, MODEL_CARD_FILE, export, formats_of
from ssl_bench.weights.hub_export import own_entry_in, rgb_in_unit_range
from ssl_bench.weights.matching import matched
from ssl_bench.weights.reading import read_checkpoint
from ssl_bench.weights.understanding import understand


def trained(architecture: dict[str, Any], seed: int = 0) -> Encoder:
    """An encoder in which no tensor is that of an initialisation, and whose features are not all zero."""
    init = "library" if ":" in architecture["name"] else "kaiming"
    encoder = fresh_encoder(architecture, input_size=64, init=init, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, values in encoder.state_dict().items():
            if not values.is_floating_point():
                values.fill_(1000 + len(name))
            elif values.ndim == 1:
                # Small shifts, and scales and variances near 1: no ReLU is dead.
                drawn = 0.2 * torch.rand(values.shape, generator=generator)
                values.copy_(drawn if name.endswith(("bias", "running_mean")) else drawn + 0.9)
    return encoder.eval()


def card_of(encoder: Encoder, **changed: Any) -> EncoderCard:
    fields = {
        "name": "one",
        "method": "context-encoder",
        "architecture": dict(encoder.architecture),
        "preprocessing": encoder.preprocessing,
        "sha256": weights_hash(encoder),
        "pretraining": None,
        "pretraining_seed": None,
        "code_version": "test",
    }
    return EncoderCard(**{**fields, **changed})


@pytest.fixture(scope="module")
def resnet() -> Encoder:
    return trained({"name": "resnet18"})


@pytest.mark.parametrize("to", ["torchvision", "timm", "hf", "safetensors"])
def test_an_exported_resnet_comes_back_bit_by_bit(to: str, resnet: Encoder, tmp_path: Path) -> None:
    card = card_of(resnet)
    paths = export(resnet, card, to, tmp_path / "out")
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    assert paths[-1].name == MODEL_CARD_FILE
    weights = next(path for path in paths if path.suffix in (".pth", ".safetensors"))
    found = torch.load(weights, weights_only=True) if to == "torchvision" else load_file(weights)
    assert tensors_hash(found) == card.sha256


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "resnet18"},
        {"name": "resnet20-cifar"},
        {"name": "caffenet", "width": 0.125},
        {"name": "timm:convnext_atto", "depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]},
    ],
    ids=lambda architecture: str(architecture["name"]),
)
def test_our_reader_of_foreign_files_finds_the_same_encoder(
    architecture: dict[str, Any], tmp_path: Path
) -> None:
    encoder = trained(architecture)
    card = card_of(encoder)
    with torch.device("meta"):
        wanted = build_encoder(encoder.architecture).state_dict()
    for to in formats_of(encoder.architecture):
        paths = export(encoder, card, to, tmp_path / to)
        checkpoint = read_checkpoint(tmp_path / to if to == "hf" else paths[0])
        understood = understand(checkpoint, architecture=encoder.architecture)
        found, match = matched(understood.tensors, wanted)
        assert match.complete, to
        assert not match.filled, to
        assert tensors_hash(found) == card.sha256, to


def test_a_hub_folder_says_which_network_and_input(resnet: Encoder, tmp_path: Path) -> None:
    small = trained({"name": "caffenet", "width": 0.125})
    for number, encoder in enumerate((resnet, small)):
        export(encoder, card_of(encoder), "hf", tmp_path / str(number))
        content = dict(read_checkpoint(tmp_path / str(number)).content)
        entry = own_entry_in(content)
        assert entry is not None
        assert (entry.architecture, entry.sha256) == (dict(encoder.architecture), weights_hash(encoder))
        assert entry.preprocessing == encoder.preprocessing
    assert own_entry_in({"config": {"architecture": "resnet18"}}) is None
    assert own_entry_in({}) is None
    content["config"] = {**content["config"], "preprocessing": {"size": 1}}
    with pytest.raises(UserError, match="entry of ssl-bench is damaged"):
        own_entry_in(content)


def test_safetensors_are_an_encoder_file_of_ours(resnet: Encoder, tmp_path: Path) -> None:
    card = card_of(resnet)
    export(resnet, card, "safetensors", tmp_path / "out")
    loaded, found = load_encoder_file(tmp_path / "out")
    assert weights_hash(loaded) == card.sha256
    assert found == card


def test_torchvision_loads_its_file_and_lacks_the_classifier_alone(resnet: Encoder, tmp_path: Path) -> None:
    (path, _) = export(resnet, card_of(resnet), "torchvision", tmp_path / "out")
    network = torchvision.models.resnet18(weights=None)
    fit = network.load_state_dict(torch.load(path, weights_only=True), strict=False)
    assert fit.missing_keys == ["fc.weight", "fc.bias"]
    assert not fit.unexpected_keys
    network.fc = torch.nn.Identity()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = resnet.pooled(images)
        torch.testing.assert_close(network.eval()(images), features)
    assert float(features.std()) > 0.01, "features of dead units prove nothing"


def test_timm_loads_its_file_strictly(resnet: Encoder, tmp_path: Path) -> None:
    (path, _) = export(resnet, card_of(resnet), "timm", tmp_path / "out")
    network = timm.create_model("resnet18", checkpoint_path=str(path), num_classes=0).eval()
    assert weights_hash(network) == weights_hash(resnet)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images), resnet.pooled(images))


def test_timm_builds_a_hub_folder_with_its_input(resnet: Encoder, tmp_path: Path) -> None:
    export(resnet, card_of(resnet), "hf", tmp_path / "out")
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    assert weights_hash(network) == weights_hash(resnet)
    data = resolve_data_config({}, model=network)
    given = resnet.preprocessing
    assert tuple(data["input_size"]) == (3, 64, 64)
    assert (tuple(data["mean"]), tuple(data["std"])) == (given.mean, given.std)
    assert data["interpolation"] == given.interpolation
    config = json.loads((tmp_path / "out" / "config.json").read_text())["pretrained_cfg"]
    assert (config["first_conv"], config["classifier"], config["pool_size"]) == ("conv1", "fc", None)
    # With a new classifier everything else is still the file's.
    other: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=7)
    bare = {name: tensor for name, tensor in other.state_dict().items() if not name.startswith("fc.")}
    assert tensors_hash(bare) == weights_hash(resnet)
    assert other.fc.out_features == 7


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 2}),
        (
            "swin_tiny_patch4_window7_224",
            {"embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
        ),
        ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]}),
    ],
)
def test_networks_of_timm_go_back_to_it(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    encoder = trained({"name": f"timm:{name}", **settings})
    assert formats_of(encoder.architecture) == ("safetensors", "timm", "hf")
    export(encoder, card_of(encoder), "timm", tmp_path / "timm")
    weights = str(tmp_path / "timm" / "model.safetensors")
    found = timm.create_model(name, checkpoint_path=weights, num_classes=0, **settings)
    assert weights_hash(found) == weights_hash(encoder)
    export(encoder, card_of(encoder), "hf", tmp_path / "hf")
    network = timm.create_model(f"local-dir:{tmp_path / 'hf'}", pretrained=True).eval()
    assert weights_hash(network) == weights_hash(encoder)
    size = resolve_data_config({}, model=network)["input_size"][-1]
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images), encoder.pooled(images))


def test_networks_of_torchvision_go_back_to_it(tmp_path: Path) -> None:
    encoder = trained({"name": "torchvision:mobilenet_v3_small"})
    assert formats_of(encoder.architecture) == ("safetensors", "torchvision", "hf")
    (path, _) = export(encoder, card_of(encoder), "torchvision", tmp_path / "out")
    assert tensors_hash(torch.load(path, weights_only=True)) == weights_hash(encoder)
    network = torchvision.models.mobilenet_v3_small(weights=None)
    fit = network.load_state_dict(torch.load(path, weights_only=True), strict=False)
    assert {name.split(".")[0] for name in fit.missing_keys} == {"classifier"}
    assert not fit.unexpected_keys


def test_squeezenet_is_torchvisions_and_caffenet_nobodys(tmp_path: Path) -> None:
    squeezenet = trained({"name": "squeezenet"})
    assert formats_of(squeezenet.architecture) == ("safetensors", "torchvision", "hf")
    (path, _) = export(squeezenet, card_of(squeezenet), "torchvision", tmp_path / "out")
    fit = torchvision.models.squeezenet1_0(weights=None).load_state_dict(
        torch.load(path, weights_only=True), strict=False
    )
    assert all(name.startswith("classifier.") for name in fit.missing_keys)
    assert not fit.unexpected_keys

    caffenet = trained({"name": "caffenet", "width": 0.125})
    assert formats_of(caffenet.architecture) == ("safetensors", "hf")
    with pytest.raises(UserError, match=r"alexnet is another network: narrower.*It has: safetensors, hf"):
        export(caffenet, card_of(caffenet), "torchvision", tmp_path / "caffenet")
    export(caffenet, card_of(caffenet), "hf", tmp_path / "caffenet")
    config = json.loads((tmp_path / "caffenet" / "config.json").read_text())
    assert config["library"] == "ssl-bench"
    assert config["sha256"] == weights_hash(caffenet)
    assert config["architecture"] == {"name": "caffenet", "width": 0.125}
    assert Preprocessing.model_validate(config["preprocessing"]) == caffenet.preprocessing


@pytest.mark.parametrize(
    ("architecture", "formats"),
    [
        ({"name": "resnet50"}, FORMATS),
        ({"name": "wide_resnet50_2", "width": 1.0}, FORMATS),
        ({"name": "resnet50", "width": 0.25}, ("safetensors", "hf")),
        ({"name": "resnet20-cifar"}, ("safetensors", "hf")),
        ({"name": "squeezenet", "width": 0.5}, ("safetensors", "hf")),
        ({"name": "torchvision:vgg16"}, ("safetensors", "torchvision", "hf")),
        ({"name": "timm:convnext_tiny"}, ("safetensors", "timm", "hf")),
        ({"name": "factory", "file": "net.py", "function": "make"}, ("safetensors",)),
    ],
)
def test_formats_of_architectures(architecture: dict[str, Any], formats: tuple[str, ...]) -> None:
    assert formats_of(architecture) == formats


def test_a_refusal_names_what_there_is(resnet: Encoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown format 'tim', did you mean 'timm'"):
        export(resnet, card_of(resnet), "tim", tmp_path / "out")
    thin = trained({"name": "resnet18", "width": 0.25})
    with pytest.raises(
        UserError, match=r"width 1 alone, and this one has width 0.25.*It has: safetensors, hf"
    ):
        export(thin, card_of(thin), "timm", tmp_path / "out")
    with pytest.raises(UserError, match="ResNets of the usual width alone"):
        export(thin, card_of(thin), "detectron2", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_the_card_does_not_describe_are_not_written(resnet: Encoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not those that its card describes"):
        export(resnet, card_of(resnet, sha256="0" * 64), "timm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tensors_that_are_not_the_librarys_are_not_written(tmp_path: Path) -> None:
    broken: Any = trained({"name": "torchvision:mobilenet_v3_small"})
    del broken.features[3]
    with pytest.raises(UserError, match=r"has another mobilenet_v3_small.*tensors differ \(features\.11"):
        export(broken, card_of(broken), "torchvision", tmp_path / "out")
    thin = trained({"name": "resnet18", "width": 0.25})
    card = card_of(thin, architecture={"name": "resnet18"})
    for library in ("timm", "torchvision"):
        with pytest.raises(
            UserError, match=rf"{library} [\d.+cpu]+ has another resnet18.*100 tensors differ"
        ):
            export(thin, card, library, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_replaced(resnet: Encoder, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files already"):
        export(resnet, card_of(resnet), "safetensors", tmp_path)
    with pytest.raises(UserError, match="is a file"):
        export(resnet, card_of(resnet), "safetensors", tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_view_is_written_without_the_storage_behind_it(tmp_path: Path) -> None:
    encoder = trained({"name": "squeezenet"})
    first: Any = encoder.get_submodule("features.0")
    wide = torch.zeros(50_000_000)
    wide[: first.weight.numel()] = first.weight.detach().reshape(-1)
    first.weight = torch.nn.Parameter(wide[: first.weight.numel()].view(first.weight.shape))
    (path, _) = export(encoder, card_of(encoder), "torchvision", tmp_path / "out")
    assert path.stat().st_size < 4_000_000


def test_the_input_in_rgb_and_unit_range_is_the_same_input() -> None:
    given = Preprocessing(
        size=227,
        interpolation="bilinear",
        mean=(104.0, 117.0, 123.0),
        std=(1.0, 2.0, 4.0),
        channels="BGR",
        value_range=255,
    )
    mean, std = rgb_in_unit_range(given)
    pixels = torch.randint(0, 256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values).view(3, 1, 1)

    unit = (pixels.float() / 255 - column(mean)) / column(std)
    torch.testing.assert_close(unit.flip(1), given.normalise(pixels), rtol=1e-5, atol=1e-4)


def test_a_hub_config_keeps_what_timm_cannot_say(resnet: Encoder, tmp_path: Path) -> None:
    given = resnet.preprocessing.model_copy(
        update={
            "channels": "BGR",
            "value_range": 255,
            "mean": (104.0, 117.0, 123.0),
            "std": (1.0, 1.0, 1.0),
        }
    )
    export(resnet, card_of(resnet, preprocessing=given), "hf", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["pretrained_cfg"]["mean"] == pytest.approx([123 / 255, 117 / 255, 104 / 255])
    assert Preprocessing.model_validate(config["ssl_bench"]["preprocessing"]) == given
    assert re.search("input is BGR, not RGB", (tmp_path / "out" / "README.md").read_text())
