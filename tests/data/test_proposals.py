"""Proposals: the published layout, our own, what is refused, and selective search with its cache."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from ssl_bench.data import selective_search
from ssl_bench.data.proposals import (
    Proposals,
    find_proposals,
    merge_proposals,
    read_mat_proposals,
    read_proposals,
    write_proposals,
)
from ssl_bench.data.selective_search import MODES, compute_proposals, in_seeded_order, search
from ssl_bench.errors import UserError
from ssl_bench.stages.proposals import coverage, proposals_for
from tests.data.drawn_voc import draw_voc
from tests.tiny_run import call

Cells = Mapping[str, Sequence[Sequence[float]]]  # y1 x1 y2 x2, 1-based inclusive


def write_mat(path: Path, cells: Cells, dtype: Any = np.float64, **more: Any) -> Path:
    """A file of Fast R-CNN's layout: names down a column, boxes along a row."""
    images, boxes = np.empty((len(cells), 1), object), np.empty((1, len(cells)), object)
    for index, (name, rows) in enumerate(cells.items()):
        images[index, 0], boxes[0, index] = name, np.array(rows, dtype).reshape(-1, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"images": images, "boxes": boxes, **more})
    return path


# The published layout.


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint16])
def test_columns_and_origin_of_the_published_files(tmp_path: Path, dtype: Any) -> None:
    # A box from the first row and column on, 30 wide and 20 high; and one pixel: y1 x1 y2 x2, counted from 1.
    path = write_mat(
        tmp_path / "a.mat", {"000005": [[1, 1, 20, 30], [7, 9, 7, 9]], "000007": [[2, 3, 4, 5]]}, dtype
    )
    found = read_mat_proposals(path)
    assert found.ids == ("000005", "000007")
    assert found.boxes("000005").tolist() == [[0, 0, 30, 20], [8, 6, 9, 7]]
    assert found.boxes("000007").tolist() == [[2, 1, 5, 4]]
    assert found.boxes("000005").dtype == np.float32
    assert "a.mat" in found.source


def test_names_decide_and_not_the_order_of_rows(tmp_path: Path) -> None:
    rows: Cells = {"b.jpg": [[1, 1, 2, 2]], "a": [[3, 3, 4, 4]]}
    found = read_mat_proposals(write_mat(tmp_path / "x.mat", rows)).select(["a", "b"])
    assert found.ids == ("a", "b")
    assert found.boxes("a").tolist() == [[2, 2, 4, 4]]


@pytest.mark.parametrize("box", [[5, 5, 4, 9], [5, 9, 9, 5], [1, 1, np.nan, 4], [1, 1, np.inf, 4]])
def test_a_box_that_is_none_is_named_with_file_and_image(tmp_path: Path, box: list[float]) -> None:
    path = write_mat(tmp_path / "bad.mat", {"one": [[1, 1, 2, 2]], "two": [[1, 1, 2, 2], box]})
    with pytest.raises(UserError, match=r"bad\.mat, image two, box 2: .*not finite, inverted or empty"):
        read_mat_proposals(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_mat_proposals(tmp_path / "none.mat")
    (tmp_path / "text.mat").write_text("not a matrix")
    with pytest.raises(UserError, match=r"not a readable \.mat"):
        read_mat_proposals(tmp_path / "text.mat")
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(UserError, match=r"7\.3"):
        read_mat_proposals(tmp_path / "new.mat")
    savemat(tmp_path / "plain.mat", {"boxes": np.zeros((3, 4))})
    with pytest.raises(UserError, match="cell arrays `images` and `boxes`"):
        read_mat_proposals(tmp_path / "plain.mat")
    names = np.array([["a"], ["b"]], object)
    with pytest.raises(UserError, match=r"2 names in `images`, 1 arrays in `boxes`"):
        read_mat_proposals(write_mat(tmp_path / "long.mat", {"a": [[1, 1, 2, 2]]}, images=names))
    three = np.empty((1, 1), object)
    three[0, 0] = np.ones((2, 3))
    with pytest.raises(UserError, match=r"image a: boxes are float64 of shape \(2, 3\)"):
        read_mat_proposals(write_mat(tmp_path / "three.mat", {"a": []}, boxes=three))


# Our own layout, and what a set answers.

corners = st.integers(0, 500)
sides = st.integers(1, 300)
boxes_of_an_image = st.lists(st.tuples(corners, corners, sides, sides), max_size=5).map(
    lambda rows: np.array([[x, y, x + w, y + h] for x, y, w, h in rows], np.float32).reshape(-1, 4) / 3
)
some_boxes = st.dictionaries(st.text("ab0_é", min_size=1, max_size=5), boxes_of_an_image, max_size=5)


@given(some_boxes)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, boxes: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    written = Proposals.of(boxes, "a source")
    write_proposals(path, written)
    found = read_proposals(path)
    assert (found.ids, found.source, found.fingerprint) == (written.ids, "a source", written.fingerprint)
    for image_id, rows in boxes.items():
        np.testing.assert_array_equal(found.boxes(image_id), rows)


def test_a_damaged_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_proposals(path, Proposals.of({"a": [[0, 0, 1, 1]]}, "s"))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"x\.npz: not a file of proposals"):
            read_proposals(path)
    np.savez(path, ids=["a"], counts=[3], boxes=np.zeros((2, 4)), source="s")
    with pytest.raises(UserError, match="torn apart"):
        read_proposals(path)


