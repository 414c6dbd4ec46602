"""Files of torch.save, zipped and legacy: what is honest comes back exactly, the rest is refused unread."""

from __future__ import annotations

import argparse
import collections
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench.errors import UserError
from ssl_bench.weights.reading import read_checkpoint
from tests.weights.foreign_files import (
    HUGE,
    Command,
    Evaluated,
    inflated,
    legacy,
    pickled,
    same,
    tensors,
    with_pickle,
)

Save = Callable[[Path, Any], Path]


def zipped(path: Path, obj: Any) -> Path:
    torch.save(obj, path)
    return path


@pytest.fixture(params=[zipped, legacy])
def save(request: pytest.FixtureRequest) -> Save:
    return request.param


class Config:
    """A class of a package that we have not got."""

    def __init__(self) -> None:
        self.lr = 0.1


def test_round_trip(tmp_path: Path, save: Save) -> None:
    found = read_checkpoint(save(tmp_path / "weights.anything", tensors()))
    assert found.name == "weights.anything"
    assert found.format == ("torch" if save is zipped else "torch-legacy")
    assert found.n_bytes == (tmp_path / "weights.anything").stat().st_size
    assert found.content.keys() == tensors().keys()
    assert all(same(found.content[name], tensor) for name, tensor in tensors().items())


def test_a_training_checkpoint(tmp_path: Path, save: Save) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(4, 3, 3, 3)}
    content = {
        "model": network.state_dict(),
        "parameter": network[0].weight,
        "args": argparse.Namespace(lr=0.1, out=Path("runs/a"), nested=argparse.Namespace(x=[1, (2, None)])),
        "optimizer": {"state": {0: state}, "param_groups": [{"lr": 0.1, "params": [0, 1, 2, 3]}]},
        "accuracy": np.float64(91.5),
        "step": np.int32(7),
        "rng": np.arange(5, dtype=np.uint32),
        "seen": collections.defaultdict(list, a=[1]),
        "counts": collections.Counter(a=2),
        "shape": torch.Size([2, 3]),
        "kind": torch.float16,
        "where": torch.device("cuda", 1),
        "names": {"a"},
        "raw": b"\xff\x00",
        "tied": [network[0].bias, network[0].bias],
    }
    found = read_checkpoint(save(tmp_path / "c.pth", content)).content
    assert all(same(found["model"][name], tensor) for name, tensor in network.state_dict().items())
    assert type(found["parameter"]) is torch.Tensor
    assert not found["parameter"].requires_grad
    assert found["args"] == {"lr": 0.1, "out": "runs/a", "nested": {"x": [1, [2, None]]}}
    assert found["optimizer"]["state"]["0"]["step"] == 1
    assert found["optimizer"]["param_groups"][0]["params"] == [0, 1, 2, 3]
    assert (found["accuracy"], found["step"]) == (91.5, 7)
    assert (found["rng"].dtype, found["rng"].tolist()) == (torch.uint32, list(range(5)))
    rest = {key: found[key] for key in ("seen", "counts", "shape", "kind", "where", "names", "raw")}
    assert rest == {
        "seen": {"a": [1]}, "counts": {"a": 2}, "shape": [2, 3], "kind": "torch.float16",
        "where": "cuda:1", "names": ["a"], "raw": b"\xff\x00",
    }  # fmt: skip
    assert found["tied"][0].data_ptr() == found["tied"][1].data_ptr()


def test_numpy_1_spellings(tmp_path: Path) -> None:
    path = zipped(tmp_path / "new.pth", {"best": np.float64(1.5), "rng": np.arange(3)})
    old = with_pickle(path, tmp_path / "old.pth", lambda data: data.replace(b"numpy._core.", b"numpy.core."))
    assert b"numpy.core" in old.read_bytes()
    found = read_checkpoint(old).content
    assert found["best"] == 1.5
    assert found["rng"].tolist() == [0, 1, 2]


def test_zip_tensors_are_memory_maps(tmp_path: Path) -> None:
    path = zipped(tmp_path / "w.pth", {"w": torch.zeros(1 << 20)})
    tensor = read_checkpoint(path).content["w"]
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc here")
    spans = [line.split()[0].split("-") for line in maps.read_text().splitlines() if line.endswith(str(path))]
    assert any(int(first, 16) <= tensor.data_ptr() < int(last, 16) for first, last in spans)
    tensor += 1  # private: the file does not change
    assert float(read_checkpoint(path).content["w"].sum()) == 0


