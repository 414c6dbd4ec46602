"""`ssl-bench plan`: what a pretraining recipe will cost, before it is started.

Gathers what `reckoning` needs: counts of a step, what photographs cost, and a rate, measured here now or before,
measured elsewhere, or none, in which case operations and a data sheet stand for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ssl_bench.environment import peak_memory_mb
from ssl_bench.errors import UserError
from ssl_bench.hashing import settings_hash
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.progress import say
from ssl_bench.protocol_names import FROZEN_ONLY, PROBES, TASKS
from ssl_bench.recipe_schemas import WITHOUT_STEPS, PretrainRecipe
from ssl_bench.recipes import INPAINTING, load_pretrain_recipe, recipe_names
from ssl_bench.stages.costs.calibration import (
    Calibration,
    calibrate,
    read_calibration,
    stored_place,
    write_calibration,
)
from ssl_bench.stages.costs.device_facts import Device, device_named, recognised
from ssl_bench.stages.costs.figures import Plan, Rate, Setting
from ssl_bench.stages.costs.photos import PhotoCosts, drawn_photos, found_photos, measure_photos
from ssl_bench.stages.costs.reckoning import DISK_MB_S, LINK_GB_S, peak_rate, reckon
from ssl_bench.stages.costs.step_counts import built, count_step

IMAGES, PIXELS = 1_281_167, "500x375"  # of ImageNet 2012, where nothing is said
LEAST_SIDE, MOST_SIDE = 16, 8192


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a plan is asked for. None stands for what a run would take, or for what is measured."""

    processes: int = 1
    device: str = "auto"
    data: str | None = None
    images: int | None = None
    pixels: str | None = None
    calibrate: bool = False
    calibration: Path | None = None
    cores: int | None = None
    disk_mb_s: float = DISK_MB_S
    link_gb_s: float | None = None
    watts: float | None = None


