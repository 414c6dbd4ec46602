"""Linear SVMs on frozen features: how much faster than a loop of scikit-learn's LinearSVC, and at what memory?

    python benchmarks/probes.py [--data VOC] [--encoder RUN] [--loop-classes 2] [--force]

Two protocols at the size of VOC07: voc07-svm-fair (5,011 training images of 9,216 features, 20 classes, 26 costs, 3
folds, then all of train) and voc07-lowshot-fair (8 k, 5 samples, 20 classes, 26 costs). Features are those of
CaffeNet's conv5 on random crops of photographs, mirrored at random, with the labels of the photographs: as correlated
as real features are. Without --data the photographs are MiniVOC's, and the numbers say nothing of VOC.

The loop is what the published code does: one LinearSVC a class, cost and fold (dual, tol 1e-4, at most 2000
iterations), spread over both cores. It is measured on a part, which is printed, and scaled: every cost and fold of
some classes, and every cost of one low-shot sample a k of these classes. Both sides then score the same test images;
all classes are fitted by LinearSVC at the costs that ours chose, for the difference in mean AP.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch loads

import numpy as np
import torch
from measuring import other_load, refuse_if_busy, rss_anon_mb
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from ssl_bench.data.decode import read_rgb
from ssl_bench.data.image_sets import ImageSet
from ssl_bench.data.voc import find_devkits
from ssl_bench.data.voc_classes import VOC_CLASSES
from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.probe_schemas import LowShotSettings, SvmSettings
from ssl_bench.protocols.probes.low_shot import LowShotProbe
from ssl_bench.protocols.probes.low_shot_samples import draw, sample_rng
from ssl_bench.protocols.probes.normalised import NORM_OFFSET
from ssl_bench.protocols.probes.sealed import TestFeatures, TrainingFeatures
from ssl_bench.protocols.probes.svm import SvmProbe
from ssl_bench.recipes import load_probe_protocol
from ssl_bench.stages.datasets import minivoc
from ssl_bench.stages.encoders import load_encoder

TRAIN, TEST, SIDE = 5011, 4952, 227
CPU = torch.device("cpu")
MIB = 2**20


def features(encoder: Encoder, images: ImageSet, split: str, count: int, path: Path) -> np.ndarray:
    """Write features of `count` crops into `path`, unless they are there; return the labels, int8 (count, 20)."""
    ids, labels = images.image_ids(split), images.image_labels(split)
    rng = np.random.default_rng(0)
    places = np.arange(count) * len(ids) // count
    if path.exists():
        return labels[places]
    out = np.lib.format.open_memmap(path, "w+", np.float32, (count, 9216))
    with torch.inference_mode():
        for start in range(0, count, 16):
            crops = []
            for place in places[start : start + 16]:
                image = read_rgb(images.image_path(ids[place]), name=ids[place])
                width, height = (side * rng.uniform(0.7, 1) for side in image.size)
                x, y = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
                crop = np.asarray(image.resize((SIDE, SIDE), 2, box=(x, y, x + width, y + height)))
                crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
            pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
            maps = encoder.forward_taps(encoder.preprocessing.normalise(pixels), ["conv5"])["conv5"]
            out[start : start + len(crops)] = torch.nn.functional.avg_pool2d(maps, 8, 1).flatten(1).numpy()
    out.flush()
    return labels[places]


class PeakMemory:
    """Watches anonymous memory above what it was at the start."""

    def __enter__(self) -> PeakMemory:
        self.base = self.peak = rss_anon_mb()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, rss_anon_mb())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def above(self) -> float:
        return self.peak - self.base


_SHARED: dict[str, np.ndarray] = {}


def _share(path: str) -> None:
    """Load and normalise features once a worker process."""
    torch.set_num_threads(1)
    values = np.load(path)
    _SHARED["train"] = values / (np.linalg.norm(values, axis=1, keepdims=True) + NORM_OFFSET)


def _fit(job: tuple[np.ndarray, np.ndarray, float, float]) -> tuple[float, np.ndarray]:
    """Fit one LinearSVC; return the seconds and its weights with the bias last."""
    rows, target, cost, weight = job
    values = _SHARED["train"][rows]
    svm = LinearSVC(
        C=cost, class_weight={1: weight, -1: 1}, dual=True, tol=1e-4, max_iter=2000, random_state=0
    )
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # at high costs 2000 iterations do not suffice, as in the published code
        svm.fit(values, target)
    return time.perf_counter() - started, np.append(svm.coef_[0], svm.intercept_)


def loop(
    path: Path, jobs: list[tuple[np.ndarray, np.ndarray, float, float]]
) -> tuple[float, list[np.ndarray]]:
    """Fit every job, one process a core; return the wall time without the start of the processes."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(
        cores, mp_context=get_context("spawn"), initializer=_share, initargs=(str(path),)
    ) as pool:
        list(pool.map(_fit, jobs[:1] * cores))
        started = time.perf_counter()
        done = list(pool.map(_fit, jobs))
        return time.perf_counter() - started, [weights for _, weights in done]


