"""The context encoder as public re-implementations train it: what `pretraining_rate.py` holds ours against.

ImageFolder with PIL transforms, a DataLoader as it comes (no workers), fp32, no memory format, one optimiser as it
comes, and the step written out. The network is the same; so is the loss. The masks are a batch's that was drawn before:
this side does not pay for them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from ssl_bench.data.photos import Photos
from ssl_bench.engine.loading import Batch
from ssl_bench.pretexts.context_encoder import ContextEncoder, masked_l2
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.training_schemas import InputSettings, OptimizerSettings

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def lay_out(photos: Photos, root: Path, most: int) -> None:
    """Copy at most so many photos, evenly spread, into the one class folder that ImageFolder asks for."""
    folder = root / "photos"
    folder.mkdir()
    count = min(most, len(photos))
    for number in range(count):
        place = number * len(photos) // count
        path = folder / f"{number:07}{PurePosixPath(photos.names[place]).suffix}"
        path.write_bytes(photos.read(place))


def usual_transforms(settings: InputSettings) -> Callable[..., Tensor]:
    """What torchvision's examples do for such crops."""
    size, resize = settings.size, settings.resize
    if resize.kind == "area":
        crop = [transforms.RandomResizedCrop(size, scale=(resize.least, resize.most))]
    else:
        short = round((resize.least + resize.most) / 2) if resize.kind == "short-side" else size
        crop = [transforms.Resize(short), transforms.RandomCrop(size)]
    flip = [transforms.RandomHorizontalFlip()] if settings.flip else []
    last = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    found: Callable[..., Tensor] = transforms.Compose([*crop, *flip, *last])
    return found


def usual_optimizer(network: ContextEncoder, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The recipe's optimiser with torch's own defaults for how it is computed."""
    if settings.name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=settings.lr, momentum=settings.beta1)
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(network.parameters(), lr=settings.lr, betas=(settings.beta1, settings.beta2 or 0.999))


def plain_rate(
    pretext: ContextEncoder, recipe: PretrainRecipe, masks: Batch, root: Path, device: torch.device
) -> Callable[[int], float]:
    """Return a function from a number of steps to the images a second that the plain loop reaches.

    Args:
        masks: A batch with `removed` and `weight`, on the device.
        root: What `lay_out` filled.
    """
    network = copy.deepcopy(pretext).to(memory_format=torch.contiguous_format).train()
    optimizer = usual_optimizer(network, recipe.optimizer)
    size = recipe.schedule.batch_size
    dataset = ImageFolder(str(root), usual_transforms(recipe.input))
    loader = DataLoader(dataset, batch_size=size, shuffle=True, drop_last=True)
    removed, weight = masks["removed"].float(), masks["weight"].float()

    def rate(steps: int) -> float:
        started, done = time.perf_counter(), 0
        while done < steps:
            for images, _ in loader:
                images = images.to(device)
                loss = masked_l2(network.paint(images, removed), images, weight)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
                done += 1
                if done == steps:
                    break
        return steps * size / (time.perf_counter() - started)

    return rate
