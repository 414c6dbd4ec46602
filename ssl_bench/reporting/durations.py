"""Durations as a table shows them."""

from __future__ import annotations

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def humanised(seconds: float) -> str:
    """Write a duration with two digits at least in the unit that fits: 42 s, 2.3 min, 14 hours, 3.1 days.

    A unit is left where the next one reaches 1 (days where they reach 2), after rounding: 59.7 s is 1.0 min.
    """
    if seconds < 1:
        return "< 1 s"
    if round(seconds) < MINUTE:
        return f"{seconds:.0f} s"
    if round(seconds / MINUTE) < 60:
        return f"{_two_digits(seconds / MINUTE)} min"
    if round(seconds / HOUR) < 48:
        return f"{_two_digits(seconds / HOUR)} hours"
    return f"{_two_digits(seconds / DAY)} days"


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if round(value, 1) < 10 else f"{value:.0f}"
