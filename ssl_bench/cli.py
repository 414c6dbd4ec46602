"""The command line: `ssl-bench VERB`. torch is imported only inside a command that needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from ssl_bench import __version__
from ssl_bench.errors import UserError, unknown

# Exit statuses: a user's mistake, a job that failed, stopped but resumable (EX_TEMPFAIL of sysexits.h).
USER_ERROR, FAILED, RESUMABLE = 2, 1, 75

Words = tyro.conf.Positional[tuple[str, ...]]
Flag = tyro.conf.FlagCreatePairsOff[bool]
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Running:
    """Options of every command that computes."""

    out: Path = Path("runs")
    """Folder of runs."""
    seed: int = 0
    """Seed of everything random."""
    device: Device = "auto"
    """Where to compute; auto takes an accelerator if there is one."""
    limit: int | None = None
    """Use only the first so many images a split (for trying; no table takes such a record)."""
    workers: int | None = None
    """Processes that decode images; by default half of the cores."""
    name: str | None = None
    """Name of the run's folder; by default made from recipe, seed and data."""
    dry_run: Flag = False
    """Print the resolved recipe and stop."""


Common = tyro.conf.OmitArgPrefixes[Running]


def _recipe_and_overrides(words: Sequence[str], default: str) -> tuple[str, list[str]]:
    """Tell the recipe's name from key=value settings."""
    names = [word for word in words if "=" not in word]
    if len(names) > 1:
        raise UserError(f"one recipe at a time, given: {', '.join(names)} (settings are key=value)")
    return (names[0] if names else default), [word for word in words if "=" in word]


def _options(running: Running) -> dict[str, Any]:
    return {
        "out": running.out,
        "name": running.name,
        "seed": _seed(running.seed),
        "device": running.device,
        "limit": _at_least("--limit", running.limit),
        "workers": _at_least("--workers", running.workers, least=0),
    }


def _at_least(flag: str, value: int | None, *, least: int = 1) -> int | None:
    if value is not None and value < least:
        raise UserError(f"{flag} {value}: at least {least} is needed")
    return value


def _seed(value: int) -> int:
    if not 0 <= value < 2**63:  # NumPy takes no negative seed, torch none of more than 64 bits
        raise UserError(f"--seed {value}: a whole number from 0 to 2**63 - 1 is needed")
    return value


def pretrain(
    words: Words = (), *, data: Path | None = None, shapes: Path | None = None, running: Common = Running()
) -> int:
    """Learn an encoder: ssl-bench pretrain [RECIPE] [key=value ...]

    Without a recipe: context-encoder-mini, on MiniVOC unless --data is given. `ssl-bench ls recipes` lists them.

    Args:
        words: Recipe (a name or a YAML file) and settings, e.g. context-encoder-mini schedule.steps=100
        data: Photos (a folder or a zip), class folders for the supervised control, or a VOC.
        shapes: A VOC whose segmentation masks give random regions their shapes.
    """
    recipe, overrides = _recipe_and_overrides(words, "context-encoder-mini")
    if running.dry_run:
        from ssl_bench.recipes import load_pretrain_recipe

        return _print_recipe(load_pretrain_recipe(recipe, overrides))
    from ssl_bench.stages.pretraining import pretrain as run

    result = run(recipe, overrides, data=data, shapes=shapes, **_options(running))
    print(result.folder)
    return 0


