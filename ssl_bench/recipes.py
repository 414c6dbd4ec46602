"""Recipes as data: where they lie, how one is found, changed from the command line, and hashed.

A recipe is a YAML file that is complete: every field that moves a number stands in it, or in the recipe it
names as its `base`. The code has no defaults for those. `pretrain/` holds recipes of the pretraining
stage, `transfer/` protocols, `results/` published numbers and table definitions; this module alone knows
that they stand at the top of a checkout and inside the package in a wheel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ssl_bench.errors import UserError, nearest, unknown
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_schemas import InpaintingProtocol, Protocol
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.training_schemas import usual_encoder

Kind = Literal["pretrain", "transfer", "inpainting", "probes"]
SCHEMAS: dict[str, type[BaseModel]] = {
    "pretrain": PretrainRecipe,
    "transfer": Protocol,
    "inpainting": InpaintingProtocol,
    "probes": ProbeProtocol,
}
# Kinds whose protocols describe quick forms in their own files.
WITH_QUICK_FORMS = ("transfer", "probes")
# Sections whose keys are names: null takes one out.
NAMED = ("splits", "networks", "taps", "departures")
# Keys whose value says which others a mapping has.
TAGS = ("method", "kind")
QUICK = "-quick"
INPAINTING = "inpainting"
INPAINTING_DEFAULT = "inpainting-center"
# Names of variants that pydantic puts into the place of a complaint; a reader's YAML has no such key.
VARIANTS = (
    *("context-encoder", "autoencoder", "inpainting-joint", "inpainting-l2"),
    *("rotation", "supervised", "random", "kmeans-init", "random-rescaled"),
    *("region-detection", "dilated-segmentation", "given", "network", "fully-connected", "stage"),
    *("classification", "detection", "segmentation", "linear-heads", "linear-segmentation"),
    *("svm", "low-shot", "logistic", "knn"),
)

_Model = TypeVar("_Model", bound=BaseModel)


def shipped_folder(name: Literal["pretrain", "transfer", "results"]) -> Path:
    """Find a content folder: inside the package when installed from a wheel, else in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_shipped" / name
    return installed if installed.is_dir() else package.parent / name


def _folder(kind: Kind) -> Path:
    """Protocols that measure paintings or probe frozen features lie apart from those that train."""
    if kind == "inpainting" or kind == "probes":
        return shipped_folder("transfer") / kind
    return shipped_folder(kind)


@cache
def recipe_names(kind: Kind) -> list[str]:
    """List the shipped recipes of a kind by name, and the quick forms that protocols describe in themselves."""
    names = {path.stem for path in _folder(kind).glob("*.yaml")}
    if kind in WITH_QUICK_FORMS:
        names |= {name + QUICK for name in names if _quick_block(kind, name) is not None}
    return sorted(names)


