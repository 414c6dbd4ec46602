"""Every kind of damage is found, counted and named; whole data, drawn and real, pass."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.manifest import FILE_NAME, voc_fingerprint
from ssl_bench.data.photos import open_photos
from ssl_bench.data.verify import verify
from ssl_bench.data.verify_report import MAX_NAMED, Section
from ssl_bench.data.voc import VocDevkit
from ssl_bench.errors import UserError
from tests.data.drawn_voc import HEIGHT, WIDTH, draw_voc


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def devkit(tmp_path: Path) -> VocDevkit:
    return draw_voc(tmp_path / "data")


def section_of(root: Path) -> Section:
    report = verify(root)
    (section,) = report.sections
    assert report.ok == section.ok == (not section.problems)
    assert report.lines() == section.lines()
    return section


def test_whole_devkit_passes_and_gets_its_manifest(devkit: VocDevkit) -> None:
    calls: list[tuple[int, int]] = []
    report = verify(devkit.root.parents[1], progress=lambda done, total: calls.append((done, total)))
    assert report.ok
    (section,) = report.sections
    assert section.name == "voc2007-subset"
    assert section.checked == "12 images, 12 annotations, 6 pairs of masks, 8 lists"
    assert (devkit.root / FILE_NAME).exists()
    assert section.fingerprint == voc_fingerprint(devkit)
    assert "Main/trainval: 8 images, not the official list of 5011" in section.notes
    assert any(
        note.startswith("9951 of the 9963 official images are not here: 000013,") for note in section.notes
    )
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]


def damage_image(devkit: VocDevkit) -> None:
    path = devkit.image_path("000003")
    path.write_bytes(path.read_bytes()[:-300])  # the header is whole, the pixels are not


def resize_image(devkit: VocDevkit) -> None:
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(devkit.image_path("000003"))


def resize_mask(devkit: VocDevkit) -> None:
    Image.new("L", (WIDTH, HEIGHT + 1)).save(devkit.mask_path("000004", "SegmentationObject"))


def unknown_class_in_mask(devkit: VocDevkit) -> None:
    pixels = np.full((HEIGHT, WIDTH), 77, dtype=np.uint8)
    Image.fromarray(pixels).save(devkit.mask_path("000004", "SegmentationClass"))


def replace(*place: str) -> Callable[[VocDevkit], None]:
    """Replace the first `old` by `new` in a file: place is (file, old, new)."""
    name, old, new = place

    def damage(devkit: VocDevkit) -> None:
        text = (devkit.root / name).read_text()
        assert old in text
        (devkit.root / name).write_text(text.replace(old, new, 1))

    return damage


def remove(name: str) -> Callable[[VocDevkit], None]:
    return lambda devkit: (devkit.root / name).unlink()


XML, MAIN = "Annotations/000003.xml", "ImageSets/Main"

# What is done to the devkit, the kind of problem, and the place named. Image 3 shows one difficult boat.
DAMAGES: list[tuple[Callable[[VocDevkit], None], str, str]] = [
    (remove("JPEGImages/000003.jpg"), "image is missing", "000003"),
    (damage_image, "image cannot be read", "000003: image file is truncated"),
    (resize_image, "annotation states another size", "000003: 64 x 48 stated, 64 x 49 found"),
    (remove(XML), "annotation is missing", "000003"),
    (replace(XML, "<annotation>", "<annot>"), "annotation is wrong", "not well-formed"),
    (replace(XML, "<ymax>30", "<ymax>99"), "annotation is wrong", "leaves the image"),
    (replace(XML, "boat", "ship"), "annotation is wrong", "unknown class 'ship'"),
    (remove("SegmentationClass/000004.png"), "mask is missing", "SegmentationClass/000004.png"),
    (resize_mask, "mask is wrong", "SegmentationObject"),
    (unknown_class_in_mask, "mask is wrong", "class indices 77"),
    (
        replace(f"{MAIN}/boat_train.txt", "3  0", "3  1"),
        "label differs",
        "000003: 1 listed, 0 by its objects",
    ),
    (
        replace(f"{MAIN}/boat_train.txt", "000003  0\n", ""),
        "class list is wrong",
        "3 images, the split has 4",
    ),
    (replace(f"{MAIN}/train.txt", "000003", "000003 1"), "list is wrong", "train.txt, line 3"),
    (replace(f"{MAIN}/train.txt", "3\n", "3\n000003\n"), "listed more than once", "Main/train: 000003"),
    (replace(f"{MAIN}/test.txt", "9\n", "9\n000003\n"), "both in train and in test", "000003"),
    (replace("ImageSets/Segmentation/val.txt", "6\n", "2\n"), "both in train and in val", "000002"),
    (replace(f"{MAIN}/trainval.txt", "000003\n", ""), "Main/trainval is not train and val", "000003"),
]


@pytest.mark.parametrize(("damage", "kind", "place"), DAMAGES)
def test_each_damage_is_found(
    devkit: VocDevkit, damage: Callable[[VocDevkit], object], kind: str, place: str
) -> None:
    damage(devkit)
    section = section_of(devkit.root)
    (problem,) = [entry for name, entry in section.problems.items() if kind in name]
    assert any(place in where for where in problem.first)
    assert "NOT OK" in section.lines()[0]
    assert any(kind in line and line.startswith(f"  problem: {problem.count} x") for line in section.lines())


def test_no_lists_at_all(devkit: VocDevkit) -> None:
    for path in (devkit.root / "ImageSets/Main").iterdir():
        path.unlink()
    assert "there are no image lists" in section_of(devkit.root).problems


def test_a_mask_of_another_class_is_a_note(devkit: VocDevkit) -> None:
    path = devkit.annotation_path("000004")
    before, _, rest = path.read_text().partition("<name>person</name>")
    path.write_text(before + "<name>dog</name>" + rest)
    section = section_of(devkit.root)
    assert "1 class masks show a class that the annotation lacks: 000004" in section.notes
    assert list(section.problems) == [
        "label differs from the annotation"
    ]  # of person and of dog, in two lists
    assert section.problems["label differs from the annotation"].count == 4


def test_unlabelled_split_and_unused_images_are_notes(devkit: VocDevkit) -> None:
    for name in ("pool_1", "pool_2", "nowhere"):
        Image.new("RGB", (30, 20)).save(devkit.image_path(name))
    devkit.list_path("unlabelled").write_text("pool_1\npool_2\n")
    section = section_of(devkit.root)
    assert section.ok
    assert "Main/unlabelled has no labels" in section.notes
    assert "1 images are in no list of Main or Segmentation; not checked" in section.notes
    assert section.checked.startswith("14 images, 12 annotations")
    devkit.image_path("pool_2").unlink()
    assert section_of(devkit.root).problems["image is missing"].first == ["pool_2"]


def test_many_problems_are_counted_and_the_first_named() -> None:
    section = Section("x", Path("x"))
    for number in range(MAX_NAMED + 5):
        section.add("image is missing", f"{number:03d}")
    problem = section.problems["image is missing"]
    assert (problem.count, problem.first[0], problem.first[-1]) == (25, "000", "019")
    assert "    and 5 more" in section.lines()
    assert "  problem: 25 x image is missing" in section.lines()


def test_two_years_are_two_sections(tmp_path: Path) -> None:
    draw_voc(tmp_path / "data")
    damage_image(draw_voc(tmp_path / "data", "VOC2012"))
    report = verify(tmp_path / "data")
    assert [(section.name, section.ok) for section in report.sections] == [
        ("voc2007-subset", True),
        ("voc2012-subset", False),
    ]
    assert not report.ok


def make_pool(root: Path) -> Path:
    for number in range(5):
        (root / "sub").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, size=(20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "sub" / f"{number}.jpg")
    return root


def zipped(root: Path) -> Path:
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted(root.rglob("*.jpg")):
            archive.write(path, path.relative_to(root))
    return root.with_suffix(".zip")


def test_whole_pools_pass(tmp_path: Path) -> None:
    root = make_pool(tmp_path / "pool")
    for place in (root, zipped(root)):
        calls: list[tuple[int, int]] = []
        report = verify(place, progress=lambda done, total: calls.append((done, total)))  # noqa: B023
        (section,) = report.sections
        assert section.ok
        assert (section.name, section.checked) == ("pool", "5 pictures")
        assert section.fingerprint == open_photos(place).fingerprint()
        assert calls[-1] == (10, 10)
    assert (root / FILE_NAME).exists()


def test_broken_pictures_of_a_pool_are_named(tmp_path: Path) -> None:
    root = make_pool(tmp_path / "pool")
    (root / "sub/3.jpg").write_bytes((root / "sub/3.jpg").read_bytes()[:300])
    (root / "sub/4.jpg").write_bytes(b"")
    for place in (root, zipped(root)):
        problem = section_of(place).problems["picture cannot be read"]
        assert problem.count == 2
        assert problem.first[0].startswith("sub/3.jpg: ")
        assert problem.first[1] == "sub/4.jpg: the file is empty"


def test_damaged_zip_has_no_fingerprint(tmp_path: Path) -> None:
    path = zipped(make_pool(tmp_path / "pool"))
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    section = section_of(path)
    assert section.fingerprint is None
    assert section.problems["picture cannot be read"].count == 1


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures in it"):
        verify(tmp_path)
    with pytest.raises(UserError, match="no such folder or zip"):
        verify(tmp_path / "nowhere")


def test_real_subset_passes(shared_file: Callable[[str], Path]) -> None:
    with tempfile.TemporaryDirectory() as root:  # pytest would keep its 60 MB for three runs
        with tarfile.open(shared_file("voc2007-subset.tar")) as archive:
            archive.extractall(root, filter="data")
        section = section_of(Path(root))
    assert section.ok, section.lines()
    assert section.name == "voc2007-subset"
    assert section.checked == "1451 images, 1451 annotations, 134 pairs of masks, 8 lists"
    assert len(section.notes) == 9  # eight lists are not the official ones, and 8,512 images are missing
    assert section.notes[-1].startswith("8512 of the 9963 official images are not here: 000001")


@pytest.mark.slow
@pytest.mark.parametrize(("year", "images", "masks"), [("VOC2007", 9963, 632), ("VOC2012", 12180, 2913)])
def test_real_annotations_lack_only_their_pictures(
    shared_file: Callable[[str], Path], year: str, images: int, masks: int
) -> None:
    with tempfile.TemporaryDirectory() as root:
        with tarfile.open(shared_file(f"{year.lower()}-annotations.tar.xz")) as archive:
            archive.extractall(root, filter="data")
        section = section_of(Path(root))
    assert section.name == year
    counts = {kind: problem.count for kind, problem in section.problems.items()}
    assert counts == {"image is missing": images, "mask is missing": 2 * masks}
    assert any(note.endswith("lists are the official ones") for note in section.notes)
