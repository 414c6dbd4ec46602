"""One file from mirrors on this machine: whole, cut, corrupted, resumed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssl_bench.data.fetch import RemoteFile, difference, fetch
from tests.data.local_mirror import Mirror, serve

__all__ = ["serve"]  # a fixture: used by its name

BODY = bytes(range(256)) * 40
FILE = RemoteFile("a.tar", len(BODY), hashlib.md5(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest())


def fetched(tmp_path: Path, *mirrors: Mirror) -> list[str]:
    failures = fetch(FILE, [f"{mirror.base}/a.tar" for mirror in mirrors], tmp_path)
    assert (tmp_path / "a.tar").exists() == (not failures)
    if not failures:
        assert (tmp_path / "a.tar").read_bytes() == BODY
        assert not (tmp_path / "a.tar.part").exists()
    return failures


@pytest.mark.parametrize("lengths", [True, False])
def test_whole(serve: Callable[..., Mirror], tmp_path: Path, lengths: bool) -> None:
    mirror = serve({"/a.tar": BODY}, lengths=lengths)
    assert fetched(tmp_path, mirror) == []
    assert mirror.requests == [("/a.tar", None)]


def test_goes_on_from_the_part(serve: Callable[..., Mirror], tmp_path: Path) -> None:
    (tmp_path / "a.tar.part").write_bytes(BODY[:4000])
    mirror = serve({"/a.tar": BODY})
    assert fetched(tmp_path, mirror) == []
    assert mirror.requests == [("/a.tar", "bytes=4000-")]


def test_begins_anew_where_the_server_cannot_go_on(serve: Callable[..., Mirror], tmp_path: Path) -> None:
    (tmp_path / "a.tar.part").write_bytes(b"x" * 4000)
    mirror = serve({"/a.tar": BODY}, ranges=False)
    assert fetched(tmp_path, mirror) == []
    assert mirror.requests == [("/a.tar", "bytes=4000-")]


def test_broken_connections_go_on_then_the_next_mirror_does(
    serve: Callable[..., Mirror], tmp_path: Path
) -> None:
    weak, strong = serve({"/a.tar": BODY}, cut_after=1000), serve({"/a.tar": BODY})
    assert fetched(tmp_path, weak, strong) == []
    assert [asked for _, asked in weak.requests] == [None, "bytes=1000-", "bytes=2000-"]
    assert [asked for _, asked in strong.requests] == ["bytes=3000-"]


def test_the_part_survives_when_all_mirrors_break(serve: Callable[..., Mirror], tmp_path: Path) -> None:
    weak = serve({"/a.tar": BODY}, cut_after=1000)
    (failure,) = fetched(tmp_path, weak)
    assert failure.startswith(f"{weak.base}/a.tar: ended after 3000 of {len(BODY)} bytes")
    assert (tmp_path / "a.tar.part").read_bytes() == BODY[:3000]


def test_corrupted_mirror_then_good_mirror(serve: Callable[..., Mirror], tmp_path: Path) -> None:
    corrupted, good = serve({"/a.tar": BODY[:-1] + b"?"}), serve({"/a.tar": BODY})
    assert fetched(tmp_path, corrupted, good) == []
    assert [asked for _, asked in good.requests] == [None]  # nothing of the corrupted one is kept


def test_corrupted_mirror_alone(serve: Callable[..., Mirror], tmp_path: Path) -> None:
    (failure,) = fetched(tmp_path, serve({"/a.tar": BODY[:-1] + b"?"}))
    assert re.search(r"gives another file \(md5 \w{32} instead of ", failure)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [4000, len(BODY)])
def test_a_corrupted_part_does_not_spoil_a_good_mirror(
    serve: Callable[..., Mirror], tmp_path: Path, length: int
) -> None:
    (tmp_path / "a.tar.part").write_bytes(b"x" * length)
    assert fetched(tmp_path, serve({"/a.tar": BODY})) == []


def test_a_part_that_is_too_long_is_dropped(serve: Callable[..., Mirror], tmp_path: Path) -> None:
    (tmp_path / "a.tar.part").write_bytes(BODY + b"x")
    assert fetched(tmp_path, serve({"/a.tar": BODY})) == []


@pytest.mark.parametrize(
    ("content", "lengths", "message"),
    [
        (b"<html>Moved to another site</html>", True, f"offers 34 bytes instead of {len(BODY)}"),
        (BODY + b"more", True, f"offers {len(BODY) + 4} bytes"),
        (BODY + b"more", False, "sends more than the expected"),
        (None, True, "HTTP 404"),
    ],
)
def test_mirrors_with_something_else(
    serve: Callable[..., Mirror], tmp_path: Path, content: bytes | None, lengths: bool, message: str
) -> None:
    mirror = serve({} if content is None else {"/a.tar": content}, lengths=lengths)
    (failure,) = fetched(tmp_path, mirror)
    assert message in failure
    assert fetched(tmp_path, mirror, serve({"/a.tar": BODY})) == []


def test_nobody_answers(tmp_path: Path) -> None:
    (failure,) = fetch(FILE, ["http://127.0.0.1:1/a.tar"], tmp_path)
    assert "cannot be reached" in failure


def test_difference_names_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(BODY)
    assert difference(path, FILE) is None
    assert difference(path, replace(FILE, size=7)) == f"{len(BODY)} bytes instead of 7"
    assert difference(path, replace(FILE, md5="0" * 32)) == f"md5 {FILE.md5} instead of {'0' * 32}"
    assert difference(path, replace(FILE, sha256="0" * 64)) == f"sha256 {FILE.sha256} instead of {'0' * 64}"
