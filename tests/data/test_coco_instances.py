"""COCO's annotation files: odd polygons, both forms of run lengths, and mistakes named by file and entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_bench.data.coco_instances import _run_lengths
from ssl_bench.errors import UserError
from tests.data.drawn_coco import HEIGHT, WIDTH, A, B, broken, drawn, write

# pycocotools 2.0.11 with numpy 2 warns at each mask that is decoded.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.mark.parametrize("flat", [[2.0, 2.0], [1, 1, 3, 3]])
def test_lines_and_points_hold_no_pixels(tmp_path: Path, flat: list[float]) -> None:
    content = drawn()
    content["annotations"][0]["segmentation"].insert(0, flat)
    content["annotations"][1]["segmentation"] = [flat]
    one = write(tmp_path, content)
    assert [int(mask.sum()) for mask in one.object_masks(B)] == [6, 12, 6]
    assert not one.object_masks(A)[0].any()


# Runs of over 1023 pixels need three characters, those of falling length negative differences.
runs = st.lists(st.integers(1, 3000), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(runs)
def test_compressed_run_lengths_are_read(lengths: list[int]) -> None:
    from pycocotools import mask as coco_mask

    rle = coco_mask.frPyObjects({"size": [sum(lengths), 1], "counts": lengths}, sum(lengths), 1)
    assert _run_lengths(rle["counts"]) == lengths


def test_compressed_masks_are_those_of_the_runs(tmp_path: Path) -> None:
    from pycocotools import mask as coco_mask

    content = drawn()
    before = write(tmp_path, drawn()).object_masks(B)
    for item, mask in zip([content["annotations"][n] for n in (0, 2, 3)], before, strict=True):
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        item["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    (tmp_path / "packed").mkdir()
    after = write(tmp_path / "packed", content).object_masks(B)
    assert [mask.tolist() for mask in after] == [mask.tolist() for mask in before]


def masked(segmentation: Any) -> dict[str, Any]:
    return broken("annotations", 2, segmentation=segmentation)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "it needs the lists images, categories, annotations"),
        ({**drawn(), "images": []}, "lists no image"),
        ({**drawn(), "images": [5]}, "an image without id has id 5; expected is a whole number"),
        (broken("images", 1, id=42), "image id 42 stands more than once"),
        (broken("images", 1, id="7"), "image '7' has id '7'; expected is a whole number"),
        (broken("images", 1, id=-7), "image -7 has an id that is negative"),
        (broken("images", 1, width=None), "image 7 has width None; expected is a whole number"),
        (broken("images", 1, height=0), "image 7 has width and height below 1"),
        (broken("images", 1, file_name="b.jpg"), r"two images have the file_name 'b\.jpg'"),
        (broken("images", 1, file_name="../b.jpg"), r"file_name '\.\./b\.jpg' of an image"),
        (broken("images", 1, file_name=None), "file_name None of an image"),
        (broken("categories", 0, id=90), "category id 90 stands more than once"),
        (broken("categories", 0, name="zebra"), "category name 'zebra'; each needs a name of its own"),
        (broken("categories", 0, name=[]), r"category name \[\]"),
        (broken("annotations", 2, category_id=2), r"annotation 3 .*not among the 3 .*\(category_id 2\)"),
        (broken("annotations", 2, category_id=91), r"annotation 3 .*not among the 3 .*\(category_id 91\)"),
        (broken("annotations", 2, category_id=3.5), r"annotation 3 has category_id 3\.5"),
        (broken("annotations", 2, image_id=8), r"annotation 3 .*`images` does not list \(image_id 8\)"),
        (broken("annotations", 2, image_id=99), r"annotation 3 .*`images` does not list \(image_id 99\)"),
        (broken("annotations", 2, bbox=[1, 1, -1, 2]), r"annotation 3 has negative size; a bbox is \[x, y"),
        (broken("annotations", 2, bbox=[1, 1, 2, -1]), r"annotation 3 has negative size"),
        (broken("annotations", 2, bbox=[1, 1, 2]), r"annotation 3 has bbox \[1, 1, 2\]; expected is 4 numbers"),
        (broken("annotations", 2, bbox=[1, 1, 2, "3"]), "annotation 3 has bbox .*expected is 4 numbers"),
        (broken("annotations", 2, bbox=[1, 1, float("nan"), 2]), "annotation 3 has no finite bbox"),
        (broken("annotations", 2, bbox=None), "annotation 3 has bbox None"),
        (broken("annotations", 2, iscrowd=2), r"annotation 3 needs iscrowd 0 or 1 \(iscrowd 2\)"),
        (masked([[1, 1, 2, 2, 3]]), r"annotation 3 has a broken segmentation \(a polygon of 5 numbers"),
        (masked([1, 1, 2, 2, 3, 3]), r"annotation 3 .*a polygon is a list of numbers"),
        (masked([[1, 1, 2, 2, 3, "3"]]), "annotation 3 has a broken segmentation"),
        (masked([[1, 1, 2, 2, 3, 1e9]]), "annotation 3 has a polygon far outside its image"),
        (masked([[1, 1, 2, 2, 3, float("inf")]]), "annotation 3 has a polygon far outside"),
        (masked("x"), "annotation 3 .*neither a list of polygons nor run lengths"),
        (masked({"size": [HEIGHT, WIDTH]}), "annotation 3 has a broken segmentation"),
        (masked({"size": [WIDTH, HEIGHT], "counts": [48]}), r"run lengths of size \[8, 6\] in an image of"),
        (masked({"size": [HEIGHT, WIDTH], "counts": [40]}), "do not fill 6 x 8 pixels"),
        (masked({"size": [HEIGHT, WIDTH], "counts": [50, -2]}), "do not fill 6 x 8 pixels"),
        (masked({"size": [HEIGHT, WIDTH], "counts": "1"}), "do not fill 6 x 8 pixels"),
        (masked({"size": [HEIGHT, WIDTH], "counts": 48}), "annotation 3 has a broken segmentation"),
    ],
)  # fmt: skip
def test_mistakes_name_file_and_entry(tmp_path: Path, content: Any, message: str) -> None:
    one = write(tmp_path, content)
    with pytest.raises(UserError, match=rf"instances_val2017\.json: .*{message}"):
        one.image_ids("val2017")


def test_the_number_of_wrong_entries_is_told(tmp_path: Path) -> None:
    content = drawn()
    for item in content["annotations"]:
        item["category_id"] += 100
    with pytest.raises(UserError, match=r"annotation 4 .*\(category_id 101\)\. 5 are so\."):
        write(tmp_path, content).image_ids("val2017")
