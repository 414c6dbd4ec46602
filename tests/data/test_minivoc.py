"""MiniVOC: layout and lists, masks against boxes, and that only the seed decides what is drawn."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ssl_bench.data.minivoc import GENERATOR_VERSION, MiniVocSizes, make_minivoc, render_scene
from ssl_bench.data.minivoc.catalogue import KINDS, build
from ssl_bench.data.minivoc.devkit import presence
from ssl_bench.data.minivoc.finish import _softened
from ssl_bench.data.minivoc.geometry import FACE, FLESH, Camera, Model, Part, Place
from ssl_bench.data.minivoc.raster import Light, _Sheet, _times
from ssl_bench.data.minivoc.scene import focus_class, scene_generator
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.errors import UserError

SIZES = MiniVocSizes(unlabelled=5, train=40, val=20, test=20)
TINY = MiniVocSizes(unlabelled=1, train=2, val=1, test=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_minivoc(tmp_path_factory.mktemp("minivoc"), seed=3, sizes=SIZES, workers=2)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def annotated(folder: Path, image_id: str) -> list[dict[str, str]]:
    """The objects of an annotation as flat dictionaries, in order."""
    found = []
    for item in ET.parse(folder / "Annotations" / f"{image_id}.xml").getroot().iter("object"):
        found.append(
            {leaf.tag: leaf.text or "" for leaf in item.iter() if leaf.tag not in ("object", "bndbox")}
        )
    return found


def extent_with_ring(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The 1-based inclusive box of a region and a ring of one pixel, by plain loops."""
    height, width = region.shape
    xs, ys = set(), set()
    for y in range(height):
        for x in range(width):
            if region[y, x]:
                xs.update(c for c in (x - 1, x, x + 1) if 0 <= c < width)
                ys.update(r for r in (y - 1, y, y + 1) if 0 <= r < height)
    return min(xs) + 1, min(ys) + 1, max(xs) + 1, max(ys) + 1


def test_every_list_has_its_images(made: Path) -> None:
    assert made.parts[-2:] == ("VOCdevkit", "MiniVOC")
    main = made / "ImageSets/Main"
    for split, count in (("unlabelled", 5), ("train", 40), ("val", 20), ("test", 20), ("trainval", 60)):
        assert len(set(lines(main / f"{split}.txt"))) == count
    assert sorted(lines(main / "trainval.txt")) == sorted(lines(main / "train.txt") + lines(main / "val.txt"))
    assert not set(lines(main / "trainval.txt")) & set(lines(main / "test.txt"))
    for split in ("train", "val", "trainval", "test"):
        assert lines(made / f"ImageSets/Segmentation/{split}.txt") == lines(main / f"{split}.txt")


def test_unlabelled_images_have_nothing_but_a_picture(made: Path) -> None:
    unlabelled = lines(made / "ImageSets/Main/unlabelled.txt")
    labelled = {i for s in ("trainval", "test") for i in lines(made / f"ImageSets/Main/{s}.txt")}
    assert {p.stem for p in (made / "JPEGImages").glob("*.jpg")} == labelled | set(unlabelled)
    for folder in ("Annotations", "SegmentationClass", "SegmentationObject"):
        assert {p.stem for p in (made / folder).iterdir()} == labelled
    assert not list((made / "ImageSets/Main").glob("*_unlabelled.txt"))


def test_annotations_have_the_elements_of_voc(made: Path) -> None:
    for image_id in lines(made / "ImageSets/Main/val.txt"):
        root = ET.parse(made / "Annotations" / f"{image_id}.xml").getroot()
        assert [root.findtext(tag) for tag in ("folder", "filename", "segmented")] == [
            "MiniVOC", f"{image_id}.jpg", "1",
        ]  # fmt: skip
        with Image.open(made / "JPEGImages" / f"{image_id}.jpg") as picture:
            size = (picture.mode, *picture.size)
        assert size == ("RGB", int(root.findtext("size/width", "")), int(root.findtext("size/height", "")))
        assert root.findtext("size/depth") == "3"
        assert max(size[1:]) == 128
        for item in annotated(made, image_id):
            assert item["name"] in VOC_CLASSES
            assert item["pose"] in ("Left", "Right", "Frontal", "Rear", "Unspecified")
            assert {item["truncated"], item["difficult"]} <= {"0", "1"}


