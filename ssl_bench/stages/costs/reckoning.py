"""The cost of a whole pretraining by arithmetic: time, disk, memory and energy from rates and counts.

Nothing is measured here. Every figure says where it comes from: `measured` (where and when), `counted` (by taking a
step under counters), `declared` (what the user or a default says), `data sheet`, or `reckoned` from these. What is
reckoned is a range where one of its parts is.
"""

from __future__ import annotations

import math

from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.stages.costs.device_facts import Device
from ssl_bench.stages.costs.figures import Figure, Plan, Rate, Setting, exact
from ssl_bench.stages.costs.photos import PhotoCosts
from ssl_bench.stages.costs.sections import disk_figures, energy_figures, memory_advice, memory_figures
from ssl_bench.stages.costs.step_counts import StepCounts

# Of a data sheet's peak, what training of such networks reaches: declared. Small networks on fast devices are below.
UTILISATION = (0.15, 0.40)
# What handing one operation to a device takes the host, in seconds: declared. Small batches are bound by it.
CALL_S = (15e-6, 5e-6)
LINK_GB_S = 1.0  # between processes where no data sheet says: gloo over 10 Gbit/s Ethernet
DISK_MB_S = 500.0  # a SATA SSD
CHECKPOINT_SHARE = 0.01


def peak_rate(counts: StepCounts, sheet: Device, precision: str, images: float, parts: int = 1) -> Rate:
    """Reckon images a second from counted operations at a declared share of a data sheet's peak.

    Args:
        images: Of one process in a step; the host can hand over no more steps than it has time for all calls of one.
        parts: In how many parts a step is computed, each with all calls.
    """
    seconds = counts.convolution_flops / sheet.peak(precision, convolution=True)
    seconds += counts.product_flops / sheet.peak(precision, convolution=False)
    least, most = UTILISATION
    peak, products = (sheet.peak(precision, convolution=kind) / 1e12 for kind in (True, False))
    apart = f", of {products:g} for matrix products" if products != peak else ""
    note = f"; {sheet.note}" if sheet.note and precision == "bf16" else ""
    slow, fast = (
        max(images * seconds / share, parts * counts.operations * call_s)
        for share, call_s in zip((least, most), CALL_S, strict=True)
    )
    return Rate(
        low=images / slow,
        high=images / fast,
        origin=(
            f"reckoned, not measured: {counts.flops / 1e9:.3g} GFLOP an image (counted) at {least:.0%} to {most:.0%} "
            f"(declared) of {peak:g} TFLOP/s{apart} ({sheet.source}){note}, and {counts.operations:,} calls a step "
            f"(counted) at {CALL_S[0] * 1e6:g} to {CALL_S[1] * 1e6:g} us (declared)"
        ),
        measured=False,
        by_calls=fast > images * seconds / most,
    )


def exchange_seconds(gradient_bytes: float, processes: int, link_gb_s: float) -> float:
    """Time of one all-reduce in a ring: each process sends and receives 2 (N - 1) / N of the gradients."""
    return 2 * (processes - 1) / processes * gradient_bytes / (link_gb_s * 1e9)


def together(rate: Rate, batch: int, counts: StepCounts, setting: Setting) -> Rate:
    """Reckon N processes that share a batch: between an exchange hidden behind the computation and one after it."""
    if setting.processes == 1:
        return rate
    exchange = exchange_seconds(counts.gradient_bytes, setting.processes, setting.link_gb_s)
    share = batch / setting.processes
    return Rate(
        low=batch / (share / rate.low + exchange),
        high=batch / max(share / rate.high, exchange),
        origin=(
            f"reckoned: {setting.processes} x one process, gradients of {counts.gradient_bytes / 1e6:.1f} MB in "
            f"{1e3 * exchange:.3g} ms a step at {setting.link_gb_s:g} GB/s (declared)"
        ),
        measured=False,
        by_calls=rate.by_calls,
    )


def reckon(
    recipe: PretrainRecipe,
    recipe_hash: str,
    counts: StepCounts,
    photos: PhotoCosts,
    one: Rate,
    setting: Setting,
) -> Plan:
    """Reckon a recipe's whole cost.

    Args:
        one: What one process reaches.
    """
    network = together(one, recipe.schedule.batch_size, counts, setting)
    decoding = None if setting.cores is None else setting.cores * setting.processes * photos.per_core
    disk = setting.disk_mb_s * 1e6 / photos.photo_bytes
    low, high = (
        _fed(rate, decoding, disk, shared=setting.shares_cores) for rate in (network.low, network.high)
    )
    seconds = (recipe.images_seen / high, recipe.images_seen / low * (1 + CHECKPOINT_SHARE))
    sections = {
        "rate": _rates(one, network, decoding, disk, (low, high), photos, setting),
        "time": _times(recipe, photos, seconds),
        "disk": disk_figures(counts, photos),
        "memory of each process": memory_figures(recipe, counts, photos, setting),
        "energy": energy_figures(seconds, setting),
    }
    binds, advice = _binding(network, decoding, disk, high, photos, setting)
    return Plan(
        recipe=recipe.name,
        hash=recipe_hash,
        device=setting.device,
        processes=setting.processes,
        title=(
            f"{recipe.schedule.steps:,} steps of {recipe.schedule.batch_size}, {recipe.images_seen:,} crops of "
            f"{recipe.input.size} px, {recipe.precision}, from {photos.images:,} photos; {setting.processes} x "
            f"{setting.sheet.title if setting.sheet else setting.device}"
        ),
        sections=sections,
        binds=binds,
        advice=advice + memory_advice(sections["memory of each process"], setting),
    )


