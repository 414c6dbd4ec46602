"""Probes from the command line's side: one extraction, records that say everything, nothing chosen on test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ssl_bench
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.encoders.caffenet import CaffeNet
from ssl_bench.encoders.files import load_encoder_file, save_encoder
from ssl_bench.errors import UserError
from ssl_bench.features import one_pass
from ssl_bench.protocols.predictions import load_arrays
from ssl_bench.protocols.probes.sealed import PeekingError, SealedTest
from ssl_bench.protocols.probes.svm import SvmProbe
from ssl_bench.stages.probing import probe
from tests.data.drawn_voc import draw_voc
from tests.protocols.drawn_folders import draw_folders
from tests.tiny_run import call

ENCODER = "random:caffenet:width=0.05"
TAPS = ["conv1", "conv2", "conv3", "conv4", "conv5"]
SVM = ["settings.costs=[0.1, 1.0]", "features.networks.caffenet.size=67"]


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A VOC whose every class has positives in both splits; features go to a cache of its own."""
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    devkit = draw_voc(tmp_path / "data", images_per_split=40)
    for split in ("trainval", "test"):
        for number, name in enumerate(VOC_CLASSES):
            lines = [
                f"{image} {1 if place % 20 == number else -1:2d}\n"
                for place, image in enumerate(devkit.image_ids(split))
            ]
            (devkit.root / "ImageSets" / "Main" / f"{name}_{split}.txt").write_text("".join(lines))
    return tmp_path / "data"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    return draw_folders(tmp_path / "colours.zip", each=30)


def judged(task: str, data: Path, out: Path, *settings: str, **options: object) -> ssl_bench.Record:
    changes = ["budget=quick", *settings]
    return ssl_bench.transfer(task, changes, encoder=ENCODER, data=data, out=out, device="cpu", **options)


def test_a_record_says_what_was_chosen_where_and_how_well(voc: Path, tmp_path: Path) -> None:
    record = judged("voc-svm", voc, tmp_path / "runs", *SVM)
    assert (record.status, record.task, record.main_metric) == ("done", "voc-svm", "mAP[voc-area]")
    assert record.dataset is not None
    assert (record.dataset.n_train, record.dataset.n_test) == (80, 40)
    by_tap = {tap: record.metrics[f"mAP[voc-area] {tap}"] for tap in TAPS}
    assert record.encoder is not None
    assert record.score == by_tap[record.encoder.tap]
    assert record.selection is not None
    validated = record.selection.validation_by_tap
    assert list(validated) == TAPS
    assert record.encoder.tap == max(validated, key=lambda tap: validated[tap])
    assert record.selection.validation_score == validated[record.encoder.tap]
    assert set(record.selection.chosen["conv3"]["costs"].values()) <= {0.1, 1.0}
    assert not record.selection.on_test
    assert record.selection.trials == 2 * 5
    assert record.certificate is not None
    assert record.certificate.problems == 5 * (2 * 20 * 3 + 20)
    assert record.certificate.missed == 0
    assert record.frozen_proof is not None
    assert record.frozen_proof.sha256_before == record.frozen_proof.sha256_after
    assert record.frozen_proof.evaluation_mode
    assert record.features is not None
    assert list(record.features.dimensions) == TAPS
    assert (record.features.reused, record.features.extracted) == (0, 10)
    assert f"AP[voc-area] {record.encoder.tap}" in record.per_class
    assert record.intervals["mAP[voc-area] conv1"].low <= by_tap["conv1"] + 5
    kept = load_arrays(tmp_path / "runs" / record.run)
    assert {name: array.shape for name, array in kept.items()} == {f"{tap}: scores": (40, 20) for tap in TAPS}


