"""The losses of runs over training, as the class report's Figure 3 shows them: both players of a game.

A game has two panels, because its losses have different units: above, in nats, what the discriminator loses
and what the generator loses to it; below, the reconstruction loss. Where one player learns alone, one panel
shows its loss. Scores of an online probe stand on an axis at the right. One run has a colour for each player; of
several, each run has a colour, and the line's style tells the player. matplotlib is imported only inside the functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bench.errors import UserError
from ssl_bench.reporting.figure_style import (
    COLOURS,
    LETTERS,
    TWO_COLUMNS,
    house_style,
    new_figure,
    plain,
    save_figure,
)
from ssl_bench.reporting.figures import Points, log_entries, read_losses, spans_decades
from ssl_bench.runs import METRICS_FILE
from ssl_bench.runs import PROBE_SCORE as PROBE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALONE = "loss"
JUDGING, DECEIVING = "discriminator.loss", "generator.adversarial"
RECONSTRUCTION = "generator.reconstruction"
# The cross-entropy of one who says 1/2 to every real and to every painted picture, summed over both.
CANNOT_TELL = 2 * math.log(2)
PLAYERS = {JUDGING: "discriminator, real + painted", DECEIVING: "generator, adversarial"}
# Line styles of the discriminator's and the generator's losses; the second pair is for runs whose colour is taken.
STYLES = (("-", (0, (3, 1.2))), ("-.", ":"))
MOST_RUNS = len(COLOURS) * len(STYLES)
ALARM_LENGTH = 0.05  # of the panel's height, above it, where no line runs
REFERENCE: dict[str, Any] = {"color": "#888888", "linewidth": 0.8}
ANY_RUN = "#444444"
LEGEND_ROW = 0.17  # inches


@dataclass(frozen=True)
class _Run:
    """What is drawn of one run, and how."""

    label: str
    losses: Mapping[str, Points]
    alarms: Sequence[int]  # steps
    colours: Mapping[str, str]  # of each loss
    styles: tuple[Any, Any]


@house_style()
def player_losses(runs: Sequence[Path], path: Path) -> Path:
    """Draw the losses of one or more runs over their steps, with marks where an alarm was raised.

    Beside a game, a run of one player shows its reconstruction loss alone. A folder given twice counts once.

    Args:
        runs: Folders of runs, each with its log. A run may still be going on.
        path: Where the picture goes; the suffix chooses the format (png, pdf, svg).

    Raises:
        UserError: There is no run, or more than can be told apart; a folder has no log, or a log no losses;
            a run beside a game has no reconstruction loss; the picture cannot be written.
    """
    folders = list({folder.resolve(): folder for folder in runs}.values())
    if not 1 <= len(folders) <= MOST_RUNS:
        raise UserError(
            f"{len(folders)} runs to draw: name the folders of 1 to {MOST_RUNS} runs "
            "(more cannot be told apart in one figure)"
        )
    read = [_read(folder) for folder in folders]
    game = any(JUDGING in losses for losses in read)
    if game:
        read = [_beside_a_game(losses, folder) for losses, folder in zip(read, folders, strict=True)]
    drawn = [
        _Run(label, losses, _alarms(folder), _colours(index, alone=len(folders) == 1), _styles(index))
        for index, (label, losses, folder) in enumerate(zip(_labels(folders), read, folders, strict=True))
    ]
    figure = new_figure(TWO_COLUMNS, (4.7 if game else 3.4) + LEGEND_ROW * max(len(drawn), 3))
    if game:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1))
        _draw_game(above, drawn)
        _draw_panel(below, drawn, (RECONSTRUCTION,), "reconstruction loss")
    else:
        above = below = figure.subplots()
        _draw_panel(above, drawn, (ALONE,), "training loss")
    probed = _draw_probes(below, drawn)
    _mark_alarms(above, drawn)
    below.set_xlabel("training step")
    below.xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    _explain(figure, drawn, game=game, probed=probed)
    return save_figure(figure, path)


def _read(folder: Path) -> dict[str, Points]:
    """Read the losses that have a finite value."""
    found: dict[str, Points] = {
        name: points
        for name, points in read_losses(folder).items()
        if any(math.isfinite(value) for _, value in points)
    }
    if ALONE not in found and JUDGING not in found:
        raise UserError(
            f"{folder / METRICS_FILE}: there are no losses in it yet ({ALONE}, or {JUDGING} of a game). "
            "Draw it again when the run has logged a step."
        )
    return found


def _beside_a_game(losses: dict[str, Points], folder: Path) -> dict[str, Points]:
    """Name the reconstruction loss of one who plays alone as that of a game's generator."""
    if JUDGING in losses:
        return losses
    reconstruction = losses.get(RECONSTRUCTION.split(".")[1])
    if reconstruction is None:
        raise UserError(
            f"{folder} has no reconstruction loss to show beside a game's. Draw it in a figure of its own."
        )
    return {RECONSTRUCTION: reconstruction, **({PROBE: losses[PROBE]} if PROBE in losses else {})}


