"""A checkpoint is whole or passed over: truncated, with a flipped byte, of a full disk; and it costs little time."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench.atomic import CannotWrite
from ssl_bench.engine.checkpoints import TRAILER, Checkpoints, Interval


def state(value: float = 1.0, size: int = 500) -> dict[str, Any]:
    return {"module": {"weight": torch.full((size,), value)}, "optimizers": [], "wall_s": 2.5}


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder, "a")
    for step in steps:
        checkpoints.save(step, state(float(step)))
    return checkpoints


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let the kernel refuse, as a full disk does, whatever makes a file larger than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_saved_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3, 4, 5)
    assert [path.name for path in checkpoints.paths()] == ["step-000000004.pt", "step-000000005.pt"]
    found = checkpoints.latest()
    assert found is not None
    assert (found["step"], found["wall_s"], found["module"]["weight"][0].item()) == (5, 2.5, 5.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in checkpoints.paths()]


def test_torch_alone_reads_a_checkpoint(tmp_path: Path) -> None:
    (path,) = saved(tmp_path, 7).paths()
    assert torch.load(path, weights_only=True)["step"] == 7


def test_a_checkpoint_of_an_earlier_version_has_no_checksum_and_is_read(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 7)
    (path,) = checkpoints.paths()
    path.write_bytes(path.read_bytes()[:-TRAILER])
    found = checkpoints.latest()
    assert found is not None
    assert found["step"] == 7


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.97, 1.0])
def test_a_flipped_byte_anywhere_sends_back_to_the_one_before(
    share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    data = bytearray(checkpoints.paths()[1].read_bytes())
    data[min(int(share * len(data)), len(data) - 1)] ^= 0x04
    checkpoints.paths()[1].write_bytes(data)
    found = checkpoints.latest()
    assert found is not None
    assert found["step"] == 1
    said = capsys.readouterr().err
    assert "step-000000002.pt: unreadable checkpoint (its checksum is another), trying the one before" in said


def test_a_weight_flipped_in_one_bit_is_what_the_format_itself_does_not_notice(tmp_path: Path) -> None:
    """Why there is a checksum: torch reads the wrong number without a word."""
    (path,) = saved(tmp_path, 3).paths()
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((8,), 3.0).numpy().tobytes()) + 100] ^= 0x04
    path.write_bytes(data)
    wrong = torch.load(path, weights_only=True)["module"]["weight"]
    assert not torch.equal(wrong, torch.full((500,), 3.0))
    assert Checkpoints(tmp_path, "a").latest() is None


@pytest.mark.parametrize("length", [0, 1, 64, 1000, -1 - TRAILER, -TRAILER + 3, -1])
def test_a_truncated_checkpoint_sends_back_to_the_one_before(length: int, tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    path = checkpoints.paths()[1]
    path.write_bytes(path.read_bytes()[:length])
    found = checkpoints.latest()
    assert found is not None
    # With nothing but a piece of its checksum lost it may be read: what it holds is whole.
    assert found["step"] == found["module"]["weight"][0].item() == (2 if -TRAILER < length < 0 else 1)


def test_another_recipes_checkpoint_is_said_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, 1)
    assert Checkpoints(tmp_path, "b").latest() is None
    assert "step-000000001.pt: belongs to another training, not used" in capsys.readouterr().err


def test_a_full_disk_keeps_the_checkpoints_before_and_no_half_one(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    with (
        disk_of(5000),
        pytest.raises(CannotWrite, match=r"cannot write .*step-000000003\.pt: File too large"),
    ):
        checkpoints.save(3, state(3.0, size=5000))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000001.pt", "step-000000002.pt"]
    found = checkpoints.latest()
    assert found is not None
    assert found["step"] == 2
    checkpoints.save(3, state(3.0, size=5000))
    assert [path.name for path in checkpoints.paths()] == ["step-000000002.pt", "step-000000003.pt"]


def test_what_a_kill_left_half_written_is_removed_by_the_next_saving_and_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    checkpoints = saved(folder, 1)
    (folder / ".step-000000002.pt.77.tmp").write_bytes(b"half")
    checkpoints.save(3, state())
    assert not list(folder.glob(".*"))
    (folder / ".step-000000004.pt.77.tmp").write_bytes(b"half")
    checkpoints.clear()
    assert not folder.exists()


def test_a_removed_run_folder_is_not_made_by_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="run is gone"):
        Checkpoints(tmp_path / "run" / "checkpoints", "a").save(1, state())
    assert not (tmp_path / "run").exists()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("save_s", "interval_s"), [(0.0, 120.0), (1.0, 120.0), (1.2, 120.0), (6.0, 600.0)])
def test_the_interval_is_stretched_to_a_hundred_times_a_saving(save_s: float, interval_s: float) -> None:
    clock = Clock()
    interval = Interval(120.0, clock)
    clock.pass_s(119.9)
    assert not interval.due()
    clock.pass_s(0.1)
    assert interval.due(), "the first is due after the least interval: what it takes is not known yet"
    interval.write(lambda: clock.pass_s(save_s))
    clock.pass_s(interval_s - 0.1)
    assert not interval.due()
    clock.pass_s(0.2)
    assert interval.due()


def test_writing_takes_a_hundredth_of_the_time_also_where_it_becomes_faster_or_slower() -> None:
    clock = Clock()
    interval = Interval(120.0, clock)
    writing = 0.0
    for save_s in [30.0, 30.0, 5.0, 0.5, 0.5, 20.0, 20.0]:
        while not interval.due():
            clock.pass_s(1.0)
        interval.write(lambda save_s=save_s: clock.pass_s(save_s))  # type: ignore[misc]
        writing += save_s
    clock.pass_s(interval.every_s)
    assert writing / (clock.now - 1000.0) <= 0.0101


def test_a_saving_that_fails_counts_too() -> None:
    clock = Clock()
    interval = Interval(120.0, clock)

    def fail() -> None:
        clock.pass_s(10.0)
        raise CannotWrite("full")

    with pytest.raises(CannotWrite):
        interval.write(fail)
    assert interval.every_s == 1000.0


def test_an_interval_of_nothing_saves_after_every_step() -> None:
    clock = Clock()
    interval = Interval(0.0, clock)
    interval.write(lambda: clock.pass_s(5.0))
    assert interval.due()
