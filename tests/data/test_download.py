"""Getting a drawn VOC2007 from a local mirror or from archives placed by hand, and unpacking it safely."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_bench.data import download, voc_official
from ssl_bench.data.download import DOWNLOADS, MIRRORS, Downloadable, get
from ssl_bench.data.fetch import RemoteFile
from ssl_bench.data.voc import find_devkits
from ssl_bench.data.voc_official import OfficialList, ids_digest
from ssl_bench.errors import UserError
from tests.data.drawn_voc import draw_voc
from tests.data.local_mirror import Mirror, serve

__all__ = ["serve"]  # a fixture: used by its name


def tar_of(folder: Path, names: list[str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            archive.add(folder / name, name)
    return stream.getvalue()


def remote(name: str, body: bytes) -> RemoteFile:
    return RemoteFile(name, len(body), hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest())


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Two archives that make a drawn VOC2007, whose lists count as the official ones in this test."""
    source = tmp_path / "source"
    devkit = draw_voc(source)
    year = devkit.root.relative_to(source)
    test_ids = set(devkit.image_ids("test"))
    names = sorted(p.relative_to(source).as_posix() for p in devkit.root.rglob("*") if p.is_file())
    is_test = [Path(n).stem in test_ids or n.endswith("test.txt") for n in names]
    bodies = {
        "trainval.tar": tar_of(source, [n for n, t in zip(names, is_test, strict=True) if not t]),
        "test.tar": tar_of(source, [n for n, t in zip(names, is_test, strict=True) if t]),
    }
    official = {}
    for split in ("trainval", "test"):
        ids = devkit.image_ids(split)
        official["Main", split] = OfficialList(len(ids), ids_digest(ids))
    monkeypatch.setitem(voc_official.OFFICIAL_LISTS, "VOC2007", official)
    wanted = Downloadable(year.name, tuple(remote(name, body) for name, body in bodies.items()))
    monkeypatch.setitem(download.DOWNLOADS, "voc2007", wanted)
    return bodies


def at(folder: str, archives: dict[str, bytes]) -> dict[str, bytes]:
    return {f"/{folder}{name}": body for name, body in archives.items()}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_get_unpacks_both_archives_in_one(
    serve: Callable[..., Mirror], tmp_path: Path, archives: dict[str, bytes]
) -> None:
    mirror = serve(at("pascal/voc2007/", archives))
    calls: list[tuple[int, int]] = []
    root = tmp_path / "new" / "data"
    found = get(
        "voc2007", root, mirrors=[f"{mirror.base}/pascal/{{name}}/"], progress=lambda *c: calls.append(c)
    )
    assert found == root / "VOCdevkit" / "VOC2007"
    devkit = find_devkits(root)["VOC2007"]
    assert (len(devkit.image_ids("trainval")), len(devkit.image_ids("test"))) == (8, 4)
    devkit.check_images_present(devkit.image_ids("trainval") + devkit.image_ids("test"))
    assert names_in(root) == ["VOCdevkit"]  # neither archives nor scratch folders stay
    total = sum(map(len, archives.values()))
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)
    # A second call finds it and asks nobody.
    asked = len(mirror.requests)
    assert get("voc2007", root, mirrors=[mirror.base]) == found
    assert len(mirror.requests) == asked


def test_get_uses_what_was_placed_by_hand(
    serve: Callable[..., Mirror], tmp_path: Path, archives: dict[str, bytes]
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "trainval.tar").write_bytes(archives["trainval.tar"])
    mirror = serve(at("", archives))
    get("voc2007", root, mirrors=[mirror.base])
    assert [path for path, _ in mirror.requests] == ["/test.tar"]
    assert names_in(root) == ["VOCdevkit", "trainval.tar"]  # the user's own file stays


def test_get_refuses_a_wrong_file_placed_by_hand(tmp_path: Path, archives: dict[str, bytes]) -> None:
    (tmp_path / "test.tar").write_bytes(archives["test.tar"][:-10])
    with pytest.raises(
        UserError, match=r"test\.tar: not the official file \(\d+ bytes instead of \d+\)\. Remove it"
    ):
        get("voc2007", tmp_path, mirrors=[])