def plan_of(recipe: str, overrides: Sequence[str], asked: Asked) -> Plan:
    """Reckon what a recipe costs.

    Raises:
        UserError: Not a pretraining recipe, one without steps, an unknown device, or what is given cannot be used.
    """
    settings = _recipe(recipe, overrides)
    if settings.schedule.batch_size % asked.processes:
        raise UserError(
            f"--gpus {asked.processes}: a batch of {settings.schedule.batch_size} images cannot be shared by so many; "
            "use a number that divides it"
        )
    sheet = device_named(asked.device)
    size, base_mb = _pixels(asked), peak_memory_mb()
    pretext = built(settings)
    photos = _photos(settings, pretext, asked, size)
    found = _calibration(settings, pretext, asked, sheet, base_mb)
    counts = count_step(settings)
    if found is not None:
        sheet = device_named(recognised(found.product) or "auto")
        one = Rate(
            low=found.images_per_s, high=found.images_per_s, origin=_origin(found, settings), measured=True
        )
    else:
        assert sheet is not None
        schedule = settings.schedule
        share, parts = schedule.batch_size / asked.processes, -(-schedule.accumulate // asked.processes)
        one = peak_rate(counts, sheet, settings.precision, share, parts)
    return reckon(
        settings, settings_hash(settings), counts, photos, one, _setting(asked, sheet, found, base_mb)
    )


def _recipe(recipe: str, overrides: Sequence[str]) -> PretrainRecipe:
    protocols = {*TASKS, *PROBES, *FROZEN_ONLY, INPAINTING}
    if recipe in protocols or any(
        recipe in recipe_names(kind) for kind in ("transfer", "probes", "inpainting")
    ):
        raise UserError(
            f"{recipe} is a protocol: `plan` reckons what a pretraining recipe costs (`ssl-bench ls recipes`). The "
            "jobs of a table, with the times that earlier ones took: ssl-bench run TABLE --dry-run"
        )
    settings = load_pretrain_recipe(recipe, overrides)
    if settings.pretext.method in WITHOUT_STEPS:
        raise UserError(f"{settings.name} takes no steps: there is nothing to reckon")
    return settings


def _pixels(asked: Asked) -> tuple[int, int]:
    """Width and height of the photos that a plan presumes."""
    if asked.data is not None and (asked.images is not None or asked.pixels is not None):
        raise UserError("--data is measured itself: leave out --images and --pixels")
    given = asked.pixels or PIXELS
    match = re.fullmatch(r"(\d+)x(\d+)", given)
    sides = [int(side) for side in match.groups()] if match else []
    if not sides or not LEAST_SIDE <= min(sides) <= max(sides) <= MOST_SIDE:
        raise UserError(
            f"--pixels {given}: width x height of a photo is needed, as 500x375, sides of {LEAST_SIDE} to {MOST_SIDE}"
        )
    return sides[0], sides[1]


def _photos(settings: PretrainRecipe, pretext: Pretext, asked: Asked, size: tuple[int, int]) -> PhotoCosts:
    if asked.data is not None:
        photos = found_photos(asked.data, labelled=settings.images == "labelled")
        return measure_photos(photos, settings.input, pretext.draw)
    count = IMAGES if asked.images is None else asked.images
    return measure_photos(drawn_photos(count, *size), settings.input, pretext.draw)


def _calibration(
    settings: PretrainRecipe, pretext: Pretext, asked: Asked, sheet: Device | None, base_mb: float
) -> Calibration | None:
    """Find a measurement for the device: the file's, the one kept here, or a new one; None for a device elsewhere."""
    if asked.calibration is not None and not asked.calibrate:
        found = read_calibration(asked.calibration, settings)
        if not _is_of(found, asked.device, sheet):
            raise UserError(
                f"{asked.calibration}: measured on {found.device} ({found.product}), not on {asked.device}: leave out "
                "--device, or --calibration to have it reckoned from a data sheet"
            )
        return found
    if sheet is not None and not _is_here(asked.device):
        if asked.calibrate:
            raise UserError(
                f"--calibrate measures this machine, which has no {asked.device}: measure there, and bring the file "
                "with --calibration FILE"
            )
        return None
    device = _device_here(asked.device)
    kept = stored_place(settings, device)
    if kept.is_file() and not asked.calibrate:
        return read_calibration(kept, settings)
    say(f"measuring {settings.name} on this machine ({device}), for half a minute: steps on random pixels")
    found = calibrate(settings, pretext, device, base_mb=base_mb)
    if found.disturbed and asked.calibration is None:
        say("not kept, since other programs were at work")
        return found
    write_calibration(asked.calibration or kept, found)
    say(f"kept in {asked.calibration or kept}")
    return found


def _is_of(found: Calibration, device: str, sheet: Device | None) -> bool:
    if sheet is not None:
        return recognised(found.product) == device
    return device in ("auto", found.device)


def _device_here(device: str) -> str:
    """What this machine computes on where so much is asked."""
    if device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        return "cpu" if device in ("auto", "cpu") else device
    return "cuda" if torch.cuda.is_available() else "mps"


def _is_here(device: str) -> bool:
    return torch.cuda.is_available() and recognised(torch.cuda.get_device_name()) == device


def _origin(found: Calibration, settings: PretrainRecipe) -> str:
    return found.words + ("; without torch.compile" if getattr(settings, "compile", "off") != "off" else "")


def _setting(asked: Asked, sheet: Device | None, found: Calibration | None, base_mb: float) -> Setting:
    on_cpu = found is not None and found.device == "cpu"
    link = asked.link_gb_s or (sheet.link_gb_s if sheet is not None else LINK_GB_S)
    return Setting(
        device=asked.device if found is None else found.device,
        sheet=sheet,
        processes=asked.processes,
        cores=asked.cores if asked.cores is not None else (found.cores if found is not None else None),
        shares_cores=on_cpu,
        disk_mb_s=asked.disk_mb_s,
        link_gb_s=link,
        watts=asked.watts if asked.watts is not None else (sheet.watts if sheet is not None else None),
        base_mb=found.base_mb if found is not None else base_mb,
    )