def test_the_fingerprint_tells_boxes_ids_and_nothing_else() -> None:
    one, two = [[0, 0, 1, 1], [0, 0, 2, 2]], [[0, 0, 3, 3]]
    base = Proposals.of({"a": one, "b": two}, "s").fingerprint
    assert Proposals.of({"b": two, "a": one}, "other words").fingerprint == base
    assert Proposals.of({"a": one, "b": two, "c": two}, "s").select(["b", "a"]).fingerprint == base
    others = ({"a": one[::-1], "b": two}, {"a": two, "b": one}, {"a": one, "c": two}, {"a": one})
    assert base not in {Proposals.of(other, "s").fingerprint for other in others}


def test_images_without_boxes_are_counted_and_named() -> None:
    found = Proposals.of({"a": [[0, 0, 1, 1]], "b": []}, "some.mat")
    found.check(["a"])
    with pytest.raises(
        UserError, match=r"some\.mat: 7 of 8 images have no proposals: b, 0, 1, 2, 3 and more"
    ):
        found.select(["a", "b", *"012345"])
    with pytest.raises(UserError, match="image c"):
        found.boxes("c")


def test_an_image_of_a_combined_set_is_found_by_its_own_name() -> None:
    found = Proposals.of({"2008_000002": [[0, 0, 1, 1]], "VOC2007/000005": [[0, 0, 2, 2]]}, "s")
    chosen = found.select(["VOC2007/000005", "VOC2012/2008_000002"])
    assert chosen.ids == ("VOC2007/000005", "VOC2012/2008_000002")
    assert chosen.boxes("VOC2012/2008_000002").tolist() == [[0, 0, 1, 1]]


# Files and folders.


def test_the_files_of_a_split_are_found_in_a_folder(tmp_path: Path) -> None:
    for year, split, name in (("2007", "trainval", "a"), ("2007", "test", "b"), ("2012", "trainval", "c")):
        write_mat(tmp_path / f"voc_{year}_{split}.mat", {name: [[1, 1, 2, 2]]})
    assert find_proposals(tmp_path, "VOC2007", "test").ids == ("b",)
    combined = "VOC2007:trainval + VOC2012:trainval"
    assert find_proposals(tmp_path, "VOC0712", combined).ids == ("a", "c")
    assert set(find_proposals(tmp_path, "VOC2007", "val").ids) == {"a", "b", "c"}  # no such file: all
    assert find_proposals(tmp_path / "voc_2007_test.mat", "VOC2012", "val").ids == ("b",)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.mat or \.npz file"):
        find_proposals(tmp_path, "VOC2007", "test")


