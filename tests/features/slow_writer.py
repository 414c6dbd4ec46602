"""A process that extracts slowly, for tests that kill it or run two of it: ROOT, images, seconds an image."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from ssl_bench.features import one_pass
from tests.features.tiny import drawn_images, extracted


def main() -> None:
    root, count, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    one_pass.FLUSH_EVERY_S = 0.0
    images = drawn_images(count)
    print("started", flush=True)

    def read(place: int) -> Path | bytes:
        time.sleep(pause)
        return images.read(place)

    found = extracted(root, dataclasses.replace(images, read=read), threads=2)
    print(" ".join("reused" if tap.reused else "extracted" for tap in found.taps.values()), flush=True)


if __name__ == "__main__":
    main()
