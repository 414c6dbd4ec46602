"""How an overlap is shown: lines for a person, all pairs as CSV, and a sheet of the nearest pairs to look at."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ssl_bench.atomic import make_folder, write_atomically, write_text
from ssl_bench.data.decode import read_rgb
from ssl_bench.data.near_duplicates import MOST_PAIRS
from ssl_bench.stages.overlap_sets import ComparedSet
from ssl_bench.stages.overlaps import Compared, OverlapResult, SetSummary

ON_SHEET = 12
ACROSS = 3
TILE, GAP, CAPTION = 220, 12, 48  # pixels
MOST_NAMED = 10
LONGEST_NAME = 34  # characters that fit below a tile


def lines(result: OverlapResult) -> list[str]:
    """The counts and the nearest pairs, for a person."""
    b, bounds = result.b, result.bounds
    share = f" ({100 * result.near / b.images:.1f} %)" if b.images else ""
    text = [
        *_set_lines("A", result.a),
        *_set_lines("B", b),
        f"near-duplicates     {result.near} of {b.images} images of B{share}: at most {bounds.hamming} of 64 bits "
        f"differ, and the cosine of the {result.embedding} is at least {bounds.cosine:g}",
        f"  one sign alone    {result.by_hash} by the hash, {result.by_embedding} by the embedding",
        f"exact duplicates    {result.exact} images of B are a file of A, byte for byte",
    ]
    if result.itself:
        text.append(
            f"the same set        {result.itself} images of B are in A under the same name, as expected where A "
            "and B are one set; they count, but an image's pair with itself is not listed"
        )
    elif result.a.fingerprint == b.fingerprint:
        text.append("the same set        A and B are splits of one set that share no image")
    more = f", of which {MOST_PAIRS} are listed" if result.pairs > MOST_PAIRS else ""
    text.append(f"pairs               {result.pairs}{more}; the nearest picture of A to images of B:")
    for pair in result.nearest:
        text.append(
            f"  {pair.hamming:2d} bits, cosine {pair.cosine:.3f}{', mirrored' if pair.mirrored else ''}: "
            f"{pair.a}  {pair.b}{'' if pair.near else '  (not near)'}"
        )
    return text


def _set_lines(letter: str, found: SetSummary) -> list[str]:
    flat = f", {found.flat} too flat to compare" if found.flat else ""
    text = [f"{letter}                   {found.name} {found.split}: {found.images} images{flat}"]
    if found.broken:
        named = ", ".join(found.broken[:MOST_NAMED])
        more = " and more" if len(found.broken) > MOST_NAMED else ""
        text.append(f"  unreadable        {len(found.broken)} left out: {named}{more}")
    return text


def write_pairs(folder: Path, a: ComparedSet, b: ComparedSet, compared: Compared) -> list[Path]:
    """Write `pairs.csv` and `nearest.png` into a folder, and return their paths.

    Raises:
        UserError: The folder cannot be written.
    """
    make_folder(folder)
    table, sheet = folder / "pairs.csv", folder / "nearest.png"
    write_text(table, pairs_csv(compared))
    picture = contact_sheet(a, b, compared)
    write_atomically(sheet, lambda file: picture.save(file, "PNG"))
    return [table, sheet]


def pairs_csv(compared: Compared) -> str:
    """All near-duplicate pairs, nearest first."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["a", "b", "hamming", "cosine", "mirrored", "same_bytes"])
    files_a, files_b = compared.a.files, compared.b.files
    for entry in compared.overlap.pairs:
        pair = compared.near_pair(entry)
        same = bool((files_a[entry["a"]] == files_b[entry["b"]]).all())
        words = [pair.a, pair.b, pair.hamming, f"{pair.cosine:.4f}"]
        writer.writerow([*words, int(pair.mirrored), int(same)])
    return stream.getvalue()


def contact_sheet(a: ComparedSet, b: ComparedSet, compared: Compared) -> Image.Image:
    """The nearest pairs side by side, A on the left, one for an image of B, with their distances."""
    chosen = compared.overlap.nearest[:ON_SHEET]
    down = max(-(-len(chosen) // ACROSS), 1)
    width, height = 2 * TILE + GAP, TILE + CAPTION
    sheet = Image.new("RGB", (ACROSS * (width + GAP) + GAP, down * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, entry in enumerate(chosen):
        x, y = GAP + number % ACROSS * (width + GAP), GAP + number // ACROSS * height
        pair = compared.near_pair(entry)
        for left, one, place, name in (
            (x, a, compared.a.places[entry["a"]], pair.a),
            (x + TILE, b, compared.b.places[entry["b"]], pair.b),
        ):
            tile = read_rgb(one.photos.read(int(place)), name=name, draft=TILE)
            tile.thumbnail((TILE - 4, TILE - 4))
            sheet.paste(tile, (left, y))
            draw.text((left, y + TILE), ascii(name)[1:-1][-LONGEST_NAME:], "black", font)
        words = f"{pair.hamming} bits, cosine {pair.cosine:.3f}{', mirrored' if pair.mirrored else ''}"
        draw.text((x, y + TILE + 16), words + ("" if pair.near else ", not near"), "black", font)
    return sheet
