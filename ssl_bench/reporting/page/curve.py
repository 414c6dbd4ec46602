"""A run's loss curve as inline SVG: few points, labelled axes, lines told apart by colour and by dashes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_bench.reporting.figures import spans_decades
from ssl_bench.reporting.page.markup import Html, element
from ssl_bench.runs import PROBE_SCORE, PROBE_SECONDS, read_log

Points = Sequence[tuple[float, float]]

MOST_POINTS = 120  # of one line; the picture is 560 units wide
MOST_LINES = 5  # as many as there are dashes in page.css
NOT_LOSSES = ("step", "lr", "wall_s", "images_per_s", PROBE_SCORE, PROBE_SECONDS)
WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 44


def read_curves(log: Path) -> dict[str, list[tuple[float, float]]]:
    """Read what a log says of each loss, as (step, value), the losses as a whole first; at most `MOST_LINES` of them.

    A log that cannot be read has no curves: the run's section links to it all the same.
    """
    series = {name: points for name, points in _series(log).items() if name not in NOT_LOSSES}
    ordered = sorted(series, key=lambda name: (name != "loss", not name.endswith(".loss"), name))
    return {name: series[name] for name in ordered[:MOST_LINES]}


def read_probe(log: Path) -> dict[str, list[tuple[float, float]]]:
    """Read the scores of an online probe in percent, as (step, value), by their name; nothing where there was none."""
    return {f"{name} (%)": points for name, points in _series(log).items() if name == PROBE_SCORE}


def _series(log: Path) -> dict[str, list[tuple[float, float]]]:
    """Read every number of a log by its name, as (step, value) in order of steps."""
    series: dict[str, dict[float, float]] = {}
    try:
        for entry in read_log(log):
            for name, value in entry.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    series.setdefault(name, {})[float(entry["step"])] = float(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: sorted(points.items()) for name, points in series.items()}


def thinned(points: Points, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Keep at most `most` points: the first, the last, and of each stretch between its lowest and its highest."""
    if len(points) <= most:
        return list(points)
    inner, stretches = points[1:-1], (most - 2) // 2
    kept = [points[0]]
    for index in range(stretches):
        stretch = inner[index * len(inner) // stretches : (index + 1) * len(inner) // stretches]
        finite = [point for point in stretch if math.isfinite(point[1])] or list(stretch[:1])
        ends = {min(finite, key=lambda point: point[1]), max(finite, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def loss_curve(curves: Mapping[str, Points], label: str, *, what: str = "Loss") -> Html:
    """Draw losses, or `what` it is, over steps; gaps where values are not finite, nothing where none is."""
    drawable = {
        name: thinned(points) for name, points in curves.items() if any(math.isfinite(v) for _, v in points)
    }
    if not drawable:
        return Html("")
    values = [v for points in drawable.values() for _, v in points if math.isfinite(v)]
    steps = [step for points in drawable.values() for step, _ in points]
    logarithmic = spans_decades(values)
    ticks = log_ticks(min(values), max(values)) if logarithmic else even_ticks(min(values), max(values))
    below, above = (math.log10(ticks[0]), math.log10(ticks[-1])) if logarithmic else (ticks[0], ticks[-1])
    first, last = min(steps), max(steps)

    def place(step: float, value: float) -> tuple[float, float]:
        height = math.log10(value) if logarithmic else value
        along = (step - first) / (last - first or 1.0)
        up = (height - below) / (above - below or 1.0)
        return LEFT + along * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    drawn = [
        element(
            "path", d=_path([place(*p) if math.isfinite(p[1]) else None for p in points]), class_=f"line{n}"
        )
        for n, points in enumerate(drawable.values())
    ]
    heights = [(place(first, tick)[1], tick) for tick in ticks]
    across = "".join(f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}" for y, _ in heights)
    axes = [element("path", d=across, class_="grid")]
    axes += [_words(_short(tick), LEFT - 6, y + 4, "end") for y, tick in heights]
    marks = [step for step in even_ticks(first, last) if first <= step <= last]
    axes += [_tick_along(place(step, ticks[0])[0], _short(step)) for step in marks]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    axes.append(_words("step", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle"))
    upright = f"rotate(-90 12 {middle:g})"
    name = what.lower() if len(drawable) > 1 else next(iter(drawable))
    unit = f"{name} (log)" if logarithmic else name
    axes.append(element("text", unit, x=12, y=f"{middle:g}", text_anchor="middle", transform=upright))
    ends = ", ".join(f"{name} ends at {_short(points[-1][1])}" for name, points in drawable.items())
    svg = element(
        "svg",
        element("title", f"{what} of {label}: {ends}"),
        *axes,
        *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="curve",
    )
    legend = element("figcaption", *_legend(drawable)) if len(drawable) > 1 else ""
    return element("figure", svg, legend, class_="curve")


def _legend(drawable: Mapping[str, Points]) -> list[Html]:
    return [
        element(
            "span",
            element(
                "svg",
                element("path", d="M0 5H26", class_=f"line{n}"),
                viewBox="0 0 26 10",
                aria_hidden="true",
            ),
            f" {name}",
            class_="key",
        )
        for n, name in enumerate(drawable)
    ]


def even_ticks(low: float, high: float) -> list[float]:
    """Choose about five round numbers, equally far apart, that hold everything from `low` to `high`."""
    if high <= low:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    gap = next((power * times for times in (1, 2, 5) if power * times >= rough), power * 10)
    lowest, highest = math.floor(low / gap + 1e-9), math.ceil(high / gap - 1e-9)
    return [number * gap for number in range(lowest, highest + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Choose 1, 2 and 5 of every decade, or whole decades where there are many, so that they hold `low` and `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    apart = max(1, math.ceil((last - first) / 6))
    if last - first > 2:
        decades = range(first, last + apart, apart)
        return [10.0**power for power in decades]
    every = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    lowest = max(number for number in every if number <= low * (1 + 1e-9))
    highest = min((number for number in every if number >= high * (1 - 1e-9)), default=every[-1])
    return [number for number in every if lowest <= number <= highest]


def _path(places: Sequence[tuple[float, float] | None]) -> str:
    parts, pen_down = [], False
    for spot in places:
        if spot is not None:
            parts.append(f"{'L' if pen_down else 'M'}{spot[0]:.1f} {spot[1]:.1f}")
        pen_down = spot is not None
    return "".join(parts)


def _short(value: float) -> str:
    """Write a tick: 1500, 0.25, 3e-05."""
    return f"{value:.0f}" if abs(value) >= 1000 and abs(value) < 1e6 else f"{value:.3g}"


def _tick_along(x: float, words: str) -> Html:
    return _words(words, x, HEIGHT - BOTTOM + 16, "middle" if x < WIDTH - RIGHT - 1 else "end")


def _words(text: str, x: float, y: float, anchor: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)