def transfer(
    words: Words = (),
    *,
    task: str = "voc-cls",
    encoder: str | None = None,
    data: Path | None = None,
    running: Common = Running(),
) -> int:
    """Judge an encoder: ssl-bench transfer --task voc-cls [mode=frozen] [budget=quick] [key=value ...]

    Without --data on MiniVOC with the quick form; with --data the full form (budget=quick chooses the quick one).

    Args:
        words: Settings: mode=finetune|frozen, budget=full|quick|demo, and any key of the protocol.
        task: voc-cls, voc-det or voc-seg; a protocol's full name (`ssl-bench ls protocols`); or a YAML file.
        encoder: A run, an encoder file, or the word random; by default the newest finished pretraining.
        data: A folder that holds a VOCdevkit.
    """
    overrides = [word for word in words if "=" in word]
    if len(overrides) != len(words):
        loose = next(word for word in words if "=" not in word)
        raise UserError(f"cannot use {loose!r}: name the task with --task, settings are key=value")
    if running.dry_run:
        from ssl_bench.recipes import resolve_protocol

        return _print_recipe(resolve_protocol(task, overrides, real_data=data is not None)[0])
    from ssl_bench.stages.transfer import transfer as run

    record = run(task, overrides, encoder=encoder, data=data, **_options(running))
    print(f"{record.main_metric}: {record.score:.2f} % ({record.protocol.name} v{record.protocol.version}, "
          f"{record.dataset.name if record.dataset else '?'}, {running.out / record.run})")  # fmt: skip
    return 0


def table(
    name: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    runs: tuple[Path, ...] | None = None,
    out: Path | None = None,
    format: Literal["markdown", "latex", "csv"] = "markdown",
    seeds: int | None = None,
    shipped: Flag = False,
    no_recalled: Flag = False,
) -> int:
    """Print a comparison table: published rows, and rows measured here.

    Args:
        name: A table (`ssl-bench ls tables`) or a YAML file.
        runs: Folders whose records may enter; by default ./runs.
        out: Folder to write table.md, table.tex and table.csv into.
        format: What is printed.
        seeds: Seeds that a complete cell has; by default the largest number found.
        shipped: Also take the measured records that come with the project.
        no_recalled: Leave out published numbers that were recalled from memory.
    """
    from ssl_bench.stages.tables import printed
    from ssl_bench.stages.tables import table as build

    built = build(
        name,
        runs=runs,
        out=out,
        seeds=_at_least("--seeds", seeds),
        shipped=shipped,
        recalled=not no_recalled,
    )
    print(printed(built, format), end="")
    return 0


def run(
    name: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    data: Path | None = None,
    unlabelled: Path | None = None,
    labelled: Path | None = None,
    shapes: Path | None = None,
    seeds: int = 1,
    scale: Literal["demo", "mini", "small", "paper"] | None = None,
    budget: Literal["full", "quick", "demo"] | None = None,
    rows: tuple[str, ...] = (),
    out: Path = Path("runs"),
    device: Device = "auto",
    limit: int | None = None,
    workers: int | None = None,
    dry_run: Flag = False,
) -> int:
    """Make what a table still lacks, then print it. What is done and current does not run again.

    Args:
        name: A table (`ssl-bench ls tables`) or a YAML file.
        data: A folder with a VOCdevkit to judge on; by default MiniVOC.
        unlabelled: Photos to learn from (a folder or a zip); needed with --data.
        labelled: Class folders for the supervised control; needed with --data.
        shapes: A VOC whose masks give random regions their shapes (scale paper).
        seeds: Seeds 0, 1, ... of pretraining and transfer.
        scale: Which recipes; by default mini on MiniVOC, small on photos of your own.
        budget: Which form of the protocols; by default quick on MiniVOC, full on real data.
        rows: Only these methods, e.g. --rows random context-encoder
        out: Folder of runs.
        device: Where to compute.
        limit: Use only the first so many images a split.
        workers: Processes that decode images.
        dry_run: Say what would be done, and stop.
    """
    from ssl_bench.stages.suite import plan_suite, run_suite

    plan = plan_suite(
        name,
        data=data,
        unlabelled=unlabelled,
        labelled=labelled,
        shapes=shapes,
        out=out,
        seeds=seeds,
        scale=scale,
        budget=budget,
        rows=rows,
        device=device,
        limit=_at_least("--limit", limit),
        workers=_at_least("--workers", workers, least=0),
    )
    if dry_run:
        print("\n".join(plan.lines()))
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
    from ssl_bench.stages.demo import demo as run

    workers = _at_least("--workers", workers, least=0)
    return _failed(run(out=out, device=device, workers=workers).failures)


