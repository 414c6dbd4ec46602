"""Real foreign weights: what they are, and that they still know what they learned."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from timm.data import ImageNetInfo

from ssl_bench.weights.loading import Foreign, load_foreign

SQUEEZENET = "weights/squeezenet1_0-imagenet/decoded_squeezenet1_0_bgr255.pth"
RESNET20 = "weights/resnet20-cifar10/resnet20-12fca82f.th"
DECLARED = {"channels": "BGR", "range": "255", "mean": "104,117,123", "std": "1", "size": "227"}


@pytest.fixture
def unpacked(shared_file, tmp_path) -> Path:
    with zipfile.ZipFile(shared_file("weights.zip")) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_the_squeezenet_is_told_by_its_tensors_and_loads_whole(unpacked: Path) -> None:
    encoder, found = load_foreign(unpacked / SQUEEZENET, DECLARED)

    assert found.understood.architecture == {"name": "squeezenet", "width": 1.0}
    assert len(found.match.matched) == found.match.wanted == 50
    assert [name for names in found.understood.left_out.values() for name in names] == [
        "classifier.1.weight",
        "classifier.1.bias",
    ]
    assert encoder.preprocessing.channels == "BGR"
    assert encoder.preprocessing.mean == (104, 117, 123)


def test_the_cifar_resnet_is_told_by_its_tensors_and_loads_whole(unpacked: Path) -> None:
    encoder, found = load_foreign(unpacked / RESNET20, {})

    assert found.understood.architecture["name"] == "resnet20-cifar"
    assert found.match.complete
    assert encoder.preprocessing.size == 32
    assert "module." in found.understood.where


def test_the_squeezenet_still_tells_classes_apart_and_hardly_with_swapped_channels(
    unpacked: Path, shared_file
) -> None:
    """Logits over the 50 classes: at least 37 % top-1, at least 10 points less in the wrong order (chance 2 %)."""
    pixels, labels, wnids = _validation_images(shared_file("tiny-imagenet-50.zip"))
    known = ImageNetInfo().label_names()
    columns = torch.tensor([known.index(wnid) for wnid in wnids])

    right = _accuracy(load_foreign(unpacked / SQUEEZENET, DECLARED), pixels, labels, columns)
    # The same means for the same colours, in the other order: only the channels are swapped.
    swapped = DECLARED | {"channels": "RGB", "mean": "123,117,104"}
    wrong = _accuracy(load_foreign(unpacked / SQUEEZENET, swapped), pixels, labels, columns)

    print(f"top-1 {right:.2f} % as declared, {wrong:.2f} % with channels swapped")
    assert right >= 37
    assert wrong <= right - 10


def _validation_images(path: Path) -> tuple[torch.Tensor, np.ndarray, list[str]]:
    pixels, classes = [], []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if "/val/" in name and not name.endswith("/"):
                with archive.open(name) as file:
                    image = Image.open(file).convert("RGB").resize((227, 227), Image.Resampling.BILINEAR)
                pixels.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
                classes.append(Path(name).parent.name)
    wnids = sorted(set(classes))
    return torch.stack(pixels), np.array([wnids.index(wnid) for wnid in classes]), wnids


def _accuracy(
    loaded: tuple[torch.nn.Module, Foreign], pixels: torch.Tensor, labels: np.ndarray, columns: torch.Tensor
) -> float:
    encoder, found = loaded
    weight, bias = (found.checkpoint.content[f"classifier.1.{part}"] for part in ("weight", "bias"))
    right = 0
    encoder = encoder.eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for start in range(0, len(pixels), 50):
            inputs = encoder.preprocessing.normalise(pixels[start : start + 50])
            maps = encoder(inputs.contiguous(memory_format=torch.channels_last))
            logits = F.relu(F.conv2d(maps, weight, bias)).mean((2, 3))[:, columns]
            right += int((logits.argmax(1).numpy() == labels[start : start + 50]).sum())
    return 100 * right / len(pixels)
