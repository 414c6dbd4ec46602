"""Stop signals outside of a training: as Ctrl-C, with a word and the status of a run to go on with."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ssl_bench import cli
from ssl_bench.signals import STOPPING, Stopped, stopped_by_signals


def stop_myself(number: signal.Signals) -> None:
    with stopped_by_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_raised_in_the_block_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=number.name):
        stop_myself(number)
    assert signal.getsignal(number) is before


def test_a_signal_that_somebody_answers_is_left_to_them() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with stopped_by_signals():
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_a_forked_helper_ends_as_it_would_have_without() -> None:
    with stopped_by_signals():
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("verb", "error", "status"),
    [
        ("transfer", Stopped("SIGTERM"), 75),
        ("run", Stopped("SIGUSR1"), 75),
        ("transfer", KeyboardInterrupt(), 130),
        ("table", Stopped("SIGTERM"), 130),
    ],
)
def test_the_status_says_whether_the_command_goes_on(
    verb: str,
    error: BaseException,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> int:
        raise error

    monkeypatch.setitem(cli.COMMANDS, verb, interrupted)
    assert cli.main([verb]) == status
    assert ("the same command goes on from there" in capsys.readouterr().err) == (verb != "table")
