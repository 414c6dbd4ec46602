"""An encoder from a function in the user's own Python file: FILE.py:FUNCTION.

Naming such a file runs it, with all rights of the user: that is what it is for, and nothing of it ever runs unless it
is named. The function takes no arguments and returns an `Encoder`, or any network that gives out maps: from
`forward_intermediates` as timm's do, from `forward_features` (maps, or tokens in rows of patches), or from its forward
(a map, or a list or dict of them from shallow to deep). An attribute `preprocessing` of the network says what its
input is: a `Preprocessing`, or a dict of the fields that are not ImageNet's.

Records and cards tell the file by its name and hash and not by its place. An encoder that such a function made is
loaded again once the function has been named in the same process (`factory_encoder`), with the same file: a run's
folder holds data, and no code that loading it would run.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ssl_bench.encoders.adopted import adopt, network_of, seeded
from ssl_bench.encoders.contract import Encoder, Preprocessing
from ssl_bench.encoders.geometry import dense_tap_of, measured_taps
from ssl_bench.encoders.resnet import MEAN_RGB, STD_RGB
from ssl_bench.errors import UserError, unknown

INITS = ("library",)
CONTRACT = ("taps", "preprocessing", "last_tap", "dense_tap")
USUAL = {
    "size": 224,
    "interpolation": "bilinear",
    "mean": MEAN_RGB,
    "std": STD_RGB,
    "channels": "RGB",
    "value_range": 1,
}
# Sides that a network is looked at with, in pixels: for strides up to 64, then for patches of 14.
LOOKED_AT = ((128, 192), (112, 168))
# Files that were named in this process, by their hash: what a card or a record says of them, and where they are.
_NAMED: dict[str, Path] = {}


class ModuleEncoder(Encoder):
    """Somebody's network, with whatever maps it gives out as taps.

    It has to run as a whole: maps of a shallow tap cost as much as those of the deepest.

    Attributes:
        notes: What had to be assumed.
        inits: Kinds of initialisation.
    """

    inits = INITS

    def __init__(self, make: Callable[[], object], made: nn.Module, where: str) -> None:
        """Take a network over.

        Args:
            make: What made it and can make another.
            where: How the user named it, for messages.

        Raises:
            UserError: It gives out no maps.
        """
        super().__init__()
        adopt(self, made)
        self._make, self._where = make, where
        self.preprocessing, self.notes = _declared(made, where)
        self.taps = self._look()
        self.last_tap = list(self.taps)[-1]
        self.dense_tap = dense_tap_of(self.taps)

    def _look(self) -> Any:
        own = self.preprocessing.size
        reasons = []
        for small, large in (*LOOKED_AT, (own, None)):
            try:
                return measured_taps(self, self._maps, size=small, larger=large)
            except UserError as error:
                raise UserError(f"{self._where}: {error}") from error
            except Exception as error:  # theirs: anything
                reasons.append(f"{small} px: {type(error).__name__}: {error}")
        raise UserError(f"{self._where}: its network fails on a grey image ({reasons[-1]})")

    def _maps(self, images: Tensor) -> dict[str, Tensor]:
        network = network_of(self)
        if hasattr(network, "forward_intermediates"):
            given = network.forward_intermediates(images, intermediates_only=True)
        elif hasattr(network, "forward_features"):
            given = network.forward_features(images)
        else:
            given = network(images)
        patches = {name: tap.stride for name, tap in self.taps.items()} if hasattr(self, "taps") else {}
        return {name: _as_maps(values, images, name, patches.get(name)) for name, values in _named(given)}

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Compute feature maps; all of them are computed, and those asked for returned, from shallow to deep."""
        for tap in taps:
            if tap not in self.taps:
                raise unknown("tap", tap, self.taps)
        return {name: maps for name, maps in self._maps(images).items() if name in taps}

    def forward(self, images: Tensor) -> Tensor:
        """Compute the deepest maps, (N, C, h, w)."""
        return self._maps(images)[self.last_tap]

    def pooled(self, images: Tensor) -> Tensor:
        """Compute one vector an image, (N, D): as the network's `forward_head` does, else the mean of the last map."""
        network = network_of(self)
        if hasattr(network, "forward_head") and hasattr(network, "forward_features"):
            vectors: Tensor = network.forward_head(network.forward_features(images), pre_logits=True)
            return vectors.flatten(1)
        return self.forward(images).mean(dim=(2, 3))

    @torch.no_grad()
    def initialise(self, kind: str, generator: torch.Generator) -> None:
        """Draw fresh weights.

        Args:
            kind: `library`: as the user's function initialises another network.
            generator: Where the randomness comes from.

        Raises:
            UserError: Another kind.
        """
        if kind not in INITS:
            raise unknown("initialisation of a network of one's own", kind, INITS)
        self.load_state_dict(seeded(lambda: _returned(self._make, self._where), generator))


def factory_encoder(path: Path, function: str) -> Encoder:
    """Run a user's file and make an encoder of what its function returns.

    Raises:
        UserError: The file or the function is missing, fails, or returns no network that gives out maps.
    """
    where = f"{path.name}:{function}"
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: no file to read a function from ({error.strerror})") from error
    sha256 = _hash_of_code(path, source)
    make = _function(path, source, function, sha256)
    made = _returned(make, where)
    if isinstance(made, Encoder):
        missing = [name for name in CONTRACT if not hasattr(made, name)]
        if missing:
            raise UserError(
                f"{where}: its Encoder has no {', '.join(missing)} (see ssl_bench.encoders.contract)"
            )
    encoder = made if isinstance(made, Encoder) else ModuleEncoder(make, made, where)
    encoder.architecture = {"name": "factory", "file": path.name, "function": function, "sha256": sha256}
    _NAMED[sha256] = path.resolve()
    return encoder


