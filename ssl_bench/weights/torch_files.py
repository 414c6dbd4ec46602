"""Files of torch.save: zip archives (since torch 1.6) and the pickles in a row of before.

Each is scanned first (`torch_names`), so that what torch is then asked to read names no foreign class and
declares nothing that is not in the file. torch reads with weights_only=True; zips as memory maps.
"""

from __future__ import annotations

import mmap
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ssl_bench.weights.numpy_pickles import ARRAYS, ArrayStandIn, DtypeStandIn
from ssl_bench.weights.pickle_names import FIELDS, Fields, refuse_foreign
from ssl_bench.weights.pickle_scan import PickleScan
from ssl_bench.weights.refusals import Damaged, Refused
from ssl_bench.weights.torch_names import UNWANTED, Declarations

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
CONVERT = (
    "Convert it where you trust it: in the environment that wrote it, "
    "torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW), or write that as safetensors."
)
# What torch is allowed beyond its own list: our stand-ins under the names that the pickle uses.
_STAND_INS: list[Any] = [
    *((stand_in, name) for name, stand_in in {**ARRAYS, **FIELDS}.items()),
    *((kind, f"{kind.__module__}.{kind.__qualname__}") for kind in (ArrayStandIn, DtypeStandIn, Fields)),
]


def read_torch_zip(path: Path) -> Any:
    """Read a zip of torch.save; its tensors are memory maps.

    Raises:
        Damaged: Truncated.
        Refused: No checkpoint, TorchScript, compressed, too much declared, or more than tensors in it.
    """
    n_bytes = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            records = _records(archive)
            root = _root(records)
            pickled = archive.read(f"{root}/data.pkl")
    except (zipfile.BadZipFile, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise Damaged(f"a zip archive that does not open ({error})") from error

    def room(key: str) -> int:
        record = records.get(f"{root}/data/{key}")
        return record.file_size if record else -1

    _scan(pickled, 0, Declarations(room, n_bytes))
    return _loaded(path, memory_map=True)


def _records(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    records = {record.filename: record for record in archive.infolist()}
    names = [PurePosixPath(name).name for name in records]
    if "constants.pkl" in names and any("/code/" in f"/{name}" for name in records):
        raise Refused(
            "is a TorchScript archive, a program with its weights. Where you trust it: "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)."
        )
    if "data.pkl" not in names:
        raise Refused(_no_checkpoint(names))
    if len(records) != len(archive.infolist()):
        raise Refused("is a zip with several entries of one name. torch writes each once: fetch it again.")
    for record in records.values():
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise Refused(
                f"is a compressed zip ({record.filename}), which torch does not write. Unpack it and pack it "
                "again without compression (zip -0), or take the original file."
            )
    return records


def _root(records: Mapping[str, zipfile.ZipInfo]) -> str:
    roots = {name.split("/")[0] for name in records}
    if len(roots) != 1 or f"{next(iter(roots))}/data.pkl" not in records:
        raise Refused(
            "is a zip that holds more than one checkpoint would. If it is a package of files, unpack it and name "
            "the checkpoint inside."
        )
    return roots.pop()


def _no_checkpoint(names: list[str]) -> str:
    if any(name.endswith(".npy") for name in names):
        return (
            "is a numpy archive (.npz), whose arrays follow no layout that we know (JAX stores kernels as HWIO). "
            "Convert it to torch with its authors' script."
        )
    inside = ", ".join(sorted(names)[:4])
    return f"is a zip and no checkpoint ({inside or 'empty'}). If the checkpoint is inside, unpack it and name it."


def read_torch_legacy(path: Path, data: mmap.mmap) -> Any:
    """Read a file of torch.save before 1.6, or with _use_new_zipfile_serialization=False; it costs its size in memory.

    Raises:
        Damaged: Truncated, or its storages are not as declared.
        Refused: As `read_torch_zip`.
    """
    at = _legacy_start(data)
    declared = Declarations(lambda _: len(data), len(data))
    _, at = _scan(data, at, declared)
    keys, at = _scan(data, at, declared)
    if not isinstance(keys, list) or set(map(str, keys)) != set(declared.storages):
        raise Damaged("its list of storages is not the one its tensors use")
    for key in keys:
        storage = declared.storages[str(key)]
        if at + 8 > len(data):
            raise Damaged("it ends before its last tensor")
        (count,) = struct.unpack_from("<q", data, at)
        if count * max(storage.width, 1) != storage.n_bytes:
            raise Damaged(f"storage {key} is not of the size that its tensors need")
        at += 8 + storage.n_bytes
        if at > len(data):
            raise Damaged(f"it ends {at - len(data):,} bytes before the end of its tensors")
    return _loaded(path, memory_map=False)


def _legacy_start(data: mmap.mmap) -> int:
    """Check the three small pickles in front, and return where the fourth begins."""
    at, seen = 0, []
    for _ in range(3):
        scan = PickleScan(data, at, admitted={})
        refuse_foreign(scan.foreign, convert=CONVERT)
        at = scan.end
        seen.append(scan.value)
    magic, protocol, system = seen
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise Damaged("it begins like a torch file and goes on otherwise")
    if system.get("little_endian") is not True:
        raise Refused(
            "was written on a big-endian machine. Save it again with a torch of today, there or here."
        )
    return at


def _scan(data: bytes | mmap.mmap, start: int, declared: Declarations) -> tuple[Any, int]:
    scan = PickleScan(data, start, admitted=declared.admitted, persistent=declared.storage, unwanted=UNWANTED)
    refuse_foreign(scan.foreign, convert=CONVERT)
    return scan.value, scan.end


def _loaded(path: Path, *, memory_map: bool) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_STAND_INS):
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # refused below, if it matters
            if path.suffix == ".safetensors":  # torch goes by that suffix, not by what is in the file
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=memory_map)
    except (Damaged, Refused, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise Refused(
            f"is pickled in a way that torch's safe reader does not take ({_first_line(error)}). {CONVERT}"
        ) from error
    except Exception as error:  # torch has no class of its own for this: a damaged file can fail in any way
        raise Damaged(f"torch cannot read it ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line), type(error).__name__)
