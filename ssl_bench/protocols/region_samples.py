"""Images with their boxes, masks and proposals at the scale of a region-detection protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.proposals import Proposals
from ssl_bench.data.voc_xml import VocAnnotation
from ssl_bench.errors import UserError
from ssl_bench.progress import counted
from ssl_bench.protocols.contract import limited
from ssl_bench.region_schemas import GivenProposals, RegionDetectionSettings


class ProposedSet:
    """An image set together with the boxes that were proposed for its images; else that set itself."""

    def __init__(self, images: ImageSet, proposals: dict[str, Proposals]) -> None:
        """Set up.

        Args:
            images: The set.
            proposals: By split.
        """
        self.images, self.proposals = images, proposals

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "images":  # while it is being copied or pickled
            raise AttributeError(name)
        return getattr(self.images, name)


class RegionSamples:
    """One image a sample; in training with its objects, and images without any are left out if asked for."""

    skip_broken = False

    def __init__(
        self,
        devkit: ImageSet,
        split: str,
        settings: RegionDetectionSettings,
        *,
        training: bool,
        limit: int | None,
    ) -> None:
        self.devkit, self.settings, self.training = devkit, settings, training
        self.ids = limited(devkit.image_ids(split, listed(settings)), limit)
        devkit.check_images_present(self.ids)
        self.proposals: Proposals | None = None
        if isinstance(settings.proposals, GivenProposals):
            assert isinstance(devkit, ProposedSet), "the stage that opens the data brings the proposals"
            self.proposals = devkit.proposals[split]
            self.proposals.check(self.ids)
        if training and settings.skip_empty:
            self.ids = tuple(self._with_objects())
            if not self.ids:
                raise UserError(f"{devkit.list_path(split)}: no image holds an object to learn from")

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make `image` uint8 (3, H, W) and `scale` (4,), stored pixels to these; proposals at this scale.

        In training also `boxes` float32 (G, 4), `labels` int64 (G,) from 1, and `masks` uint8 (G, H, W).
        """
        image_id = self.ids[index]
        annotation = self.devkit.annotation(image_id)
        short, long = self._scale(rng)
        factor = min(
            short / min(annotation.width, annotation.height), long / max(annotation.width, annotation.height)
        )
        width, height = (max(1, round(side * factor)) for side in (annotation.width, annotation.height))
        path = self.devkit.image_path(image_id)
        stored = read_rgb(path, name=str(path), draft=short)
        pixels = np.asarray(stored.resize((width, height), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        scale = np.array([width / annotation.width, height / annotation.height] * 2, np.float32)
        sample: dict[str, Any] = {"scale": scale, "height": annotation.height, "width": annotation.width}
        if self.proposals is not None:
            assert isinstance(self.settings.proposals, GivenProposals)
            sample["proposals"] = self.proposals.boxes(image_id)[: self.settings.proposals.most] * scale
        if self.training:
            sample |= self._targets(image_id, annotation, scale, (height, width))
        if self.training and self.settings.flip and rng.random() < 0.5:
            pixels = pixels[..., ::-1]
            for name in ("boxes", "proposals"):
                if name in sample:
                    sample[name] = mirrored(sample[name], width)
            if "masks" in sample:
                sample["masks"] = np.ascontiguousarray(sample["masks"][..., ::-1])
        return {"image": np.ascontiguousarray(pixels), **sample}

    def _scale(self, rng: np.random.Generator) -> tuple[int, int]:
        """Choose the short side, and name the longest that the long one may become."""
        settings = self.settings
        if not self.training:
            return settings.test_short_side, settings.test_long_side
        sides = settings.train_short_sides
        if settings.train_scale == "range":
            return int(rng.integers(sides[0], sides[1] + 1)), settings.train_long_side
        return sides[int(rng.integers(len(sides)))], settings.train_long_side

    def _targets(
        self, image_id: str, annotation: VocAnnotation, scale: np.ndarray, size: tuple[int, int]
    ) -> dict[str, Any]:
        used = self._used(annotation)
        objects = [annotation.objects[place] for place in used]
        classes = self.devkit.classes
        targets = {
            "boxes": np.array([item.box for item in objects], np.float32).reshape(-1, 4) * scale,
            "labels": np.array([classes.index(item.name) + 1 for item in objects], np.int64),
        }
        if self.settings.masks is not None:
            masks = self.devkit.object_masks(image_id)
            found = [_resized(masks[place], size) for place in used]
            targets["masks"] = np.array(found, np.uint8).reshape(-1, *size)
        return targets

    def _used(self, annotation: VocAnnotation) -> list[int]:
        """Number the objects that are learned from; COCO has boxes without an extent, which nothing can learn."""
        return [
            place
            for place, item in enumerate(annotation.objects)
            if (self.settings.use_difficult or not item.difficult)
            and item.box[2] > item.box[0]
            and item.box[3] > item.box[1]
        ]

    def _with_objects(self) -> Iterator[str]:
        with counted("looking for objects", unit="images") as tell:
            for number, image_id in enumerate(self.ids):
                if self._used(self.devkit.annotation(image_id)):
                    yield image_id
                tell(number + 1, len(self.ids))


def listed(settings: RegionDetectionSettings) -> Any:
    """Name the lists that a protocol reads: images with object masks stand in lists of their own."""
    return "Segmentation" if settings.masks is not None else "Main"


def mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    """Mirror boxes (R, 4) in an image of some width."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a mask (H, W) to rows and columns, by the nearest pixel."""
    picture = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.NEAREST))
