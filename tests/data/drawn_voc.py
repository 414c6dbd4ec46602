"""A VOC year folder of a few drawn images, in the devkit's layout, for tests of everything that reads VOC."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES, VOID

WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True)
class DrawnObject:
    """One rectangle: class, 1-based inclusive box as VOC writes it, and the difficult mark."""

    name: str
    xmin: int
    ymin: int
    xmax: int
    ymax: int
    difficult: bool = False


def drawn_objects(number: int) -> list[DrawnObject]:
    """The objects of image `number`: one of a changing class, sometimes difficult, and often a person."""
    first = VOC_CLASSES[number % len(VOC_CLASSES)]
    objects = [DrawnObject(first, 1 + number % 4, 2, 24 + number % 4, 30, difficult=number % 4 == 3)]
    if number % 2 == 0:
        objects.append(DrawnObject("person", 30, 10, WIDTH, HEIGHT))
    return objects


def draw_voc(
    root: Path, year: str = "VOC2007", *, images_per_split: int = 4, class_lists: bool = True, seed: int = 0
) -> VocDevkit:
    """Write ROOT/VOCdevkit/YEAR with the splits train, val, trainval and test; half of each has masks, too.

    Images are numbered from 1 on: train, then val, then test, each `images_per_split` long.
    """
    folder = root / "VOCdevkit" / year
    for name in ("Annotations", "JPEGImages", "SegmentationClass", "SegmentationObject"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lists: dict[str, list[int]] = {}
    for place, split in enumerate(("train", "val", "test")):
        lists[split] = list(range(place * images_per_split + 1, (place + 1) * images_per_split + 1))
    lists["trainval"] = lists["train"] + lists["val"]
    for number in lists["trainval"] + lists["test"]:
        _draw_image(folder, number, rng)
    for split, numbers in lists.items():
        _write_list(folder / "ImageSets/Main" / f"{split}.txt", [image_id(number) for number in numbers])
        with_masks = [image_id(number) for number in numbers if number % 2 == 0]
        _write_list(folder / "ImageSets/Segmentation" / f"{split}.txt", with_masks)
        if class_lists:
            _write_class_lists(folder, split, numbers)
    return VocDevkit(folder)


def image_id(number: int) -> str:
    return f"{number:06d}"


def _draw_image(folder: Path, number: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(90, 160, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    classes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    instances = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    entries = []
    for index, item in enumerate(drawn_objects(number), start=1):
        inside = np.s_[item.ymin - 1 : item.ymax, item.xmin - 1 : item.xmax]
        core = np.s_[item.ymin : item.ymax - 1, item.xmin : item.xmax - 1]  # one pixel of void around it
        pixels[inside] = rng.integers(0, 256, size=3)
        for mask, value in ((classes, VOC_CLASSES.index(item.name) + 1), (instances, index)):
            mask[inside] = VOID
            mask[core] = value
        entries.append(
            f"<object><name>{item.name}</name><pose>Left</pose><truncated>0</truncated>"
            f"<difficult>{int(item.difficult)}</difficult><bndbox><xmin>{item.xmin}</xmin>"
            f"<ymin>{item.ymin}</ymin><xmax>{item.xmax}</xmax><ymax>{item.ymax}</ymax></bndbox></object>"
        )
    name = image_id(number)
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
    (folder / "Annotations" / f"{name}.xml").write_text(
        f"<annotation><filename>{name}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height>"
        f"<depth>3</depth></size>{''.join(entries)}</annotation>\n"
    )
    if number % 2 == 0:
        _save_mask(folder / "SegmentationClass" / f"{name}.png", classes)
        _save_mask(folder / "SegmentationObject" / f"{name}.png", instances)


def _save_mask(path: Path, indices: np.ndarray) -> None:
    mask = Image.fromarray(indices, mode="L").copy()
    mask.putpalette([(37 * value) % 256 for value in range(768)])  # any colours: only indices count
    mask.save(path)


def _write_list(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def _write_class_lists(folder: Path, split: str, numbers: list[int]) -> None:
    for name in VOC_CLASSES:
        lines = []
        for number in numbers:
            marks = [item.difficult for item in drawn_objects(number) if item.name == name]
            label = -1 if not marks else 0 if all(marks) else 1
            lines.append(f"{image_id(number)} {label:2d}")
        _write_list(folder / "ImageSets/Main" / f"{name}_{split}.txt", lines)
