"""The VOC reader against a drawn devkit with known boxes, labels and masks, and against the real archives."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.voc import VocDevkit, find_devkits
from ssl_bench.data.voc_classes import VOC_CLASSES, VOID
from ssl_bench.data.voc_official import OFFICIAL_LISTS, dataset_name, ids_digest, is_official
from ssl_bench.data.voc_xml import annotation_labels, read_annotation
from ssl_bench.errors import BrokenImage, UserError
from tests.data.conftest import RealYear
from tests.data.drawn_voc import HEIGHT, WIDTH, draw_voc, drawn_objects, image_id


@pytest.fixture
def devkit(tmp_path: Path) -> VocDevkit:
    return draw_voc(tmp_path)


def xml(objects: str = "", size: str = "<width>100</width><height>50</height>", head: str = "") -> bytes:
    return f"{head}<annotation><size>{size}</size>{objects}</annotation>".encode()


def an_object(
    box: tuple[object, ...] = (1, 1, 10, 10), name: str = "dog", more: str = "<difficult>0</difficult>"
) -> str:
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{sides}</bndbox></object>"


def read(data: bytes) -> object:
    return read_annotation(data, image_id="7", where="7.xml")


def test_found_from_three_places(devkit: VocDevkit) -> None:
    for root in (devkit.root.parent.parent, devkit.root.parent, devkit.root):
        assert find_devkits(root) == {"VOC2007": devkit}


def test_several_years_and_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_voc(tmp_path), draw_voc(tmp_path, "VOC2012")
    assert list(find_devkits(tmp_path)) == ["VOC2007", "VOC2012"]
    monkeypatch.chdir(tmp_path / "VOCdevkit/VOC2012")
    assert [kit.name for kit in find_devkits(Path()).values()] == ["VOC2012"]


def test_nothing_found_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "VOCtrainval_06-Nov-2007.tar").touch()
    with pytest.raises(
        UserError, match=r"Unpack VOCtrainval.*VOCdevkit/VOC2007.*data get voc2007.*make minivoc"
    ):
        find_devkits(tmp_path)
    with pytest.raises(UserError, match=r"nowhere: there is no such folder"):
        find_devkits(tmp_path / "nowhere")


def test_splits_and_ids(devkit: VocDevkit) -> None:
    assert devkit.splits() == ("test", "train", "trainval", "val")
    assert devkit.image_ids("val") == tuple(f"{n:06d}" for n in range(5, 9))
    assert devkit.image_ids("val", "Segmentation") == ("000006", "000008")
    with pytest.raises(UserError, match=r"'tests', did you mean 'test'.*known: test, train, trainval, val"):
        devkit.image_ids("tests")
    with pytest.raises(UserError, match=r"unknown Main split"):
        devkit.image_ids("car_train")  # the list of a class is no split


def test_a_split_may_be_named_like_a_class(devkit: VocDevkit) -> None:
    (devkit.list_path("train_small")).write_text("000001\n")
    assert "train_small" in devkit.splits()
    assert devkit.image_ids("train_small") == ("000001",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n  \n", "the list is empty"),
        (b"000001\n000001\n", r"1 images stand more than once: 000001"),
        (b"000001\n000002 1\n", r"line 2: expected one image name, found '000002 1'"),
        (b"../../etc/passwd\n", "line 1: expected one image name"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_bad_lists(devkit: VocDevkit, content: bytes, message: str) -> None:
    devkit.list_path("val").write_bytes(content)
    with pytest.raises(UserError, match=rf"val\.txt.*{message}"):
        devkit.image_ids("val")


def test_windows_lists_are_read(devkit: VocDevkit) -> None:
    devkit.list_path("val").write_bytes(b"\xef\xbb\xbf000005\r\n000006\r\n")
    assert devkit.image_ids("val") == ("000005", "000006")


def test_boxes_are_half_open(devkit: VocDevkit) -> None:
    for number in (1, 2, 3):
        annotation = devkit.annotation(image_id(number))
        assert (annotation.image_id, annotation.width, annotation.height) == (image_id(number), WIDTH, HEIGHT)
        assert [(o.name, o.box, o.difficult) for o in annotation.objects] == [
            (o.name, (o.xmin - 1, o.ymin - 1, o.xmax, o.ymax), o.difficult) for o in drawn_objects(number)
        ]


def test_labels_of_lists_and_of_xml_files_agree(tmp_path: Path) -> None:
    with_lists = draw_voc(tmp_path / "a", images_per_split=25)
    without = draw_voc(tmp_path / "b", images_per_split=25, class_lists=False)
    labels = with_lists.image_labels("trainval")
    assert labels.shape == (50, 20)
    assert labels.dtype == np.int8
    assert np.array_equal(labels, without.image_labels("trainval"))
    # Image 3 has one difficult object of class 3 only; image 2 has a bird (class 2) and a person.
    assert {VOC_CLASSES[k]: v for k, v in enumerate(labels[2]) if v != -1} == {"boat": 0}
    assert {VOC_CLASSES[k]: v for k, v in enumerate(labels[1]) if v != -1} == {"bird": 1, "person": 1}


def test_labels_follow_names_not_line_order(devkit: VocDevkit) -> None:
    before = devkit.image_labels("val")
    path = devkit.list_path("bus_val")
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert np.array_equal(devkit.image_labels("val"), before)
    assert before[0, VOC_CLASSES.index("bus")] == 1  # image 5


def test_bad_class_lists(devkit: VocDevkit) -> None:
    path = devkit.list_path("bus_val")
    whole = path.read_text()
    path.write_text(whole.replace(" 1", " 2"))
    with pytest.raises(UserError, match=r"bus_val\.txt, line 1: expected an image name and 1, 0 or -1"):
        devkit.image_labels("val")
    path.write_text("".join(whole.splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match=r"bus_val\.txt: 3 images, the split has 4; without a label: 000005"):
        devkit.image_labels("val")
    path.unlink()
    with pytest.raises(UserError, match=r"1 of the 20 class lists of split 'val' are missing: bus_val.txt"):
        devkit.image_labels("val")


def test_masks(devkit: VocDevkit) -> None:
    classes, objects = devkit.class_mask("000002"), devkit.object_mask("000002")
    assert classes.shape == objects.shape == (HEIGHT, WIDTH)
    assert classes.dtype == objects.dtype == np.uint8
    first = drawn_objects(2)[0]
    assert classes[first.ymin - 1, first.xmin - 1] == objects[first.ymin - 1, first.xmin - 1] == VOID
    assert classes[first.ymin, first.xmin] == VOC_CLASSES.index("bird") + 1
    assert objects[first.ymin, first.xmin] == 1
    assert classes[0, 0] == objects[0, 0] == 0


def test_object_masks_are_those_of_the_objects(devkit: VocDevkit) -> None:
    assert devkit.classes == VOC_CLASSES
    masks = devkit.object_masks("000002")
    assert [mask.dtype for mask in masks] == [bool, bool]
    for mask, drawn in zip(masks, drawn_objects(2), strict=True):
        expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
        expected[drawn.ymin : drawn.ymax - 1, drawn.xmin : drawn.xmax - 1] = True  # without the void border
        assert np.array_equal(mask, expected)
    path = devkit.mask_path("000002", "SegmentationObject")
    Image.fromarray(np.full((HEIGHT, WIDTH), 2, dtype=np.uint8)).save(path)
    assert [int(mask.sum()) for mask in devkit.object_masks("000002")] == [0, WIDTH * HEIGHT]
    Image.fromarray(np.full((HEIGHT, WIDTH), 3, dtype=np.uint8)).save(path)
    with pytest.raises(UserError, match=r"000002\.png: the mask has object 3, 000002\.xml has 2 objects"):
        devkit.object_masks("000002")


def test_bad_masks(devkit: VocDevkit) -> None:
    path = devkit.mask_path("000002", "SegmentationClass")
    Image.fromarray(np.full((HEIGHT, WIDTH), 21, dtype=np.uint8)).save(path)
    with pytest.raises(UserError, match=r"000002\.png: class indices 21; allowed are 0\.\.20 and 255"):
        devkit.class_mask("000002")
    Image.fromarray(np.zeros((10, 20), dtype=np.uint8)).save(path)
    with pytest.raises(UserError, match=rf"the mask is 20 x 10, its image {WIDTH} x {HEIGHT}"):
        devkit.class_mask("000002")
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    with pytest.raises(BrokenImage, match="palette"):
        devkit.class_mask("000002")
    path.unlink()
    with pytest.raises(BrokenImage, match="no such file"):
        devkit.class_mask("000002")


def test_half_a_devkit_stops_with_one_error(devkit: VocDevkit) -> None:
    ids = devkit.image_ids("trainval")
    devkit.check_images_present(ids)
    for missing in ids[:6]:
        devkit.image_path(missing).unlink()
    with pytest.raises(UserError, match=r"6 of 8 images are missing: 000001, .*000005 and more\. Unpack"):
        devkit.check_images_present(ids)


def test_xml_of_2012_with_parts_and_fractions() -> None:
    part = an_object((900, 1, 2, 2), name="head", more="").replace("object>", "part>")
    objects = (
        f"<object>{part}<name>person</name><bndbox><ymax>40</ymax><xmax>90</xmax><ymin>4.5</ymin><xmin>3</xmin>"
        "</bndbox><actions><jumping>1</jumping></actions></object>"
    )
    (found,) = read(xml(objects)).objects
    assert (found.name, found.box, found.difficult, found.truncated) == (
        "person",
        (2, 3.5, 90, 40),
        False,
        False,
    )


def test_whole_image_and_one_pixel_boxes_are_allowed() -> None:
    found = read(xml(an_object((1, 1, 100, 50)) + an_object((100, 50, 100, 50)))).objects
    assert [item.box for item in found] == [(0, 0, 100, 50), (99, 49, 100, 50)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (xml(an_object((0, 1, 10, 10))), r"object 1 \(dog\): box xmin=0 .* leaves the image.*counts from 1"),
        (
            xml(an_object() + an_object((5, 5, 101, 9))),
            r"object 2 .*xmax=101 .* leaves the image, 1\.\.100 x 1\.\.50",
        ),
        (xml(an_object((5, 5, 50, 51))), "leaves the image"),
        (xml(an_object((9, 1, 8, 10))), "inverted"),
        (xml(an_object((1, 9, 10, 8))), "inverted"),
        (xml(an_object(("nan", 1, 10, 10))), r"<bndbox><xmin> is 'nan', expected a number"),
        (xml(an_object(("x", 1, 10, 10))), r"is 'x', expected a number"),
        (xml(an_object(name="dgo")), "unknown class 'dgo', did you mean 'dog'"),
        (xml(an_object(name=" ")), "<name> is missing or empty"),
        (xml(an_object(more="<difficult>2</difficult>")), r"<difficult> is '2'; allowed are 0 and 1"),
        (xml("<object><name>dog</name></object>"), "<bndbox><xmin> is missing"),
        (xml(size="<width>10</width>"), "<size><height> is missing"),
        (xml(size="<width>10</width><height>0</height>"), "image size is 10 x 0"),
        (b"<annotation><size>", "not well-formed"),
        (b"", "not well-formed"),
        (xml() + b"<more/>", "not well-formed"),
        (xml(head='<?xml version="1.0" encoding="klingon"?>'), "not well-formed"),
    ],
)
def test_bad_annotations(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"^7\.xml.*{message}"):
        read(data)


# Nine entities, each ten times the one before: a gigabyte of "xxxxxxxxxx" if anything expands it.
ENTITIES = "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 9))
BOMB = f'<!DOCTYPE a [<!ENTITY x0 "xxxxxxxxxx">{ENTITIES}]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("head", [BOMB, "<!DOCTYPE annotation>", '<!DOCTYPE a SYSTEM "file:///etc/passwd">'])
def test_doctype_is_refused_in_any_encoding(head: str, encoding: str) -> None:
    declaration = '<?xml version="1.0" encoding="utf-16"?>' if "16" in encoding else ""
    text = declaration + xml(an_object(name="&x8;"), head=head).decode()
    begin = time.perf_counter()
    with pytest.raises(UserError, match=r"7\.xml: (refused, because it has a DOCTYPE|not well-formed)"):
        read(text.encode(encoding))
    assert time.perf_counter() - begin < 1


def test_utf_16_without_doctype_is_read() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?>' + xml(an_object()).decode()
    assert len(read(text.encode("utf-16")).objects) == 1


def test_a_drawn_set_is_never_called_official(devkit: VocDevkit, tmp_path: Path) -> None:
    assert not is_official(devkit, "Main", "trainval")
    assert not is_official(devkit, "Main", "nothing")
    assert dataset_name(devkit) == "voc2007-subset"
    assert dataset_name(draw_voc(tmp_path / "m", "MiniVOC")) == "MiniVOC"


# Annotation files and objects in the archives; of the objects of VOC2007 24,640 are not difficult.
REAL = {"VOC2007": (9963, 30638), "VOC2012": (17125, 40138)}


@pytest.mark.parametrize("year", ["VOC2007", "VOC2012"])
def test_every_real_annotation_is_read(real_years: dict[str, RealYear], year: str) -> None:
    devkit, found = real_years[year].devkit, real_years[year].annotations
    assert (len(found), sum(len(item.objects) for item in found.values())) == REAL[year]
    if year == "VOC2007":
        lists = devkit.image_ids("trainval") + devkit.image_ids("test")
        assert sum(not o.difficult for name in lists for o in found[name].objects) == 24_640
    for split in devkit.splits():
        from_xml = np.stack([annotation_labels(found[name]) for name in devkit.image_ids(split)])
        assert np.array_equal(devkit.image_labels(split), from_xml)


def test_fractions_and_parts_of_voc2012(real_years: dict[str, RealYear]) -> None:
    found = real_years["VOC2012"].annotations
    boxes = [item.box for item in found["2011_003353"].objects]
    assert (129.0, 45.70000076293945 - 1, 375.0, 470.0) in boxes


def test_official_lists_are_recognised(real_years: dict[str, RealYear]) -> None:
    for year, lists in OFFICIAL_LISTS.items():
        devkit = real_years[year].devkit
        assert dataset_name(devkit) == year
        for (kind, split), official in lists.items():
            ids = devkit.image_ids(split, kind)
            assert (len(ids), ids_digest(ids)) == (official.size, official.sha256)
            assert is_official(devkit, kind, split)
    assert OFFICIAL_LISTS["VOC2007"]["Main", "trainval"].size == 5011
    assert OFFICIAL_LISTS["VOC2007"]["Main", "test"].size == 4952


def test_real_labels_of_voc2007(real_years: dict[str, RealYear]) -> None:
    """Images with a non-difficult object, as in the organisers' statistics: 2,008 of trainval show people."""
    labels = real_years["VOC2007"].devkit.image_labels("trainval")
    counts = dict(zip(VOC_CLASSES, (labels == 1).sum(axis=0).tolist(), strict=True))
    assert (counts["aeroplane"], counts["cat"], counts["person"]) == (238, 337, 2008)


def test_missing_photos_of_an_official_devkit_are_counted(real_years: dict[str, RealYear]) -> None:
    devkit = real_years["VOC2007"].devkit
    with pytest.raises(UserError, match=r"4952 of 4952 images are missing: 000001"):
        devkit.check_images_present(devkit.image_ids("test"))


def test_order_of_names_does_not_move_the_digest() -> None:
    assert ids_digest(["b", "a"]) == ids_digest(["a", "b"]) != ids_digest(["ab"])
