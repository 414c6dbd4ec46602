"""What is refused in tar shards before anything is computed, and what is left out with a word."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest

from ssl_bench.data import shard_scan
from ssl_bench.data.photos import open_photos
from ssl_bench.data.shards import find_shards_alone
from ssl_bench.errors import UserError
from tests.data.drawn_shards import all_of, draw_shards, opened, picture, write_tar
from tests.data.drawn_voc import draw_voc


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))


def cut(path: Path, length: int) -> Path:
    path.write_bytes(path.read_bytes()[:length])
    return path


def test_a_shard_cut_at_any_byte_before_its_end_mark_is_refused_and_named(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "set/x.tar", [("a.png", b"1" * 700), ("b.png", b"2" * 512), ("b.cls", b"3")])
    data = whole.read_bytes()
    ends = 512 * (1 + 2 + 1 + 1 + 1 + 1)  # headers and padded data; zeros from here on
    assert data[ends:].count(0) == len(data) - ends
    for length in [
        1,
        300,
        512,
        600,
        1211,
        1212,
        1536,
        1537,
        2048,
        2560,
        2561,
        3072,
        3073,
        ends - 1,
        ends,
        ends + 511,
    ]:
        whole.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"x\.tar: .*byte.*ssl-bench data shards FOLDER") as refusal:
            opened(whole)
        if 512 < length < 512 + 700:
            assert f"ends at byte {length}, in the middle of a.png, which goes on to byte 1212" in str(
                refusal.value
            )
        if length == 1536:
            assert "ends at byte 1536, after a.png, without the mark" in str(refusal.value)
    whole.write_bytes(data[: ends + 512])
    assert len(opened(whole)) == 2


def test_every_cut_shard_is_named_and_mending_them_is_enough(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    pictures = draw_shards(folder, (3, 2, 4))
    whole = {path: path.read_bytes() for path in folder.glob("*.tar")}
    for number in (0, 2):
        cut(folder / f"t-{number:03d}.tar", 1400)
    with pytest.raises(UserError) as refusal:
        opened(folder)
    assert re.findall(r"t-\d+\.tar: ends at byte 1400", str(refusal.value)) == [
        "t-000.tar: ends at byte 1400",
        "t-002.tar: ends at byte 1400",
    ]
    for path, data in whole.items():
        path.write_bytes(data)
    assert all_of(opened(folder)) == pictures


def test_damage_between_members_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.png", picture(0)), ("b.png", picture(1))])
    data = bytearray(path.read_bytes())
    second = data.index(b"b.png")
    data[second : second + 3] = b"???"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"x\.tar: damaged at byte {second}, after a\.png"):
        opened(path)


def member(name: str, kind: bytes, **fields: str | int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (member("b.png", tarfile.SYMTYPE, linkname="/etc/passwd"), r"b\.png is a link, a device"),
        (member("b.png", tarfile.LNKTYPE, linkname="a.png"), r"b\.png is a link, a device"),
        (member("b.png", tarfile.CHRTYPE), r"b\.png is a link, a device"),
        (member("b.png", tarfile.FIFOTYPE), r"b\.png is a link, a device"),
        (member("../b.png", tarfile.REGTYPE), r"\.\./b\.png leads out of the shard"),
        (member("x/../../b.cls", tarfile.REGTYPE), "leads out of the shard"),
        (member("/b.png", tarfile.REGTYPE), r"/b\.png leads out of the shard"),
        (member("a.jpg", tarfile.REGTYPE), r"a\.png and a\.jpg are two pictures of one sample"),
        (member("V/SegmentationClass/b.png", tarfile.REGTYPE), "a packed VOC devkit"),
    ],
)
def test_members_that_are_no_plain_pictures_are_refused(
    info: tarfile.TarInfo, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        first = tarfile.TarInfo("a.png")
        first.size = 5
        tar.addfile(first, io.BytesIO(b"hello"))
        tar.addfile(info)
    with pytest.raises(UserError, match=words):
        opened(path)


def test_links_that_are_no_samples_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(member("folder", tarfile.DIRTYPE))
        tar.addfile(member("latest", tarfile.SYMTYPE, linkname="/etc/passwd"))
        first = tarfile.TarInfo("folder/a.png")
        first.size = 5
        tar.addfile(first, io.BytesIO(b"hello"))
    assert all_of(opened(path)) == {"x.tar/folder/a.png": b"hello"}


def test_two_samples_of_one_key_and_huge_members_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [("a.png", picture(0)), ("b.png", picture(1)), ("a.cls", b"1")]
    with pytest.raises(UserError, match=r"x\.tar: two samples have the key a\."):
        opened(write_tar(tmp_path / "x.tar", members))
    monkeypatch.setattr(shard_scan, "MAX_PICTURE_BYTES", 1000)
    with pytest.raises(UserError, match=r"y\.tar: big\.png has 1001 bytes, more than the 1000 allowed"):
        opened(write_tar(tmp_path / "y.tar", [("big.txt", b"1" * 5000), ("big.png", b"1" * 1001)]))


def test_compressed_shards_are_refused_by_name_and_by_content(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    draw_shards(folder)
    packed = gzip.compress((folder / "t-000.tar").read_bytes())
    (folder / "t-003.tar.gz").write_bytes(packed)
    for place in (folder, folder / "t-003.tar.gz", f"{folder}/t-{{003..004}}.tar.gz", "memory://no/t.tgz"):
        with pytest.raises(UserError, match=r"is compressed.*Unpack it to a plain \.tar"):
            opened(place)
    (folder / "t-003.tar.gz").rename(folder / "t-003.tar")
    with pytest.raises(UserError, match=r"t-003\.tar: is compressed"):
        opened(folder)


def test_empty_shards_are_said_once_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    pictures = draw_shards(folder)
    write_tar(folder / "t-000a.tar", [])
    write_tar(folder / "t-001a.tar", [("readme.txt", b"none here")])
    (folder / "t-004.tar").write_bytes(b"")
    for _ in range(2):
        assert all_of(opened(folder)) == pictures
    said = capsys.readouterr().err
    for name in ("t-000a.tar", "t-001a.tar", "t-004.tar"):
        assert said.count(f"{folder}/{name}: holds no picture, and is left out") == 1


def test_what_is_no_set_of_shards(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    write_tar(tmp_path / "void/a.tar", [])
    draw_shards(tmp_path / "mixed")
    (tmp_path / "mixed/preview.png").write_bytes(picture(0))
    (tmp_path / "text.tar").write_text("hello")
    draw_shards(tmp_path / "gap")
    (tmp_path / "gap/t-001.tar").unlink()
    for place, words in [
        (tmp_path / "void", r"no pictures in its shards \(1 of them\)"),
        (
            tmp_path / "mixed",
            r"holds both tar shards \(t-000\.tar, .*\) and pictures\. Name the shards as a range",
        ),
        (tmp_path / "text.tar", r"text\.tar: not a whole tar"),
        (tmp_path / "gone.tar", "no such folder or zip"),
        (f"{tmp_path}/gap/t-{{000..002}}.tar", r"1 of 3 shards are not there \(t-001\.tar\)"),
        (f"{tmp_path}/gap/t-{{000..002}}.zip", r"a range names tar shards"),
        (f"{tmp_path}/gap/t-{{000,000}}.tar", r"names t-000\.tar twice"),
        ("memory://nowhere/at/all", "there is nothing at this URL"),
        ("nosuch://bucket/x.tar", "nosuch://bucket/x.tar: .*[Pp]rotocol"),
        ("https://host/x.tar?key=secret", r"https://host/x\.tar: a URL with a query"),
    ]:
        with pytest.raises(UserError, match=words) as refusal:
            opened(place)
        assert "secret" not in str(refusal.value)


def test_folders_of_photos_and_a_devkit_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "pool/sub").mkdir(parents=True)
    (tmp_path / "pool/sub/a.png").write_bytes(picture(0))
    write_tar(tmp_path / "pool/backup.tar", [("b.png", picture(1))])
    assert list(open_photos(tmp_path / "pool").names) == ["sub/a.png"]
    draw_voc(tmp_path / "voc")
    write_tar(tmp_path / "voc/VOCtrainval.tar", [("b.png", picture(1))])
    assert find_shards_alone(tmp_path / "voc") is None