def svm_jobs(labels: np.ndarray, settings: SvmSettings, classes: list[int]) -> list[tuple]:
    """Every cost and fold of some classes, and the fit on all of train; the longest first."""
    jobs = []
    for k in classes:
        target = np.where(labels[:, k] == 1, 1, -1)
        for rows, _ in StratifiedKFold(settings.folds).split(target, target):
            jobs += [(rows, target[rows], cost, settings.positive_weight) for cost in settings.costs]
    return sorted(jobs, key=lambda job: -job[2])


def low_shot_jobs(train: TrainingFeatures, settings: LowShotSettings, classes: list[int]) -> list[tuple]:
    """Every cost of one sample a k of some classes."""
    jobs = []
    for k in settings.shots:
        sample = draw(train.labels, k, settings.negatives, sample_rng(0, 0, k), classes=train.classes)
        for place in classes:
            rows = np.concatenate([sample[place].positives, sample[place].negatives])
            target = np.r_[np.ones(len(sample[place].positives)), -np.ones(len(sample[place].negatives))]
            jobs += [(rows, target, cost, settings.positive_weight) for cost in settings.costs]
    return sorted(jobs, key=lambda job: -job[2] * len(job[0]))


def measure_svm(
    settings: SvmSettings,
    train: TrainingFeatures,
    test: TestFeatures,
    path: Path,
    sizes: float,
    loop_classes: int,
) -> None:
    """Print the SVM protocol's two sides; `sizes` are the features of train and test in MiB."""
    classes = list(np.argsort(-(train.labels == 1).sum(0))[:loop_classes])
    share = len(classes) / len(VOC_CLASSES)
    print(
        f"loop measured on {', '.join(VOC_CLASSES[k] for k in classes)}, {share:.0%} of the classes, and scaled"
    )

    with PeakMemory() as memory:
        started = time.perf_counter()
        fitted = SvmProbe(settings).fit(train, seed=0, device=CPU, label="ours")
        ours = time.perf_counter() - started
        scores = fitted.predict(test)["scores"]
    assert fitted.certificate is not None
    print(f"SVM, ours: {ours:.1f} s; {fitted.certificate}")
    print(f"anonymous memory {memory.above:.0f} MiB; the bar is {2 * sizes + 400 * 1e6 / MIB:.0f}")
    loop_s, _ = loop(path, svm_jobs(train.labels, settings, classes))
    print(f"SVM, cross-validation by LinearSVC: {loop_s / share:.0f} s (measured {loop_s:.0f})")
    costs = list(fitted.chosen["costs"].values())
    every = np.arange(TRAIN)
    refit_s, weights = loop(
        path,
        [(every, np.where(train.labels[:, k] == 1, 1, -1), cost, 2.0) for k, cost in enumerate(costs)],
    )
    print(f"SVM, its fits on all of train: {refit_s:.0f} s (measured in full, at our costs)")
    total = loop_s / share + refit_s
    normalised = test.values / (np.linalg.norm(test.values, axis=1, keepdims=True) + NORM_OFFSET)
    theirs = normalised @ np.stack([w[:-1] for w in weights], 1) + [w[-1] for w in weights]
    ap = [100 * multilabel_ap(each, test.labels, "voc-area") for each in (scores, theirs)]
    print(f"mean AP: ours {np.nanmean(ap[0]):.3f}, LinearSVC at the same costs {np.nanmean(ap[1]):.3f}")
    print(f"| SVM as FAIR | LinearSVC {total:.0f} s | ours {ours:.1f} s | {total / ours:.1f} times |")