def test_files_that_disagree_are_refused() -> None:
    one, two = Proposals.of({"a": [[0, 0, 1, 1]]}, "one"), Proposals.of({"a": [[0, 0, 2, 2]]}, "two")
    assert merge_proposals([one, one]).boxes("a").tolist() == [[0, 0, 1, 1]]
    with pytest.raises(UserError, match="image a has different boxes in one and in two"):
        merge_proposals([one, two])


# Selective search.

OBJECTS = ((20, 30, 90, 100), (120, 40, 180, 140))


def draw(path: Path, objects: Sequence[tuple[int, int, int, int]] = OBJECTS) -> Path:
    """Coloured rectangles on grey, as PNG: JPEG would blur their borders."""
    pixels = np.full((160, 200, 3), 128, np.uint8)
    for colour, (x0, y0, x1, y1) in zip(((200, 30, 30), (30, 30, 200)), objects, strict=False):
        pixels[y0:y1, x0:x1] = colour
    Image.fromarray(pixels).save(path)
    return path


def best_iou(boxes: np.ndarray, item: Sequence[int]) -> float:
    best = 0.0
    for x0, y0, x1, y1 in boxes.tolist():
        width, height = min(x1, item[2]) - max(x0, item[0]), min(y1, item[3]) - max(y0, item[1])
        inner = max(width, 0) * max(height, 0)
        outer = (x1 - x0) * (y1 - y0) + (item[2] - item[0]) * (item[3] - item[1]) - inner
        best = max(best, inner / outer)
    return best


@pytest.mark.parametrize("mode", MODES)
def test_drawn_objects_are_proposed_in_pixels_of_the_stored_image(tmp_path: Path, mode: str) -> None:
    pytest.importorskip("cv2")
    picture = Image.open(draw(tmp_path / "x.png")).convert("RGB")  # 200 wide: searched in at 500
    boxes = search(picture, MODES[mode])
    for item in (*OBJECTS, (0, 0, 200, 160)):
        assert best_iou(boxes, item) > 0.9
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert (boxes >= 0).all()
    assert (boxes[:, [2, 3]] <= [200, 160]).all()
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 20 * 200 / 500 - 1e-4


@pytest.mark.parametrize("size", [(300, 1), (1, 1), (3, 400), (500, 12)])
def test_a_strange_picture_has_at_least_itself(size: tuple[int, int]) -> None:
    pytest.importorskip("cv2")
    boxes = search(Image.new("RGB", size, "red"), MODES["fast"])
    np.testing.assert_allclose(boxes, [[0, 0, *size]], rtol=1e-6)


def test_order_depends_on_the_set_alone_and_puts_large_boxes_first() -> None:
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 300, (400, 2))
    boxes = np.concatenate([corner, corner + rng.integers(20, 200, (400, 2))], axis=1)
    ordered = in_seeded_order(boxes)
    np.testing.assert_array_equal(ordered, in_seeded_order(np.concatenate([boxes[::-1], boxes[:7]])))
    assert {tuple(row) for row in ordered} == {tuple(row) for row in boxes}
    area = (ordered[:, 2:] - ordered[:, :2]).prod(axis=1)
    assert area[:100].mean() > 1.5 * area[100:].mean()


def test_the_cache_serves_the_same_bytes_and_heals_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    paths = {"a": draw(tmp_path / "a.png"), "b": draw(tmp_path / "b.png", OBJECTS[:1])}
    told: list[tuple[int, int]] = []
    first = compute_proposals(
        paths, cache=tmp_path / "c", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 2), (2, 2)]
    assert first.ids == ("a", "b")
    kept = sorted((tmp_path / "c").rglob("*.npz"))
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:50])  # as after a full disk

    searched: list[Any] = []

    def counting(picture: Image.Image, settings: Any) -> Any:
        searched.append(picture.size)
        return search(picture, settings)

    monkeypatch.setattr(selective_search, "search", counting)
    again = compute_proposals(paths, cache=tmp_path / "c")
    assert len(searched) == 1
    assert again.fingerprint == first.fingerprint
    paths["a"].write_bytes(draw(tmp_path / "other.png", ((5, 5, 60, 60),)).read_bytes())
    changed = compute_proposals(paths, cache=tmp_path / "c")
    assert len(searched) == 2
    assert changed.boxes("a").tolist() != first.boxes("a").tolist()
    assert changed.boxes("b").tolist() == first.boxes("b").tolist()