def test_boxes_are_the_visible_masks_with_their_void_ring(made: Path) -> None:
    for image_id in lines(made / "ImageSets/Main/val.txt"):
        with Image.open(made / "SegmentationObject" / f"{image_id}.png") as image:
            assert image.mode == "P"
            assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
            instances = np.asarray(image)
        with Image.open(made / "SegmentationClass" / f"{image_id}.png") as image:
            classes = np.asarray(image)
        objects = annotated(made, image_id)
        assert set(np.unique(instances)) - {0, 255} == set(range(1, len(objects) + 1))
        for number, item in enumerate(objects, start=1):
            region = instances == number
            box = tuple(int(item[tag]) for tag in ("xmin", "ymin", "xmax", "ymax"))
            assert box == extent_with_ring(region)
            assert set(classes[region]) == {VOC_CLASSES.index(item["name"]) + 1}
        assert np.array_equal(classes == 255, instances == 255)
        assert np.array_equal(classes == 0, instances == 0)


def test_void_lies_between_everything_that_differs(made: Path) -> None:
    """No two pixels side by side, or corner to corner, belong to different objects or to object and ground."""
    for image_id in lines(made / "ImageSets/Main/val.txt"):
        with Image.open(made / "SegmentationObject" / f"{image_id}.png") as image:
            m = np.asarray(image).astype(int)
        assert 0 < (m == 255).mean() < 0.35
        h, w = m.shape
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            a = m[: h - dy, max(0, -dx) : w - max(0, dx)]
            b = m[dy:, max(0, dx) : w - max(0, -dx)]
            assert a.shape == b.shape
            assert not ((a != b) & (a != 255) & (b != 255)).any()


def test_class_lists_say_present_difficult_or_absent(made: Path) -> None:
    zeros = 0
    for split in ("train", "val", "trainval", "test"):
        ids = lines(made / f"ImageSets/Main/{split}.txt")
        objects = {i: annotated(made, i) for i in ids}
        for name in VOC_CLASSES:
            rows = lines(made / f"ImageSets/Main/{name}_{split}.txt")
            assert [row.split()[0] for row in rows] == ids
            for row in rows:
                image_id, label = row.split()
                flags = [item["difficult"] for item in objects[image_id] if item["name"] == name]
                expected = "-1" if not flags else "1" if "0" in flags else "0"
                assert label == expected, (name, row)
                zeros += label == "0"
    assert zeros > 0, "these splits hold no class that is only difficult, so the label 0 was never tried"


def test_labels_by_hand() -> None:
    objects = [("cat", True), ("dog", True), ("dog", False)]
    assert [presence(objects, name) for name in ("cat", "dog", "cow")] == [0, 1, -1]


def test_each_block_of_twenty_shows_every_class_and_persons_are_most_frequent(made: Path) -> None:
    found: Counter[str] = Counter()
    for split in ("train", "val", "test"):
        ids = lines(made / f"ImageSets/Main/{split}.txt")
        for name in VOC_CLASSES:
            rows = lines(made / f"ImageSets/Main/{name}_{split}.txt")
            present = sum(row.split()[1] == "1" for row in rows)
            # 600 images are 30 blocks, so this is at least 30 images a class in train and in test.
            assert present >= len(ids) // 20, (name, split)
            found[name] += present
    assert found.most_common(1)[0][0] == "person"


def test_the_class_a_scene_is_about_comes_once_in_a_block() -> None:
    for block in (0, 7):
        names = [focus_class(0, "test", block * 20 + i) for i in range(20)]
        assert sorted(names) == sorted(VOC_CLASSES)


def test_a_scene_does_not_depend_on_what_was_drawn_before() -> None:
    first = render_scene(5, "train", 11)
    render_scene(6, "test", 2)
    again = render_scene(5, "train", 11)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.instance_mask, again.instance_mask)
    assert first.objects == again.objects


def test_seed_split_and_index_all_matter() -> None:
    def picture(seed: int, split: str, index: int) -> bytes:
        image = render_scene(seed, split, index).image
        return repr(image.shape).encode() + image.tobytes()

    different = {
        picture(0, "train", 0),
        picture(1, "train", 0),
        picture(0, "test", 0),
        picture(0, "train", 1),
    }
    assert len(different) == 4


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 instruction sets")
def test_an_older_processor_draws_the_same_pixels() -> None:
    """Without the newer vector instructions, and with another kernel for matrix products."""
    script = (
        "import hashlib; from ssl_bench.data.minivoc import render_scene;"
        "print(hashlib.sha256(b''.join(render_scene(0, 'train', i).image.tobytes() for i in range(20))).hexdigest())"
    )
    older = {
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX2 FMA3",
        "OPENBLAS_CORETYPE": "Prescott",
        "PYTHONWARNINGS": "ignore",
    }
    digests = {
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | extra, capture_output=True, text=True, check=True
        ).stdout
        for extra in ({}, older)
    }
    assert len(digests) == 1


