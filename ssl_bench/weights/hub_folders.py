"""Folders as Hugging Face's hub lays them out: config.json and the weights, in one file or in several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_bench.weights.refusals import Refused, naming

CONFIG = "config.json"
# In this order: safetensors can hold nothing but tensors.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
LARGEST_JSON = 64 << 20

ReadFile = Callable[[Path], dict[str, Any]]


def read_hub_folder(folder: Path, read_file: ReadFile) -> tuple[dict[str, Any], list[Path]]:
    """Read config and weights: {"config": ..., "state_dict": ...}, and the files that the weights came from.

    Args:
        folder: The folder.
        read_file: Reads one weights file into its content.

    Raises:
        Refused: No such folder, a part of it missing or not where its index says.
    """
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise Refused(_not_one(folder))
    if not (folder / CONFIG).is_file():
        raise Refused(
            f"a folder with {weights.name} and without {CONFIG}. Name {weights.name} itself, or add it."
        )
    config = read_json(folder / CONFIG)
    if weights.suffix != ".json":
        with naming(weights):
            return {"config": config, "state_dict": read_file(weights)}, [weights]
    tensors, files = _sharded(weights, read_file)
    return {"config": config, "state_dict": tensors}, files


def _not_one(folder: Path) -> str:
    if (folder / "saved_model.pb").exists():
        return "a TensorFlow SavedModel. Convert it to torch with its authors' script, and name that file."
    if (folder / "_METADATA").exists() or (folder / "_CHECKPOINT_METADATA").exists():
        return "a JAX (Orbax) checkpoint. Convert it to torch with its authors' script, and name that file."
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:4])
    return (
        f"a folder without weights that we know ({found or 'empty'}). Name the weights file in it, or a folder of "
        f"Hugging Face's layout: {CONFIG} with {' or '.join(WEIGHTS[::2])}."
    )


def _sharded(index: Path, read_file: ReadFile) -> tuple[dict[str, Any], list[Path]]:
    places = read_json(index).get("weight_map")
    if (
        not isinstance(places, dict)
        or not places
        or not all(isinstance(name, str) for name in places.values())
    ):
        raise Refused(f"{index.name} has no weight_map of names to files. Fetch the folder again.")
    names = sorted(set(places.values()))
    # A file name, not a path: an index must not lead us out of its folder.
    astray = [name for name in names if Path(name).name != name or name in ("", ".", "..")]
    missing = [name for name in names if not (index.parent / name).is_file()]
    if astray or missing:
        raise Refused(
            f"{index.name} names {(astray or missing)[0]}, which is not in the folder"
            f"{f' (nor are {len(missing) - 1} others)' if len(missing) > 1 else ''}. Fetch the missing files."
        )
    tensors: dict[str, Any] = {}
    for name in names:
        with naming(index.parent / name):
            shard = read_file(index.parent / name)
        tensors |= {key: tensor for key, tensor in shard.items() if places.get(key) == name}
    absent = [key for key in places if key not in tensors]
    if absent:
        raise Refused(
            f"{places[absent[0]]} lacks {absent[0]}, which {index.name} says it holds. Fetch it again."
        )
    return tensors, [index.parent / name for name in names]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refused: It is none, or larger than any configuration.
    """
    if path.stat().st_size > LARGEST_JSON:
        raise Refused(f"{path.name} has more than {LARGEST_JSON >> 20} MiB, which is no configuration.")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path.name} is not JSON ({error}). Fetch it again.") from error
    if not isinstance(value, dict):
        raise Refused(f"{path.name} is a JSON {type(value).__name__}, not an object. Fetch it again.")
    return value