def _hash_of_code(path: Path, source: bytes) -> str:
    """Hash a file with the files of its own folder that it imports, and those that they import.

    A function in a helper moves numbers as one in the file does. Installed packages are not followed.
    """
    found: dict[str, bytes] = {}
    waiting = [(path.name, source)]
    while waiting:
        name, content = waiting.pop()
        found[name] = content
        for module in _imported(content):
            for file in (path.parent / f"{module}.py", path.parent / module / "__init__.py"):
                key = file.relative_to(path.parent).as_posix()
                if key not in found and file.is_file():
                    waiting.append((key, file.read_bytes()))
    if len(found) == 1:
        return hashlib.sha256(source).hexdigest()
    total = hashlib.sha256()
    for name, content in sorted(found.items()):
        total.update(f"{name}:{len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


def _imported(source: bytes) -> list[str]:
    """List the modules that a file imports, as paths; none of a file that cannot be parsed, which fails when run."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name.replace(".", "/") for name in names]


def encoder_named_before(architecture: Mapping[str, Any]) -> Encoder:
    """Make another encoder by a function that was named in this process, for `build_encoder`.

    Raises:
        UserError: It was not, or its file has changed.
    """
    file, function = architecture.get("file"), architecture.get("function")
    path = _NAMED.get(str(architecture.get("sha256")))
    if path is None or function is None:
        raise UserError(
            f"this encoder is made by {file}:{function}, which is not run unless it is named: name it as "
            f"--encoder PATH/TO/{file}:{function}?weights=FILE, with the file it was made by "
            f"(sha256 {str(architecture.get('sha256'))[:12]})"
        )
    encoder = factory_encoder(path, str(function))
    if encoder.architecture["sha256"] != architecture["sha256"]:
        raise UserError(f"{file} has changed since the encoder was made: start again")
    return encoder


def _function(path: Path, source: bytes, function: str, sha256: str) -> Callable[[], object]:
    """Run a file as a module of its own, with its folder in reach of its imports, and find a function in it."""
    name = f"ssl_bench_factory_{sha256[:16]}"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise UserError(f"{path.name} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    found = getattr(module, function, None)
    if not callable(found):
        callables = [
            key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
        ]
        raise unknown(f"function in {path.name}:", function, callables)
    return found


def _returned(make: Callable[[], object], where: str) -> nn.Module:
    try:
        made = make()
    except (Exception, SystemExit) as error:
        raise UserError(f"{where} fails: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"{where} returns {type(made).__name__}: return an Encoder or a torch.nn.Module")
    return made


def _declared(network: nn.Module, where: str) -> tuple[Preprocessing, tuple[str, ...]]:
    """Read what a network says of its input."""
    given = getattr(network, "preprocessing", None)
    if isinstance(given, Preprocessing):
        return given, ()
    if given is None:
        note = f"{where} says nothing of its input: RGB in 0..1, ImageNet's mean and deviation, 224 px are assumed"
        return Preprocessing.model_validate(USUAL), (note,)
    if not isinstance(given, Mapping):
        raise UserError(
            f"{where}: its preprocessing is {type(given).__name__}; a dict or a Preprocessing is wanted"
        )
    try:
        return Preprocessing.model_validate({**USUAL, **given}), ()
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{where}: preprocessing {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error


def _named(given: object) -> list[tuple[str, object]]:
    """Name what a network gives out: a dict's own names, map1, map2 ... of a list, or map."""
    if isinstance(given, Mapping):
        return [(str(name), values) for name, values in given.items()]
    if isinstance(given, list | tuple):
        return [(f"map{number}", values) for number, values in enumerate(given, start=1)]
    return [("map", given)]


def _as_maps(values: object, images: Tensor, name: str, patch: int | None) -> Tensor:
    """Lay tokens (N, L, C) out as maps; leave maps as they are.

    Tokens are rows of square patches, after as many others (a class token, registers) as are left over.

    Args:
        patch: The patches' side in pixels; None while it is unknown, and the smallest is taken that there are tokens
            enough for.
    """
    if isinstance(values, Tensor) and values.ndim == 4:
        return values
    if not isinstance(values, Tensor) or values.ndim != 3:
        shape = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise UserError(
            f"{name} is of {shape}: maps (N, C, h, w) or tokens (N, L, C) are wanted. "
            "Return the network before its pooling and classifier."
        )
    height, width = images.shape[-2:]
    sides = [patch] if patch else range(1, min(height, width) + 1)
    grids = ((height // side, width // side) for side in sides)
    rows, columns = next(((h, w) for h, w in grids if h * w <= values.shape[1]), (0, 0))
    if rows * columns == 0:
        raise UserError(f"{name}: {values.shape[1]} tokens do not fill an image of {height} x {width} pixels")
    cells = values[:, values.shape[1] - rows * columns :]
    return cells.transpose(1, 2).reshape(len(cells), -1, rows, columns)
