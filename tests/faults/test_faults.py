"""Whole commands that meet a fault from outside end with a sentence and a status, and go on where they were."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import ssl_bench
from ssl_bench.errors import UserError
from ssl_bench.runs import METRICS_FILE
from tests.data.drawn_voc import draw_voc
from tests.faults.killing import PATIENCE_S, Job, finished, last_step, results, started
from tests.faults.test_kills import PRETRAININGS, TRANSFERS

KIND = "rotation-demo"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    photos = draw_voc(tmp_path / "drawn").root / "JPEGImages"
    return Job("pretrain", KIND, PRETRAININGS[KIND], photos)


@pytest.fixture
def transfer_job(job: Job, tmp_path: Path) -> Job:
    (tmp_path / "tiny.yaml").write_text("base: context-encoder-demo\nname: tiny\nencoder: {width: 0.05}\n")
    kind, encoder = "voc-cls-frozen-demo", f"random:{tmp_path / 'tiny.yaml'}"
    return Job("transfer", kind, TRANSFERS[kind], tmp_path / "drawn", encoder)


def said(out: Path) -> str:
    return (out / "said").read_text(encoding="utf-8")


def wait_for(step: int, out: Path, process: Any) -> None:
    began = time.monotonic()
    while last_step(out / "run" / METRICS_FILE) < step:
        assert process.is_alive(), said(out)
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.001)


def test_a_stop_signal_ends_with_the_status_of_a_run_to_go_on_with(job: Job, tmp_path: Path) -> None:
    """The signal of batch systems; what the others do is tested in tests/engine."""
    out = tmp_path / "stopped"
    process = started(job, out, step_s=0.05)
    wait_for(3, out, process)
    os.kill(process.pid, signal.SIGUSR1)
    process.join(PATIENCE_S)
    assert process.exitcode == 75, said(out)
    assert "stopped after step" in said(out)
    assert "Start the same command again to go on." in said(out)
    assert results(finished(job, out)) == results(finished(job, tmp_path / "whole"))


def test_the_second_of_two_runs_in_one_folder_is_refused_and_told_who_has_it(
    job: Job, tmp_path: Path
) -> None:
    out = tmp_path / "shared"
    first = started(job, out, step_s=0.05)
    wait_for(1, out, first)
    second = started(job, out, note="second")
    second.join(PATIENCE_S)
    assert second.exitcode == 2
    words = f"is in use by process {first.pid} on {socket.gethostname()}. Wait for it, or give this run its own --name."
    assert words in (out / "second").read_text()
    first.join(PATIENCE_S)
    assert first.exitcode == 0, said(out)
    assert results(out / "run") == results(finished(job, tmp_path / "whole"))


def test_a_folder_removed_under_a_run_comes_back_with_all_of_its_results(
    transfer_job: Job, tmp_path: Path
) -> None:
    out = tmp_path / "removed"
    process = started(transfer_job, out, step_s=0.05)
    wait_for(3, out, process)
    (out / "run").rename(tmp_path / "trash")  # at once, as `rm -r` is not
    process.join(PATIENCE_S)
    assert process.exitcode == 0, said(out)
    assert "run was removed while its run was going on: made anew" in said(out)
    assert "Traceback" not in said(out)
    assert results(out / "run") == results(finished(transfer_job, tmp_path / "whole"))


def test_a_disk_too_full_for_the_result_is_said_and_the_run_is_made_when_it_is_not(
    job: Job, tmp_path: Path
) -> None:
    out = tmp_path / "full"
    process = started(job, out, largest_file=8000)
    process.join(PATIENCE_S)
    assert process.exitcode == 2, said(out)
    assert "no checkpoint after step 5, those before it are kept: cannot write" in said(out)
    assert "run/encoder.safetensors: File too large. Free space or choose another folder" in said(out)
    assert "Traceback" not in said(out)
    left = {path.name for path in (out / "run").rglob("*")}
    assert not left & {"done", "encoder.safetensors", "encoder.json"}
    assert not [name for name in left if name.endswith((".tmp", ".pt"))]
    assert results(finished(job, out)) == results(finished(job, tmp_path / "whole"))


def test_a_disk_too_full_for_checkpoints_alone_ends_in_the_same_result(
    transfer_job: Job, tmp_path: Path
) -> None:
    out = tmp_path / "full"
    process = started(transfer_job, out, largest_file=8000)
    process.join(PATIENCE_S)
    assert process.exitcode == 0, said(out)
    assert "no checkpoint after step 5, those before it are kept: cannot write" in said(out)
    assert results(out / "run") == results(finished(transfer_job, tmp_path / "whole"))


def test_a_photo_that_breaks_is_passed_over_where_there_are_no_labels_and_named_where_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = draw_voc(tmp_path / "drawn").root / "JPEGImages"
    classes = tmp_path / "classes"
    for number, path in enumerate(sorted(folder.iterdir())):
        place = classes / "train" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    for broken in (sorted(folder.iterdir())[5], sorted((classes / "train" / "a").iterdir())[2]):
        broken.write_bytes(broken.read_bytes()[:300])
    options: dict[str, Any] = {"out": tmp_path / "runs", "device": "cpu", "workers": 1}
    ssl_bench.pretrain(KIND, PRETRAININGS[KIND], data=folder, **options)
    assert "skipped 1 photos that cannot be read (000006.jpg)" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"a/\d+\.jpg: not a readable image .* Replace or remove the file"):
        ssl_bench.pretrain("supervised-demo", PRETRAININGS["supervised-demo"], data=classes, **options)
