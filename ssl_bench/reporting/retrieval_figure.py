"""Nearest neighbours by context, as Pathak et al. 2016 show them: pictures whose surroundings look alike.

In a row the query's context, which is all that a network saw of it, the query's own centre, and the centres of the
nearest other pictures. matplotlib is imported only inside the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.errors import UserError
from ssl_bench.reporting.figure_style import house_style, save_all
from ssl_bench.reporting.picture_grid import Picture, picture_grid

MOST_ROWS = 24


@dataclass(frozen=True)
class Found:
    """What one encoder found for one query, the nearest first."""

    encoder: str
    query: str
    context: Picture
    centre: Picture
    names: tuple[str, ...]
    similarities: tuple[float, ...]
    pictures: tuple[Picture, ...]


def draw_retrieval(found: Sequence[Found], stem: Path, *, data: str, compared: str) -> list[Path]:
    """Draw a row for each query and encoder: STEM.pdf, STEM.png, STEM.txt, STEM.json.

    Args:
        found: Each with equally many neighbours.
        compared: What of the pictures was compared, and how, in words.

    Raises:
        UserError: There is no row, or there are more than a page holds.
    """
    if not 1 <= len(found) <= MOST_ROWS:
        raise UserError(
            f"{stem.name}: {len(found)} rows, a query and an encoder each; 1 to {MOST_ROWS} fit on a page"
        )
    count = len(found[0].pictures)
    encoders = list(dict.fromkeys(one.encoder for one in found))
    with house_style():
        grid = picture_grid(
            [[one.context, one.centre, *one.pictures] for one in found],
            ["context", "its centre", *(f"nearest {place}" for place in range(1, count + 1))],
            labels=[one.encoder for one in found] if len(encoders) > 1 else (),
            notes=[["", "", *(f"{value:.2f}" for value in one.similarities)] for one in found],
        )
    caption = (
        f"Pictures of {data} whose surroundings of the centre are nearest to the query's, by "
        f"{' and by '.join(encoders)}: {compared}. The contexts alone were seen; under a picture stands its "
        "similarity. The query itself is left out."
    )
    numbers = [
        {
            "encoder": one.encoder,
            "query": one.query,
            "nearest": list(one.names),
            "similarity": list(one.similarities),
        }
        for one in found
    ]
    return save_all(grid.figure, stem, caption, numbers)