def test_get_says_which_files_to_place_where(
    serve: Callable[..., Mirror], tmp_path: Path, archives: dict[str, bytes]
) -> None:
    half = serve({"/trainval.tar": archives["trainval.tar"]})
    root = tmp_path / "data"
    with pytest.raises(UserError) as caught:
        get("voc2007", root, mirrors=[half.base, "http://127.0.0.1:1/x"])
    message = str(caught.value)
    test = download.DOWNLOADS["voc2007"].archives[1]
    assert f"{half.base}/test.tar: HTTP 404" in message
    assert "http://127.0.0.1:1/x/test.tar: cannot be reached" in message
    assert f"{root / 'test.tar'} ({test.size} bytes, md5 {test.md5})" in message
    assert str(root / "trainval.tar") not in message  # that one is there by now
    # As told: place it, run again, without any mirror.
    (root / "test.tar").write_bytes(archives["test.tar"])
    assert get("voc2007", root, mirrors=[]).is_dir()


def test_get_refuses_a_subset_in_the_place(tmp_path: Path, archives: dict[str, bytes]) -> None:
    devkit = draw_voc(tmp_path / "data", images_per_split=2)
    with pytest.raises(
        UserError, match=r"VOC2007 is already there, but is not the complete official set: .*lists"
    ):
        get("voc2007", tmp_path / "data", mirrors=[])
    shutil.rmtree(devkit.root.parent)
    devkit = draw_voc(tmp_path / "data")
    devkit.image_path("000009").unlink()
    with pytest.raises(UserError, match=r"1 of 4 images are missing: 000009"):
        get("voc2007", tmp_path / "data", mirrors=[])


def test_get_cleans_up_after_a_kill_while_unpacking(
    serve: Callable[..., Mirror], tmp_path: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = serve(at("", archives))
    root = tmp_path / "data"
    (root / ".unpacking-VOC2007/VOCdevkit/VOC2007/JPEGImages").mkdir(parents=True)  # of a power failure
    (root / ".unpacking-VOC2007/VOCdevkit/VOC2007/JPEGImages/999999.jpg").touch()
    real = tarfile.TarFile.extractall

    def killed(self: tarfile.TarFile, *args: object, **options: object) -> None:
        real(self, *args, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "extractall", killed)
    with pytest.raises(KeyboardInterrupt):
        get("voc2007", root, mirrors=[mirror.base])
    assert names_in(root) == ["test.tar", "trainval.tar"]
    monkeypatch.setattr(tarfile.TarFile, "extractall", real)
    found = get("voc2007", root, mirrors=[])
    assert not (found / "JPEGImages/999999.jpg").exists()


def evil_tar(kind: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("../../escaped.txt" if kind == "path" else "VOCdevkit/link")
        if kind == "path":
            member.size = 4
        else:
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(member, io.BytesIO(b"evil"))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["path", "link"])
def test_archive_that_leaves_its_folder_is_refused(
    serve: Callable[..., Mirror], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    body = evil_tar(kind)
    monkeypatch.setitem(download.DOWNLOADS, "voc2007", Downloadable("VOC2007", (remote("evil.tar", body),)))
    root = tmp_path / "a" / "b"
    with pytest.raises(UserError, match=r"evil\.tar: refused, because a member would leave the folder"):
        get("voc2007", root, mirrors=[serve({"/evil.tar": body}).base])
    assert not list(tmp_path.rglob("escaped.txt"))
    assert names_in(root) == ["evil.tar"]


def test_too_little_room_is_said_first(
    tmp_path: Path, archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"GB are needed to download and unpack, 0\.0 GB are free"):
        get("voc2007", tmp_path, mirrors=["http://127.0.0.1:1"])


def test_names_and_mirrors_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown data set 'voc2017', did you mean 'voc20"):
        get("voc2017", tmp_path)
    for mirror in ("file:///etc", "ftp://x", "x"):
        with pytest.raises(UserError, match=r"give the http\(s\) address"):
            get("voc2007", tmp_path, mirrors=[mirror])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write here"):
        get("voc2007", tmp_path / "file", mirrors=[])


def test_archives_are_those_of_torchvision() -> None:
    voc = pytest.importorskip("torchvision.datasets.voc")
    for name, wanted in DOWNLOADS.items():
        for archive in wanted.archives:
            theirs = next(e for e in voc.DATASET_YEAR_DICT.values() if e["md5"] == archive.md5)
            assert theirs["filename"] == archive.name
            assert f"{MIRRORS[0].replace('{name}', name)}/{archive.name}" == theirs["url"]
