"""From what a user names to an encoder: a run, an encoder file, or `random`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ssl_bench.atomic import make_folder
from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.files import CARD_FILE, WEIGHTS_FILE, find_weights, load_encoder_file, save_encoder
from ssl_bench.encoders.registry import ENCODERS, fresh_encoder
from ssl_bench.errors import UserError, nearest
from ssl_bench.progress import say
from ssl_bench.recipes import apply_overrides, load_pretrain_recipe, recipe_names, validated
from ssl_bench.records import EncoderReference, PretrainingReference
from ssl_bench.runs import DONE_FILE
from ssl_bench.training_schemas import EncoderSettings

RANDOM = "random"
DEFAULT_RANDOM_RECIPE = "context-encoder-mini"


@dataclass(frozen=True, kw_only=True)
class NamedEncoder:
    """An encoder and everything a record says about it but the tap."""

    encoder: Encoder
    name: str
    method: str
    source: Literal["run", "file", "random"]
    sha256: str
    pretraining: PretrainingReference | None
    pretraining_seed: int | None

    def reference(self, tap: str) -> EncoderReference:
        """Describe the encoder for a record."""
        return EncoderReference(
            name=self.name,
            method=self.method,
            architecture=describe(dict(self.encoder.architecture)),
            sha256=self.sha256,
            tap=tap,
            source=self.source,
            pretraining=self.pretraining,
        )


def describe(architecture: dict[str, Any]) -> str:
    """Phrase an architecture, e.g. "caffenet width=0.5"."""
    return " ".join(
        [str(architecture.pop("name")), *(f"{key}={value:g}" for key, value in architecture.items())]
    )


def newest_run(runs: Path, *, control: str = ", or --encoder random for the control") -> Path:
    """Find the newest finished pretraining below `runs`.

    Args:
        control: What else could be named, for the message.

    Raises:
        UserError: There is none.
    """
    finished = [path.parent for path in runs.glob(f"*/{CARD_FILE}") if (path.parent / DONE_FILE).exists()]
    if not finished:
        raise UserError(
            f"no finished pretraining in {runs}: run `ssl-bench pretrain` first, "
            f"or name an encoder with --encoder RUN_OR_FILE{control}"
        )
    return max(finished, key=lambda path: (path / DONE_FILE).stat().st_mtime_ns)


def named_encoder(given: str | None, *, runs: Path, seed: int) -> NamedEncoder:
    """Load or make the encoder that a user asked for.

    Args:
        given: A run's name or folder, an encoder file, `random` (or `random:RECIPE` with that recipe's
            network, or `random:ARCHITECTURE`, e.g. random:resnet50 or random:resnet50:width=0.25), or None for
            the newest finished pretraining.
        runs: The folder of runs.
        seed: Of a random encoder's weights.
    """
    if given is not None and given.split(":")[0] == RANDOM:
        return _random_encoder(given.partition(":")[2] or DEFAULT_RANDOM_RECIPE, seed)
    if given is None:
        path = newest_run(runs)
        say(f"no --encoder given: judging the newest finished pretraining, {path}")
    else:
        path = Path(given)
        if not path.exists() and (runs / given).exists():
            path = runs / given
    weights = find_weights(path)
    encoder, card = load_encoder_file(weights)
    is_run = (weights.parent / DONE_FILE).exists()
    return NamedEncoder(
        encoder=encoder,
        name=card.name,
        method=card.method,
        source="run" if is_run else "file",
        sha256=card.sha256,
        pretraining=card.pretraining,
        pretraining_seed=card.pretraining_seed,
    )


def _random_encoder(given: str, seed: int) -> NamedEncoder:
    settings, size = _random_settings(given)
    encoder = fresh_encoder(
        {"name": settings.arch, "width": settings.width}, input_size=size, init=settings.init, seed=seed
    )
    return NamedEncoder(
        encoder=encoder,
        name=f"random-{settings.init}-seed{seed}",
        method=RANDOM,
        source="random",
        sha256=weights_hash(encoder),
        pretraining=None,
        pretraining_seed=seed,
    )


def _random_settings(given: str) -> tuple[EncoderSettings, int | None]:
    """Find the network that stands behind `random:`, and the side of its input where a recipe says it.

    Raises:
        UserError: It is neither a recipe nor an architecture, or a setting is not an encoder's.
    """
    recipes = recipe_names("pretrain")
    if given in recipes or given.endswith((".yaml", ".yml")):
        recipe = load_pretrain_recipe(given)
        return recipe.encoder, recipe.input.size
    name, *changes = given.split(":")
    where = f"--encoder {RANDOM}:{given}"
    if name in recipes:
        raise UserError(f"{where}: a recipe says all of its network; settings follow an architecture's name")
    if name not in ENCODERS:
        raise UserError(
            f"{where}: unknown recipe {name!r}{nearest(name, recipes)}; unknown architecture {name!r}"
            f"{nearest(name, ENCODERS)} (recipes: {', '.join(recipes)}; architectures: {', '.join(sorted(ENCODERS))})"
        )
    usual = {"width": 1.0, "init": "dcgan" if name.startswith("dcgan") else "kaiming"}
    return validated(EncoderSettings, {"arch": name, **apply_overrides(usual, changes)}, where), None


def load_encoder(given: str | Path, *, runs: str | Path = "runs", seed: int = 0) -> Encoder:
    """Load an encoder for use in one's own code.

    Args:
        given: A run's name or folder, an encoder file, or "random" (with `seed`); see `named_encoder`.

    Returns:
        The encoder in evaluation mode; `encoder.preprocessing.normalise` makes its input from uint8 RGB.

    Raises:
        UserError: There is no encoder, or its file does not fit what its card says.
    """
    return named_encoder(str(given), runs=Path(runs), seed=seed).encoder.eval()


def inspected(given: str, runs: Path) -> list[str]:
    """Describe an encoder, line by line."""
    found = named_encoder(given, runs=runs, seed=0)
    tensors = found.encoder.state_dict()
    count = sum(tensor.numel() for tensor in tensors.values())
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    preprocessing = found.encoder.preprocessing
    learned = found.pretraining
    taps = [f"{name} ({tap.channels} x 1/{tap.stride})" for name, tap in found.encoder.taps.items()]
    return [
        f"name          {found.name}",
        f"method        {found.method}",
        f"architecture  {describe(dict(found.encoder.architecture))}",
        f"tensors       {len(tensors)} of {len(tensors)} matched, {count:,} values, {size / 2**20:.1f} MiB",
        f"sha256        {found.sha256}",
        f"preprocessing {preprocessing.channels} in 0..{preprocessing.value_range}, "
        f"mean {_numbers(preprocessing.mean)}, std {_numbers(preprocessing.std)}, {preprocessing.size} px",
        f"taps          {', '.join(taps)}",
        f"learned       {f'{learned.recipe} on {learned.data_name}, {learned.steps} steps' if learned else 'nothing'}",
    ]


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def found_encoder(given: str, runs: Path) -> Path:
    """Find an encoder file by its path, or by the name or folder of its run."""
    return Path(given) if Path(given).exists() else runs / given


def refuse_to_replace(target: Path) -> None:
    """Stop where a folder holds an encoder already."""
    if (target / CARD_FILE).exists() or (target / WEIGHTS_FILE).exists():
        raise UserError(f"{target} holds an encoder already: name another folder")


def exported(given: str, runs: Path, target: Path) -> Path:
    """Write an encoder and its card into a folder of its own, which must not hold one already."""
    encoder, card = load_encoder_file(found_encoder(given, runs))
    refuse_to_replace(target)
    make_folder(target)
    save_encoder(target, encoder, card)
    return target / WEIGHTS_FILE