@pytest.mark.parametrize("share", [0.0005, 0.003, 0.02, 0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, save: Save, share: float) -> None:
    whole = save(tmp_path / "whole.pth", {"w": torch.zeros(20_000), **tensors()}).read_bytes()
    path = tmp_path / "part.pth"
    path.write_bytes(whole[: max(2, int(len(whole) * share))])
    with pytest.raises(UserError, match=r"part\.pth: .*truncated(,? or .*:)? fetch it again"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", [Command, Evaluated])
def test_code_does_not_run(tmp_path: Path, save: Save, kind: type[Command]) -> None:
    marker = tmp_path / "marker"
    path = save(tmp_path / "bad.pth", {"state_dict": tensors(), "epoch": kind(marker)})
    with pytest.raises(
        UserError, match=r"bad\.pth: would run code.*(system|eval)\).*do not open|Do not open"
    ):
        read_checkpoint(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file is a real one
    assert marker.exists()


def test_code_in_front_of_a_legacy_file_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    whole = legacy(tmp_path / "good.pth", tensors()).read_bytes()
    path = tmp_path / "bad.pth"
    magic = whole[: whole.index(b".") + 1]
    path.write_bytes(magic + pickled(Command(marker), 2) + whole[len(magic) :])
    with pytest.raises(UserError, match=r"would run code"):
        read_checkpoint(path)
    assert not marker.exists()


def test_foreign_classes_are_named(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "lit.ckpt", {"state_dict": tensors(), "hyper_parameters": Config()})
    with pytest.raises(
        UserError, match=rf"lit\.ckpt: needs more.*{re.escape(__name__)}\.Config\. Convert.*torch\.save"
    ):
        read_checkpoint(path)


def test_whole_networks_are_refused(tmp_path: Path, save: Save) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = save(tmp_path / "net.pth", torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"net\.pth: (needs more.*Linear|is a whole network).*torch\.save"):
        read_checkpoint(path)


def test_declared_sizes_are_not_believed(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "w.pth", {"w": torch.zeros(77)})
    huge = tmp_path / "huge.pth"
    if save is zipped:
        with_pickle(path, huge, lambda data: inflated(data, 77, HUGE))
    else:
        content = _pickle_of(path)
        huge.write_bytes(path.read_bytes().replace(content, inflated(content, 77, HUGE)))
    assert huge.stat().st_size < 2000
    with pytest.raises(
        UserError, match=r"huge\.pth: declares 100,000,000,000 bytes of tensors and has [\d,]+ bytes"
    ):
        read_checkpoint(huge)


def _pickle_of(path: Path) -> bytes:
    """The content's pickle in a legacy file: the fourth."""
    from ssl_bench.weights.pickle_tokens import tokens

    data, start = path.read_bytes(), 0
    for _ in range(3):
        start = [end for *_, end in tokens(data, start)][-1]
    return data[start : [end for *_, end in tokens(data, start)][-1]]


def test_a_storage_beyond_its_record_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "w.pth", {"w": torch.zeros(77), "other": torch.zeros(5000)})
    longer = with_pickle(path, tmp_path / "longer.pth", lambda data: inflated(data, 77, 78))
    with pytest.raises(UserError, match=r"declares 312 bytes"):
        read_checkpoint(longer)


def test_expanded_views_are_refused(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "view.pth", {"w": torch.zeros(1).expand(10**5, 10**6)})
    assert path.stat().st_size < 2000
    with pytest.raises(
        UserError, match=r"tensor of \(100000, 1000000\), 400,000,000,000 bytes, on a storage of 4"
    ):
        read_checkpoint(path)


def test_the_same_numbers_a_thousand_times(tmp_path: Path, save: Save) -> None:
    one = torch.zeros(100_000)
    path = save(tmp_path / "many.pth", [one.view(-1) for _ in range(1000)])
    with pytest.raises(UserError, match=r"more than 16 times over"):
        read_checkpoint(path)


def test_references_are_counted(tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_bench.weights.plain_values.MOST_VALUES", 10_000)
    laughs: list[Any] = []
    for _ in range(30):
        laughs = [laughs, laughs]
    with pytest.raises(UserError, match=r"refers to more than 10,000"):
        read_checkpoint(save(tmp_path / "laughs.pth", {"a": laughs}))


def test_other_tensors_are_refused(tmp_path: Path, save: Save) -> None:
    def refusal(tensor: torch.Tensor) -> str:
        with pytest.raises(UserError) as error:
            read_checkpoint(save(tmp_path / "t.pth", {"w": tensor}))
        return str(error.value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codes = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    assert re.search(r"t\.pth: holds quantised tensors.*dequantise", refusal(codes))
    assert "complex" in refusal(torch.ones(2, dtype=torch.complex64))
    assert "sparse" in refusal(torch.eye(3).to_sparse())
    assert "quantised" in refusal(torch.ones(2).to(torch.float8_e4m3fn))
    assert re.search("meta|without values", refusal(torch.empty(2, device="meta")))


def test_compressed_zips_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "w.pth", {"w": torch.zeros(10**6)})
    bomb = with_pickle(path, tmp_path / "bomb.pth", lambda data: data, compress=True)
    assert bomb.stat().st_size < 20_000
    with pytest.raises(UserError, match=r"bomb\.pth: is a compressed zip"):
        read_checkpoint(bomb)


def test_zips_that_are_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("weights/model.pth", b"x")
    with pytest.raises(UserError, match=r"a\.zip: is a zip and no checkpoint \(model\.pth\).*unpack it"):
        read_checkpoint(tmp_path / "a.zip")
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    with pytest.raises(UserError, match=r"a\.npz: is a numpy archive"):
        read_checkpoint(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a/data.pkl", b"x")
        archive.writestr("b/data.pkl", b"x")
    with pytest.raises(UserError, match=r"more than one checkpoint"):
        read_checkpoint(tmp_path / "two.zip")


def test_doubled_entries_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "w.pth", {"w": torch.zeros(3)})
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(archive.namelist()[0], b"other")
    with pytest.raises(UserError, match="several entries of one name"):
        read_checkpoint(path)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    with pytest.raises(UserError, match=r"script\.pt: is a TorchScript archive.*torch\.jit\.load"):
        read_checkpoint(tmp_path / "script.pt")


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], 7, {}])
def test_tensors_have_to_have_names(tmp_path: Path, save: Save, content: Any) -> None:
    with pytest.raises(UserError, match=r"w\.pth: holds no.*state_dict\(\)"):
        read_checkpoint(save(tmp_path / "w.pth", content))


