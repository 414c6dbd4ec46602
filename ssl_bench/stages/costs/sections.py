"""Disk, memory and energy of a pretraining, from counts, photos and data sheets. `reckoning` has time and rates."""

from __future__ import annotations

from ssl_bench.engine.checkpoints import KEPT
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.stages.costs.figures import Figure, Setting, exact
from ssl_bench.stages.costs.photos import PhotoCosts
from ssl_bench.stages.costs.step_counts import StepCounts

PERMUTATION_BYTES = 8  # an image: the order of an epoch
FINGERPRINT_BYTES = 1000  # an image, while files are hashed: docs/scale.md has the measurement
PREFETCHED = 8  # batches that wait in line, of all workers together


def disk_figures(counts: StepCounts, photos: PhotoCosts) -> list[Figure]:
    """Bytes on disk: photos, decoded cache, checkpoints, results."""
    many = f"reckoned: {photos.images:,} x"
    return [
        exact(
            "photos",
            photos.images * photos.photo_bytes,
            "bytes",
            f"{many} {photos.photo_bytes:,.0f} B ({photos.source})",
        ),
        exact(
            "decoded cache, if used",
            photos.images * photos.decoded_bytes,
            "bytes",
            f"{many} {photos.decoded_bytes:,.0f} B ({photos.source})",
        ),
        exact(
            "checkpoints",
            (KEPT + 1) * counts.checkpoint_bytes,
            "bytes",
            f"counted: {KEPT} kept and one being written, {counts.checkpoint_bytes / 1e6:.1f} MB each",
        ),
        exact(
            "results",
            counts.encoder_bytes + counts.kept_bytes,
            "bytes",
            "counted: encoder and other parts kept",
        ),
    ]


def memory_figures(
    recipe: PretrainRecipe, counts: StepCounts, photos: PhotoCosts, setting: Setting
) -> list[Figure]:
    """Bytes in memory of one process, on its device and on its host."""
    schedule = recipe.schedule
    images = schedule.batch_size / setting.processes
    in_part = schedule.batch_size / max(schedule.accumulate, setting.processes)
    weights = counts.checkpoint_bytes - counts.optimizer_bytes
    buckets = counts.gradient_bytes if setting.processes > 1 else 0
    parts = [
        exact("weights", weights, "bytes", "counted"),
        exact(
            "gradients", counts.gradient_bytes + buckets, "bytes", "counted" + (", twice" if buckets else "")
        ),
        exact("optimiser", counts.optimizer_bytes, "bytes", "counted"),
        exact(
            "activations",
            in_part * counts.activation_bytes + counts.cast_bytes,
            "bytes",
            f"counted for few images, reckoned for {in_part:g}; workspace of operations comes on top",
        ),
    ]
    on_device = sum(figure.low for figure in parts)
    place = "network" if setting.shares_cores else "device"
    parts.append(exact(f"{place}, together", on_device, "bytes", "reckoned: the sum of these"))
    kept = photos.name_bytes + PERMUTATION_BYTES
    index = photos.images * kept
    waiting = PREFETCHED * images * counts.batch_bytes
    base = setting.base_mb * 2**20
    parts += [
        exact("interpreter", base, "bytes", "measured on this machine, resident, libraries included"),
        exact("index", index, "bytes", f"reckoned: {photos.images:,} x {kept:.0f} B (names measured)"),
        exact(
            "index while hashing",
            photos.images * FINGERPRINT_BYTES,
            "bytes",
            f"reckoned: {photos.images:,} x about {FINGERPRINT_BYTES} B (docs/scale.md), before training, files alone",
        ),
        exact("batches in line", waiting, "bytes", f"reckoned: {PREFETCHED} x {images:g} images (counted)"),
        exact(
            "host, together",
            base + index + waiting + (0 if place == "device" else on_device),
            "bytes",
            "reckoned: " + ("without what is on the device" if place == "device" else "the network among it"),
        ),
    ]
    return parts


def energy_figures(seconds: tuple[float, float], setting: Setting) -> list[Figure]:
    """Energy of the devices over a range of seconds; nothing where their power is not known."""
    if setting.watts is None:
        return []
    watts = setting.watts * setting.processes
    said = setting.sheet is not None and setting.watts == setting.sheet.watts
    source = f"data sheet: {setting.sheet.source}" if said and setting.sheet else "declared"
    return [
        Figure(
            name="devices",
            low=watts * seconds[0] / 3600,
            high=watts * seconds[1] / 3600,
            unit="Wh",
            origin=f"reckoned: {watts:g} W ({source}) all the time; no hosts, no cooling (PUE)",
        )
    ]


def memory_advice(figures: list[Figure], setting: Setting) -> list[str]:
    """Say what to change where a network does not fit its device."""
    if setting.sheet is None:
        return []
    used = next(figure.low for figure in figures if figure.name == "device, together") / 1e9
    there = setting.sheet.memory_gb
    if used <= there:
        return []
    return [f"{used:.1f} GB do not fit {there:g} GB: more processes, or schedule.accumulate=2 (4, ...)"]
