"""`ssl-bench plot`: from folders to figures. What stands in the numbers is what the records and logs say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_bench.commands import plotting
from ssl_bench.data.image_sets import fingerprint
from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.protocols.predictions import save_predictions
from ssl_bench.recipes import load_protocol, shipped_folder
from ssl_bench.records import Record, write_record
from ssl_bench.runs import RunFolder
from ssl_bench.stages.plot_encoders import first_filters, middle, retrieval
from ssl_bench.stages.plot_predictions import overlays
from ssl_bench.stages.plots import low_shot, transfer_against_loss
from tests.data.drawn_voc import draw_voc
from tests.reporting.conftest import make_record
from tests.reporting.probe_records import lowshot_record


def numbers(paths: Sequence[Path]) -> Any:
    assert [path.suffix for path in paths] == [".pdf", ".png", ".txt", ".json"]
    assert all(path.stat().st_size for path in paths)
    return json.loads(paths[3].read_text())


def keep(folder: Path, record: Record) -> Path:
    (folder / record.run).mkdir(parents=True)
    write_record(folder / record.run, record)
    return folder / record.run


def learned(folder: Path, name: str, sha256: str, losses: Sequence[float], key: str = "loss") -> None:
    """A pretraining run: what a plot reads of its card, and its log."""
    run = folder / name
    run.mkdir(parents=True)
    (run / "encoder.json").write_text(json.dumps({"sha256": sha256}))
    lines = [json.dumps({"step": step, key: loss}) for step, loss in enumerate(losses, start=1)]
    (run / "metrics.jsonl").write_text("\n".join(lines))


def test_a_point_joins_a_run_with_its_transfers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learned(tmp_path, "ae-0", "sha-autoencoder-0", [3.0, 2.0])
    learned(tmp_path, "ae-1", "sha-autoencoder-1", [3.0, 1.0], key="generator.reconstruction")
    learned(tmp_path, "unjudged", "sha-x", [1.0])
    learned(tmp_path, "broken", "sha-random-0", [])
    for record in (
        make_record("autoencoder", 30.0, seed=0),
        make_record("autoencoder", 31.0, seed=1),
        make_record("autoencoder", 9.0, seed=1, task="voc-det"),
        make_record("autoencoder", 99.0, seed=1, run="trial", dataset={"limit": 3}),
        make_record("autoencoder", None, seed=0, task="voc-seg"),
        make_record("rotation", 31.0, seed=1),
    ):
        keep(tmp_path / "judged", record)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "result.json").write_text('{"schema_ver')
    paths = transfer_against_loss([tmp_path], tmp_path / "out" / "scatter")
    assert "cannot be read as a record: cut/result.json" in capsys.readouterr().err
    found = {(n["run"], n["seed"], n["loss"], n["score"]) for n in numbers(paths)}
    assert found == {("ae-0", 0, 2.0, 30.0), ("ae-1", 1, 1.0, 31.0), ("ae-1", 1, 1.0, 9.0)}
    [protocol] = {n["protocol"] for n in numbers(paths) if n["score"] == 9.0}
    only = numbers(transfer_against_loss([tmp_path], tmp_path / "out" / "s", protocols=[str(protocol)]))
    assert [n["score"] for n in only] == [9.0]
    with pytest.raises(UserError, match=f"no run here was judged by knn; there are .*{protocol}"):
        transfer_against_loss([tmp_path], tmp_path / "s", protocols=["knn"])
    with pytest.raises(UserError, match="there is no such folder"):
        transfer_against_loss([tmp_path / "none"], tmp_path / "s")


def test_recipes_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    for seed, hashed in enumerate(("abcdef1234", "123456abcd")):
        learned(tmp_path, f"ae-{seed}", f"sha-autoencoder-{seed}", [1.0])
        record = make_record("autoencoder", 30.0, seed=seed, pretraining={"recipe_hash": hashed})
        keep(tmp_path / "judged", record)
    paths = transfer_against_loss([tmp_path], tmp_path / "scatter")
    assert {n["recipe"] for n in numbers(paths)} == {"autoencoder-mini abcdef", "autoencoder-mini 123456"}


def test_low_shot_has_the_spread_over_samples(tmp_path: Path) -> None:
    record = lowshot_record(5.0, ks=(1, 2))
    spread = {"mAP[voc-area] k=1 std over samples conv4": 0.5, "mAP[voc-area] k=2 std over samples": 0.25}
    keep(tmp_path, record.model_copy(update={"metrics": {**record.metrics, **spread}}))
    paths = low_shot([tmp_path], tmp_path / "low")
    [panel] = numbers(paths)
    [line] = panel["lines"]
    points = [(p["place"], p["mean"], p["below"], p["above"], p["over"]) for p in line["points"]]
    assert points == [(1, 15.0, 0.5, 0.5, "samples"), (2, 18.0, 0.25, 0.25, "samples")]
    assert "± sample standard deviation over its samples of k examples a class" in paths[2].read_text()


def test_a_shipped_table_is_drawn_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for draw in (plotting.bars, plotting.ranks):
        assert draw("context-encoders-2", runs=(), out=tmp_path / "f") == 0
        printed = capsys.readouterr().out.split()
        assert printed == [str(tmp_path / f"f.{suffix}") for suffix in ("pdf", "png", "txt", "json")]
    bars = json.loads((tmp_path / "f.json").read_text())
    assert len(bars) == 1
    assert (shipped_folder("results") / "tables" / "context-encoders-2.yaml").is_file()
    with pytest.raises(UserError, match=r"--alpha 1\.5: a number between 0 and 1"):
        plotting.ranks("context-encoders-2", runs=(), out=tmp_path / "f", alpha=1.5)


def test_filters_are_shown_red_first() -> None:
    encoder = fresh_encoder({"name": "caffenet", "width": 0.05}, input_size=96, init="kaiming", seed=0)
    name, weights = first_filters(encoder)
    wanted = dict(encoder.named_parameters())[f"{name}.weight"].detach().numpy()
    assert weights.shape[1:] == (3, 11, 11)
    for given in ("RGB", "BGR"):
        encoder.preprocessing = encoder.preprocessing.model_copy(update={"channels": given})
        _, shown = first_filters(encoder)
        assert np.array_equal(shown, wanted if given == "RGB" else wanted[:, ::-1])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photos: two kinds of surroundings, and a centre that never tells which."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = np.full((128, 128, 3), (40, 80, 200) if number % 2 else (200, 90, 40), np.float64)
        stripes = (np.arange(128) // 8 % 2)[:, None] if number % 2 else (np.arange(128) // 8 % 2)[None, :]
        pixels += 40 * stripes[:, :, None]
        pixels[32:96, 32:96] = rng.integers(0, 256, (64, 64, 3))
        noisy = np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("encoder", ["hog", "random:caffenet:width=0.1"])
def test_the_nearest_have_the_same_surroundings(encoder: str, photos: Path, tmp_path: Path) -> None:
    given = {"queries": 2, "nearest": 2, "runs": tmp_path, "device": "cpu"}
    paths = retrieval([encoder], photos, tmp_path / "r", **given)
    found = {n["query"]: set(n["nearest"]) for n in numbers(paths)}
    assert found == {"0.png": {"2.png", "4.png"}, "5.png": {"1.png", "3.png"}}


def test_the_centre_is_never_seen(photos: Path, tmp_path: Path) -> None:
    given = {"queries": 6, "nearest": 3, "runs": tmp_path, "device": "cpu"}
    encoder = "random:caffenet:width=0.1"
    before = numbers(retrieval([encoder], photos, tmp_path / "before", **given))
    for path in photos.iterdir():
        pixels = np.asarray(Image.open(path)).copy()
        # The centre's rim stays as it is: resizing spreads it beyond what is hidden.
        pixels[40:88, 40:88] = 255 - pixels[40:88, 40:88]
        Image.fromarray(pixels).save(path)
    after = numbers(retrieval([encoder], photos, tmp_path / "after", **given))
    assert after == before


def test_too_few_photos_are_told(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="6 photos, of which 2 are queries with 6 others each"):
        retrieval(["hog"], photos, tmp_path / "r", queries=2, nearest=6, runs=tmp_path, device="cpu")


def test_the_middle_is_half_of_the_side() -> None:
    assert middle(128) == slice(32, 96)
    assert middle(227).stop - middle(227).start == 113


def judged(folder: Path, task: str, devkit: VocDevkit, predictions: list[dict[str, np.ndarray]]) -> Path:
    """A finished run on a drawn VOC, as `ssl-bench transfer` leaves it."""
    protocol = load_protocol(f"{task}-finetune-quick")
    run = RunFolder(folder / task, {"stage": "transfer"})
    run.open(protocol.model_dump(mode="json"), {})
    data = {
        "name": "VOC2007",
        "fingerprint": fingerprint(devkit),
        "test_split": protocol.splits["VOC2007"].test,
        "synthetic": False,
    }
    write_record(run.path, make_record("random", 5.0, task=task, run=task, dataset=data))
    save_predictions(run.path, predictions)
    run.finish()
    return run.path


def test_overlays_show_what_the_run_kept(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    ids = devkit.image_ids("test")
    found = [
        {
            "boxes": np.array([[1, 2, 30, 40], [0, 0, 9, 9]], np.float32) + place,
            "scores": np.array([0.9, 0.2], np.float32),
            "labels": np.array([place, 3], np.int16),
        }
        for place in range(len(ids))
    ]
    run = judged(tmp_path / "runs", "voc-det", devkit, found)
    shown = numbers(overlays(run, tmp_path, tmp_path / "o", images=2))
    assert [one["image"] for one in shown] == [ids[0], ids[-1]]
    [last] = shown[1]["found"]
    place = len(ids) - 1
    assert last["class"] == VOC_CLASSES[place]
    assert last["box"] == [1 + place, 2 + place, 30 + place, 40 + place]
    truth = [(o.name, list(map(float, o.box))) for o in devkit.annotation(ids[-1]).objects]
    assert [(o["class"], o["box"]) for o in shown[1]["truth"]] == truth
    assert shown[1]["hidden"] == 1
    by_name = numbers(overlays(run, tmp_path, tmp_path / "o", names=[ids[1]], score=0.1))
    assert [(one["image"], one["hidden"]) for one in by_name] == [(ids[1], 0)]
    with pytest.raises(UserError, match="nowhere: not among the"):
        overlays(run, tmp_path, tmp_path / "o", names=["nowhere"])
    with pytest.raises(UserError, match="--images 99: 1 to 24"):
        overlays(run, tmp_path, tmp_path / "o", images=99)
    other = draw_voc(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="was judged on VOC2007 with the fingerprint"):
        overlays(run, other.root, tmp_path / "o")


def test_masks_are_those_that_the_run_kept(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    protocol = load_protocol("voc-seg-finetune-quick")
    ids = devkit.image_ids(protocol.splits["VOC2007"].test, "Segmentation")
    masks = [devkit.class_mask(image_id) for image_id in ids]
    found = [{"labels": np.where(mask == 255, 7, mask).astype(np.uint8)} for mask in masks]
    run = judged(tmp_path / "runs", "voc-seg", devkit, found)
    shown = numbers(overlays(run, tmp_path, tmp_path / "o"))
    assert [one["image"] for one in shown] == list(ids)
    for one, mask in zip(shown, masks, strict=True):
        void = int((mask == 255).sum())
        counted = one["truth_pixels"], one["found_pixels"]
        assert counted[0].get("void", 0) == void
        assert counted[1].get(VOC_CLASSES[6], 0) == void + int((mask == 7).sum())


def test_other_runs_have_nothing_to_lay_over(tmp_path: Path) -> None:
    devkit = draw_voc(tmp_path)
    run = judged(tmp_path / "runs", "voc-cls", devkit, [{"scores": np.zeros(20, np.float32)}] * 4)
    with pytest.raises(UserError, match="overlays are drawn of detection and of segmentation"):
        overlays(run, tmp_path, tmp_path / "o")
    with pytest.raises(UserError, match=r"no finished run in this folder \(result.json is missing\)"):
        overlays(tmp_path / "none", tmp_path, tmp_path / "o")
