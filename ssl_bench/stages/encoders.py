"""From what a user names to an encoder: a run, a file, a library's network, one's own code, or `random`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.files import CARD_FILE, WEIGHTS_FILE, find_weights, load_encoder_file
from ssl_bench.encoders.registry import ENCODERS, fresh_encoder
from ssl_bench.errors import UserError, nearest
from ssl_bench.progress import say
from ssl_bench.recipes import apply_overrides, load_pretrain_recipe, recipe_names, validated
from ssl_bench.runs import DONE_FILE
from ssl_bench.stages.foreign_encoders import checkpoint_encoder, factory_encoder, library_encoder
from ssl_bench.stages.named_encoders import NamedEncoder
from ssl_bench.training_schemas import LIBRARIES, EncoderSettings, usual_encoder
from ssl_bench.weights.addresses import parse_address

RANDOM = "random"
# Settings of a network of ours beside its width, with their usual values.
OWN_SETTINGS: dict[str, dict[str, Any]] = {"caffenet": {"grouped": True, "norm": "after-pooling"}}
DEFAULT_RANDOM_RECIPE = "context-encoder-mini"


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
        given: A run's name or folder, an encoder file, a checkpoint from elsewhere, `timm:NAME`, `torchvision:NAME`,
            `hf-hub:ORG/NAME`, `FILE.py:FUNCTION`, `random` (or `random:RECIPE` with that recipe's network, or
            `random:ARCHITECTURE`, e.g. random:resnet50 or random:resnet50:width=0.25), or None for the newest finished
            pretraining; options behind a question mark, see `ssl_bench.weights.addresses`.
        runs: The folder of runs.
        seed: Of a random encoder's weights.

    Raises:
        UserError: There is no such encoder, or not all of it is there.
    """
    if given is None:
        path = newest_run(runs)
        say(f"no --encoder given: judging the newest finished pretraining, {path}")
        return _own_encoder(path)
    address = parse_address(given)
    if address.kind == "random":
        return _random_encoder(given.partition(":")[2] or DEFAULT_RANDOM_RECIPE, seed)
    if address.kind != "path":
        return factory_encoder(address, seed) if address.kind == "factory" else library_encoder(address, seed)
    path = found_encoder(address.name, runs)
    if is_own(path):
        if address.options:
            raise UserError(
                f"{given}: an encoder of ssl-bench says in {CARD_FILE} what it is; it takes no options behind it"
            )
        return _own_encoder(path)
    return checkpoint_encoder(path, address.options)


def is_own(path: Path) -> bool:
    """Whether a path is meant as an encoder of ours: a run's folder, its weights or its card; or is not there."""
    if path.is_dir():
        return (path / CARD_FILE).is_file() or not (path / "config.json").is_file()
    return not path.exists() or path.name in (WEIGHTS_FILE, CARD_FILE)


def _own_encoder(path: Path) -> NamedEncoder:
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
        weights=card.weights,
        untrained=card.weights.untrained if card.weights else (),
    )


def _random_encoder(given: str, seed: int) -> NamedEncoder:
    architecture, init, size = _random_network(given)
    encoder = fresh_encoder(architecture, input_size=size, init=init, seed=seed)
    return NamedEncoder(
        encoder=encoder,
        name=f"random-{init}-seed{seed}",
        method=RANDOM,
        source="random",
        sha256=weights_hash(encoder),
        pretraining_seed=seed,
    )


def _random_network(given: str) -> tuple[dict[str, Any], str, int | None]:
    """Find what stands behind `random:`: architecture, initialisation, and its input's side where a recipe says it.

    Raises:
        UserError: It is neither a recipe nor an architecture, or a setting is not an encoder's.
    """
    recipes = recipe_names("pretrain")
    if given in recipes or given.endswith((".yaml", ".yml")):
        recipe = load_pretrain_recipe(given)
        return recipe.encoder.architecture, recipe.encoder.init, recipe.input.size
    where = f"--encoder {RANDOM}:{given}"
    if given.split(":")[0] in recipes:
        raise UserError(f"{where}: a recipe says all of its network; settings follow an architecture's name")
    library = given.startswith(LIBRARIES)
    name, *changes = given.split(":")
    if library:
        settings = usual_encoder(given)
    elif name not in ENCODERS:
        raise UserError(
            f"{where}: unknown recipe {name!r}{nearest(name, recipes)}; unknown architecture {name!r}"
            f"{nearest(name, ENCODERS)} (recipes: {', '.join(recipes)}; architectures: {', '.join(sorted(ENCODERS))}, "
            "timm:NAME, torchvision:NAME)"
        )
    else:
        usual = usual_encoder(name) | OWN_SETTINGS.get(name, {})
        settings = apply_overrides({key: value for key, value in usual.items() if key != "arch"}, changes)
        own = {key: settings.pop(key) for key in OWN_SETTINGS.get(name, {})}
        changed = [f"{key}={value}" for key, value in own.items() if value != usual[key]]
        settings["arch"] = ":".join([name, *changed])
    network = validated(EncoderSettings, settings, where)
    return network.architecture, network.init, None


def load_encoder(given: str | Path, *, runs: str | Path = "runs", seed: int = 0) -> Encoder:
    """Load an encoder for use in one's own code.

    Args:
        given: As behind --encoder on the command line; see `named_encoder`. `seed` is a random encoder's.

    Returns:
        The encoder in evaluation mode; `encoder.preprocessing.normalise` makes its input from uint8 RGB.

    Raises:
        UserError: There is no such encoder, or not all of it is there.
    """
    return named_encoder(str(given), runs=Path(runs), seed=seed).encoder.eval()


def found_encoder(given: str, runs: Path) -> Path:
    """Find what is meant by a path, or by the name or folder of a run."""
    path = Path(given)
    return path if path.exists() or not (runs / given).exists() else runs / given


def refuse_to_replace(target: Path) -> None:
    """Stop where a folder holds an encoder already."""
    if (target / CARD_FILE).exists() or (target / WEIGHTS_FILE).exists():
        raise UserError(f"{target} holds an encoder already: name another folder")
