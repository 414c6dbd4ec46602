"""The verbs that compute: pretrain, transfer, run, demo."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from ssl_bench.commands.options import (
    DEFAULTS,
    FAILED,
    RESUMABLE,
    Common,
    Device,
    Flag,
    Words,
    at_least,
    options_of,
    seed_of,
)
from ssl_bench.errors import UserError
from ssl_bench.launching import ALONE, refuse_several

if TYPE_CHECKING:
    from ssl_bench.probe_schemas import ProbeProtocol
    from ssl_bench.protocol_schemas import Protocol


def _recipe_and_overrides(words: Sequence[str], default: str) -> tuple[str, list[str]]:
    """Tell the recipe's name from key=value settings."""
    names = [word for word in words if "=" not in word]
    if len(names) > 1:
        raise UserError(f"one recipe at a time, given: {', '.join(names)} (settings are key=value)")
    return (names[0] if names else default), [word for word in words if "=" in word]


def pretrain(
    words: Words = (),
    *,
    data: str | None = None,
    shapes: Path | None = None,
    decoded_cache: Flag = False,
    probe_every: int | None = None,
    probe_data: Path | None = None,
    running: Common = DEFAULTS,
) -> int:
    """Learn an encoder: ssl-bench pretrain [RECIPE] [key=value ...]

    Without a recipe: context-encoder-mini, on MiniVOC unless --data is given. `ssl-bench ls recipes` lists them.

    Args:
        words: Recipe (a name or a YAML file) and settings, e.g. context-encoder-mini schedule.steps=100
        data: Photos (a folder or a zip), tar shards (their folder, one.tar, "train-{000000..000146}.tar", or the URL
            of these: s3://..., https://...), class folders for the supervised control, or a VOC.
        shapes: A VOC whose segmentation masks give random regions their shapes.
        decoded_cache: Decode all photos once into one large file in the cache (its size is said), and cut crops from
            that: the same numbers, for sets that fit the disk.
        probe_every: Judge the encoder every so many steps while it learns, by nearest neighbours: into metrics.jsonl
            and `ssl-bench plot losses`. Moves nothing of the training; what it costs is said.
        probe_data: What that judges on: a VOC (val by train), or class folders (halves of train); MiniVOC by default.
    """
    recipe, overrides = _recipe_and_overrides(words, "context-encoder-mini")
    if running.dry_run:
        from ssl_bench.recipes import load_pretrain_recipe

        return _print_recipe(load_pretrain_recipe(recipe, overrides))
    from ssl_bench.stages.pretraining import pretrain as run

    result = run(
        recipe,
        overrides,
        data=data,
        shapes=shapes,
        decoded_cache=decoded_cache,
        probe_every=at_least("--probe-every", probe_every),
        probe_data=probe_data,
        **options_of(running),
    )
    print(result.folder)
    return 0


