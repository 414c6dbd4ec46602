"""One VOC annotation file: XML to typed objects, strictly and without the dangers of XML.

A file with a DOCTYPE is refused before anything in it is expanded (entities can fill the memory or read other
files); the official archives use none. The reader is strict, because the official archives are clean: in all
9,963 XML files of VOC2007 and 17,125 of VOC2012 no box leaves its image (1 <= xmin < xmax <= width, the same
for y), no class is unknown. So a box that does is an error of the file, often of 0-based coordinates, and is
not clipped in silence. What they do have is handled: <part> objects with boxes of their own, coordinates in
any order and (twice) with fractions, objects without <truncated> (6,278 of 2012).
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.parsers import expat

import numpy as np

from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.errors import UserError, nearest

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class VocObject:
    """One annotated object: class name, box (x0, y0, x1, y1) in pixels, half-open, and the two marks."""

    name: str
    box: Box
    difficult: bool
    truncated: bool


@dataclass(frozen=True)
class VocAnnotation:
    """What the XML file of one image says; width and height in pixels."""

    image_id: str
    width: int
    height: int
    objects: tuple[VocObject, ...]


def read_annotation(data: bytes, *, image_id: str, where: str) -> VocAnnotation:
    """Read the bytes of one annotation file; `where` names the file in errors.

    Raises:
        UserError: Not well formed, a DOCTYPE, an element missing, or an impossible value.
    """
    root = _parse(data, where)
    size = root.find("size")
    width, height = (int(_number(size, side, where, "<size>")) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise UserError(f"{where}: the image size is {width} x {height}. Correct <size>.")
    objects = []
    for number, element in enumerate(root.findall("object"), start=1):
        objects.append(_object(element, width, height, f"{where}, object {number}"))
    return VocAnnotation(image_id, width, height, tuple(objects))


def annotation_labels(annotation: VocAnnotation) -> np.ndarray:
    """Labels as VOC makes them of the objects, int8 (20,): 1 present, 0 only difficult ones, -1 absent."""
    labels = np.full(len(VOC_CLASSES), -1, dtype=np.int8)
    for item in annotation.objects:
        index = VOC_CLASSES.index(item.name)
        labels[index] = max(labels[index], 0 if item.difficult else 1)
    return labels


class _Doctype(Exception):
    pass


def _parse(data: bytes, where: str) -> ET.Element:
    """Parse with expat itself, which sees a DOCTYPE in whatever encoding the file is."""
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(data, True)
    except _Doctype:
        raise UserError(
            f"{where}: refused, because it has a DOCTYPE; VOC files have none. Remove it."
        ) from None
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter two: an unknown encoding
        raise UserError(f"{where}: not well-formed XML ({error}). Unpack the file again.") from error
    return builder.close()


def _refuse_doctype(*_: object) -> None:
    raise _Doctype


def _object(element: ET.Element, width: int, height: int, where: str) -> VocObject:
    name = _text(element, "name", where)
    if name not in VOC_CLASSES:
        raise UserError(
            f"{where}: unknown class {name!r}{nearest(name, VOC_CLASSES)}. Allowed: {', '.join(VOC_CLASSES)}"
        )
    xmin, ymin, xmax, ymax = _corners(element.find("bndbox"), where)
    if not (1 <= xmin <= xmax <= width and 1 <= ymin <= ymax <= height):
        raise _impossible_box((xmin, ymin, xmax, ymax), width, height, f"{where} ({name})")
    box = (xmin - 1, ymin - 1, xmax, ymax)
    return VocObject(name, box, _mark(element, "difficult", where), _mark(element, "truncated", where))


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _corners(box: ET.Element | None, where: str) -> Box:
    """The corners as they stand: one look each, since a split has tens of thousands, and with care if that fails."""
    try:
        xmin, ymin, xmax, ymax = map(float, map(box.findtext, _SIDES))  # type: ignore[union-attr]
        if math.isfinite(xmin + ymin + xmax + ymax):
            return xmin, ymin, xmax, ymax
    except (AttributeError, TypeError, ValueError):  # no box, no such side, no number
        pass
    xmin, ymin, xmax, ymax = (_number(box, side, where, "<bndbox>") for side in _SIDES)
    return xmin, ymin, xmax, ymax


def _impossible_box(corners: Box, width: int, height: int, where: str) -> UserError:
    """Say what is wrong with a box (1-based, inclusive) that is inverted or leaves its image."""
    xmin, ymin, xmax, ymax = corners
    given = f"box xmin={xmin:g} ymin={ymin:g} xmax={xmax:g} ymax={ymax:g}"
    if xmax < xmin or ymax < ymin:
        return UserError(f"{where}: {given} is inverted. Correct the order of its corners.")
    hint = " It looks 0-based; VOC counts from 1." if min(xmin, ymin) == 0 else ""
    return UserError(f"{where}: {given} leaves the image, 1..{width} x 1..{height}.{hint} Correct it.")


# A whole split is read before anything is scored, so the lookups below are those that ElementTree does in C:
# one name, among the direct children (which also keeps the boxes of <part> out).


def _text(element: ET.Element | None, name: str, where: str, inside: str = "") -> str:
    text = "" if element is None else (element.findtext(name) or "").strip()
    if not text:
        raise UserError(f"{where}: {inside}<{name}> is missing or empty. Unpack the file again.")
    return text


def _number(element: ET.Element | None, name: str, where: str, inside: str) -> float:
    text = _text(element, name, where, inside)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {inside}<{name}> is {text!r}, expected a number of pixels.")
    return value


def _mark(element: ET.Element, name: str, where: str) -> bool:
    text = (element.findtext(name) or "0").strip()  # a mark that is left out means no (VOC2012)
    if text not in ("0", "1"):
        raise UserError(f"{where}: <{name}> is {text!r}; allowed are 0 and 1.")
    return text == "1"
