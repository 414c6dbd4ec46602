"""The real annotation archives, read once for all tests of this folder."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ssl_bench.data.voc import VocDevkit
from ssl_bench.data.voc_xml import VocAnnotation, read_annotation


@dataclass(frozen=True)
class RealYear:
    """One year: its lists in a folder of their own, and all its annotations, read from the archive."""

    devkit: VocDevkit
    annotations: dict[str, VocAnnotation]


@pytest.fixture(scope="session")
def real_years(shared_file: Callable[[str], Path]) -> Iterator[dict[str, RealYear]]:
    # 27,000 small files take a minute to write and remove on a busy disk, so only the lists are unpacked.
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for year in ("VOC2007", "VOC2012"):
            with tarfile.open(shared_file(f"{year.lower()}-annotations.tar.xz")) as archive:
                found[year] = _annotations(archive, Path(folder))
        devkits = Path(folder) / "VOCdevkit"
        yield {year: RealYear(VocDevkit(devkits / year), items) for year, items in found.items()}


def _annotations(archive: tarfile.TarFile, folder: Path) -> dict[str, VocAnnotation]:
    annotations = {}
    for member in archive:
        path = Path(member.name)
        if path.suffix != ".xml":
            archive.extract(member, folder, filter="data")
            continue
        stream = archive.extractfile(member)
        assert stream is not None
        annotations[path.stem] = read_annotation(stream.read(), image_id=path.stem, where=member.name)
    return annotations
