"""Split expressions and combined sets, on drawn years and a drawn SBD; the list seg11valid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.data.image_sets import (
    CombinedSet,
    ImageSet,
    Term,
    find_image_sets,
    fingerprint,
    parse_split,
)
from ssl_bench.data.manifest import voc_fingerprint
from ssl_bench.data.sbd import SbdSet
from ssl_bench.data.seg11valid import seg11valid_ids
from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.data.voc_official import ids_digest
from ssl_bench.errors import UserError
from tests.data.conftest import RealYear
from tests.data.drawn_voc import draw_voc
from tests.data.test_sbd import draw_sbd


class Listed:
    """A set of lists alone, to calculate with."""

    def __init__(self, classes: tuple[str, ...] = ("a",), **lists: tuple[str, ...]) -> None:
        self.classes, self.lists, self.name, self.root = classes, lists, "listed", Path("listed")

    def image_ids(self, split: str, kind: str = "Main") -> tuple[str, ...]:
        return self.lists[split]


def voc_and_sbd(tmp_path: Path) -> tuple[VocDevkit, SbdSet, CombinedSet]:
    """VOC2012 with train 1..4, val 5..8, masks of the even ones; SBD with train 2, 3, 6 and val 8, 9."""
    voc = draw_voc(tmp_path, "VOC2012")
    sbd = draw_sbd(
        tmp_path / "benchmark_RELEASE/dataset",
        {"train": ("000002", "000003", "000006"), "val": ("000008", "000009")},
    )
    return voc, sbd, CombinedSet({"VOC2012": voc, "SBD": sbd})


def test_expressions() -> None:
    assert parse_split("VOC2012:train") == (Term("+", "VOC2012", "train"),)
    assert parse_split(" VOC2007:trainval+VOC-12:train-small  -  SBD:val ") == (
        Term("+", "VOC2007", "trainval"),
        Term("+", "VOC-12", "train-small"),
        Term("-", "SBD", "val"),
    )


@pytest.mark.parametrize(
    ("expression", "term"),
    [
        ("", ""),
        ("train", "train"),
        ("VOC2007:", "VOC2007:"),
        (":train", ":train"),
        ("VOC2007:train +", ""),
        ("+ VOC2007:train", ""),
        ("- VOC2007:train", "- VOC2007:train"),
        ("VOC2007:train VOC2012:train", "VOC2007:train VOC2012:train"),
        ("VOC2007:train-VOC2012:train", "VOC2007:train-VOC2012:train"),
        ("VOC2007:train + - VOC2012:val", "- VOC2012:val"),
    ],
)
def test_malformed_expressions(expression: str, term: str) -> None:
    with pytest.raises(UserError, match=r"not of the form PART:SPLIT.*'VOC2007:trainval \+") as error:
        parse_split(expression)
    assert f"split {expression!r}: {term!r} is" in str(error.value)


def test_the_part_named_first_wins(tmp_path: Path) -> None:
    voc, sbd, both = voc_and_sbd(tmp_path)
    ids = both.image_ids("VOC2012:train + SBD:train + SBD:val - VOC2012:val", "Segmentation")
    assert ids == ("VOC2012/000002", "VOC2012/000004", "SBD/000003", "SBD/000009")
    assert np.array_equal(both.class_mask("VOC2012/000002"), voc.class_mask("000002"))
    assert both.image_ids("SBD:train + VOC2012:train", "Segmentation") == (
        "SBD/000002",
        "SBD/000003",
        "SBD/000006",
        "VOC2012/000004",
    )
    assert np.array_equal(both.class_mask("SBD/000002"), sbd.class_mask("000002"))
    assert both.image_path("SBD/000002") == sbd.image_path("000002")


def test_kind_reaches_the_parts(tmp_path: Path) -> None:
    _, _, both = voc_and_sbd(tmp_path)
    main = [f"VOC2012/{number:06d}" for number in range(5, 9)]
    assert list(both.image_ids("VOC2012:val")) == main
    assert list(both.image_ids("VOC2012:val", "Segmentation")) == main[1::2]
    assert both.list_path("VOC2012:val - SBD:val", "Segmentation").parent.name == "Segmentation"


NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True).map(tuple)


@given(st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from("PQ"), NAMES), min_size=1, max_size=5))
def test_expressions_against_plain_loops(terms: list[tuple[str, str, tuple[str, ...]]]) -> None:
    terms[0] = ("+", *terms[0][1:])
    lists = {f"s{n}": names for n, (_, _, names) in enumerate(terms)}
    combined = CombinedSet({"P": Listed(**lists), "Q": Listed(**lists)})  # type: ignore[dict-item]
    expected: list[str] = []
    for sign, part, names in terms:
        for name in names:
            there = [image_id for image_id in expected if image_id.endswith(f"/{name}")]
            if sign == "+" and not there:
                expected.append(f"{part}/{name}")
            elif sign == "-" and there:
                expected.remove(there[0])
    expression = " ".join(f"{sign} {part}:s{n}" for n, (sign, part, _) in enumerate(terms))[2:]
    if expected:
        assert combined.image_ids(expression) == tuple(expected)
    else:
        with pytest.raises(UserError, match="no image is left"):
            combined.image_ids(expression)


def test_unknown_parts_and_splits_are_named(tmp_path: Path) -> None:
    _, _, both = voc_and_sbd(tmp_path)
    with pytest.raises(
        UserError, match=r"'VOC2011:val': unknown image set 'VOC2011', did.*known: SBD, VOC2012\)"
    ):
        both.image_ids("VOC2011:val")
    with pytest.raises(UserError, match=r"unknown Main split of .*VOC2012 'vall'.*known: test, train, train"):
        both.image_ids("SBD:val + VOC2012:vall")
    with pytest.raises(UserError, match=r"unknown split of .*dataset 'test' \(known: train, val\)"):
        both.image_labels("VOC2012:val + SBD:test")
    for strange in ("000002", "VOC2007/000002", "VOC2012/"):
        with pytest.raises(UserError, match=r"images of VOC2012\+SBD are called PART/NAME"):
            both.image_path(strange)


def test_labels_follow_their_images(tmp_path: Path) -> None:
    first, second = draw_voc(tmp_path), draw_voc(tmp_path, "VOC2012", seed=1)
    years = CombinedSet({"VOC2007": first, "VOC2012": second})
    split = "VOC2012:val + VOC2007:trainval - VOC2007:val + VOC2012:test"
    labels = years.image_labels(split)
    expected = np.concatenate([first.image_labels("train"), second.image_labels("test")])
    assert years.image_ids(split)[0] == "VOC2007/000001"
    assert labels.dtype == np.int8
    assert np.array_equal(labels, expected)


def test_annotations_carry_the_combined_name(tmp_path: Path) -> None:
    voc, _, both = voc_and_sbd(tmp_path)
    found = both.annotation("VOC2012/000002")
    assert (found.image_id, found.objects) == ("VOC2012/000002", voc.annotation("000002").objects)
    masks = both.object_masks("VOC2012/000002")
    assert len(masks) == len(found.objects)
    with pytest.raises(UserError, match="SBD has no boxes"):
        both.annotation("SBD/000002")


def test_missing_photos_are_told_by_the_part(tmp_path: Path) -> None:
    voc, sbd, both = voc_and_sbd(tmp_path)
    ids = both.image_ids("VOC2012:train + SBD:val")
    both.check_images_present(ids)
    sbd.image_path("000009").unlink()
    with pytest.raises(UserError, match=r"img: 1 of 2 images are missing"):
        both.check_images_present(ids)
    both.check_images_present(both.image_ids("VOC2012:train"))  # what no split names is not asked for
    assert both.root == voc.root


def test_name_and_classes(tmp_path: Path) -> None:
    voc, _, both = voc_and_sbd(tmp_path)
    assert (both.name, both.classes) == ("VOC2012+SBD", VOC_CLASSES)
    other: ImageSet = Listed(tuple(reversed(VOC_CLASSES)))  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"VOC2012 \+ other: sets can only be combined where.*other has 20"):
        CombinedSet({"VOC2012": voc, "other": other})


def test_fingerprints(tmp_path: Path) -> None:
    voc, sbd, both = voc_and_sbd(tmp_path)
    calls: list[tuple[int, int]] = []
    assert fingerprint(voc, lambda done, total: calls.append((done, total))) == voc_fingerprint(voc)
    assert calls[-1][0] == calls[-1][1] > 10
    whole = fingerprint(both)
    assert fingerprint(CombinedSet({"SBD": sbd, "VOC2012": voc})) == whole  # the split says the order
    assert len({whole, fingerprint(voc), fingerprint(sbd), fingerprint(CombinedSet({"x": voc}))}) == 4
    sbd.image_path("000002").write_bytes(b"other")
    assert fingerprint(both) != whole


def test_finds_what_is_there(tmp_path: Path) -> None:
    sbd = draw_sbd(tmp_path / "SBD")
    assert find_image_sets(tmp_path) == {"SBD": sbd}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_val2017.json").touch()
    voc = draw_voc(tmp_path, "VOC2012")
    found = find_image_sets(tmp_path)
    assert list(found) == ["VOC2012", "SBD", "COCO2017"]
    assert (found["VOC2012"], found["SBD"], found["COCO2017"].name) == (voc, sbd, "COCO2017")
    assert find_image_sets(voc.root) == {"VOC2012": voc}


def test_nothing_found_names_every_layout(tmp_path: Path) -> None:
    (tmp_path / "VOCtest.tar").touch()
    with pytest.raises(UserError, match=r"Unpack VOCtest\.tar.*VOCdevkit/VOC2007.*Nor is SBD.*COCO \(annot"):
        find_image_sets(tmp_path)
    with pytest.raises(UserError, match=r"nowhere: there is no such folder\.") as error:
        find_image_sets(tmp_path / "nowhere")
    assert "SBD" not in str(error.value)


def test_seg11valid_is_the_published_list() -> None:
    ids = seg11valid_ids()
    assert (len(ids), len(set(ids))) == (736, 736)
    assert (ids[0], ids[-1]) == ("2007_000033", "2011_003271")
    assert ids_digest(ids) == "33d3d44294e02741ecd3877459009a5d5f937069edde1a441bfcd5f38029d59b"


def test_seg11valid_needs_the_whole_year(tmp_path: Path) -> None:
    drawn = draw_voc(tmp_path, "VOC2012")
    with pytest.raises(
        UserError, match=r"VOC2012: 736 of the 736 images of seg11valid are not in .* list val"
    ):
        drawn.image_ids("seg11valid", "Segmentation")
    path = drawn.list_path("val", "Segmentation")
    path.write_text("\n".join(seg11valid_ids()))
    assert drawn.image_ids("seg11valid", "Segmentation") == seg11valid_ids()
    path.with_name("seg11valid.txt").write_text("000002\n")  # a list of the devkit's own goes first
    assert drawn.image_ids("seg11valid", "Segmentation") == ("000002",)
    for devkit, kind in ((drawn, "Main"), (draw_voc(tmp_path, "VOC2007"), "Segmentation")):
        with pytest.raises(UserError, match=r"unknown .* split"):
            devkit.image_ids("seg11valid", kind)  # type: ignore[arg-type]


def test_seg11valid_of_the_real_year(real_years: dict[str, RealYear]) -> None:
    devkit = real_years["VOC2012"].devkit
    ids = devkit.image_ids("seg11valid", "Segmentation")
    val = devkit.image_ids("val", "Segmentation")
    assert ids == tuple(name for name in val if name in set(ids))
    assert not set(ids) & set(devkit.image_ids("train", "Segmentation"))
