"""`ssl-bench inpaint`: complete pictures with a trained inpainting run, and the figure that shows it.

Two ways from a picture of any size to a network of 128 px. `resize`: the short side becomes 128 px and the
middle is cut out; results are 128 x 128. `tile`: the picture keeps its size; its hole is covered by squares,
row by row from the top, each painted from the 128 px around it with what is painted already; beyond the
picture's edge the context is mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ssl_bench.atomic import make_folder, write_atomically
from ssl_bench.data.decode import read_indices, read_rgb
from ssl_bench.data.photos import open_photos
from ssl_bench.engine.processes import Processes
from ssl_bench.errors import BrokenImage, UserError
from ssl_bench.pretexts.inpainter import Inpainter, load_inpainter
from ssl_bench.pretexts.inpainting_networks import IMAGE_SIZE
from ssl_bench.progress import progress, say
from ssl_bench.protocols.inpainting import fitted, middle_square
from ssl_bench.recipes import INPAINTING_DEFAULT, load_inpainting_protocol
from ssl_bench.reporting.figures import inpainting_gallery
from ssl_bench.stages.encoders import newest_run

Fit = Literal["resize", "tile"]
FIGURE = "inpainting.png"
MOST_ROWS = 12  # of the figure; every picture is written
WHOLE_STEP = 64  # a network of whole images paints the middle 64 px of each window
GREY = np.array([123, 117, 104], np.uint8)  # how a hole is shown


@dataclass(frozen=True)
class Shown:
    """One picture of the figure: uint8, (H, W, 3) each."""

    name: str
    masked: np.ndarray
    result: np.ndarray
    truth: np.ndarray


def inpaint(
    encoder: str | Path | None,
    images: str | Path,
    *,
    mask: str | Path | None = None,
    fit: Fit = "resize",
    out: str | Path = "inpainted",
    runs: str | Path = "runs",
    device: str = "auto",
    limit: int | None = None,
) -> list[Path]:
    """Write completed pictures (PNG) and the figure: masked input, result, truth, row by row.

    Args:
        encoder: An inpainting run, its name or folder; by default the newest run.
        images: A folder or zip of pictures, or one picture.
        mask: White (255 or 1) where pixels are removed: a picture of the size of every image, or a folder of
            masks named as the images. By default the central square.
        fit: `resize` or `tile`, see above.
        out: The folder to write into.

    Returns:
        The files, the figure last.

    Raises:
        UserError: What a user can get wrong.
    """
    path = Path(encoder) if encoder is not None else newest_run(Path(runs), control="")
    if not path.exists() and (Path(runs) / path).exists():
        path = Path(runs) / path
    inpainter = load_inpainter(path).to(Processes(device).device)
    found = _pictures(Path(images), limit)
    masks = _masks(Path(mask)) if mask is not None else None
    target = make_folder(Path(out))
    work = _resized if fit == "resize" else _tiled
    written: list[Path] = []
    shown: list[Shown] = []
    broken: list[str] = []
    enlarged = 0
    with progress("inpainting", len(found)) as advance:
        for number, (name, read) in enumerate(found, start=1):
            try:
                image = read()
            except BrokenImage as error:
                broken.append(str(error))
                continue
            enlarged += min(image.size) < IMAGE_SIZE
            removed = masks(name, image.size) if masks else None
            one = work(inpainter, image, removed, name)
            destination = target / f"{Path(name).with_suffix('')}.png".replace("/", "_")
            _write_png(destination, one.result)
            written.append(destination)
            if len(shown) < MOST_ROWS:
                shown.append(one)
            advance(number)
    if not written:
        raise UserError(f"{images}: none of its {len(found)} pictures can be read (the first: {broken[0]})")
    if broken:
        say(f"left out {len(broken)} pictures that cannot be read (the first: {broken[0]})")
    if enlarged:
        say(f"{enlarged} pictures were smaller than {IMAGE_SIZE} px and were enlarged")
    rows = [[one.masked, one.result, one.truth] for one in shown]
    titles = [Path(one.name).stem[:24] for one in shown]
    inpainting_gallery(rows, ["input", "inpainted", "truth"], titles, target / FIGURE)
    return [*written, target / FIGURE]


def _pictures(path: Path, limit: int | None) -> list[tuple[str, Callable[[], Image.Image]]]:
    """List pictures by name, each with what reads it."""
    if path.is_file() and path.suffix.lower() != ".zip":
        return [(path.name, lambda: read_rgb(path, name=path.name))]
    photos = open_photos(path)

    def reader(index: int) -> Callable[[], Image.Image]:
        return lambda: read_rgb(photos.read(index), name=photos.names[index])

    return [(name, reader(index)) for index, name in enumerate(photos.names[:limit])]


def _masks(path: Path) -> Callable[[str, tuple[int, int]], np.ndarray]:
    """Return what finds the mask of a picture, bool (H, W), and checks it."""
    if not path.exists():
        raise UserError(f"--mask {path}: there is no such file or folder")

    def mask_of(name: str, size: tuple[int, int]) -> np.ndarray:
        file = path / f"{Path(name).stem}.png" if path.is_dir() else path
        if not file.is_file():
            raise UserError(f"--mask {path}: no mask {file.name} for the picture {name}")
        try:
            values = read_indices(file, name=str(file))
        except BrokenImage:
            values = np.asarray(read_rgb(file, name=str(file)).convert("L"))
        if values.shape != size[::-1]:
            raise UserError(
                f"{file}: the mask has {values.shape[1]} x {values.shape[0]} px, {name} has {size[0]} x {size[1]}; "
                "make them equal, or give a folder with one mask for each picture"
            )
        kinds = np.unique(values)
        if not (set(kinds.tolist()) <= {0, 1} or set(kinds.tolist()) <= {0, 255}):
            raise UserError(
                f"{file}: a mask is black and white (0 and 255, or 0 and 1), this one has {len(kinds)} values "
                f"from {kinds[0]} to {kinds[-1]}; save it without smoothing"
            )
        if not values.any():
            raise UserError(f"{file}: the mask removes nothing; white marks what is to be painted")
        removed: np.ndarray = values > 0
        return removed

    return mask_of


def _resized(inpainter: Inpainter, image: Image.Image, removed: np.ndarray | None, name: str) -> Shown:
    protocol = load_inpainting_protocol(INPAINTING_DEFAULT)
    picture = fitted(image, protocol, name=name)
    hole = inpainter.central_hole()
    if removed is not None:
        shrunk = Image.fromarray(removed.astype(np.uint8) * 255).resize(
            (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST, box=middle_square(image.size)
        )
        given = (np.asarray(shrunk) > 0).astype(np.uint8)
        if not given.any():
            raise UserError(f"{name}: its mask lies outside the middle square that is left; use --fit tile")
        if inpainter.hole is not None and (given > hole).any():
            inner = inpainter.hole
            raise UserError(
                f"{name}: this network paints rows and columns {inner.start} to {inner.stop - 1} of 128 px, and the "
                "mask reaches further; use --fit tile, or a run that paints the whole image "
                "(inpainting-official-random)"
            )
        visible = given
    else:
        visible = hole
    completed = inpainter.complete(picture[None], hole[None, None] if inpainter.hole else visible[None, None])
    result = np.where(visible == 1, completed[0], picture)
    return _shown(name, picture.transpose(1, 2, 0), result.transpose(1, 2, 0), visible == 1)


def _tiled(inpainter: Inpainter, image: Image.Image, removed: np.ndarray | None, name: str) -> Shown:
    if min(image.size) < IMAGE_SIZE:
        raise UserError(
            f"{name} has {image.width} x {image.height} px, the network {IMAGE_SIZE}: tiling needs larger pictures; "
            "use --fit resize"
        )
    truth = np.asarray(image)
    if removed is None:
        removed = np.zeros(truth.shape[:2], bool)
        rows, columns = (slice(side // 2 - side // 4, side // 2 + side // 4) for side in truth.shape[:2])
        removed[rows, columns] = True
    step = WHOLE_STEP if inpainter.hole is None else inpainter.hole.stop - inpainter.hole.start
    margin = (IMAGE_SIZE - step) // 2
    canvas = np.pad(truth, ((margin, margin + step), (margin, margin + step), (0, 0)), mode="reflect")
    left_to_paint = np.pad(removed, ((margin, margin + step), (margin, margin + step)), mode="reflect")
    inside = np.zeros(left_to_paint.shape, bool)
    inside[margin : margin + truth.shape[0], margin : margin + truth.shape[1]] = True
    marked_rows, marked_columns = np.flatnonzero(removed.any(1)), np.flatnonzero(removed.any(0))
    for top in range(int(marked_rows[0]), int(marked_rows[-1]) + 1, step):
        for left in range(int(marked_columns[0]), int(marked_columns[-1]) + 1, step):
            window = np.s_[top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
            middle = np.s_[margin : margin + step, margin : margin + step]
            wanted = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
            wanted[middle] = left_to_paint[window][middle]
            if not wanted.any():
                continue
            hole = inpainter.central_hole() if inpainter.hole else left_to_paint[window].astype(np.uint8)
            picture = canvas[window].transpose(2, 0, 1)
            painted = inpainter.complete(picture[None], hole[None, None])[0].transpose(1, 2, 0)
            canvas[window][wanted] = painted[wanted]
            left_to_paint[window][wanted] = False
    assert not (left_to_paint & inside).any()
    result = canvas[margin : margin + truth.shape[0], margin : margin + truth.shape[1]]
    return _shown(name, truth, result, removed)


def _shown(name: str, truth: np.ndarray, result: np.ndarray, removed: np.ndarray) -> Shown:
    masked = np.where(removed[:, :, None], GREY, truth)
    return Shown(name, masked, np.ascontiguousarray(result), np.ascontiguousarray(truth))


def _write_png(path: Path, picture: np.ndarray) -> None:
    write_atomically(path, lambda file: Image.fromarray(picture).save(file, format="PNG"))
