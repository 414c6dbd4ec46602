"""`ssl-bench resample`: resampled scores of runs that kept their predictions and were made before such scores were.

Nothing is run again. The scores that follow from the kept predictions must be the record's, to the last digit that
matters: otherwise something is not what the record says, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_bench.errors import UserError
from ssl_bench.probe_schemas import PROBE_KINDS, ProbeProtocol
from ssl_bench.protocol_schemas import Protocol
from ssl_bench.protocols.contract import Scores
from ssl_bench.protocols.predictions import load_predictions
from ssl_bench.protocols.probes.registry import probe_of
from ssl_bench.protocols.registry import JUDGES
from ssl_bench.recipes import read_yaml
from ssl_bench.records import RESULT_FILE, Record, load_record
from ssl_bench.resamples import resamples_path, write_resamples
from ssl_bench.stages.judging_data import TransferData, transfer_data
from ssl_bench.stages.probe_job import labelled_images, resampled_by_tap, scores_of_kept

SAME = 1e-6  # percent; a record's scores are written in full


def resample(runs: Sequence[Path], data: Path | None) -> list[Path]:
    """Write resampled scores beside the results of runs that have none yet.

    Args:
        runs: Run folders, each with its predictions.
        data: What they were judged on; MiniVOC by default.

    Returns:
        The files that were written.

    Raises:
        UserError: A folder holds no finished run or no predictions, or the data or scores are not the record's.
    """
    written = []
    for folder in runs:
        path = folder / RESULT_FILE
        if not path.is_file():
            raise UserError(
                f"{folder}: no finished run ({RESULT_FILE} is missing). Name run folders, e.g. runs/NAME"
            )
        record = load_record(path)
        if resamples_path(path).exists():
            continue
        found = _resampled(folder, record, data)
        target = write_resamples(folder, found)
        if target is None:
            raise UserError(
                f"{folder}: {record.protocol.name} keeps no resampled scores (too costly for its metric)"
            )
        written.append(target)
    return written


def _resampled(folder: Path, record: Record, data: Path | None) -> Mapping[str, np.ndarray]:
    content = read_yaml(folder / "recipe.yaml")
    assert record.dataset is not None
    if content.get("task") in PROBE_KINDS:
        probed = ProbeProtocol.model_validate(content)
        found = transfer_data(probed, data, limit=record.dataset.limit)
        _check_data(folder, record, found)
        images = labelled_images(found, found.splits.test, record.dataset.limit)
        by_tap = scores_of_kept(folder, probe_of(probed, several_classes=images.several_classes), images)
        headline = record.encoder.tap if record.encoder is not None else ""
        for tap, of in by_tap.items():
            _check_scores(folder, {f"{name} {tap}": value for name, value in of.metrics.items()}, record)
        return resampled_by_tap(by_tap, headline)
    protocol = Protocol.model_validate(content)
    found = transfer_data(protocol, data, limit=record.dataset.limit)
    _check_data(folder, record, found)
    scores: Scores = JUDGES[protocol.settings.kind].score(
        load_predictions(folder), found.devkit, found.splits.test, protocol, record.dataset.limit
    )
    _check_scores(folder, scores.metrics, record)
    return scores.resampled


def _check_data(folder: Path, record: Record, found: TransferData) -> None:
    assert record.dataset is not None
    if found.fingerprint != record.dataset.fingerprint:
        raise UserError(
            f"{folder}: it was judged on {record.dataset.name} ({record.dataset.fingerprint[:12]}), and this is "
            f"{found.name} ({found.fingerprint[:12]}). Name its data with --data"
        )


def _check_scores(folder: Path, metrics: Mapping[str, float], record: Record) -> None:
    for name, value in metrics.items():
        kept = record.metrics.get(name)
        if kept is None or abs(kept - value) > SAME:
            raise UserError(
                f"{folder}: {name} of the kept predictions is {value:.6f}, the record says {kept}. One of the files "
                "was changed, or the metric was: run it again"
            )
