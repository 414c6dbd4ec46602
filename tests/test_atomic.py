"""A file is the old one or the new one, never half of one, whatever happens while it is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from stat import S_ISDIR
from typing import IO, Any

import pytest

from ssl_bench.atomic import make_folder, write_atomically, write_json, write_text
from ssl_bench.errors import UserError

OLD, NEW = "old " * 5000, "new " * 5000


def only(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_new_file_is_written_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "grün\n")
    assert (tmp_path / "a.txt").read_bytes() == "grün\n".encode()
    write_json(tmp_path / "b.json", {"name": "grün", "none": None, "list": [1, 2.5]})
    assert json.loads((tmp_path / "b.json").read_text()) == {"name": "grün", "none": None, "list": [1, 2.5]}
    assert only(tmp_path, "a.txt", "b.json")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, OLD)
    write_text(path, "short")
    assert path.read_text() == "short"


@pytest.mark.parametrize("error", [RuntimeError("ours"), KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupted_writing_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    write_text(path, OLD)

    def half(file: IO[bytes]) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, half)
    assert path.read_text() == OLD
    assert only(tmp_path, "a.txt")


def test_a_full_disk_is_a_message_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, OLD)

    def half(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write .*a\.txt: No space left on device"):
        write_atomically(path, half)
    assert path.read_text() == OLD
    assert only(tmp_path, "a.txt")


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_text(path, OLD)
    code = (
        "import os, sys; from pathlib import Path; from ssl_bench.atomic import write_atomically\n"
        "def half(file): file.write(b'half'); file.flush(); os._exit(9)\n"
        "write_atomically(Path(sys.argv[1]), half)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert path.read_text() == OLD
    left = [other.name for other in tmp_path.iterdir() if other != path]
    assert all(name.startswith(".") and name.endswith(".tmp") for name in left), (
        "no reader takes it for a file"
    )


def test_the_content_is_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        order.append("fsync of " + ("folder" if S_ISDIR(status.st_mode) else f"{status.st_size} bytes"))
        sync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_text(tmp_path / "a.txt", "12345")
    assert order == ["fsync of 5 bytes", "rename", "fsync of folder"]


def test_a_reader_meets_the_old_or_the_new_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, OLD)
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        write_text(path, NEW if number % 2 else OLD)
    stop.set()
    reader.join()
    assert seen
    assert seen <= {OLD, NEW}


@pytest.mark.parametrize("place", ["absent/a.txt", "file/a.txt", "folder", "x" * 250])
def test_a_place_that_cannot_be_written_is_a_message(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("kept")
    with pytest.raises(UserError, match=r"cannot write .*Free space or choose another folder with --out"):
        write_text(tmp_path / place, "text")
    assert only(tmp_path, "file", "folder")
    assert (tmp_path / "folder" / "inside").read_text() == "kept"


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, {1, 2}])
def test_what_json_cannot_say_is_refused_and_the_old_file_stays(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, value)
    assert json.loads(path.read_text()) == {"old": True}
    assert only(tmp_path, "a.json")


def test_written_files_have_the_permissions_of_any_other(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "text")
    (tmp_path / "plain.txt").write_text("text")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_a_folder_is_made_with_its_parents_and_may_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert make_folder(folder) == folder
    assert make_folder(folder).is_dir()


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/no-such-folder/here")):
        with pytest.raises(UserError, match=r"cannot create the folder .* Choose another with --out"):
            make_folder(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may write everywhere")
def test_a_folder_without_leave_to_write_is_a_message(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="is not writable"):
            make_folder(tmp_path)
        with pytest.raises(UserError, match="cannot write"):
            write_text(tmp_path / "a.txt", "text")
    finally:
        tmp_path.chmod(0o700)