def _fed(network: float, decoding: float | None, disk: float, *, shared: bool) -> float:
    """Combine rates: what runs side by side is as fast as its slowest; what shares cores adds its seconds."""
    if decoding is None:
        return min(network, disk)
    return min(1 / (1 / network + 1 / decoding), disk) if shared else min(network, decoding, disk)


def _rates(
    one: Rate,
    network: Rate,
    decoding: float | None,
    disk: float,
    total: tuple[float, float],
    photos: PhotoCosts,
    setting: Setting,
) -> list[Figure]:
    found = [
        Figure(name="network, one process", low=one.low, high=one.high, unit="images/s", origin=one.origin)
    ]
    if setting.processes > 1:
        found.append(
            Figure(
                name=f"network, {setting.processes} processes",
                low=network.low,
                high=network.high,
                unit="images/s",
                origin=network.origin,
            )
        )
    core = f"measured on one core of this machine, {photos.source}"
    found.append(exact("decoding, one core", photos.per_core, "images/s", core))
    if decoding is not None:
        cores = (setting.cores or 0) * setting.processes
        found.append(exact(f"decoding, {cores} cores", decoding, "images/s", "reckoned: cores x one core"))
    else:
        need = math.ceil(network.high / setting.processes / photos.per_core)
        why = "reckoned, for each process at the upper rate: network by one core (--cores says how many there are)"
        found.append(exact("cores for decoding", need, "cores", why))
    found.append(
        exact(
            "disk",
            disk,
            "images/s",
            f"reckoned: {setting.disk_mb_s:g} MB/s (declared) by the bytes of a photo",
        )
    )
    how = "the cores shared by network and decoding" if setting.shares_cores else "the slowest of these"
    unlimited = "" if decoding is not None else "; cores enough for decoding presumed"
    found.append(
        Figure(
            name="all together",
            low=total[0],
            high=total[1],
            unit="images/s",
            origin=f"reckoned: {how}{unlimited}",
        )
    )
    return found


def _times(recipe: PretrainRecipe, photos: PhotoCosts, seconds: tuple[float, float]) -> list[Figure]:
    return [
        exact("epochs", recipe.images_seen / photos.images, "epochs", "reckoned: crops by photos"),
        Figure(
            name="training",
            low=seconds[0],
            high=seconds[1],
            unit="s",
            origin=f"reckoned: crops by rate; checkpoints take at most {CHECKPOINT_SHARE:.0%} of it",
        ),
    ]


def _binding(
    network: Rate, decoding: float | None, disk: float, rate: float, photos: PhotoCosts, setting: Setting
) -> tuple[str, list[str]]:
    """Say which resource is the slowest, and what to change."""
    if disk < network.low and disk <= (decoding or math.inf):
        need = network.high * photos.photo_bytes / 1e6
        return f"the disk: {disk:.0f} images/s of at least {network.low:.0f}", [
            f"read {need:.0f} MB/s or more (a local SSD, --disk-mb-s), or photos that fit the memory of the machine: "
            "these are read from the disk once"
        ]
    if decoding is not None and not setting.shares_cores and decoding < network.high:
        surely = "decoding" if decoding < network.low else "perhaps decoding"
        need = math.ceil(network.high / photos.per_core / setting.processes)
        return f"{surely}: {decoding:.0f} images/s of {network.low:.0f} to {network.high:.0f}", [
            f"decode on {need} cores for each process (--cores), or once, with pretrain --decoded-cache"
        ]
    if setting.shares_cores and decoding is not None and decoding < network.high:
        return "decoding, on the cores that the network shares", [
            "more cores, smaller photos, or pretrain --decoded-cache"
        ]
    if network.by_calls:
        return "the host's calls: a step of one process is too small for the device", [
            "fewer processes, or larger batches (schedule.batch_size, another recipe's hash)"
        ]
    share = 1 - rate / network.high if setting.shares_cores else 0.0
    exchange = " and the exchange of gradients" if setting.processes > 1 else ""
    words = f"; decoding takes {share:.0%} of the cores' time" if share > 0.005 else ""
    advice = [
        "a faster device, more processes, or precision=bf16 where the device has it (another recipe's hash)"
    ]
    return f"the network{exchange}{words}", advice
