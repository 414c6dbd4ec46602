"""Weights of libraries, from a fabricated cache and without any network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.library import pretrained_encoder
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.encoders.resnet import ResNetEncoder
from ssl_bench.errors import UserError

COMMIT = "0" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A Hugging Face cache without a network behind it; call it to put a model there."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    def put(name: str, network: str, **config: Any) -> Path:
        folder = tmp_path / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(COMMIT)
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        torch.manual_seed(3)
        model = timm.create_model(network, num_classes=10, **config.get("model_args", {}))
        save_file(model.state_dict(), snapshot / "model.safetensors")
        told = {
            "architecture": network,
            "num_classes": 10,
            "num_features": model.num_features,
            "pretrained_cfg": {
                "input_size": [3, 96, 96],
                "mean": [0.1, 0.2, 0.3],
                "std": [0.4, 0.5, 0.6],
                "interpolation": "bilinear",
                "num_classes": 10,
                "classifier": model.pretrained_cfg["classifier"],
                "first_conv": model.pretrained_cfg["first_conv"],
                "pool_size": [3, 3],
                "crop_pct": 0.9,
            },
        }
        (snapshot / "config.json").write_text(json.dumps({**told, **config}))
        return snapshot / "model.safetensors"

    return put


@pytest.mark.parametrize("network", ["test_resnet", "test_vit", "resnet18"])
def test_a_model_of_the_hub_comes_with_weights_options_and_input(
    network: str, hub: Callable[..., Path]
) -> None:
    options = {"model_args": {"patch_size": 8, "img_size": 96}} if network == "test_vit" else {}
    file = hub("someone/tiny", network, **options)
    encoder, about = pretrained_encoder("hf-hub", "someone/tiny", pretrained=True)
    from safetensors.torch import load_file

    stored = load_file(file)
    state = encoder.state_dict()
    assert {name for name in stored if name not in state} <= {
        "fc.weight",
        "fc.bias",
        "head.weight",
        "head.bias",
    }
    assert all(torch.equal(value, stored[name]) for name, value in state.items())
    assert about == {"weights": "hf-hub:someone/tiny", "preprocessing_basis": "config.json of someone/tiny"}
    preprocessing = encoder.preprocessing
    assert (preprocessing.size, preprocessing.mean, preprocessing.std) == (
        96,
        (0.1, 0.2, 0.3),
        (0.4, 0.5, 0.6),
    )
    assert preprocessing.interpolation == "bilinear"
    expected = {"name": "resnet18"} if network == "resnet18" else {"name": f"timm:{network}"}
    assert dict(encoder.architecture) == {**expected, **options.get("model_args", {})}
    assert build_encoder(encoder.architecture).state_dict().keys() == state.keys()
    untrained, said = pretrained_encoder("hf-hub", "someone/tiny", pretrained=False)
    assert weights_hash(untrained) != weights_hash(encoder)
    assert (untrained.preprocessing, said["weights"]) == (preprocessing, "")


def test_a_network_that_timm_does_not_have_is_said(hub: Callable[..., Path]) -> None:
    file = hub("someone/tiny", "test_vit")
    config = file.with_name("config.json")
    config.write_text(config.read_text().replace('"test_vit"', '"their_own"'))
    with pytest.raises(UserError, match=r"its config\.json names 'their_own', which timm does not have"):
        pretrained_encoder("hf-hub", "someone/tiny", pretrained=True)


@pytest.mark.usefixtures("hub")
def test_without_a_network_the_file_and_the_way_out_are_named() -> None:
    with pytest.raises(
        UserError, match=r"hf-hub:no/where: config.json of no/where could not be fetched.*\?as=timm:"
    ):
        pretrained_encoder("hf-hub", "no/where", pretrained=True)
    with pytest.raises(
        UserError,
        match=r"timm:test_vit: model.safetensors of timm/test_vit.r160_in1k could not be fetched and is in no cache "
        r".*--encoder PATH/TO/FILE\?as=timm:test_vit",
    ):
        pretrained_encoder("timm", "test_vit", pretrained=True)
    with pytest.raises(UserError, match="timm offers no weights of this network"):
        pretrained_encoder("timm", "test_vit_relpos", pretrained=True)


def test_timms_own_weights_come_from_the_cache(hub: Callable[..., Path]) -> None:
    from safetensors.torch import load_file

    file = hub("timm/test_resnet.r160_in1k", "test_resnet")
    stored = load_file(file)
    width = stored["fc.weight"].shape[1]
    save_file({**stored, "fc.weight": torch.zeros(1000, width), "fc.bias": torch.zeros(1000)}, file)
    encoder, about = pretrained_encoder("timm", "test_resnet", pretrained="true")
    assert all(torch.equal(value, stored[name]) for name, value in encoder.state_dict().items())
    assert about["weights"] == "timm test_resnet.r160_in1k"
    assert encoder.preprocessing.size == 160
    assert encoder.architecture == {"name": "timm:test_resnet"}


def test_torchvisions_weights_come_with_their_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    torch.manual_seed(3)
    fetched: list[str] = []

    def state(self: Any, *_: Any, **__: Any) -> dict[str, torch.Tensor]:
        fetched.append(self.name)
        return torchvision.models.get_model("mnasnet0_5", weights=None).state_dict()

    weights = torchvision.models.MNASNet0_5_Weights
    monkeypatch.setattr(weights, "get_state_dict", state)
    encoder, about = pretrained_encoder("torchvision", "mnasnet0_5", pretrained=True)
    assert about == {
        "weights": "torchvision mnasnet0_5 IMAGENET1K_V1",
        "preprocessing_basis": "torchvision's transforms of IMAGENET1K_V1",
    }
    assert (fetched, encoder.preprocessing.size) == (["IMAGENET1K_V1"], 224)
    with pytest.raises(UserError, match=r"unknown weights of torchvision's mnasnet0_5 'V9' \(known: DEFAULT"):
        pretrained_encoder("torchvision", "mnasnet0_5", pretrained="V9")


def test_a_failed_download_of_torchvision_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", fails)
    with pytest.raises(
        UserError,
        match=r"torchvision:resnet18: https://\S+/resnet18-f37072fd.pth could not be fetched .*no route to host.*"
        r"--encoder PATH/TO/FILE\?as=torchvision:resnet18",
    ):
        pretrained_encoder("torchvision", "resnet18", pretrained="IMAGENET1K_V1")
    encoder, about = pretrained_encoder("torchvision", "resnet18", pretrained="")
    assert isinstance(encoder, ResNetEncoder)
    assert about["weights"] == ""


def test_an_unknown_library_is_said() -> None:
    with pytest.raises(UserError, match="unknown library 'keras'"):
        pretrained_encoder("keras", "resnet50", pretrained=True)


def test_timm_is_imported_only_for_its_networks() -> None:
    code = (
        "import sys\n"
        "from ssl_bench.encoders.registry import build_encoder\n"
        "import ssl_bench.encoders.library, ssl_bench.encoders.module_encoder\n"
        "build_encoder({'name': 'timm:resnet18'})\n"
        "assert 'timm' not in sys.modules\n"
        "build_encoder({'name': 'timm:test_resnet'})\n"
        "assert 'timm' in sys.modules\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