def recipe_path(kind: Kind, name: str) -> Path:
    """Find a recipe by its shipped name, or take `name` as the path of a YAML file.

    Raises:
        UserError: There is none; the nearest known name is given.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"no recipe file {name}")
        return path
    path = _folder(kind) / f"{name}.yaml"
    if not path.is_file():
        raise unknown("recipe" if kind == "pretrain" else "protocol", name, recipe_names(kind))
    return path


class _EachKeyOnce(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C where it is built, ten times faster
    """YAML as PyYAML reads it, but a key that stands twice is an error: the first value would be lost unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                place = f"line {key.start_mark.line + 1}"
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} stands twice, {place}"
                )
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        UserError: The file cannot be read, is not YAML or not a mapping, or a key stands twice in it.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_EachKeyOnce)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping of keys to values at the top")
    return value


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`, mapping by mapping; lists and scalars are replaced whole.

    A mapping that names another `method`, or another `kind` with its keys, than the one below replaces it whole,
    since each has its own keys. In sections whose keys are names (`NAMED`), null takes one out.
    """
    for tag in TAGS:
        alone = tag == "kind" and len(changes) == 1
        if tag in changes and not alone and base.get(tag) != changes[tag]:
            return dict(changes)
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merged(below, value)
            if key in NAMED:
                result[key] = {name: content for name, content in result[key].items() if content is not None}
        else:
            result[key] = value
    return result


def read_with_base(kind: Kind, name: str, _seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a recipe and everything it stands on.

    Raises:
        UserError: A base is unknown, or recipes name each other in a circle.
    """
    if (
        kind in WITH_QUICK_FORMS
        and not _seen
        and name.endswith(QUICK)
        and not (_folder(kind) / f"{name}.yaml").exists()
    ):
        return _quick_form(kind, name)
    return _whole(kind, name, _seen)


def _quick_block(kind: Kind, name: str) -> dict[str, Any] | None:
    """Find what a shipped protocol's quick form changes, if it says so itself or its base does."""
    if name.endswith((QUICK, "-demo")) or (_folder(kind) / f"{name}{QUICK}.yaml").exists():
        return None
    found: dict[str, Any] | None = _whole(kind, name, keep_quick=True).get("quick")
    return found


def _quick_form(kind: Kind, name: str) -> dict[str, Any]:
    """Lay a protocol's own quick changes over it. The quick form follows no published source."""
    full = name.removesuffix(QUICK)
    path = recipe_path(kind, full)  # says what there is instead
    block = _quick_block(kind, full)
    if block is None:
        raise UserError(f"{path} describes no quick form")
    value = _whole(kind, full)
    words = {"expected": "", "facts": [], "departures": {}, "title": f"{value['title']}, quick form"}
    return merged({**value, **words, "name": name, "budget": "quick"}, block)


def _whole(kind: Kind, name: str, _seen: tuple[str, ...] = (), *, keep_quick: bool = False) -> dict[str, Any]:
    """Read a recipe laid over its bases, with or without what its quick form changes."""
    path = recipe_path(kind, name)
    here = os.path.abspath(path)  # noqa: PTH100, resolve takes long, and circles are found all the same
    if here in _seen:
        raise UserError(f"{path}: its bases lead back to itself")
    value = read_yaml(path)
    if not keep_quick:
        value.pop("quick", None)
    base = value.pop("base", None)
    if base is None:
        return value
    if not isinstance(base, str):
        raise UserError(
            f"{path}: base = {base!r}: expected the name of a recipe, or a YAML file beside this one"
        )
    is_file = base.endswith((".yaml", ".yml"))
    beside = path.parent / (base if is_file else f"{base}.yaml")
    named = str(beside) if is_file or beside.is_file() else base
    if named.endswith(QUICK) and not beside.is_file():
        below = read_with_base(kind, named)
    else:
        below = _whole(kind, named, (*_seen, here), keep_quick=keep_quick)
    # A recipe of one's own that says no name must not go by its base's.
    return merged({**below, "name": path.stem}, value)


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split `a.b=value` into its keys and the value, read as YAML (`true`, `3`, `[1, 2]`, `text`)."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UserError(f"cannot use {text!r}: settings are given as key=value, e.g. schedule.steps=100")
    try:
        return key.strip().split("."), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"cannot read the value of {text!r} ({' '.join(str(error).split())})") from error


def apply_overrides(value: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys. Only keys that the recipe has can be set; `encoder=NAME` sets all that belongs to a network.

    Raises:
        UserError: The key is not there; the nearest known one is given.
    """
    for text in overrides:
        keys, new = parse_override(text)
        for depth, key in enumerate(keys):
            here = value
            for step in keys[:depth]:
                here = here[step]
            if not isinstance(here, dict) or key not in here:
                given, known = ".".join(keys), dotted_keys(value)
                raise UserError(
                    f"unknown key {given!r}{nearest(given, known)} (known keys: {', '.join(known)})"
                )
        if keys == ["encoder"] and isinstance(new, str):
            new = usual_encoder(new)  # written out here, so that a later setting can change a part of it
        for key in reversed(keys):
            new = {key: new}
        value = merged(value, new)
    return value


def dotted_keys(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List every key of a nested mapping with its path, leaves only."""
    keys: list[str] = []
    for key, below in value.items():
        path = f"{prefix}{key}"
        keys += dotted_keys(below, f"{path}.") if isinstance(below, Mapping) else [path]
    return keys


def validated(schema: type[_Model], value: Mapping[str, Any], where: str) -> _Model:
    """Check a mapping against its schema.

    Raises:
        UserError: Every unknown key (with the nearest known one), missing key and value out of range.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        known = _field_names(schema)
        complaints = [_complaint(dict(item), known) for item in error.errors()]
        raise UserError(f"{where}: " + "; ".join(complaints)) from error


def _complaint(item: dict[str, Any], known: Sequence[str]) -> str:
    """Phrase one complaint of pydantic's in words of the YAML."""
    loc = [str(part) for part in item["loc"]]
    place = ".".join(part for n, part in enumerate(loc) if part not in VARIANTS and not _is_pooling(loc, n))
    about = item.get("ctx", {})
    tag = f"{place}.{about['discriminator'].strip(chr(39))}" if "discriminator" in about else ""
    match item["type"]:
        case "extra_forbidden":
            return f"unknown key {place!r}{nearest(str(item['loc'][-1]), known)}"
        case "missing":
            return f"key {place!r} is missing"
        case "union_tag_not_found":
            return f"key {tag!r} is missing"
        case "union_tag_invalid":
            return f"{tag} = {about['tag']!r}: input should be one of {about['expected_tags']}"
        case "value_error":  # one of our own checks, over several keys: its message names them
            return f"{place}: {about['error']}" if place else str(about["error"])
    return f"{place} = {item['input']!r}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def _is_pooling(loc: Sequence[str], at: int) -> bool:
    """Whether a part of a place is the kind of a pooling, which stands behind a tap's name in pydantic's words."""
    return loc[at - 1 : at] == ["all_taps"] or loc[max(0, at - 2) : at - 1] == ["taps"]


def _field_names(schema: type[BaseModel]) -> list[str]:
    names: list[str] = []
    for name, field in schema.model_fields.items():
        names.append(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                names += _field_names(part)
    return names


def load_pretrain_recipe(name: str, overrides: Sequence[str] = ()) -> PretrainRecipe:
    """Load a pretraining recipe, with `key=value` changes laid over it."""
    value = with_later_keys(PretrainRecipe, read_with_base("pretrain", name))
    value = apply_overrides(value, overrides)
    return validated(PretrainRecipe, value, f"recipe {name}")


def with_later_keys(schema: type[BaseModel], value: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the keys that came later and that a recipe does not say, so that key=value can set them."""
    result = dict(value)
    for name, field in schema.model_fields.items():
        marks = field.json_schema_extra
        if isinstance(marks, dict) and "introduced_as" in marks:
            result.setdefault(name, field.default)
        below = result.get(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(below, Mapping) and isinstance(part, type) and issubclass(part, BaseModel):
                tags = [(tag, part.model_fields[tag]) for tag in TAGS if tag in part.model_fields]
                if all(below.get(tag) in getattr(tagged.annotation, "__args__", ()) for tag, tagged in tags):
                    result[name] = with_later_keys(part, below)
    return result


def load_protocol(name: str, overrides: Sequence[str] = ()) -> Protocol:
    """Load a transfer protocol by its full name, with `key=value` changes laid over it."""
    value = apply_overrides(with_later_keys(Protocol, read_with_base("transfer", name)), overrides)
    return validated(Protocol, value, f"protocol {name}")


def load_inpainting_protocol(name: str, overrides: Sequence[str] = ()) -> InpaintingProtocol:
    """Load a protocol that measures paintings, with `key=value` changes laid over it."""
    value = apply_overrides(read_with_base("inpainting", name), overrides)
    return validated(InpaintingProtocol, value, f"protocol {name}")


def load_probe_protocol(name: str, overrides: Sequence[str] = ()) -> ProbeProtocol:
    """Load a protocol of frozen features by its full name, with `key=value` changes laid over it."""
    value = apply_overrides(read_with_base("probes", name), overrides)
    return validated(ProbeProtocol, value, f"protocol {name}")


def measures_paintings(task: str) -> bool:
    """Whether a task's name stands for a protocol that measures paintings; `inpainting` does in short."""
    return task == INPAINTING or task in recipe_names("inpainting")