def test_a_second_protocol_and_a_second_run_take_no_features_again(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = judged("voc-svm", voc, tmp_path / "runs", *SVM)

    def none(*_: object) -> None:
        raise AssertionError("features were taken again")

    monkeypatch.setattr(one_pass.OnePass, "run", none)
    again = judged("voc-svm", voc, tmp_path / "other", *SVM)
    assert again.metrics == first.metrics
    assert again.features is not None
    assert (again.features.reused, again.features.extracted, again.features.images_per_s) == (10, 0, None)
    judged("voc-svm", voc, tmp_path / "runs", *SVM, "settings.positive_weight=1.0")
    assert judged("voc-svm", voc, tmp_path / "runs", *SVM) == first  # done: the record is read


def test_another_weight_makes_other_features(voc: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    one = judged("voc-svm", voc, runs, *SVM, seed=0)
    other = judged("voc-svm", voc, runs, *SVM, seed=1)
    assert one.encoder is not None
    assert other.encoder is not None
    assert one.encoder.sha256 != other.encoder.sha256
    assert other.features is not None
    assert (other.features.reused, other.features.extracted) == (0, 10)


def test_probe_runs_what_the_data_allows_and_says_what_it_leaves_out(folders: Path, tmp_path: Path) -> None:
    outcome = probe(ENCODER, data=folders, budget="quick", out=tmp_path / "runs", device="cpu")
    assert [record.task for record in outcome.records] == ["logistic", "knn"]
    assert set(outcome.left_out) == {"voc07-svm-fair-quick", "coco14-svm-quick", "voc07-lowshot-quick"}
    assert not outcome.failures
    for record in outcome.records:
        assert record.main_metric == "top-1"
        assert record.score > 60  # three colours, one of which a third of the images has
    assert outcome.records[0].features == outcome.records[1].features  # from the same pass
    assert outcome.records[0].dataset is not None
    assert outcome.records[0].dataset.name == "colours"


def test_the_same_question_under_another_name_is_asked_once(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_bench.stages.probing.PROBES", {"voc-svm": 1, "voc07-svm-fair": 1})
    outcome = probe(ENCODER, data=voc, budget="quick", out=tmp_path / "runs", device="cpu")
    assert len(outcome.records) == 1


def test_low_shot_that_the_data_does_not_allow_is_left_out_but_an_error_where_it_is_named(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_bench.stages.probing.PROBES", {"voc-lowshot": 1, "knn": 1})
    outcome = probe(ENCODER, data=voc, budget="quick", out=tmp_path / "runs", device="cpu")
    assert [record.task for record in outcome.records] == ["knn"]
    assert "k = 16 positives were asked for" in outcome.left_out["voc07-lowshot-quick"]
    assert not list((tmp_path / "runs").rglob("failure.json"))
    named = probe(
        ENCODER, data=voc, budget="quick", protocols=["voc-lowshot"], out=tmp_path / "other", device="cpu"
    )
    assert named.records == []
    assert "k = 16 positives were asked for" in named.failures[0]
    assert list((tmp_path / "other").rglob("failure.json"))
    with pytest.raises(UserError, match="k = 16 positives"):
        judged("voc-lowshot", voc, tmp_path / "third")


@pytest.mark.parametrize("task", ["voc-lowshot", "voc07-lowshot-fair-chosen-on-test"])
def test_low_shot_says_whether_test_chose(task: str, voc: Path, tmp_path: Path) -> None:
    record = judged(task, voc, tmp_path / "runs", "settings.shots=[1, 2]", "settings.costs=[0.1, 1.0]")
    assert record.selection is not None
    assert record.selection.on_test == task.endswith("on-test")
    assert "TEST" in record.selection.rule or not record.selection.on_test
    assert set(record.selection.chosen["conv5"]["costs"]) == {"k=1", "k=2"}
    assert "mAP[voc-area] k=2 conv5" in record.metrics
    assert record.metrics["mAP[voc-area] mean over k conv5"] == pytest.approx(
        (record.metrics["mAP[voc-area] k=1 conv5"] + record.metrics["mAP[voc-area] k=2 conv5"]) / 2
    )


def test_test_features_are_read_after_every_tap_has_chosen(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fit, opened = SvmProbe.fit, SealedTest.open
    monkeypatch.setattr(SvmProbe, "fit", lambda *a, **k: order.append("fit") or fit(*a, **k))
    monkeypatch.setattr(SealedTest, "open", lambda self: order.append("open") or opened(self))
    judged("voc-svm", voc, tmp_path / "runs", *SVM)
    assert order == ["fit"] * 5 + ["open"]


def test_a_probe_that_peeks_fails(voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SealedTest, "close_selection", lambda self: None)
    with pytest.raises(PeekingError):
        judged("voc-svm", voc, tmp_path / "runs", *SVM)


def test_collapsed_and_diverged_encoders_are_named(voc: Path, tmp_path: Path) -> None:
    first = judged("voc-svm", voc, tmp_path / "runs", *SVM)
    assert first.encoder is not None
    folder = tmp_path / "encoder"
    folder.mkdir()
    network = CaffeNet(width=0.05)
    for value, said in ((0.0, "equal"), (float("nan"), "not finite|NaN")):
        for parameter in network.parameters():
            parameter.data.fill_(value)
        save_encoder(folder, network, card_of(network))
        assert load_encoder_file(folder)[1].name == "broken"
        with pytest.raises(UserError, match=said):
            ssl_bench.transfer(
                "voc-svm",
                ["budget=quick", *SVM],
                encoder=str(folder),
                data=voc,
                out=tmp_path / "r",
                device="cpu",
            )


def card_of(network: CaffeNet):
    from ssl_bench.encoders.contract import weights_hash
    from ssl_bench.encoders.files import EncoderCard

    return EncoderCard(
        name="broken",
        method="broken",
        architecture=dict(network.architecture),
        preprocessing=network.preprocessing,
        sha256=weights_hash(network),
        pretraining=None,
        pretraining_seed=None,
        code_version="0",
    )


def test_the_command_prints_a_row_a_tap_and_draws(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["probe", ENCODER, "--data", folders, "--budget", "quick", "--out", tmp_path / "runs"]
    answer = call(capsys, *words, "--device", "cpu", "--figure", tmp_path / "profile")
    assert answer.status == 0
    assert [line.split()[1] for line in answer.out.splitlines() if line.startswith("| conv")] == TAPS
    assert "left out voc07-svm-fair-quick" in answer.err
    assert (tmp_path / "profile.pdf").exists()
    csv = call(capsys, *words, "--device", "cpu", "--format", "csv")
    assert csv.status == 0
    assert csv.out.count("top-1") >= 10


def test_what_cannot_be_meant_is_said(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = call(capsys, "probe", ENCODER, "--data", folders, "--protocols", "voc-svm", "--out", tmp_path)
    assert answer.status == 2
    assert "colours.zip is a file" in answer.err
    answer = call(capsys, "probe", ENCODER, "--protocols", "voc-svn", "--out", tmp_path)
    assert answer.status == 2
    assert "voc-svm" in answer.err
    answer = call(capsys, "probe", ENCODER, "--data", tmp_path / "nowhere", "--out", tmp_path)
    assert answer.status == 2
    assert answer.err.count("there is no such folder") == 1
    answer = call(capsys, "transfer", "--task", "knn", "mode=finetune", "--encoder", ENCODER)
    assert answer.status == 2
    assert "mode=finetune" in answer.err


def test_scores_do_not_depend_on_threads(folders: Path, tmp_path: Path) -> None:
    one = judged("knn", folders, tmp_path / "one", workers=1)
    np.testing.assert_equal(judged("knn", folders, tmp_path / "one", workers=2).metrics, one.metrics)


def test_the_profile_of_several_runs_is_drawn_and_nothing_else(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged("knn", folders, tmp_path / "runs")
    judged("knn", folders, tmp_path / "runs", seed=1)
    answer = call(capsys, "plot", "profile", tmp_path / "runs", "--out", tmp_path / "figure")
    assert answer.status == 0
    names = ["figure.pdf", "figure.png", "figure.txt", "figure.json"]
    assert [Path(line).name for line in answer.out.split()] == names
    answer = call(capsys, "plot", "profile", tmp_path / "runs", "--protocols", "voc-svm")
    assert answer.status == 2
    assert "there are knn-20-quick on colours" in answer.err
