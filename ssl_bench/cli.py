"""The command line: `ssl-bench VERB`. torch is imported only inside a command that needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import tyro

from ssl_bench import __version__
from ssl_bench.commands import (
    collecting,
    computing,
    data,
    features,
    planning,
    plotting,
    probing,
    scoring,
    showing,
)
from ssl_bench.commands.options import INTERRUPTED, RESUMABLE, USER_ERROR
from ssl_bench.errors import UserError, unknown
from ssl_bench.launching import follow_slurm, is_alone, is_main
from ssl_bench.signals import Stopped, stopped_by_signals

COMMANDS: dict[str, Callable[..., int]] = {
    "pretrain": computing.pretrain,
    "transfer": computing.transfer,
    "probe": probing.probe,
    "inpaint": computing.inpaint,
    "rescale": computing.rescale,
    "plan": planning.plan,
    "table": showing.table,
    "run": computing.run,
    "demo": computing.demo,
    "report": showing.report,
    "score": scoring.score,
    "ls": showing.ls,
    "show": showing.show,
    "diff": showing.diff,
    "import": collecting.import_records,
    "merge": collecting.merge,
    "resample": collecting.resample,
    "inspect": showing.inspect,
    "export": showing.export,
}
DATA_COMMANDS: dict[str, Callable[..., int]] = {
    "make": data.make,
    "verify": data.verify,
    "get": data.get,
    "shards": data.shards,
    "proposals": data.proposals,
    "overlap": data.overlap,
}
FEATURES_COMMANDS: dict[str, Callable[..., int]] = {"prune": features.prune}
PLOT_COMMANDS: dict[str, Callable[..., int]] = {
    "bars": plotting.bars,
    "profile": plotting.profile,
    "low-shot": plotting.low_shot,
    "losses": plotting.losses,
    "ranks": plotting.ranks,
    "transfer-vs-loss": plotting.transfer_vs_loss,
    "filters": plotting.filters,
    "retrieval": plotting.retrieval,
    "overlays": plotting.overlays,
}
# Words that stand before a verb of their own.
GROUPS = {"data": DATA_COMMANDS, "features": FEATURES_COMMANDS, "plot": PLOT_COMMANDS}
GO_ON = ("pretrain", "transfer", "probe", "run", "demo")
TOGETHER = ("pretrain", "transfer", "probe")  # several processes make one run of them
WORDS_ANYWHERE = ("pretrain", "transfer", "plan", "losses")  # recipe and settings may stand among the options
VALUELESS = ("--dry-run", "--calibrate", "--json", "--allow-untrained", "--help", "-h")
GROUP_HELP = {
    "data": "ssl-bench data make minivoc | verify ROOT | get voc2007|voc2012 | shards PHOTOS | proposals | overlap A B",
    "features": "ssl-bench features prune [--older-than DAYS] [--encoder HASH] [--until-under SIZE] [--all]",
    "plot": "ssl-bench plot bars TABLE | ranks TABLE | profile RUNS | low-shot RUNS | losses RUN ... | "
    "transfer-vs-loss RUNS | filters ENCODER | retrieval ENCODER | overlays RUN",
}

OVERVIEW = """ssl-bench {version}: from self-supervised pretraining to the comparison table of a paper

  ssl-bench demo                        everything once on embedded synthetic data, in minutes
  ssl-bench pretrain [RECIPE]           learn an encoder without labels
  ssl-bench plan RECIPE [--gpus N]      what that costs: time, disk, memory, energy, and where each figure is from
  ssl-bench transfer --task voc-cls     judge an encoder (voc-cls, voc-det, voc-seg)
  ssl-bench probe ENCODER               every protocol of frozen features at once: SVM, low-shot, kNN, logistic
  ssl-bench inpaint --images FOLDER     complete pictures with a trained inpainting run
  ssl-bench run TABLE [--dry-run]       make what a table still lacks, alone or with other workers
  ssl-bench table TABLE                 published rows beside measured rows
  ssl-bench report [TABLE ...]          one page that opens from disk: tables, runs, curves, what is stale
  ssl-bench score TASK --predictions P  anybody's predictions under every definition of AP or IoU

  ssl-bench ls recipes|protocols|tables|runs|features    ssl-bench show NAME    ssl-bench diff A B
  ssl-bench import RECORDS --runs RUNS    ssl-bench merge A B --out C    ssl-bench resample RUN ...
  ssl-bench inspect ENCODER [--health]                   what a checkpoint is, and whether all of it is there
  ssl-bench export ENCODER FOLDER --to timm|torchvision|detectron2|hf|safetensors
  ssl-bench rescale ENCODER FOLDER --data PHOTOS
  ssl-bench data make minivoc | verify ROOT | get voc2007|voc2012 | shards PHOTOS | proposals | overlap A B
  ssl-bench features prune
  ssl-bench plot bars|ranks TABLE | profile|low-shot|losses|transfer-vs-loss RUNS
  ssl-bench plot filters|retrieval ENCODER | overlays RUN

Settings are changed by key=value behind the options; `ssl-bench VERB --help` explains a verb.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with stopped_by_signals():
            status = _dispatch(given)
        sys.stdout.flush()  # here, and not at the interpreter's end, a reader that went away can be caught
        return status
    except UserError as error:
        print(f"ssl-bench: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as stop:
        by = f" by {stop}" if isinstance(stop, Stopped) else ""
        resumable = given[0] in GO_ON
        goes_on = ". What is finished is kept; the same command goes on from there" if resumable else ""
        print(f"ssl-bench: stopped{by}{goes_on}", file=sys.stderr)
        return RESUMABLE if by and resumable else INTERRUPTED
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
    commands, prog, kind, known = COMMANDS, "ssl-bench", "command", [*COMMANDS, *GROUPS]
    if given[0] in GROUPS:
        group, given = given[0], given[1:]
        commands, prog, known = GROUPS[group], f"ssl-bench {group}", [*GROUPS[group]]
        kind = "kind of plot" if group == "plot" else "command"
        if not given or given[0] in ("-h", "--help"):
            print(GROUP_HELP[group])
            return 0
    verb, rest = given[0], given[1:]
    if verb not in commands:
        raise unknown(kind, verb, known)
    if prog == "ssl-bench" and verb in TOGETHER:
        follow_slurm()
    with nullcontext() if is_main() else _unheard():
        return tyro.cli(
            commands[verb],
            prog=f"{prog} {verb}",
            args=_words_first(rest) if verb in WORDS_ANYWHERE else rest,
            description=(commands[verb].__doc__ or "").split("Args:")[0],
        )


@contextmanager
def _unheard() -> Iterator[None]:
    """Let results be printed by the main process alone."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def _words_first(given: Sequence[str]) -> list[str]:
    """Put recipe and settings, or runs, before the options: a parser of options wants such words in one place.

    Every option of these verbs takes one value, but for those of `VALUELESS`.
    """
    words: list[str] = []
    options: list[str] = []
    rest = iter(given)
    for word in rest:
        if not word.startswith("-"):
            words.append(word)
            continue
        options.append(word)
        if "=" not in word and word not in VALUELESS:
            options += [value for value in [next(rest, None)] if value is not None]
    return words + options


def entry() -> None:
    """The console script.

    Threads of one operation wait for each other asleep, not spinning, unless the user's environment says
    otherwise: a spinning thread keeps the loader's workers from the core. It must be said before torch loads.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not is_alone():
        # That a fellow has gone is said in a sentence; torch would say it before with the stack of every attempt.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    sys.exit(main())


if __name__ == "__main__":
    entry()