def test_keys_that_are_written_alike(tmp_path: Path, save: Save) -> None:
    with pytest.raises(UserError, match="two keys at a "):
        read_checkpoint(save(tmp_path / "w.pth", {"a": {1: 2, "1": 3}}))


def test_newer_protocols_say_so(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "p4.pth", pickle_protocol=4)
    with pytest.raises(
        UserError, match=r"p4\.pth: is pickled in a way that torch's safe reader does not take"
    ):
        read_checkpoint(tmp_path / "p4.pth")


def test_safe_globals_are_left_as_they_were(tmp_path: Path, save: Save) -> None:
    before = torch.serialization.get_safe_globals()
    read_checkpoint(save(tmp_path / "w.pth", {"args": argparse.Namespace(a=1), "w": torch.zeros(2)}))
    assert torch.serialization.get_safe_globals() == before


@pytest.mark.parametrize(
    ("name", "format_", "keys"),
    [
        ("weights/squeezenet1_0-imagenet/decoded_squeezenet1_0_bgr255.pth", "torch", 52),
        ("weights/resnet20-cifar10/resnet20-12fca82f.th", "torch-legacy", 2),
    ],
)
def test_real_files(
    tmp_path: Path, shared_file: Callable[[str], Path], name: str, format_: str, keys: int
) -> None:
    with zipfile.ZipFile(shared_file("weights.zip")) as archive:
        path = Path(archive.extract(name, tmp_path))
    found = read_checkpoint(path)
    assert (found.format, len(found.content)) == (format_, keys)
    state = found.content.get("state_dict", found.content)
    wanted = torch.load(path, weights_only=True, map_location="cpu")
    assert all(same(state[key], tensor) for key, tensor in wanted.get("state_dict", wanted).items())


def test_a_torch_file_is_read_by_its_content_under_the_name_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "renamed.safetensors"
    torch.save({"conv1.weight": torch.ones(2, 3)}, path)

    assert torch.equal(read_checkpoint(path).content["conv1.weight"], torch.ones(2, 3))
