"""How figures look and how they are written: one place, so that all figures of a paper belong together.

Sizes are those of a paper's columns, in inches; letters are as large as they print. Every series has a colour and a
marker, dash or hatch of its own, so that it is told apart in grey, too. PDF holds vectors and whole TrueType fonts
(type 42), PNG has 200 dots an inch, and the same figure gives the same bytes. matplotlib is imported only inside the
functions, with the Agg canvas, so that no display is needed.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bench.atomic import make_folder, write_atomically, write_json, write_text
from ssl_bench.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that people with any kind of colour vision can tell apart (Okabe and Ito, "Color Universal Design",
# 2008), without their yellow, which is too light for a line on white. The last two but black are for few series.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++")
EDGE = "#222222"  # around light fills, so that they end visibly on white
GRID: dict[str, Any] = {"color": "#dddddd", "linewidth": 0.6}
SEEDS: dict[str, Any] = {"elinewidth": 1.4, "capsize": 2.5, "capthick": 1.4}  # bars over several seeds
IMAGES: dict[str, Any] = {"elinewidth": 0.6, "capsize": 0}  # bars of a single run, over test images
SAMPLES: dict[str, Any] = {"elinewidth": 0.6, "capsize": 2, "capthick": 0.6}  # of a single run, over samples

ONE_COLUMN, TWO_COLUMNS = 3.3, 6.9  # inches
LETTERS, SMALL = 8.0, 7.0  # points
DPI = 200

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
    "font.size": LETTERS,
    "axes.titlesize": LETTERS,
    "axes.labelsize": LETTERS,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "figure.titlesize": LETTERS,
    "axes.linewidth": 0.6,
    "hatch.linewidth": 0.5,
}
WRITING: Any = {"pdf.fonttype": 42, "svg.hashsalt": "ssl-bench", "hatch.linewidth": 0.5}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with the letters and lines of the house, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure with its own Agg canvas: pyplot's global state and the user's display stay untouched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write the figure without the time and version that would make equal figures differ.

    Raises:
        UserError: The suffix is of no format that we write, or the folder cannot be written.
    """
    import matplotlib

    suffix = path.suffix.lstrip(".").lower() or "png"
    nothing = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    if suffix not in nothing:
        raise UserError(f"{path.name}: figures are written as {', '.join(nothing)}, not {suffix}")
    make_folder(path.parent)
    # What matplotlib makes only now, as ticks, has to look like the rest.
    with house_style():
        matplotlib.rcParams.update(WRITING)
        write_atomically(
            path, lambda file: figure.savefig(file, format=suffix, dpi=DPI, metadata=nothing[suffix])
        )
    return path


def save_all(figure: Figure, stem: Path, caption: str, numbers: Any) -> list[Path]:
    """Write STEM.pdf, STEM.png, STEM.txt (the caption) and STEM.json (what was drawn); return the four paths.

    Args:
        numbers: JSON values; a number that is not finite becomes null.
    """
    paths = [save_figure(figure, stem.with_name(f"{stem.name}.{suffix}")) for suffix in ("pdf", "png")]
    text, data = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("txt", "json"))
    write_text(text, " ".join(caption.split()) + "\n")
    write_json(data, _finite(numbers))
    return [*paths, text, data]


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def plain(text: str) -> str:
    """Escape text for a figure: what stands between two dollar signs would be set as a formula."""
    return text.replace("$", r"\$")


def short_names(titles: Sequence[str], letters: int) -> dict[str, str]:
    """Name rows in a figure: without what stands in brackets behind the name, where they stay apart without it.

    Longer names are broken into two lines, and cut where these do not hold them; titles in full are in the numbers.
    """
    bare = {title: title.split(" (")[0] for title in titles}
    taken = list(bare.values())
    return {
        title: plain(_two_lines(name if taken.count(name) == 1 else title, letters))
        for title, name in bare.items()
    }


def _two_lines(text: str, letters: int) -> str:
    lines = textwrap.wrap(text, letters, max_lines=2, placeholder="…")
    return "\n".join(lines)


def look(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the series with this number."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def tidy(axes: Axes, grid: str = "y") -> None:
    """Take away the frame's upper and right side, and put a light grid (x, y or both) behind what is drawn."""
    axes.grid(True, axis=grid, **GRID)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def contrast(one: str, other: str) -> float:
    """Compute how strongly two colours ("#rrggbb") differ in luminance, from 1 to 21 (WCAG 2.2)."""
    first, second = sorted((_luminance(one), _luminance(other)))
    return (second + 0.05) / (first + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
