"""The names in a pickle: which of them checkpoints hold beside tensors, and what is said of all others.

Admitted are classes that public training scripts write beside the weights and that can only hold values:
command line arguments (argparse.Namespace: DINO, MAE, BEiT), paths, default dictionaries. None of them is
imported from its module on our behalf: stand-ins take their place, under `torch.load` too. Dates are not admitted,
since none of the repositories whose layouts we know writes them; neither are configuration classes
(omegaconf, AttributeDict), since their packages would have to be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from ssl_bench.weights.pickle_values import StandIn, filled
from ssl_bench.weights.refusals import Damaged, Refused

MOST_NAMED = 6
# Modules with which a pickle acts on the machine that opens it; no checkpoint has a use for them.
_MODULES = """
    os posix nt ntpath posixpath subprocess sys shutil socket runpy importlib ctypes pty commands pickle _pickle marshal
    code codeop timeit pdb webbrowser multiprocessing asyncio urllib http requests tempfile bdb imp pip operator
    functools types inspect linecache cProfile profile trace
"""
_BUILTINS = "eval exec execfile compile getattr setattr open __import__ globals breakpoint input"
ACTING_MODULES = frozenset(_MODULES.split())
ACTING_BUILTINS = frozenset(_BUILTINS.split())


class Fields(StandIn):
    """Stands for argparse.Namespace: named values."""

    values: Mapping[Any, Any] = MappingProxyType(
        {}
    )  # on the class, since unpicklers make it without __init__

    def __setstate__(self, state: Any) -> None:
        if type(state) is not dict:
            raise Damaged("its pickle has a Namespace without fields")
        self.values = dict(state)


def default_dict(*factory: Any) -> dict[Any, Any]:
    """Stands for collections.defaultdict, which is read as a dict."""
    return {}


def no_bytes() -> bytearray:
    """Stands for bytes(), the way in which protocol 2 writes none of them."""
    return bytearray()


def path(*parts: Any) -> PurePosixPath:
    """Stands for the path classes of every system: their parts, which are never looked up."""
    if not all(isinstance(part, str) for part in parts):
        raise Damaged("its pickle has a path of something else than text")
    return PurePosixPath(*parts)


def ordered_dict(*pairs: Any) -> dict[Any, Any]:
    """Stands for collections.OrderedDict and Counter in the scan."""
    if not pairs:
        return {}
    given = list(pairs[0].items()) if isinstance(pairs[0], dict) else list(pairs[0])
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in given):
        raise Damaged("its pickle has an OrderedDict of something else than pairs")
    return filled({}, [part for pair in given for part in pair])


def encoded(text: Any = "", codec: Any = "latin1") -> bytearray:
    """Stands for _codecs.encode, the way in which protocol 2 writes bytes."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Damaged("its pickle writes bytes in another way than pickle does")
    try:
        return bytearray(text, "latin-1")  # not bytes: an array on it can then be written to without a copy
    except UnicodeEncodeError as error:
        raise Damaged("its pickle has bytes above 255") from error


FIELDS: Mapping[str, Any] = {
    "argparse.Namespace": Fields,
    "collections.defaultdict": default_dict,
    # What a default dictionary would have made; only named, never made.
    **dict.fromkeys((f"builtins.{kind}" for kind in ("list", "dict", "int", "float")), object()),
    "builtins.bytes": no_bytes,
    **{
        f"{module}.{kind}": path
        for module in ("pathlib", "pathlib._local")  # the second is Python 3.13's spelling
        for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
}


def refuse_foreign(names: Mapping[str, None], *, convert: str) -> None:
    """Stop where a pickle names what we do not admit.

    Args:
        names: Such names, in the file's order.
        convert: How to go on with an honest file; whole sentences.

    Raises:
        Refused: There are any.
    """
    acting = [name for name in names if acts(name)]
    if acting:
        raise Refused(
            f"would run code when opened in the ordinary way ({_listed(acting)}). Nothing of it was run. Do "
            "not open this file with other programs; take the weights from their authors, as safetensors."
        )
    if names:
        raise Refused(f"needs more than tensors: it holds objects of {_listed(list(names))}. {convert}")


def acts(name: str) -> bool:
    """Whether a global's name is one with which a pickle acts on the machine."""
    module, _, rest = name.partition(".")
    return module in ACTING_MODULES or (module == "builtins" and rest in ACTING_BUILTINS)


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