def report(
    name: tyro.conf.Positional[str] = "context-encoders-2",
    *,
    runs: Path = Path("runs"),
    out: Path = Path("report"),
    seeds: int | None = None,
) -> int:
    """Write a table in all its forms, with loss curves and inpainting pictures, into a folder.

    Args:
        name: A table (`ssl-bench ls tables`) or a YAML file.
        runs: Folder of runs.
        out: Folder to write into.
        seeds: Seeds that a complete cell has.
    """
    from ssl_bench.stages.tables import report as write

    print(write(name, runs=runs, out=out, seeds=_at_least("--seeds", seeds)))
    return 0


def ls(
    what: tyro.conf.Positional[Literal["recipes", "protocols", "tables", "runs"]] = "runs",
    *,
    runs: Path = Path("runs"),
) -> int:
    """List recipes, protocols, tables, or your runs with their state and score.

    Args:
        what: What to list.
        runs: Folder of runs.
    """
    from ssl_bench.stages.listing import listing

    print("\n".join(listing(what, runs)))
    return 0


def show(name: tyro.conf.Positional[str], *, runs: Path = Path("runs")) -> int:
    """Print what is known of a recipe, a protocol or a run.

    Args:
        name: Name of a recipe, protocol or run, or a run's folder.
        runs: Folder of runs.
    """
    from ssl_bench.stages.listing import described

    print(described(name, runs), end="")
    return 0


def diff(
    first: tyro.conf.Positional[str], second: tyro.conf.Positional[str], *, runs: Path = Path("runs")
) -> int:
    """Say in which keys two recipes, protocols or runs differ; status 1 if they do.

    Args:
        first: Name of a recipe, protocol or run, or a run's folder.
        second: The other one.
        runs: Folder of runs.
    """
    from ssl_bench.stages.listing import differences

    lines = differences(first, second, runs)
    print("\n".join(lines) or "no difference")
    return 1 if lines else 0


def inspect(encoder: tyro.conf.Positional[str], *, runs: Path = Path("runs")) -> int:
    """Load an encoder and say what it is: network, parameters, preprocessing, hash, where it came from.

    Args:
        encoder: A run, an encoder file, or the word random.
        runs: Folder of runs.
    """
    from ssl_bench.stages.encoders import inspected

    print("\n".join(inspected(encoder, runs)))
    return 0


def export(
    encoder: tyro.conf.Positional[str], target: tyro.conf.Positional[Path], *, runs: Path = Path("runs")
) -> int:
    """Write an encoder as safetensors with its card into a folder of its own.

    Args:
        encoder: A run or an encoder file.
        target: The folder to write.
        runs: Folder of runs.
    """
    from ssl_bench.stages.encoders import exported

    print(exported(encoder, runs, target))
    return 0


def data_make(
    what: tyro.conf.Positional[Literal["minivoc"]] = "minivoc", *, out: Path | None = None, seed: int = 0
) -> int:
    """Draw MiniVOC, the synthetic look-alike of VOC, and print where it lies.

    Args:
        what: The set to make.
        out: Folder to make it in; by default the cache ($SSL_BENCH_CACHE, ~/.cache/ssl-bench).
        seed: Another seed gives another set, with another fingerprint.
    """
    from ssl_bench.stages.datasets import minivoc

    print(minivoc(seed=seed, root=out).root)
    return 0


def data_verify(root: tyro.conf.Positional[Path]) -> int:
    """Check a VOC, or a folder or zip of photos: missing, unreadable, inconsistent files; status 1 if any.

    Args:
        root: The folder or zip.
    """
    from ssl_bench.data.verify import verify
    from ssl_bench.progress import counted

    with counted(f"verifying {root}", unit="files") as tell:
        found = verify(root, progress=tell)
    print("\n".join(found.lines()))
    return 0 if found.ok else FAILED


