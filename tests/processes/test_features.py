"""Features that two processes take together: rows to the bit, each batch once, and whatever stops one of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ssl_bench import cli
from ssl_bench.errors import BrokenImage
from ssl_bench.features import one_pass
from ssl_bench.records import RESULT_FILE, load_record
from tests.processes.test_judging import words
from tests.processes.together import Together, note, start_each, until
from tests.protocols.drawn_folders import draw_folders

BATCH = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_folders(folder / "colors.zip")
    (folder / "tiny.yaml").write_text("base: context-encoder-demo\nname: tiny\nencoder: {width: 0.05}\n")
    return folder


def take(given: list[str], out: Path, batch: int, pause_s: float, broken_in: str) -> int:
    """Run a probe in small batches, leave who took which, and meet a broken image in one process."""
    os.environ["SSL_BENCH_CACHE"] = str(out / "cache")
    rank = os.environ.get("RANK", "0")
    one_pass.BATCH_ON_CPU, one_pass.FLUSH_EVERY_S = batch, 0.0
    read, write = one_pass.read_squares, one_pass.OnePass._write

    def slowly(images: Any, places: range, **options: Any) -> Any:
        time.sleep(pause_s)
        if rank == broken_in:
            raise BrokenImage("one.png", "cut short")
        return read(images, places, **options)

    def noted(self: one_pass.OnePass, number: int, *arguments: Any) -> None:
        write(self, number, *arguments)
        note(out / "taken" / f"{self.images.split}-{number}-by-{rank}-{time.monotonic_ns()}", number)

    one_pass.read_squares, one_pass.OnePass._write = slowly, noted  # type: ignore[method-assign]
    return cli.main(given)


def taking(
    place: Path, out: Path, count: int, batch: int = BATCH, *, pause_s: float = 0.0, broken_in: str = ""
) -> Together:
    given = words("logistic", place, out / "runs")
    given[given.index("--workers") + 1] = "1"
    return start_each(take, count, out, given, out, batch, pause_s, broken_in)


def taken(out: Path) -> list[list[str]]:
    """Split, number and rank of every batch that was taken."""
    return sorted(path.name.replace("-by", "").split("-")[:3] for path in (out / "taken").glob("*"))


def features(out: Path) -> dict[str, bytes]:
    found = {path.parent.name: path.read_bytes() for path in (out / "cache/features").glob("*/features.npy")}
    assert len(found) > 1
    return found


@pytest.fixture(scope="module")
def alone(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    taking(place, out, 1).finished()
    return out


def test_every_batch_is_taken_once_by_turns_and_the_rows_are_those_of_one(
    place: Path, alone: Path, tmp_path: Path
) -> None:
    run = taking(place, tmp_path, 2).finished()
    assert taken(tmp_path) == [
        [split, str(number), str(number % 2)] for split in ("train", "val") for number in range(9)
    ]
    assert features(tmp_path) == features(alone)
    found, expected = (load_record(out / "runs/run" / RESULT_FILE) for out in (tmp_path, alone))
    assert found.metrics == expected.metrics
    assert (run.said(1), run.printed(1)) == ("", "")


def test_fewer_batches_than_processes(place: Path, alone: Path, tmp_path: Path) -> None:
    """Main and the others may come in any order: who has nothing to take must not look for the file."""
    taking(place, tmp_path, 2, BATCH * 100).finished()
    assert taken(tmp_path) == [["train", "0", "0"], ["val", "0", "0"]]
    assert len(features(tmp_path)) == len(features(alone))


@pytest.mark.parametrize("dead", [0, 1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whichever_is_stopped_the_next_start_goes_on_behind_what_is_on_the_disk(
    how: signal.Signals, dead: int, place: Path, alone: Path, tmp_path: Path
) -> None:
    run = taking(place, tmp_path, 2, pause_s=0.2)
    until(lambda: len(taken(tmp_path)) >= 4, run)
    os.kill(run.members[dead].pid, how)
    if how == signal.SIGKILL:  # as launchers do, which end what is left
        run.members[dead].join()
        time.sleep(0.5)
        if run.members[1 - dead].is_alive():
            os.kill(run.members[1 - dead].pid, signal.SIGTERM)
    statuses = run.statuses()
    assert statuses[1 - dead] == 75
    assert statuses[dead] == (75 if how == signal.SIGTERM else -signal.SIGKILL)
    assert "Traceback" not in run.said(0) + run.said(1)
    before = len(taken(tmp_path))
    again = taking(place, tmp_path, 2).finished()
    assert "going on behind image" in again.said()
    assert len(taken(tmp_path)) - before < 18
    assert features(tmp_path) == features(alone)


@pytest.mark.parametrize("where", ["0", "1"])
def test_what_one_cannot_read_ends_all(where: str, place: Path, tmp_path: Path) -> None:
    run = taking(place, tmp_path, 2, broken_in=where)
    assert run.statuses() == [2, 2]
    assert "one.png: not a readable image (cut short)" in run.said(int(where))
    assert "failed" in run.said(1 - int(where))
    assert not (tmp_path / "runs/run/done").exists()