def _alarms(folder: Path) -> list[int]:
    return sorted({entry["step"] for entry in log_entries(folder) if entry.get("alarms")})


def _labels(folders: Sequence[Path]) -> list[str]:
    """Name runs by their folders, or by what was given where two folders have one name."""
    names = [folder.resolve().name for folder in folders]
    named = zip(names, folders, strict=True)
    labels = [str(folder) if names.count(name) > 1 else name for name, folder in named]
    return [plain(label) for label in labels]


def _colours(index: int, *, alone: bool) -> dict[str, str]:
    if alone:
        judge, painter = COLOURS[:2]
        return {ALONE: judge, JUDGING: judge, DECEIVING: painter, RECONSTRUCTION: painter, PROBE: COLOURS[2]}
    return dict.fromkeys((ALONE, JUDGING, DECEIVING, RECONSTRUCTION, PROBE), COLOURS[index % len(COLOURS)])


def _styles(index: int) -> tuple[Any, Any]:
    return STYLES[index // len(COLOURS)]


def _draw_game(axes: Axes, runs: Sequence[_Run]) -> None:
    _draw_panel(axes, runs, (JUDGING, DECEIVING), "adversarial losses (nats)")
    axes.axhline(CANNOT_TELL, **REFERENCE, zorder=1)


def _draw_panel(axes: Axes, runs: Sequence[_Run], names: Sequence[str], ylabel: str) -> None:
    """Draw a line for each run and loss that the run has."""
    shown: list[float] = []
    width = 1.3 if len(runs) <= 2 else 1.0
    for run in runs:
        for name in (name for name in names if name in run.losses):
            steps, values = _gapped(run.losses[name])
            style = run.styles[1 if name == DECEIVING and len(runs) > 1 else 0]
            marker = "o" if len(steps) == 1 else ""  # a line through one point is not seen
            colour = run.colours[name]
            axes.plot(steps, values, color=colour, linestyle=style, linewidth=width, marker=marker, ms=4)
            shown += values
    if spans_decades(shown):
        from matplotlib.ticker import LogLocator

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(True, which="minor", color="#eeeeee", linewidth=0.4)
    axes.set_ylabel(ylabel)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_probes(axes: Axes, runs: Sequence[_Run]) -> bool:
    """Draw the scores of online probes over the losses, on an axis at the right; return whether there are any."""
    probed = [run for run in runs if PROBE in run.losses]
    if not probed:
        return False
    beside = axes.twinx()
    for run in probed:
        steps, values = _gapped(run.losses[PROBE])
        beside.plot(steps, values, color=run.colours[PROBE], linestyle=":", linewidth=1.0, marker="o", ms=2.5)
    beside.set_ylabel("online probe, kNN (%)")
    beside.spines[["top", "left", "bottom"]].set_visible(False)
    return True


def _gapped(points: Points) -> tuple[list[int], list[float]]:
    """Part steps and values; a value that is not finite leaves a gap."""
    return [step for step, _ in points], [value if math.isfinite(value) else math.nan for _, value in points]


def _mark_alarms(axes: Axes, runs: Sequence[_Run]) -> None:
    for run in runs:
        for step in run.alarms:
            colour = "black" if len(runs) == 1 else run.colours[ALONE]
            axes.axvline(step, ymin=1, ymax=1 + ALARM_LENGTH, color=colour, linewidth=1.6, clip_on=False)


def _explain(figure: Figure, runs: Sequence[_Run], *, game: bool, probed: bool) -> None:
    """Put a legend above the panels, where it hides no line: runs on the left, what lines mean on the right."""
    from matplotlib.lines import Line2D

    def key(label: str, **look: Any) -> Line2D:
        return Line2D([], [], label=label, **look)

    one = len(runs) == 1
    names = [] if one else [key(run.label, color=run.colours[ALONE], linestyle=run.styles[0]) for run in runs]
    meanings = []
    if game:
        for (loss, player), style in zip(PLAYERS.items(), STYLES[0], strict=True):
            look = {"color": runs[0].colours[loss]} if one else {"color": ANY_RUN, "linestyle": style}
            meanings.append(key(player, **look))
        meanings.append(key("2 ln 2: discriminator cannot tell", **REFERENCE))
    if probed:
        colour = runs[0].colours[PROBE] if one else ANY_RUN
        meanings.append(
            key("online probe, right axis", color=colour, linestyle=":", marker="o", markersize=2.5)
        )
    if any(run.alarms for run in runs):
        meanings.append(key("alarm, see the log", color="black", marker="|", markersize=9, linestyle=""))
    if names and meanings:  # a legend deals its keys to columns of equal length
        rows = max(len(names), len(meanings))
        for column in (names, meanings):
            column += [key(" ", linestyle="") for _ in range(rows - len(column))]
    figure.legend(
        handles=[*names, *meanings],
        loc="outside upper left",
        title=runs[0].label if one else None,
        alignment="left",
        ncols=2,
        frameon=False,
        title_fontsize=LETTERS,
    )
