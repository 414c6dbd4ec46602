"""Progress: what is said, how often, and nothing about what ends at once."""

from __future__ import annotations

import pytest

from ssl_bench import progress as module
from ssl_bench.progress import clock, counted, progress, progress_line


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets: the last entry is the time."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[-1])
    return now


def test_durations_read_as_a_person_says_them() -> None:
    assert [clock(s) for s in (0, 59.4, 59.6, 60, 119.6, 3599.6, 3600, 7260)] == [
        *("0 s", "59 s", "1:00 min", "1:00 min", "2:00 min", "1:00 h", "1:00 h", "2:01 h")
    ]


def test_a_line_says_share_rate_and_time_left() -> None:
    line = progress_line("fit", 30, 120, 0, 10.0, "steps", "loss 1.5")
    assert line == "fit: 30/120 steps (25%), 3.0 steps/s, 30 s left, loss 1.5"


def test_the_rate_after_a_resume_counts_only_this_sitting() -> None:
    assert "2.0 steps/s, 20 s left" in progress_line("fit", 80, 120, 60, 10.0, "steps", "")


def test_short_jobs_say_nothing_and_long_ones_a_line_now_and_then(
    time_passes: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("job", 100) as advance:
        for second in range(41):
            time_passes.append(100.0 + second / 2)
            advance(second + 1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" images")[0] for line in lines] == ["job: 5/100", "job: 25/100"]


def test_a_job_may_tell_its_own_total(time_passes: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with counted("hash", unit="files") as tell:
        time_passes.append(110.0)
        tell(50, 200)
    assert capsys.readouterr().err == "hash: 50/200 files (25%), 5.0 files/s, 30 s left\n"


def test_quiet_says_nothing(time_passes: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("job", 10, quiet=True) as advance:
        time_passes.append(200.0)
        advance(3)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_live_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    seen = []
    real = module._live

    def spy(*arguments):
        seen.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, "_live", spy)
    with progress("job", 10, unit="steps") as advance:
        advance(3, "loss 1")
        advance(4, total=12)
    assert seen == [("job", 10, "steps", 0)]