def transfer(
    words: Words = (),
    *,
    task: str = "voc-cls",
    encoder: str | None = None,
    data: Path | None = None,
    pool: Path | None = None,
    proposals: Path | None = None,
    allow_untrained: Flag = False,
    running: Common = DEFAULTS,
) -> int:
    """Judge an encoder: ssl-bench transfer --task voc-cls [mode=frozen] [budget=quick] [key=value ...]

    Without --data on MiniVOC with the quick form; with --data the full form (budget=quick chooses the quick one).
    --task inpainting measures the painted centres of photos; nn-hog and nn:RUN paint by nearest neighbours.

    Args:
        words: Settings: mode=finetune|frozen, budget=full|quick|demo, and any key of the protocol.
        task: voc-cls, voc-det, voc-seg, coco-det; on frozen features voc-svm, voc-lowshot, coco-svm, logistic, knn,
            linear; inpainting; a protocol's full name (`ssl-bench ls protocols`); a YAML file.
        encoder: A run, a checkpoint file, timm:NAME?pretrained, torchvision:NAME?pretrained, hf-hub:ORG/NAME,
            FILE.py:FUNCTION, or random[:ARCHITECTURE]; by default the newest finished pretraining.
        data: A folder that holds a VOCdevkit; for logistic, knn and linear also class folders (a folder or a zip); for
            inpainting photos.
        pool: Photos that nearest-neighbour inpainting searches.
        proposals: Boxes for Fast R-CNN: a folder with voc_2007_trainval.mat and the like, a .mat or an .npz. Without it
            selective search computes them.
        allow_untrained: Judge an encoder although nobody trained it; record and tables say so.
    """
    overrides = [word for word in words if "=" in word]
    if len(overrides) != len(words):
        loose = next(word for word in words if "=" not in word)
        raise UserError(f"cannot use {loose!r}: name the task with --task, settings are key=value")
    if running.dry_run:
        from ssl_bench.protocol_names import is_probe, resolve_probe, resolve_protocol
        from ssl_bench.recipes import (
            INPAINTING,
            INPAINTING_DEFAULT,
            load_inpainting_protocol,
            measures_paintings,
        )

        if measures_paintings(task):
            name = INPAINTING_DEFAULT if task == INPAINTING else task
            return _print_recipe(load_inpainting_protocol(name, overrides))
        if is_probe(task):
            return _print_protocol(resolve_probe(task, overrides, real_data=data is not None)[0])
        return _print_protocol(resolve_protocol(task, overrides, real_data=data is not None)[0])
    from ssl_bench.recipes import measures_paintings
    from ssl_bench.stages.transfer import transfer as run

    record = run(
        task,
        overrides,
        encoder=encoder,
        data=data,
        pool=pool,
        proposals=proposals,
        allow_untrained=allow_untrained,
        **options_of(running),
    )
    if measures_paintings(task):
        for metric, value in record.metrics.items():
            interval = record.intervals[metric]
            print(f"{metric}: {value:.2f} ({interval.low:.2f} to {interval.high:.2f})")
        return 0
    print(f"{record.main_metric}: {record.score:.2f} % ({record.protocol.name} v{record.protocol.version}, "
          f"{record.dataset.name if record.dataset else '?'}, {running.out / record.run})")  # fmt: skip
    return 0


def inpaint(
    *,
    encoder: str | None = None,
    images: Path,
    mask: Path | None = None,
    fit: Literal["resize", "tile"] = "resize",
    out: Path = Path("inpainted"),
    runs: Path = Path("runs"),
    device: Device = "auto",
    limit: int | None = None,
) -> int:
    """Complete pictures with a trained inpainting run; writes each, and a figure: input, inpainted, truth.

    Args:
        encoder: An inpainting run (`ssl-bench pretrain inpainting-mini`); by default the newest run.
        images: A folder or zip of pictures, or one picture, of any size.
        mask: What is removed, in white: one PNG of the pictures' size, or a folder of masks named as the pictures.
            By default the central square.
        fit: resize brings the short side to 128 px and cuts the middle out; tile keeps a picture's size.
        out: Folder for the pictures and the figure inpainting.png.
        runs: Folder of runs.
        device: Where to compute.
        limit: Only the first so many pictures.
    """
    from ssl_bench.stages.inpaint import inpaint as run

    limit = at_least("--limit", limit)
    written = run(encoder, images, mask=mask, fit=fit, out=out, runs=runs, device=device, limit=limit)
    print(written[-1])
    return 0


def rescale(
    encoder: tyro.conf.Positional[str],
    target: tyro.conf.Positional[Path],
    *,
    data: Path,
    runs: Path = Path("runs"),
    seed: int = 0,
) -> int:
    """Balance the layers of an encoder over a batch of photos, before it is fine-tuned (Krähenbühl et al. 2016).

    What it computes stays, up to one factor. Published rows marked "rescaled" went through this.

    Args:
        encoder: A run, a checkpoint or any other encoder (see `ssl-bench inspect --help`), without batch normalisation.
        target: The folder to write; judge it with --encoder TARGET.
        data: Photos (a folder or a zip).
        runs: Folder of runs.
        seed: Of the photos that are looked at.
    """
    from ssl_bench.stages.initialising import rescaled

    print(rescaled(encoder, data, target, runs=runs, seed=seed_of(seed)))
    return 0