def test_boxes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    paths = {name: draw(tmp_path / f"{name}.png", ((10 + n, 20, 80, 90),)) for n, name in enumerate("abc")}
    alone = compute_proposals(paths, cache=tmp_path / "one")
    together = compute_proposals(paths, cache=tmp_path / "two", workers=2)
    assert (alone.ids, alone.fingerprint) == (together.ids, together.fingerprint)


def test_a_broken_image_is_named_by_a_worker_and_the_others_stay(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    paths = {"a": draw(tmp_path / "a.png"), "b": tmp_path / "b.png"}
    paths["b"].write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b\.png: not a readable image"):
        compute_proposals(paths, cache=tmp_path / "c", workers=2)
    assert not list((tmp_path / "c").rglob("*.tmp"))
    with pytest.raises(UserError, match="unknown mode of selective search 'quick'"):
        compute_proposals(paths, mode="quick", cache=tmp_path / "c")


def test_without_the_contrib_modules_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r'pip install "ssl-bench\[proposals\]".*published'):
        compute_proposals({"a": draw(tmp_path / "a.png")}, cache=tmp_path / "c")


# The stage and the command.


def test_given_boxes_are_used_and_computed_ones_cached(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    ids = devkit.image_ids("test")
    path = write_mat(tmp_path / "voc_2007_test.mat", {name: [[2, 1, 30, 24]] for name in ids})
    given_ = proposals_for(devkit, "test", path, cache_folder=tmp_path / "cache", limit=2)
    assert given_.ids == ids[:2]
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match="4 of 4 images have no proposals"):
        proposals_for(devkit, "train", path, cache_folder=tmp_path / "cache")
    pytest.importorskip("cv2")
    computed = proposals_for(devkit, "test", None, cache_folder=tmp_path / "cache", limit=2, workers=0)
    assert computed.ids == ids[:2]
    assert len(list((tmp_path / "cache" / "proposals").rglob("*.npz"))) == 2


def test_coverage_leaves_difficult_objects_out(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    ids = devkit.image_ids("test")
    items = {name: devkit.annotation(name).objects for name in ids}
    assert any(item.difficult for objects in items.values() for item in objects)
    exact = {name: [item.box for item in objects if not item.difficult] for name, objects in items.items()}
    found = coverage(devkit, Proposals.of(exact, "s"))
    assert (found.images, found.objects) == (4, sum(map(len, exact.values())))
    assert (found.recall_50, found.recall_70, found.average_recall) == (1.0, 1.0, 1.0)
    assert found.mean_boxes == found.objects / 4


def test_the_command_writes_boxes_and_checks_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    draw_voc(tmp_path)
    words = ("data", "proposals", "--data", tmp_path, "--split", "test", "--limit", "2", "--workers", "0")
    answer = call(capsys, *words, "--out", tmp_path / "new" / "boxes.npz")
    assert answer.status == 0, answer.err
    assert "images              2\n" in answer.out
    assert "recall at IoU 0.5" in answer.out
    checked = call(capsys, *words, "--check", tmp_path / "new" / "boxes.npz")
    assert checked.status == 0, checked.err
    assert checked.out in answer.out
    for more, complaint in (
        (("--out", tmp_path / "boxes.mat"), "written as .npz; call the file boxes.npz"),
        (("--out", tmp_path / "b.npz", "--check", tmp_path), "leave out --out"),
        (("--limit", "0"), "--limit 0: at least 1"),
        (("--split", "tset"), "did you mean 'test'"),
    ):
        refused = call(capsys, *words, *more)
        assert (refused.status, refused.out) == (2, "")
        assert complaint in refused.err
