"""What a pretraining says when it begins and when it has ended."""

from __future__ import annotations

from pathlib import Path

from ssl_bench.engine.training import TrainingReport
from ssl_bench.pretexts.contract import Pretext
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.runs import RunFolder
from ssl_bench.stages.datasets import PretrainingData


def announcement(
    settings: PretrainRecipe, found: PretrainingData, folder: RunFolder, n: int, pretext: Pretext, device: str
) -> str:
    total, parameters = (
        sum(parameter.numel() for parameter in module.parameters()) for module in (pretext, pretext.encoder)
    )
    time_note = f"; expected time: {settings.expected_time}" if settings.expected_time else ""
    return (
        f"pretrain {settings.name} ({settings.pretext.method}) on {found.name}, {n} images, on {device}: "
        f"{settings.schedule.steps} steps of {settings.schedule.batch_size}, "
        f"encoder with {parameters:,} parameters and {total - parameters:,} for the pretext task, "
        f"into {folder.path}{time_note}"
    )


def ending(folder: Path, report: TrainingReport) -> str:
    losses = (f", {name} {value:.4f}" for name, value in report.losses.items() if name.endswith("loss"))
    loss_text = "".join(losses).replace(".loss", " loss")
    return f"wrote {folder / 'encoder.safetensors'}{loss_text}, {report.images_per_s:.0f} images/s"
