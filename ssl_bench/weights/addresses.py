"""How an encoder is named, wherever one is accepted: WHAT[?option&option=value].

WHAT is a run's name or folder, a file, `random[:RECIPE|:ARCHITECTURE]`, `timm:NAME`, `torchvision:NAME`,
`hf-hub:ORG/NAME`, or `FILE.py:FUNCTION`. Options say what the thing itself does not: which weights, which
architecture, what its input is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import ValidationError

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.errors import UserError, unknown

Kind = Literal["random", "timm", "torchvision", "hf-hub", "factory", "path"]
LIBRARIES = ("timm", "torchvision", "hf-hub")
INPUT_OPTIONS = ("size", "interpolation", "mean", "std", "channels", "range")
NAMING_OPTIONS = ("method", "name")
CODE = re.compile(r"\.py(:[^/]*)?$")
OPTIONS: Mapping[Kind, tuple[str, ...]] = {
    "random": (),
    "timm": ("pretrained", *INPUT_OPTIONS, *NAMING_OPTIONS),
    "torchvision": ("pretrained", *INPUT_OPTIONS, *NAMING_OPTIONS),
    "hf-hub": (*INPUT_OPTIONS, *NAMING_OPTIONS),
    "factory": ("weights", "part", *INPUT_OPTIONS, *NAMING_OPTIONS),
    "path": ("as", "part", *INPUT_OPTIONS, *NAMING_OPTIONS),
}


@dataclass(frozen=True, kw_only=True)
class Address:
    """An encoder's name, taken apart.

    Attributes:
        kind: What sort of thing it names.
        name: Without scheme and options: a path, a library's model name, FILE.py:FUNCTION, a recipe.
        options: As given; an option without value is "true".
    """

    kind: Kind
    name: str
    options: Mapping[str, str]


def parse_address(given: str) -> Address:
    """Take an encoder's name apart.

    Raises:
        UserError: An option is not known for this kind of encoder, is given twice, or lacks its value.
    """
    what, mark, tail = ("", "", "") if _exists(given) else given.partition("?")
    if not mark:
        what, tail = given, ""
    kind, name = _kind(what)
    options: dict[str, str] = {}
    for part in tail.split("&") if tail else []:
        key, _, value = part.partition("=")
        if key not in OPTIONS[kind]:
            where = f"option of --encoder {what}"
            raise unknown(where, key, OPTIONS[kind])
        if key in options:
            raise UserError(f"--encoder {given}: {key} is given twice; which is meant?")
        if not value and key != "pretrained":
            raise UserError(f"--encoder {given}: {key} has no value; write {key}=VALUE")
        options[key] = value or "true"
    if not name:
        raise UserError(
            f"--encoder {given}: a name is missing behind {what}"
            if what
            else f"--encoder {given!r} names nothing: give a run, a file, timm:NAME or another form of docs/encoders.md"
        )
    if kind == "path" and CODE.search(name) and not Path(name).is_dir():
        raise UserError(
            f"--encoder {given}: name the function in it that makes the network: FILE.py:FUNCTION"
        )
    if kind == "factory" and "part" in options and "weights" not in options:
        raise UserError(f"--encoder {given}: part belongs to a checkpoint; name one with weights=FILE")
    return Address(kind=kind, name=name, options=options)


def _exists(given: str) -> bool:
    try:
        return Path(given).exists()
    except OSError:  # longer than a file's name can be, or a folder that may not be looked into
        return False


def _kind(what: str) -> tuple[Kind, str]:
    scheme, mark, rest = what.partition(":")
    if scheme == "random":
        return "random", rest or "random"
    if mark and scheme in LIBRARIES:
        return cast(Kind, scheme), rest
    file, mark, function = what.rpartition(":")
    if mark and file.endswith(".py") and function.isidentifier():
        return "factory", what
    return "path", what


def parse_architecture(given: str) -> dict[str, Any]:
    """Read an architecture as it is written behind `as=`, `--as` and `random:`: NAME[:setting=value...].

    E.g. resnet50, resnet18:width=0.5, caffenet:grouped=false, timm:vit_small_patch16_224:img_size=128.

    Raises:
        UserError: Something behind the name is no setting=value, its value cannot be read, or it is code of one's own.
    """
    words = given.split(":")
    if words[0] == "factory" or words[0].endswith(".py"):
        raise UserError(
            f"{given}: with code of your own the checkpoint is named behind it: FILE.py:FUNCTION?weights=FILE"
        )
    count = 2 if words[0] in LIBRARIES else 1
    settings: dict[str, Any] = {"name": ":".join(words[:count])}
    for word in words[count:]:
        key, mark, value = word.partition("=")
        if not mark or not key:
            raise UserError(f"{given}: {word!r} is not setting=value (e.g. resnet18:width=0.5)")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(
                f"{given}: cannot read the value of {word!r} (e.g. resnet18:width=0.5)"
            ) from error
    return settings


def declared_preprocessing(base: Preprocessing, options: Mapping[str, str]) -> Preprocessing:
    """Change what options say of an encoder's input, and nothing else.

    With another order of channels or range of values, mean and std are carried over, so that the same pixels give the
    same numbers but for order and scale; `mean` and `std` then replace them, in the new order and range.

    Raises:
        UserError: A value is not one that the option has.
    """
    fields = base.model_dump()
    mean, std = list(base.mean), list(base.std)
    if options.get("channels", base.channels) != base.channels:
        mean, std = mean[::-1], std[::-1]
    if "range" in options:
        fields["value_range"] = largest = _number(options["range"], "range")
        factor = largest / base.value_range
        mean, std = [value * factor for value in mean], [value * factor for value in std]
    fields |= {"mean": mean, "std": std}
    for key in ("size", "interpolation", "channels"):
        if key in options:
            fields[key] = options[key]
    for key in ("mean", "std"):
        if key in options:
            values = [_number(part, key) for part in options[key].split(",")]
            fields[key] = values * 3 if len(values) == 1 else values
    try:
        return Preprocessing.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0]).replace("value_range", "range")
        raise UserError(
            f"the encoder's input: {place}: {first['msg']} (size=PIXELS, interpolation=bilinear|bicubic, "
            "channels=RGB|BGR, range=1|255, mean=A,B,C and std=A,B,C in that order and range)"
        ) from error


def _number(text: str, key: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"the encoder's input: {key}={text}: not a number") from error
    if not math.isfinite(value):
        raise UserError(f"the encoder's input: {key}={text}: not a finite number")
    return value
