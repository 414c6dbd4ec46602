"""A probe of an encoder while it learns: do its features improve while the loss falls?

Now and then the encoder is put into evaluation mode, labelled images that it does not learn from go through it, and
nearest neighbours vote as in the protocol `knn-20`. Nothing of the training moves for it: no gradient, no running
statistic, no generator. So it is no part of a run's identity. It is for looking, not for tables: few images of training
splits alone, and the network's own pooled output.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_bench.encoders.contract import Encoder
from ssl_bench.features.network import evaluating, full_products, normalised
from ssl_bench.features.pictures import read_squares
from ssl_bench.features.threads import cores, in_threads
from ssl_bench.progress import clock, progress, say
from ssl_bench.protocols.probes.neighbours import nearest, vote
from ssl_bench.protocols.probes.scoring import main_score, metric_name
from ssl_bench.runs import METRICS_FILE, PROBE_SCORE, PROBE_SECONDS, RunFolder, read_log
from ssl_bench.stages.probe_sets import ProbeImages, ProbeSet

# As the protocol knn-20: k, temperature, the definition of AP, and the part of the short side that is cropped.
K, TEMPERATURE, AP = 20, 0.07, "voc-area"
SHORT_SIDE = 256 / 224
BATCH = 64
DEAR = 0.1  # of the time: more is warned of


class OnlineProbe:
    """Judges an encoder after every so many steps; call it between steps with the number that are done."""

    def __init__(
        self,
        encoder: Encoder,
        found: ProbeSet,
        *,
        size: int,
        every: int,
        steps: int,
        device: torch.device,
        folder: RunFolder,
        log: Callable[[dict[str, Any]], None],
    ) -> None:
        """Decode the images, once, and say what is going to be measured on what.

        Args:
            size: Of the square that the encoder sees, in pixels.
            every: Steps from one probe to the next; there is one before the first step and one after the last, too.
            steps: Of the whole training.
            folder: The run's, whose log says what an earlier sitting has probed.
            log: Takes the line with the score.

        Raises:
            BrokenImage: An image cannot be read.
        """
        self.encoder, self.found, self.device = encoder, found, device
        self.every, self.steps, self.folder, self.log = every, steps, folder, log
        self.began = self.last_began = time.monotonic()
        self.label = folder.path.name
        self.times: list[float] = []
        self.warned = False
        self.k = min(K, len(found.voting.places))
        size_mb = 3 * size**2 * (len(found.voting.places) + len(found.judged.places)) / 2**20
        say(
            f"{self.label}: online probe every {every} steps: {metric_name(AP, found.several_classes)} of the votes of "
            f"{self.k} neighbours, {found}, chance {100 * self.chance():.1f} %; {size_mb:.0f} MiB of pixels in memory"
        )
        self.voting, self.judged = (self._pixels(images, size) for images in (found.voting, found.judged))
        self.spent_s = self.decoding_s = time.monotonic() - self.began

    def __call__(self, done: int) -> None:
        """Probe, if it is time, and if an earlier sitting has not logged this step."""
        if (done % self.every == 0 or done == self.steps) and done not in self._logged():
            self._probe(done)

    def score(self) -> float:
        """Compute mean AP, or top-1 where images have one class, as a fraction; nan where features are not finite."""
        with undisturbed(self.encoder, self.device):
            voting, judged = (self._features(pixels) for pixels in (self.voting, self.judged))
            if not (np.isfinite(voting).all() and np.isfinite(judged).all()):
                return math.nan
            labels = torch.as_tensor(self.found.voting.labels, device=self.device)
            similar, rows = nearest(voting, judged, self.k, self.device)
            shares = vote(similar, labels[rows], len(self.found.classes), TEMPERATURE)
        return main_score(shares.cpu().numpy(), self.found.judged.labels, AP)

    def chance(self) -> float:
        """The score of one who gives every image the same votes."""
        if not self.found.several_classes:
            return 1 / len(self.found.classes)
        labels = self.found.judged.labels
        return main_score(np.zeros(labels.shape), labels, AP)

    def close(self) -> None:
        """Say what the probe took of this sitting."""
        whole = time.monotonic() - self.began
        share = self.spent_s / max(whole, 1e-9)
        say(
            f"{self.label}: online probe: {len(self.times)} times, {self.spent_s:.1f} s ({self.decoding_s:.1f} s of it "
            f"decoding), {share:.1%} of {clock(whole)}{self._advice(share)}"
        )

    def _probe(self, done: int) -> None:
        began = time.monotonic()
        value = self.score()
        seconds = time.monotonic() - began
        self.times.append(seconds)
        self.spent_s += seconds
        share = seconds / max(time.monotonic() - self.last_began, 1e-9)
        self.last_began = began
        if math.isfinite(value):
            self.log({"step": done, PROBE_SCORE: round(100 * value, 4), PROBE_SECONDS: round(seconds, 3)})
            score = f"{metric_name(AP, self.found.several_classes)} {100 * value:.2f} %"
        else:
            score = "the features are not finite"
        # From one probe to the next: the first one has no training before it.
        advice = self._advice(share) if len(self.times) > 1 else ""
        say(f"{self.label}: step {done}, online probe: {score} ({seconds:.1f} s){advice}")

    def _advice(self, share: float) -> str:
        if share <= DEAR or self.warned or not self.times:
            return ""
        self.warned = True
        # So that one probe takes a tenth of the time of as many steps and itself.
        seldom = math.ceil(self.every * share / (1 - min(share, 0.99)) * (1 - DEAR) / DEAR)
        return f". WARNING: that is {share:.0%} of the time, more than {DEAR:.0%}: use --probe-every {seldom}"

    def _logged(self) -> Collection[int]:
        path = self.folder.path / METRICS_FILE
        return {line["step"] for line in read_log(path) if PROBE_SCORE in line} if path.exists() else ()

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        """The network's own pooled output, float32 (N, D), computed in fp32."""
        rows: list[Tensor] = []
        for start in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(pixels[start : start + BATCH]).to(self.device)
            rows.append(self.encoder.pooled(normalised(batch, self.encoder.preprocessing)).float().cpu())
        return torch.cat(rows).numpy()

    def _pixels(self, images: ProbeImages, size: int) -> np.ndarray:
        """Decode to RGB squares, uint8 (N, size, size, 3)."""
        pixels = np.empty((len(images.places), size, size, 3), np.uint8)
        starts = range(0, len(pixels), BATCH)

        def work(start: int, check: Callable[[], None]) -> None:
            places = [int(place) for place in images.places[start : start + BATCH]]
            pixels[start : start + BATCH] = read_squares(
                images.images,
                places,
                fit="centre-crop",
                size=size,
                short_side=round(size * SHORT_SIDE),
                interpolation=self.encoder.preprocessing.interpolation,
                check=check,
            )

        with progress(f"{self.label}: images of the online probe", len(pixels)) as advance:
            for number, _ in enumerate(in_threads(work, starts, threads=min(cores(), len(starts))), start=1):
                advance(min(number * BATCH, len(pixels)))
        return pixels


@contextmanager
def undisturbed(encoder: Encoder, device: torch.device) -> Iterator[None]:
    """Look at an encoder in the middle of its training: afterwards its modes and torch's generators are as before.

    Without gradients, but not in inference mode: what a module keeps for later there could not be trained with.
    """
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        evaluating(encoder),
        full_products(device, "fp32"),
        torch.no_grad(),
    ):
        yield
