"""Every layout, from the file on disk to the encoder: whole, and the same weights as were written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError
from ssl_bench.weights.loading import load_foreign, read_foreign
from tests.weights import foreign_convnexts, foreign_convolutions, foreign_transformers
from tests.weights.foreign_networks import ForeignFile

BUILDERS = {**foreign_transformers.BUILDERS, **foreign_convnexts.BUILDERS}
NORMALISED_BY_US = ("convnext-v2-masked",)  # it has no last normalisation; ours is neutral


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_transformer_or_convnext_loads_whole(build: Callable[[], ForeignFile], tmp_path: Path) -> None:
    file = build()
    torch.save(file.content, tmp_path / "file.pth")

    encoder, found = load_foreign(tmp_path / "file.pth", {})

    assert found.understood.layout == file.layout
    assert found.sha256 == weights_hash(encoder)
    if file.layout not in NORMALISED_BY_US:
        assert encoder.state_dict().keys() == file.encoder.keys()
        for name, tensor in encoder.state_dict().items():
            # A class token that is the sum of two stored tensors is rounded; everything else is bit by bit.
            tolerance = 1e-6 if name == "cls_token" else 0.0
            torch.testing.assert_close(tensor, file.encoder[name], rtol=0, atol=tolerance)


def test_moco_v3s_small_network_has_twelve_heads() -> None:
    """No shape tells it, and with six the same weights would give other features."""
    from ssl_bench.weights.transformer_layouts import settled_by_layout

    small = {"name": "timm:vit_small_patch16_224"}
    assert settled_by_layout("moco-v3", small)["num_heads"] == 12
    assert settled_by_layout("dino", small) == small


def test_another_image_size_interpolates_positions_and_says_so(tmp_path: Path) -> None:
    file = foreign_transformers.BUILDERS["dino"]()
    torch.save(file.content, tmp_path / "dino.pth")
    words = ":".join(
        [str(file.architecture["name"]), *(f"{k}={v}" for k, v in file.architecture.items() if k != "name")]
    )
    side = 2 * build_encoder(file.architecture).preprocessing.size
    words = ":".join(part for part in words.split(":") if not part.startswith("img_size"))

    encoder, found = load_foreign(tmp_path / "dino.pth", {"as": f"{words}:img_size={side}"})

    assert found.match.complete
    assert "position embeddings" in found.match.reshaped["pos_embed"]
    assert encoder.preprocessing.size == side


def test_a_misfit_names_what_is_missing(tmp_path: Path) -> None:
    state = foreign_convolutions.drawn({"name": "resnet18", "width": 0.125}).state_dict()
    torch.save(foreign_convolutions.moco_v2(state), tmp_path / "moco.pth")

    found = read_foreign(tmp_path / "moco.pth", {"as": "resnet34:width=0.125"})

    assert not found.match.complete
    assert found.sha256 is None
    with pytest.raises(UserError, match=r"moco.pth: only \d+ of \d+ tensors.*missing.*Nothing was loaded"):
        load_foreign(tmp_path / "moco.pth", {"as": "resnet34:width=0.125"})


def test_values_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    state = foreign_convolutions.drawn({"name": "resnet18", "width": 0.125}).state_dict()
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")

    with pytest.raises(UserError, match=r"nan\.pth: .*layer1\.0\.conv1\.weight"):
        read_foreign(tmp_path / "nan.pth", {})


def test_a_tensor_too_many_is_not_called_a_share_of_what_is_there(tmp_path: Path) -> None:
    state = foreign_convolutions.drawn({"name": "resnet18", "width": 0.125}).state_dict()
    torch.save({**state, "layer2.0.extra.weight": torch.ones(3)}, tmp_path / "net.pth")

    with pytest.raises(
        UserError, match=r"has tensors that resnet18 does not have \(layer2\.0\.extra\.weight is unexpected"
    ):
        load_foreign(tmp_path / "net.pth", {})