def measure_low_shot(
    settings: LowShotSettings, train: TrainingFeatures, path: Path, loop_classes: int
) -> None:
    """Print the low-shot protocol's two sides."""
    enough = (train.labels == 1).sum(0) >= max(settings.shots)
    print(f"low-shot on the {enough.sum()} classes that have {max(settings.shots)} positives")
    few = replace(train, labels=train.labels[:, enough], classes=tuple(np.array(VOC_CLASSES)[enough]))
    started = time.perf_counter()
    LowShotProbe(settings).fit(few, seed=0, device=CPU, label="ours")
    ours = time.perf_counter() - started
    classes = list(range(min(loop_classes, int(enough.sum()))))
    share = len(classes) / enough.sum()
    jobs = low_shot_jobs(few, settings, classes)
    loop_s, _ = loop(path, jobs)
    total = loop_s / share * settings.samples
    print(
        f"low-shot by LinearSVC measured {loop_s:.0f} s: {len(jobs)} of "
        f"{round(len(jobs) / share) * settings.samples} fits"
    )
    print(f"| low-shot as FAIR | LinearSVC {total:.0f} s | ours {ours:.1f} s | {total / ours:.1f} times |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with a VOCdevkit; MiniVOC by default")
    parser.add_argument("--encoder", help="a run whose CaffeNet is taken; random weights by default")
    parser.add_argument(
        "--features", type=Path, help="keep the features in this folder, and take them from there"
    )
    parser.add_argument("--only", choices=("svm", "low-shot"), help="measure one of the two")
    parser.add_argument("--loop-classes", type=int, default=2, help="classes that the loop is measured on")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine all the same")
    given = parser.parse_args()
    if given.force:
        print(f"load of other processes: {other_load():.2f} cores (measured all the same)")
    else:
        refuse_if_busy()
    images: ImageSet = next(iter(find_devkits(given.data).values())) if given.data else minivoc()
    encoder = (
        load_encoder(given.encoder)
        if given.encoder
        else fresh_encoder({"name": "caffenet"}, input_size=SIDE, init="kaiming", seed=0)
    ).eval()
    svm, low_shot = load_probe_protocol("voc07-svm-fair"), load_probe_protocol("voc07-lowshot")
    assert isinstance(svm.settings, SvmSettings)
    assert isinstance(low_shot.settings, LowShotSettings)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.features or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "train.npy", folder / "test.npy"]
        labels = features(encoder, images, "trainval", TRAIN, paths[0])
        test_labels = features(encoder, images, "test", TEST, paths[1])
        train_values, test_values = (np.load(path, mmap_mode="r") for path in paths)
        sizes = 4 * (train_values.size + test_values.size) / MIB
        train = TrainingFeatures(values=train_values, labels=labels, classes=VOC_CLASSES)
        test = TestFeatures(values=test_values, labels=test_labels, classes=VOC_CLASSES)
        if given.only != "low-shot":
            measure_svm(svm.settings, train, test, paths[0], sizes, given.loop_classes)
        if given.only != "svm":
            measure_low_shot(low_shot.settings, train, paths[0], given.loop_classes)


if __name__ == "__main__":
    main()