def run(
    name: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    data: Path | None = None,
    unlabelled: Path | None = None,
    labelled: Path | None = None,
    shapes: Path | None = None,
    proposals: Path | None = None,
    seeds: int = 1,
    scale: Literal["demo", "mini", "small", "paper"] | None = None,
    budget: Literal["full", "quick", "demo"] | None = None,
    rows: tuple[str, ...] = (),
    out: Path = Path("runs"),
    device: Device = "auto",
    limit: int | None = None,
    workers: int | None = None,
    shard: str | None = None,
    dry_run: Flag = False,
    json: Flag = False,
    slurm: Flag = False,
) -> int:
    """Make what a table still lacks, then print it. What is done and current does not run again.

    Several of these commands may share a folder of runs: each job is done by one of them.

    Args:
        name: A table (`ssl-bench ls tables`) or a YAML file.
        data: A folder with a VOCdevkit to judge on; by default MiniVOC.
        unlabelled: Photos to learn from (a folder or a zip); needed with --data.
        labelled: Class folders for the supervised control; needed with --data.
        shapes: A VOC whose masks give random regions their shapes (scale paper).
        proposals: Boxes for detection in full: a folder with voc_2007_trainval.mat and the like; computed by default.
        seeds: Seeds 0, 1, ... of pretraining and transfer.
        scale: Which recipes; by default mini on MiniVOC, small on photos of your own.
        budget: Which form of the protocols; by default quick on MiniVOC, full on real data.
        rows: Only these methods, e.g. --rows random context-encoder
        out: Folder of runs.
        device: Where to compute.
        limit: Use only the first so many images a split.
        workers: Processes that decode images.
        shard: Only one part of the jobs, as i/n from 1/n to n/n; a pretraining stays with what it is judged by.
        dry_run: Say what is done, what would be done and how long it would take, and stop.
        json: Say it as JSON, and stop.
        slurm: Print a batch script for SLURM, an array with a shard for each encoder, and stop.
    """
    given = locals()
    _as_one_process("run", "several such commands share a table's jobs: start it as often, without torchrun")
    from ssl_bench.stages.suite import plan_suite, run_suite

    plan = plan_suite(
        name,
        data=data,
        unlabelled=unlabelled,
        labelled=labelled,
        shapes=shapes,
        proposals=proposals,
        out=out,
        seeds=seeds,
        scale=scale,
        budget=budget,
        rows=rows,
        device=device,
        limit=at_least("--limit", limit),
        workers=at_least("--workers", workers, least=0),
        shard=shard,
    )
    if dry_run or json or slurm:
        from ssl_bench.stages.plan_text import plan_text

        words = _words_again("run", given, but=("shard", "dry_run", "json", "slurm"))
        print(plan_text(plan, as_json=json, slurm_of=words if slurm else None, resumable=RESUMABLE), end="")
        return 0
    outcome = run_suite(plan)
    from ssl_bench.stages.tables import printed
    from ssl_bench.stages.tables import table as build

    print(printed(build(name, runs=[out], seeds=seeds), "markdown"), end="")
    return _failed(outcome.failures)


def demo(*, out: Path = Path("demo"), device: Device = "auto", workers: int | None = None) -> int:
    """Pretrain, transfer to three tasks, and make table, loss curves and pictures, on embedded synthetic data.

    Args:
        out: Folder for everything it makes.
        device: Where to compute.
        workers: Processes that decode images.
    """
    _as_one_process("demo", "start it without torchrun")
    from ssl_bench.stages.demo import demo as run

    workers = at_least("--workers", workers, least=0)
    return _failed(run(out=out, device=device, workers=workers).failures)


def _as_one_process(command: str, instead: str) -> None:
    """Keep the jobs of a suite on this process: tasks of one srun are workers of their own, as with --shard."""
    os.environ.setdefault(ALONE, "1")
    refuse_several(f"ssl-bench {command}", instead)


def _words_again(verb: str, options: Mapping[str, Any], *, but: Sequence[str]) -> list[str]:
    """Phrase a command with one positional word, `name`, as it would be given again."""
    words = ["ssl-bench", verb, str(options["name"])]
    for name, value in options.items():
        if name in ("name", *but) or value in (None, ()):
            continue
        words += [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]
    return words


def _print_recipe(recipe: Any) -> int:
    import yaml

    from ssl_bench.hashing import settings_hash

    print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")
    print(f"# hash: {settings_hash(recipe)}")
    return 0


def _print_protocol(protocol: Protocol | ProbeProtocol) -> int:
    from ssl_bench.commands.protocol_text import protocol_lines

    print("\n".join(protocol_lines(protocol)))
    return 0


def _failed(failures: Sequence[str]) -> int:
    for failure in failures:
        print(f"ssl-bench: failed: {failure}", file=sys.stderr)
    return FAILED if failures else 0
