"""`ls features` and `features prune`: what is listed, what is removed, what is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssl_bench.errors import UserError
from ssl_bench.features.store import FeatureStore
from ssl_bench.locks import try_lock
from ssl_bench.stages.feature_listing import feature_lines, pruned, size_in_bytes
from tests.features.tiny import TAPS, drawn_images, extracted, tiny_encoder
from tests.tiny_run import call

Capture = pytest.CaptureFixture[str]
DAY_S = 86400


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Features of three taps of two encoders, those of the second last used ten days ago."""
    for seed in (0, 1):
        extracted(tmp_path / "features", drawn_images(20), encoder=tiny_encoder(seed))
    for folder in folders_of(tmp_path / "features", seed=1):
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - 10 * DAY_S,) * 2)
    return tmp_path / "features"


def folders_of(root: Path, seed: int) -> list[Path]:
    found = extracted(root, drawn_images(20), encoder=tiny_encoder(seed))
    return [FeatureStore(root).folder(tap.key) for tap in found.taps.values()]


def hash_of(root: Path, seed: int) -> str:
    return extracted(root, drawn_images(20), encoder=tiny_encoder(seed)).taps["conv1"].key.encoder


def kept(root: Path) -> int:
    return len(list(root.glob("*/card.json")))


def test_a_listing_says_what_features_are_of(root: Path) -> None:
    lines = feature_lines(root)
    assert len(lines) == 1 + 6 + 1
    assert lines[0].split() == ["encoder", "tap", "pooling", "data", "shape", "MiB", "last", "used"]
    conv1 = [line for line in lines if " conv1 " in line]
    assert len(conv1) == 2
    assert "average k5s5p0" in conv1[0]
    assert "drawn train" in conv1[0]
    assert "20 x 36" in conv1[0]  # 4 channels, 15 cells a side in windows of 5
    assert conv1[0].endswith("just now")
    assert conv1[1].endswith("10 d ago")
    assert lines[-1].startswith("6 in ")


def test_an_empty_store(tmp_path: Path) -> None:
    assert feature_lines(tmp_path / "none") == [f"no features in {tmp_path / 'none'}"]
    assert pruned(tmp_path / "none", everything=True) == [
        f"0 removed, 0.0 MiB; 0.0 MiB stay in {tmp_path / 'none'}"
    ]


def test_without_options_only_what_is_broken_or_unfinished_goes(root: Path) -> None:
    extracted(root, drawn_images(20))
    first, second = folders_of(root, seed=0)[:2]
    os.truncate(first / "features.npy", 100)
    second.rename(second.with_name(f"{second.name}.partial"))
    (root / "0123456789abcdef.77.removed").mkdir()
    listed = feature_lines(root)
    assert sum("broken: " in line for line in listed) == 3
    assert pruned(root)[-1].startswith("3 removed, ")
    assert kept(root) == 4
    assert not list(root.glob("*.*"))


def test_old_ones_and_those_of_an_encoder(root: Path) -> None:
    old, new = hash_of(root, 1), hash_of(root, 0)
    for folder in folders_of(root, seed=1):
        os.utime(folder / "card.json", (time.time() - 10 * DAY_S,) * 2)
    assert pruned(root, older_than_days=5, encoder=new[:8])[-1].startswith("0 removed")
    assert pruned(root, older_than_days=11)[-1].startswith("0 removed")
    assert pruned(root, older_than_days=5, dry_run=True)[-1].startswith("3 would be removed, ")
    assert kept(root) == 6
    lines = pruned(root, older_than_days=5)
    assert lines[-1].startswith("3 removed, ")
    assert sum(line.startswith(old[:12]) for line in lines) == 3
    assert pruned(root, encoder=new[:8])[-1].startswith("3 removed, ")
    assert kept(root) == 0


def test_until_under_a_size_those_not_used_for_longest_go_first(root: Path) -> None:
    for place, folder in enumerate(sorted(path for path in root.iterdir() if path.name != "locks")):
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - place * 3600,) * 2)
    sizes = [
        sum(path.stat().st_size for path in folder.iterdir())
        for folder in sorted(root.glob("?*"))
        if folder.name != "locks"
    ]
    pruned(root, until_under=str(sum(sizes[:2])))
    left = sorted(path.name for path in root.iterdir() if path.name != "locks")
    assert len(left) == 2
    assert feature_lines(root)[1].endswith("just now")
    assert feature_lines(root)[2].endswith("1 h ago")
    assert pruned(root, until_under="1T")[-1].startswith("0 removed")


def test_what_a_process_writes_is_left_alone(root: Path) -> None:
    folder = folders_of(root, seed=0)[0]
    code = (
        "import sys; from pathlib import Path; from ssl_bench.locks import try_lock\n"
        f"lock = try_lock(Path({str(root / 'locks' / folder.name)!r} + '.lock'))\n"
        "print('held' if lock else 'not held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    lines = pruned(root, everything=True)
    holder.communicate("")
    assert lines[-2] == "1 kept, because a process is writing them"
    assert [path.parent for path in root.glob("*/card.json")] == [folder]
    own = try_lock(root / "locks" / f"{folder.name}.lock")
    assert own is not None
    assert pruned(root, everything=True)[-1].startswith("0 removed")
    own.release()


def test_a_reader_keeps_what_it_has_opened(root: Path) -> None:
    values = extracted(root, drawn_images(20)).taps["conv3"].values
    before = values.copy()
    pruned(root, everything=True)
    assert (values == before).all()
    assert not any(tap.reused for tap in extracted(root, drawn_images(20)).taps.values())


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("1.5k", 1536), ("2 MiB", 2 << 20), ("20G", 20 << 30), ("1tb", 1 << 40)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


def test_what_cannot_be_meant_is_an_error(root: Path) -> None:
    with pytest.raises(UserError, match="--until-under much: a size such as 500M or 20G"):
        pruned(root, until_under="much")
    with pytest.raises(UserError, match="--older-than -1: a number of days from 0 on"):
        pruned(root, older_than_days=-1)
    with pytest.raises(UserError, match="--encoder ffffffff: no features of an encoder whose hash begins so"):
        pruned(root, encoder="ffffffff")
    assert kept(root) == 6


def test_the_command_line(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(root.parent))
    answer = call(capsys, "ls", "features")
    assert answer.status == 0
    assert answer.out.splitlines() == feature_lines(root)
    answer = call(capsys, "features", "prune", "--encoder", hash_of(root, 0)[:12], "--dry-run")
    assert answer.out.splitlines()[-1].startswith(f"{len(TAPS)} would be removed")
    assert call(capsys, "features", "prune", "--all").status == 0
    assert call(capsys, "ls", "features").out == f"no features in {root}\n"
    assert call(capsys, "features", "prune", "--until-under", "x").status == 2