def test_pictures_have_texture_everywhere() -> None:
    """Not clip-art: in nearly no patch of 8 x 8 pixels are all pixels alike."""
    for index in range(6):
        image = render_scene(0, "unlabelled", index).image
        assert image.dtype == np.uint8
        h, w = image.shape[0] // 8 * 8, image.shape[1] // 8 * 8
        patches = image[:h, :w].reshape(h // 8, 8, w // 8, 8, 3).std(axis=(1, 3)).max(-1)
        assert (patches < 0.5).mean() < 0.05


def test_same_seed_same_pixels_whatever_the_workers(tmp_path: Path, made: Path) -> None:
    one = make_minivoc(tmp_path / "one", seed=3, sizes=SIZES, workers=1)
    about = json.loads((made / "minivoc.json").read_text(encoding="utf-8"))
    assert json.loads((one / "minivoc.json").read_text(encoding="utf-8")) == about
    files = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert all((made / name).read_bytes() == (one / name).read_bytes() for name in files)


def test_another_seed_or_size_has_another_fingerprint(tmp_path: Path) -> None:
    prints = set()
    for name, seed, sizes in (
        ("a", 0, TINY), ("b", 1, TINY), ("c", 0, MiniVocSizes(unlabelled=0, train=2, val=1, test=1)),
    ):  # fmt: skip
        folder = make_minivoc(tmp_path / name, seed=seed, sizes=sizes)
        prints.add(json.loads((folder / "minivoc.json").read_text(encoding="utf-8"))["fingerprint"])
    assert len(prints) == 3


def test_fingerprint_is_that_of_the_files_on_disk(tmp_path: Path) -> None:
    folder = make_minivoc(tmp_path, seed=2, sizes=TINY)
    about = json.loads((folder / "minivoc.json").read_text(encoding="utf-8"))
    assert about["synthetic"] is True
    assert "synthetic" in about["note"]
    sizes = {"unlabelled": 1, "train": 2, "val": 1, "test": 1}
    head = json.dumps({"generator_version": GENERATOR_VERSION, "seed": 2, "sizes": sizes}, sort_keys=True)
    rows = [head]
    images = [*folder.rglob("*.jpg"), *folder.rglob("*.png")]
    for name in sorted(p.relative_to(folder).as_posix() for p in images):
        with Image.open(folder / name) as image:
            pixels = np.asarray(image)
        rows.append(f"{name} {hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()}")
    assert about["fingerprint"] == hashlib.sha256("\n".join(rows).encode()).hexdigest()


def test_a_complete_set_is_not_made_again(tmp_path: Path) -> None:
    first = make_minivoc(tmp_path, sizes=TINY)
    calls: list[tuple[int, int]] = []
    assert make_minivoc(tmp_path, sizes=TINY, progress=lambda *c: calls.append(c)) == first
    assert calls == []


def test_another_set_in_the_place_is_never_overwritten(tmp_path: Path) -> None:
    folder = make_minivoc(tmp_path, sizes=TINY)
    before = (folder / "minivoc.json").read_bytes()
    with pytest.raises(UserError, match="something else is there"):
        make_minivoc(tmp_path, seed=9, sizes=TINY)
    assert (folder / "minivoc.json").read_bytes() == before


def test_an_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert 0 < done <= total
        assert not (tmp_path / "VOCdevkit/MiniVOC").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_minivoc(
            tmp_path, sizes=MiniVocSizes(unlabelled=50, train=0, val=0, test=0), progress=stop, workers=2
        )
    assert list((tmp_path / "VOCdevkit").iterdir()) == []


def test_progress_ends_with_all_images(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    make_minivoc(tmp_path, sizes=TINY, progress=lambda *c: calls.append(c))
    assert calls[-1] == (5, 5)


def test_a_second_maker_that_comes_late_accepts_the_first_ones_set(tmp_path: Path) -> None:
    """While one makes the set, another one finishes the same set: no error, and one set is there."""
    nested: list[Path] = []

    def race(done: int, total: int) -> None:
        if not nested:
            nested.append(make_minivoc(tmp_path, sizes=TINY))

    folder = make_minivoc(tmp_path, sizes=TINY, progress=race)
    assert nested == [folder]
    assert [p.name for p in folder.parent.iterdir()] == ["MiniVOC"]


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 or more"):
        MiniVocSizes(train=-1)
    with pytest.raises(UserError, match="workers"):
        make_minivoc(tmp_path, sizes=TINY, workers=0)
    with pytest.raises(UserError, match="seed"):
        make_minivoc(tmp_path, sizes=TINY, seed=-1)
    with pytest.raises(UserError, match="unknown MiniVOC split"):
        render_scene(0, "trainval", 0)
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write MiniVOC"):
        make_minivoc(tmp_path / "file", sizes=TINY)


def test_camera_by_hand() -> None:
    """A point 10 m away, 2 m right and 1 m below a camera of focal length 100 px: 20 px right, 10 px down."""
    camera = Camera(focal=100.0, centre_x=64.0, horizon=40.0, height=1.5)
    pixels, scale = camera.project(np.array([[2.0, 10.0, 0.5]]))
    assert np.allclose(pixels, [[84.0, 50.0]])
    assert np.allclose(scale, 10.0)


def test_yaw_faces_right_away_left_and_viewer() -> None:
    forward = np.array([1.0, 0.0, 0.0])
    for yaw, expected in (
        (0, (1, 0, 0)),
        (np.pi / 2, (0, 1, 0)),
        (np.pi, (-1, 0, 0)),
        (-np.pi / 2, (0, -1, 0)),
    ):
        assert np.allclose(Place(0, 0, 0, yaw).rotation() @ forward, expected)


@pytest.mark.parametrize("side", [0.021, 0.05, 0.119])
def test_the_lens_is_pillows_filter(side: float) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    row = (side, 1 - 2 * side, side)
    kernel = ImageFilter.Kernel((3, 3), [a * b for a in row for b in row], scale=1)
    expected = np.asarray(Image.fromarray(pixels).filter(kernel))
    assert np.array_equal(_softened(pixels.transpose(2, 0, 1), side).transpose(1, 2, 0), expected)


def test_inks_are_multiplied_by_their_opacity_as_pillow_does() -> None:
    values, alphas = np.mgrid[0:256, 0:256].astype(np.uint8)
    grey = Image.fromarray(np.stack([values, values, values, alphas], axis=2)).convert("RGBa")
    expected = np.frombuffer(grey.tobytes(), np.uint8)[::4].tolist()
    assert [_times(value, alpha) for value in range(256) for alpha in range(256)] == expected


def test_shapes_are_those_of_imagedraw() -> None:
    """The sheet calls Pillow's drawing core itself; its public methods must give the same pixels."""
    light = Light((0.6, -0.5, 0.6), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    corners = [(3.2, 4.1), (40.7, 9.9), (33.3, 44.5), (8.6, 30.2)]
    sheet = _Sheet((50, 50), light)
    sheet.face(Part(FACE, 0, 4, (0.8, 0.4, 0.2)), [x for corner in corners for x in corner], 0.5)
    sheet.flesh(Part(FLESH, 0, 2, (0.9, 0.2, 0.6), glow=1.0, links=((0, 1),)), corners[:2], [6.3, 4.8])
    plain = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    draw = ImageDraw.Draw(plain)
    draw.polygon(corners, fill=light.tone((0.8, 0.4, 0.2), 0.5))
    fill = light.tone((0.9, 0.2, 0.6), 0.5, 1.0)
    (ax, ay), (bx, by) = corners[:2]
    length = float(np.hypot(bx - ax, by - ay))
    nx, ny = (ay - by) / length, (bx - ax) / length
    draw.ellipse((ax - 6.3, ay - 6.3, ax + 6.3, ay + 6.3), fill=fill)
    draw.ellipse((bx - 4.8, by - 4.8, bx + 4.8, by + 4.8), fill=fill)
    ends = ((ax, ay, 6.3), (bx, by, 4.8), (bx, by, -4.8), (ax, ay, -6.3))
    draw.polygon([(x + nx * r, y + ny * r) for x, y, r in ends], fill=fill)
    assert np.array_equal(np.asarray(sheet.image.convert("RGBA")), np.asarray(plain))
    assert len(np.unique(np.asarray(plain).reshape(-1, 4), axis=0)) == 3


@pytest.mark.parametrize("name", VOC_CLASSES)
def test_builders_give_models_of_plausible_size_on_the_ground(name: str) -> None:
    assert tuple(KINDS) == VOC_CLASSES
    largest = {"aeroplane": 45.0, "train": 70.0, "bus": 13.0, "boat": 16.0}.get(name, 5.5)
    for index in range(8):
        model: Model = build(scene_generator(0, "train", index), name, "")
        low, high = model.extent()
        assert 0.15 < (high - low).max() < largest
        if name != "aeroplane":  # which is built around its axis
            assert -0.25 < low[2] < 0.3  # a horse may gallop
