"""One pass over the images: threads decode and compute fixed batches, rows are written where they belong.

Batches are fixed by their place and each is computed by one thread: features do not depend on the number of threads,
nor on where an earlier process was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing

import numpy as np
import PIL
import torch

from ssl_bench.data.labelled import LabelledImages
from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.features.cards import MadeWith
from ssl_bench.features.crew import LOOK_EVERY_S, Crew
from ssl_bench.features.keys import FeatureKey
from ssl_bench.features.network import Forward, evaluating, full_products, one_thread_each
from ssl_bench.features.pictures import read_squares
from ssl_bench.features.store import FeatureStore
from ssl_bench.features.threads import in_threads
from ssl_bench.features.writing import FeatureRows, FeatureWriter, bytes_needed
from ssl_bench.progress import progress, say

# Images a batch: for CaffeNet on one core 8 and 32 take 3 and 11 % longer an image than 16.
BATCH_ON_CPU, BATCH_ON_ACCELERATOR = 16, 64
FLUSH_EVERY_S = 5.0


def _on_cpu(device: torch.device) -> bool:
    return device.type == "cpu"


class OnePass:
    """One pass over the images for several features, of which this process holds the locks.

    They may be of different taps, or of one tap pooled differently, but all see the same pixels in the same precision.
    """

    def __init__(
        self,
        encoder: Encoder,
        images: LabelledImages,
        keys: Sequence[FeatureKey],
        *,
        store: FeatureStore,
        device: torch.device,
        label: str,
        crew: Crew,
    ) -> None:
        """Take what is to be extracted; the encoder is moved to `device`."""
        assert len({key.view for key in keys}) == 1, "one pass shows one size of pictures"
        first = keys[0]
        self.fit, self.precision = first.fit, first.precision
        self.size, self.short_side = first.size, first.short_side
        self.encoder, self.images, self.store = encoder.to(device), images, store
        self.device, self.label, self.crew = device, label, crew
        self.batch = BATCH_ON_CPU if _on_cpu(device) else BATCH_ON_ACCELERATOR
        self.keys = {key.hash: key for key in keys}
        self.forward = Forward(encoder=self.encoder, keys=self.keys, device=device, precision=self.precision)
        self.writers: dict[
            str, FeatureWriter
        ] = {}  # by the key's hash; and those in which this process only helps
        self.rows: Mapping[str, FeatureRows] = self.writers

    def run(self, weights: str, threads: int) -> float:
        """Extract, write and finish; return images a second.

        Args:
            weights: `weights_hash` of the encoder, which it must still have in the end.

        Raises:
            UserError: A pooling does not fit, features that are not finite, a full disk.
            BrokenImage: An image cannot be read.
        """
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.encoder))
            stack.enter_context(one_thread_each(self.device))
            stack.enter_context(full_products(self.device, self.precision))
            self._open_writers(stack)
            started = time.monotonic()
            starts = {name: writer.done for name, writer in self.writers.items()}
            first = min(starts.values())
            if first:
                say(f"{self.label}: going on behind image {first} of {len(self.images)}")
            self.crew.order(starts)
            self._extract(starts, threads)
            elapsed = time.monotonic() - started
            if weights_hash(self.encoder) != weights:
                for writer in self.writers.values():
                    writer.discard()
                raise AssertionError("the encoder changed while its features were taken")
            for writer in self.writers.values():
                self.store.finish(writer)
        return (len(self.images) - first) / max(elapsed, 1e-9)

    def help(self, weights: str, starts: Mapping[str, int], threads: int) -> None:
        """Take this process's part of a pass that the main one runs.

        Args:
            weights: As `run`.
            starts: How many rows of each feature are there, by the key's hash.

        Raises:
            UserError, BrokenImage: As `run`.
        """
        if not self._own(starts):
            return  # nobody waits for this process: the file may be finished before it could open it
        with ExitStack() as stack:
            stack.enter_context(self.crew.failing_aloud())
            stack.enter_context(evaluating(self.encoder))
            stack.enter_context(one_thread_each(self.device))
            stack.enter_context(full_products(self.device, self.precision))
            sizes = self.forward.dimensions(self.size)
            joined: dict[str, FeatureRows] = {}
            for name, key in self.keys.items():
                rows = len(self.images)
                joined[name] = FeatureRows.join(self.store.root, key, rows=rows, values=sizes[name])
                stack.callback(joined[name].close)
            self.rows = joined
            self._extract(starts, threads)
            assert weights_hash(self.encoder) == weights, "the encoder changed while its features were taken"

    def _open_writers(self, stack: ExitStack) -> None:
        rows = len(self.images)
        sizes = self.forward.dimensions(self.size)
        self.store.check_room([(key, bytes_needed(rows, sizes[name])) for name, key in self.keys.items()])
        for name, key in self.keys.items():
            writer = self.store.writer(
                key,
                rows=rows,
                values=sizes[name],
                made_with=self._made_with(),
                data_name=self.images.set_name,
            )
            stack.callback(writer.close)
            self.writers[name] = writer

    def _made_with(self) -> MadeWith:
        return {
            "device": self.device.type,
            "batch": str(self.batch),
            "torch": torch.__version__,
            "pillow": PIL.__version__,
        }

    def _extract(self, starts: Mapping[str, int], threads: int) -> None:
        """Take this process's batches; in the main process, until those of all are on the disk."""
        first = min(starts.values())
        behind_all, numbers = self._all(starts), self._own(starts)
        complete: set[int] = set()
        behind = 0  # so many of them, from the first on, are written
        flushed = time.monotonic()
        results = self._results(numbers, starts, max(1, min(threads, len(numbers))))
        with progress(self.label, len(self.images), first=first) as advance, closing(results):
            try:
                for number, pixels in results:
                    if pixels is not None:
                        self._write(number, pixels, starts)
                    complete.add(number)
                    while behind < len(numbers) and numbers[behind] in complete:
                        behind += 1
                    together = behind_all.start + len(complete) * self.crew.count
                    advance(min(together * self.batch, len(self.images)))
                    if time.monotonic() - flushed >= FLUSH_EVERY_S:
                        self._flush(behind_all, behind)
                        flushed = time.monotonic()
            finally:
                self._flush(behind_all, behind)
            if self.writers:
                self._await_others(behind_all, behind)

    def _all(self, starts: Mapping[str, int]) -> range:
        """Number the batches that are lacking."""
        return range(min(starts.values()) // self.batch, -(-len(self.images) // self.batch))

    def _own(self, starts: Mapping[str, int]) -> range:
        """Those of them that this process takes."""
        assert self.crew.place is not None
        return self._all(starts)[self.crew.place :: self.crew.count]

    def _await_others(self, numbers: range, own: int) -> None:
        """Wait, in the main process, until the batches of the others are on the disk as well."""
        reached, changed = self.crew.reached(own), time.monotonic()
        while any(count < len(numbers[place :: self.crew.count]) for place, count in enumerate(reached)):
            self.crew.check(changed)
            time.sleep(LOOK_EVERY_S)
            now = self.crew.reached(own)
            if now != reached:
                reached, changed = now, time.monotonic()
                self._flush(numbers, own)
        self._flush(numbers, own)

    def _results(
        self, numbers: Sequence[int], starts: Mapping[str, int], threads: int
    ) -> Generator[tuple[int, np.ndarray | None], None, None]:
        """Start the threads: on the CPU they do everything, for an accelerator they decode and give the pixels."""
        if not _on_cpu(self.device):
            return in_threads(self._pixels, numbers, threads=threads)

        def work(number: int, check: Callable[[], None]) -> None:
            self._write(number, self._pixels(number, check), starts)

        return in_threads(work, numbers, threads=threads, around=lambda: one_thread_each(self.device))

    def _places(self, number: int) -> range:
        return range(number * self.batch, min((number + 1) * self.batch, len(self.images)))

    def _pixels(self, number: int, check: Callable[[], None]) -> np.ndarray:
        return read_squares(
            self.images,
            self._places(number),
            size=self.size,
            fit=self.fit,
            short_side=self.short_side,
            interpolation=self.encoder.preprocessing.interpolation,
            check=check,
        )

    def _write(self, number: int, pixels: np.ndarray, starts: Mapping[str, int]) -> None:
        """Compute a batch and write it for the features that an earlier process had not come so far with."""
        places = self._places(number)
        wanted = [name for name, done in starts.items() if done <= places.start]
        names = self.images.names[places.start : places.stop]
        for name, values in self.forward.values(pixels, wanted, names).items():
            self.rows[name].write(places.start, values)

    def _flush(self, numbers: range, own: int) -> None:
        """Bring this process's first `own` batches to the disk; the main one keeps account of those of all."""
        if not self.writers:
            for rows in self.rows.values():
                rows.sync()
            self.crew.report(own)
            return
        # The first batch that each has not done yet: before the least of them there is no gap.
        open_ones = (place + count * self.crew.count for place, count in enumerate(self.crew.reached(own)))
        batches = numbers.start + min(open_ones)
        for writer in self.writers.values():
            writer.flush(min(batches * self.batch, len(self.images)))
