"""What a run was made with: versions, device, and the state of the code. No paths, no host names."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ssl_bench import __version__

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "numpy",
    "pillow",
    "scikit-learn",
    "scikit-image",
    "pycocotools",
)


def package_versions() -> dict[str, str]:
    """List the versions of the packages that a number depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_state() -> dict[str, Any] | None:
    """Say at which commit the code stands and whether tracked files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", "ssl_bench", "pretrain", "transfer"
        )
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def code_version() -> str:
    """Name the code: version, commit, and whether it was changed since."""
    state = git_state()
    if state is None:
        return __version__
    return f"{__version__}+{state['commit'][:12]}" + (".dirty" if state["dirty"] else "")


def environment(device: str) -> dict[str, Any]:
    """Describe what computes: code, Python, packages, device, cores."""
    return {
        "ssl_bench": code_version(),
        "git": git_state(),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": package_versions(),
        "device": device,
        "cores": os.cpu_count(),
    }


def peak_memory_mb() -> float:
    """Report this process's peak resident set so far, in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def give_back_freed_memory() -> None:
    """Ask glibc to return freed memory to the system; elsewhere do nothing.

    Maps of images of many sizes come and go between predictions that are kept, and freed blocks that no later one
    fits pile up: 1 GiB after 400 images of which 7 MiB are kept.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
