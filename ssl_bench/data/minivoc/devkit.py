"""Write pictures, annotations and image sets in the layout of the PASCAL VOC devkit.

Only what a reader of VOC looks for: the elements of the XML files, palette images for the masks (0 is
background, 255 void, k the k-th class or the k-th object of the annotation) and the lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_bench.data.minivoc.scene import Scene
from ssl_bench.data.voc_classes import VOC_CLASSES

FOLDERS = (
    "JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject",
    "ImageSets/Main", "ImageSets/Segmentation",
)  # fmt: skip
JPEG_QUALITY = 92


def voc_palette() -> bytes:
    """The devkit's colour map, 256 x RGB: the bits of a label, three a round, become high bits of R, G, B."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    labels = np.arange(256)
    for shift in range(7, -1, -1):
        for channel in range(3):
            palette[:, channel] |= (((labels >> channel) & 1) << shift).astype(np.uint8)
        labels = labels >> 3
    return palette.tobytes()


_PALETTE = voc_palette()


def annotation_xml(image_id: str, scene: Scene) -> str:
    """The XML annotation of one scene, with 1-based inclusive boxes as in the devkit."""
    height, width = scene.image.shape[:2]
    lines = [
        "<annotation>",
        "\t<folder>MiniVOC</folder>",
        f"\t<filename>{escape(image_id)}.jpg</filename>",
        "\t<source>\n\t\t<database>MiniVOC, synthetic</database>\n\t</source>",
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>",
        "\t<segmented>1</segmented>",
    ]
    for item in scene.objects:
        xmin, ymin, xmax, ymax = item.box
        lines += [
            "\t<object>",
            f"\t\t<name>{item.name}</name>",
            f"\t\t<pose>{item.pose}</pose>",
            f"\t\t<truncated>{int(item.truncated)}</truncated>",
            f"\t\t<difficult>{int(item.difficult)}</difficult>",
            f"\t\t<bndbox>\n\t\t\t<xmin>{xmin}</xmin>\n\t\t\t<ymin>{ymin}</ymin>",
            f"\t\t\t<xmax>{xmax}</xmax>\n\t\t\t<ymax>{ymax}</ymax>\n\t\t</bndbox>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _write_mask(mask: NDArray[np.uint8], path: Path) -> None:
    """Write a palette image; what is read back is the mask itself."""
    image = Image.fromarray(mask)
    image.putpalette(_PALETTE)
    # Coded in memory and written at once: Pillow asks the file system for more than that.
    coded = BytesIO()
    image.save(coded, "PNG", compress_level=1)
    path.write_bytes(coded.getbuffer())


def write_image(folder: Path, image_id: str, scene: Scene, *, labelled: bool) -> dict[str, NDArray[np.uint8]]:
    """Write the JPEG of a scene and, if labelled, its annotation and masks.

    Returns:
        For each image file, by its name relative to the folder, the pixels a reader gets from it.
    """
    coded = BytesIO()
    Image.fromarray(scene.image).save(coded, "JPEG", quality=JPEG_QUALITY)
    name = f"JPEGImages/{image_id}.jpg"
    (folder / name).write_bytes(coded.getbuffer())
    with Image.open(coded) as decoded:
        pixels: dict[str, NDArray[np.uint8]] = {name: np.asarray(decoded)}
    if labelled:
        xml = annotation_xml(image_id, scene)
        (folder / "Annotations" / f"{image_id}.xml").write_text(xml, encoding="utf-8")
        for kind, mask in (("Class", scene.class_mask), ("Object", scene.instance_mask)):
            name = f"Segmentation{kind}/{image_id}.png"
            _write_mask(mask, folder / name)
            pixels[name] = mask
    return pixels


def presence(objects: Sequence[tuple[str, bool]], name: str) -> int:
    """The devkit's label of a class in an image given its (name, difficult): 1, 0 only difficult, -1 absent."""
    found = [difficult for other, difficult in objects if other == name]
    return -1 if not found else 0 if all(found) else 1


def write_image_sets(
    folder: Path, splits: dict[str, list[str]], contents: dict[str, list[tuple[str, bool]]]
) -> None:
    """Write ImageSets.

    Args:
        folder: the MiniVOC folder.
        splits: image identifiers of each list, in order; "unlabelled" gets no class lists and no masks.
        contents: for each labelled image the (name, difficult) of its objects.
    """
    main, segmentation = folder / "ImageSets/Main", folder / "ImageSets/Segmentation"
    for split, ids in splits.items():
        listing = "".join(f"{i}\n" for i in ids)
        (main / f"{split}.txt").write_text(listing, encoding="utf-8")
        if split == "unlabelled":
            continue
        (segmentation / f"{split}.txt").write_text(listing, encoding="utf-8")
        for name in VOC_CLASSES:
            rows = "".join(f"{i} {presence(contents[i], name):2d}\n" for i in ids)
            (main / f"{name}_{split}.txt").write_text(rows, encoding="utf-8")
