"""Names and fingerprints of the sets that a suite learns from and judges on, each taken once; nothing imports torch.

Fingerprints are of manifests that are kept beside the data, so that files are looked at but not hashed again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_bench.data.photos import open_photos
from ssl_bench.data.voc import find_devkits
from ssl_bench.errors import UserError
from ssl_bench.probe_schemas import ProbeProtocol
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.recipe_schemas import PretrainRecipe
from ssl_bench.stages.datasets import MINIVOC, fingerprint_of, minivoc, pretraining_data
from ssl_bench.stages.judging_data import judged_set

Print = tuple[str, str]  # name and fingerprint, as records have them


class DataPrints:
    """What was found so far."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Print] = {}

    def pretraining(self, recipe: PretrainRecipe, root: Path | None) -> Print:
        """What a recipe learns from at a place."""

        def find() -> Print:
            found = pretraining_data(recipe, root)
            return found.name, found.fingerprint

        return self._once(("pretraining", recipe.images, root), find)

    def judged(self, protocol: Protocol | ProbeProtocol, root: Path | None) -> Print:
        """What a protocol is run on at a place."""

        def find() -> Print:
            found = judged_set(protocol, root)
            return found.name, found.fingerprint

        return self._once(("judged", *protocol.splits, root), find)

    def photos(self, root: Path | None, split: str) -> Print:
        """Photos, or those of one split of MiniVOC."""

        def find() -> Print:
            if root is None:
                return f"{MINIVOC} {split}", fingerprint_of(minivoc())
            found = open_photos(root)
            return found.name, found.fingerprint()

        return self._once(("photos", root, split), find)

    def shapes(self, root: Path) -> str:
        """The fingerprint of the one VOC at a place.

        Raises:
            UserError: There are several, or none.
        """

        def find() -> Print:
            found = find_devkits(root)
            if len(found) != 1:
                raise UserError(f"--shapes {root}: name one VOC; there are {', '.join(sorted(found))}")
            devkit = next(iter(found.values()))
            return devkit.name, fingerprint_of(devkit)

        return self._once(("shapes", root), find)[1]

    def _once(self, key: tuple[Any, ...], find: Callable[[], Print]) -> Print:
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]
