"""The SBD reader against MATLAB files written here, with known masks, and against broken ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ssl_bench.data.sbd import SbdSet, find_sbd
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.errors import UserError

WIDTH, HEIGHT = 20, 12
LISTS = {"train": ("2008_000002", "2008_000007"), "val": ("2009_000001",)}


def mask_of(image_id: str) -> np.ndarray:
    """A rectangle of a class that the name decides, and one pixel of the last class in a corner."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[2:7, 3:11] = int(image_id[-1])
    mask[-1, -1] = 20
    return mask


def draw_sbd(folder: Path, lists: Mapping[str, tuple[str, ...]] = LISTS) -> SbdSet:
    """Write the released layout into `folder` (the one that is called dataset in the release)."""
    for name in ("img", "cls", "inst"):
        (folder / name).mkdir(parents=True)
    for split, ids in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids))
        for image_id in ids:
            Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(folder / "img" / f"{image_id}.jpg")
            save_mask(folder, image_id, mask_of(image_id))
            (folder / "inst" / f"{image_id}.mat").write_bytes(b"not read")
    return SbdSet(folder)


def save_mask(folder: Path, image_id: str, mask: object) -> None:
    """Write cls/ID.mat with the fields of the release: borders and present classes beside the mask."""
    borders = np.empty((20, 1), dtype=object)
    borders[:] = [[np.zeros((2, 2), dtype=bool)]] * 20
    struct = {"Boundaries": borders, "Segmentation": mask, "CategoriesPresent": np.array([[1]])}
    savemat(folder / "cls" / f"{image_id}.mat", {"GTcls": struct}, do_compression=True)


@pytest.fixture
def sbd(tmp_path: Path) -> SbdSet:
    return draw_sbd(tmp_path / "benchmark_RELEASE/dataset")


def test_found_from_every_folder(sbd: SbdSet, tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "benchmark_RELEASE", sbd.root):
        assert SbdSet(root).root == sbd.root
        assert find_sbd(root) == sbd
    for name in ("SBD", "sbd"):
        (tmp_path / f"in_{name}").mkdir()
        flat = draw_sbd(tmp_path / f"in_{name}" / name)  # as torchvision unpacks it
        assert find_sbd(tmp_path / f"in_{name}") == flat
    assert (sbd.name, sbd.classes) == ("SBD", VOC_CLASSES)


def test_not_found(tmp_path: Path) -> None:
    (tmp_path / "cls").mkdir()  # a folder of masks alone could be anything
    assert find_sbd(tmp_path) is None
    with pytest.raises(UserError, match=r"no SBD here\. Expected is benchmark_RELEASE/dataset with img, cls"):
        SbdSet(tmp_path)


def test_lists(sbd: SbdSet) -> None:
    (sbd.root / "train.txt").write_text("2008_000007\n2008_000002\n")
    assert sbd.image_ids("train") == ("2008_000007", "2008_000002")  # the list's order
    assert sbd.image_ids("val", "Main") == ("2009_000001",)
    with pytest.raises(UserError, match=r"unknown split of .*'vall', did you mean 'val'.*known: train, val"):
        sbd.image_ids("vall")
    (sbd.root / "val.txt").write_text("2009_000001\n2009_000001\n")
    with pytest.raises(UserError, match=r"val\.txt: 1 images stand more than once"):
        sbd.image_ids("val")


def test_masks(sbd: SbdSet) -> None:
    for image_id in ("2008_000002", "2008_000007", "2009_000001"):
        mask = sbd.class_mask(image_id)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, mask_of(image_id))


def test_a_mask_of_one_row_stays_one(sbd: SbdSet) -> None:
    Image.new("RGB", (WIDTH, 1)).save(sbd.image_path("2008_000002"))
    save_mask(sbd.root, "2008_000002", np.full((1, WIDTH), 3, dtype=np.uint8))
    assert sbd.class_mask("2008_000002").tolist() == [[3] * WIDTH]


def test_labels_are_the_classes_of_the_masks(sbd: SbdSet) -> None:
    labels = sbd.image_labels("train")
    assert labels.dtype == np.int8
    present = [{k + 1 for k in np.flatnonzero(row == 1)} for row in labels]
    assert present == [{2, 20}, {7, 20}]
    assert set(np.unique(labels)) == {-1, 1}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            np.full((HEIGHT, WIDTH), 21, dtype=np.uint8),
            r"class index 21; allowed are 0\.\.20, SBD has no void",
        ),
        (np.full((HEIGHT, WIDTH), 255, dtype=np.uint8), "class index 255"),
        (np.zeros((WIDTH, HEIGHT), dtype=np.uint8), r"the mask is 12 x 20, its image 20 x 12\. Replace"),
        (np.zeros((HEIGHT, WIDTH)), r"Segmentation is float64 of shape \(12, 20\), expected is uint8"),
        (np.zeros((HEIGHT, WIDTH, 2), dtype=np.uint8), r"is uint8 of shape \(12, 20, 2\), expected is uint8"),
        (np.zeros((0, 0), dtype=np.uint8), "expected is uint8 of height x width"),
    ],
)
def test_impossible_masks(sbd: SbdSet, mask: np.ndarray, message: str) -> None:
    save_mask(sbd.root, "2008_000002", mask)
    with pytest.raises(UserError, match=rf"2008_000002\.mat.*{message}"):
        sbd.class_mask("2008_000002")


def test_broken_files(sbd: SbdSet) -> None:
    path = sbd.mask_path("2008_000002")
    whole = path.read_bytes()
    for content in (b"", b"MATLAB 5.0 MAT-file", whole[:150], whole[: len(whole) // 2], b"\x00" * 200):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"2008_000002\.mat: no SBD class mask.*Unpack the SBD archive"):
            sbd.class_mask("2008_000002")
    savemat(path, {"GTinst": {"Segmentation": mask_of("2008_000002")}})
    with pytest.raises(UserError, match="no SBD class mask"):
        sbd.class_mask("2008_000002")
    path.unlink()
    with pytest.raises(UserError, match=r"2008_000002\.mat: cannot be read \(No such file"):
        sbd.image_labels("train")


def test_what_sbd_does_not_have(sbd: SbdSet) -> None:
    with pytest.raises(UserError, match="SBD has no boxes, only class masks"):
        sbd.annotation("2008_000002")
    with pytest.raises(UserError, match="SBD has no masks of objects"):
        sbd.object_masks("2008_000002")


def test_missing_photos_are_counted(sbd: SbdSet) -> None:
    ids = sbd.image_ids("train")
    sbd.check_images_present(ids)
    sbd.image_path(ids[1]).unlink()
    with pytest.raises(UserError, match=r"1 of 2 images are missing, the first is 2008_000007\.jpg"):
        sbd.check_images_present(ids)


def test_fingerprint_follows_every_kind_of_file(sbd: SbdSet) -> None:
    seen = {sbd.fingerprint()}
    assert sbd.fingerprint() in seen  # the manifest that is kept beside the data is not counted
    (sbd.root / "notes.md").write_text("mine")
    assert sbd.fingerprint() in seen
    for path in (sbd.list_path("val"), sbd.mask_path("2008_000002"), sbd.image_path("2008_000002")):
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(sbd.fingerprint())
    assert len(seen) == 4
