"""Archives from elsewhere: what is in them comes out, and nothing else happens."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.errors import UserError
from ssl_bench.records import RESULT_FILE, load_record
from ssl_bench.stages.archives import Limits, is_archive
from ssl_bench.stages.importing import import_records
from tests.stages.made_runs import made, write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with one run."""
    write_run(tmp_path / "there", made("one"), resampled=np.arange(5.0))
    return tmp_path / "there"


def tar_of(runs: Path, path: Path, *more: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        archive.add(runs, "runs")
        for info, content in more:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zip_of(runs: Path, path: Path, *more: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(runs.rglob("*")):
            archive.write(file, f"runs/{file.relative_to(runs)}")
        for name, content in more:
            archive.writestr(name, content)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar", "x.zip", "X.TGZ"])
def test_runs_come_out_of_every_kind_of_archive(runs: Path, tmp_path: Path, name: str) -> None:
    path = (zip_of if name.endswith("zip") else tar_of)(runs, tmp_path / name)
    assert is_archive(path)
    report = import_records([path], tmp_path / "here")
    assert report.taken == ["one  mAP 12.35 % on MiniVOC"]
    assert load_record(tmp_path / "here" / "one" / RESULT_FILE) == made("one")
    assert (tmp_path / "here" / "one" / "resamples.npz").exists()


def test_records_that_lie_flat_in_an_archive_come_too(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "flat.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(runs / "one" / RESULT_FILE, "sent/one.json")
        archive.write(runs / "one" / "resamples.npz", "sent/one.resamples.npz")
    import_records([path], tmp_path / "here")
    assert {file.name for file in (tmp_path / "here" / "one").iterdir()} == {RESULT_FILE, "resamples.npz"}


@pytest.mark.parametrize("name", ["../../escaped.json", "/tmp/escaped.json", "a/../../b.json", "C:\\x.json"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_member_that_would_leave_the_folder_refuses_the_archive(
    runs: Path, tmp_path: Path, name: str, kind: str
) -> None:
    path = (
        tar_of(runs, tmp_path / "x.tar", (member(name), b"{}"))
        if kind == "tar"
        else zip_of(runs, tmp_path / "x.zip", (name, b"{}"))
    )
    with pytest.raises(UserError, match="would leave the folder"):
        import_records([path], tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []
    assert not (tmp_path.parent / "escaped.json").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_left_out_and_named(runs: Path, tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    bad = member("runs/two", kind, str(secret))
    through = member("runs/two/result.json")
    path = tar_of(runs, tmp_path / "x.tar.gz", (bad, b""), (through, b"{}"))
    report = import_records([path], tmp_path / "here")
    assert [line.split()[0] for line in report.taken] == ["one"]
    assert report.remarks == ["x.tar.gz: runs/two: a link or a device, left out"]
    assert len(report.refused) == 1, "what lies below the link is a file of its own, and no record"
    assert list(secret.iterdir()) == []


def test_a_link_in_a_zip_is_left_out_and_named(runs: Path, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("runs/one/metrics.jsonl")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zip_of(runs, tmp_path / "x.zip", (info, b"/etc/passwd"))
    report = import_records([path], tmp_path / "here")
    assert report.remarks == ["x.zip: runs/one/metrics.jsonl: a link or a device, left out"]
    assert not (tmp_path / "here" / "one" / "metrics.jsonl").exists()


@pytest.mark.parametrize("limits", [Limits(text=1000), Limits(archive=1500), Limits(arrays=10)])
@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_what_is_larger_than_any_run_is_refused(
    runs: Path, tmp_path: Path, limits: Limits, name: str
) -> None:
    (runs / "one" / "metrics.jsonl").write_bytes(b" " * 100_000)  # a few bytes in the archive
    path = (zip_of if name.endswith("zip") else tar_of)(runs, tmp_path / name)
    with pytest.raises(UserError, match="too large to be a file of a run"):
        import_records([path], tmp_path / "here", limits=limits)
    assert list((tmp_path / "here").iterdir()) == []


def test_more_members_than_any_folder_of_runs_has_are_refused(runs: Path, tmp_path: Path) -> None:
    path = tar_of(runs, tmp_path / "x.tar")
    with pytest.raises(UserError, match="more than 3 members"):
        import_records([path], tmp_path / "here", limits=Limits(members=3))


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar"])
def test_what_is_no_archive_or_half_of_one_is_said(runs: Path, tmp_path: Path, name: str) -> None:
    path = (zip_of if name.endswith("zip") else tar_of)(runs, tmp_path / name)
    whole = path.read_bytes()
    for content in (b"not an archive at all", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as an archive"):
            import_records([path], tmp_path / "here")


def test_files_that_are_no_part_of_a_run_stay_in_the_archive(runs: Path, tmp_path: Path) -> None:
    (runs / "one" / "encoder.safetensors").write_bytes(b"x" * 5000)
    path = tar_of(runs, tmp_path / "x.tar")
    import_records([path], tmp_path / "here", limits=Limits(text=4000))
    assert not (tmp_path / "here" / "one" / "encoder.safetensors").exists()