def data_get(
    name: tyro.conf.Positional[Literal["voc2007", "voc2012"]],
    *,
    data: Path = Path("data"),
    mirror: tuple[str, ...] = (),
) -> int:
    """Download VOC2007 or VOC2012, check it, and unpack it.

    Args:
        name: The set.
        data: Folder to put it into.
        mirror: Addresses of folders that hold the archives; by default the known ones are tried in turn.
    """
    from ssl_bench.data.download import get
    from ssl_bench.progress import counted

    with counted(f"downloading {name}", unit="MB") as tell:
        root = get(
            name, data, mirrors=mirror or None, progress=lambda done, total: tell(done >> 20, total >> 20)
        )
    print(root)
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "pretrain": pretrain,
    "transfer": transfer,
    "table": table,
    "run": run,
    "demo": demo,
    "report": report,
    "ls": ls,
    "show": show,
    "diff": diff,
    "inspect": inspect,
    "export": export,
}
DATA_COMMANDS: dict[str, Callable[..., int]] = {"make": data_make, "verify": data_verify, "get": data_get}

OVERVIEW = """ssl-bench {version}: from self-supervised pretraining to the comparison table of a paper

  ssl-bench demo                        everything once on embedded synthetic data, in minutes
  ssl-bench pretrain [RECIPE]           learn an encoder without labels
  ssl-bench transfer --task voc-cls     judge an encoder (voc-cls, voc-det, voc-seg)
  ssl-bench run TABLE                   make what a table still lacks
  ssl-bench table TABLE                 published rows beside measured rows
  ssl-bench report TABLE                the table with its figures, in a folder

  ssl-bench ls recipes|protocols|tables|runs    ssl-bench show NAME    ssl-bench diff A B
  ssl-bench inspect ENCODER                     ssl-bench export ENCODER FOLDER
  ssl-bench data make minivoc | verify ROOT | get voc2007|voc2012

Settings are changed by key=value behind the options; `ssl-bench VERB --help` explains a verb.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _dispatch(given)
        sys.stdout.flush()  # here, and not at the interpreter's end, a reader that went away can be caught
        return status
    except UserError as error:
        print(f"ssl-bench: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("ssl-bench: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error of ours, and nothing more to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if type(error).__name__ != "Interrupted":  # the class lives beside torch, which may not be loaded
            raise
        print(f"ssl-bench: {error}. Start the same command again to go on.", file=sys.stderr)
        return RESUMABLE


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(OVERVIEW.format(version=__version__))
        return 0
    if given[0] in ("-V", "--version"):
        print(__version__)
        return 0
    commands, prog = COMMANDS, "ssl-bench"
    if given[0] == "data":
        commands, prog, given = DATA_COMMANDS, "ssl-bench data", given[1:]
        if not given or given[0] in ("-h", "--help"):
            print("ssl-bench data make minivoc | verify ROOT | get voc2007|voc2012")
            return 0
    verb, rest = given[0], given[1:]
    if verb not in commands:
        raise unknown("command", verb, [*commands, *(["data"] if commands is COMMANDS else [])])
    return tyro.cli(
        commands[verb],
        prog=f"{prog} {verb}",
        args=_words_first(rest) if verb in ("pretrain", "transfer") else rest,
        description=(commands[verb].__doc__ or "").split("Args:")[0],
    )


def _words_first(given: Sequence[str]) -> list[str]:
    """Put recipe and settings before the options: a parser of options wants such words in one place.

    Every option of these verbs takes one value, but for --dry-run and --help.
    """
    words: list[str] = []
    options: list[str] = []
    rest = iter(given)
    for word in rest:
        if not word.startswith("-"):
            words.append(word)
            continue
        options.append(word)
        if "=" not in word and word not in ("--dry-run", "--help", "-h"):
            options += [value for value in [next(rest, None)] if value is not None]
    return words + options


def _print_recipe(recipe: Any) -> int:
    import yaml

    from ssl_bench.hashing import settings_hash

    print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")
    print(f"# hash: {settings_hash(recipe)}")
    return 0


def _failed(failures: Sequence[str]) -> int:
    for failure in failures:
        print(f"ssl-bench: failed: {failure}", file=sys.stderr)
    return FAILED if failures else 0


def entry() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
