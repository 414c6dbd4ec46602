"""A folder of runs that shows most of what the report page can show, made by hand: no network, no training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ssl_bench.records import Interval, ProtocolReference, Record, Selection, write_record
from ssl_bench.reporting.build import build_table
from ssl_bench.reporting.page.document import Page
from ssl_bench.reporting.page.markup import slug
from ssl_bench.reporting.page.run_facts import found_runs
from ssl_bench.reporting.page.run_section import Picture, RunOnPage
from ssl_bench.reporting.page.staleness import Shipped, remarks_on
from ssl_bench.reporting.published import load_published
from ssl_bench.reporting.table_definition import TableDefinition
from tests.reporting.conftest import RESULTS, make_protocol, make_record

EVIL = "<script>alert(1)<script> & \"quotes\" 'n' more"
CODE = {"ssl_bench": "0.1.0+abc", "git": {"commit": "abcdef0123456789", "dirty": False}, "device": "cpu"}
LEARNED = "context-encoder-mini-seed0-1a2b3c4d"
RECIPE = "name: voc-cls-finetune-quick\nversion: 1\noptimizer:\n  lr: 0.001  # <b>not bold</b>\n"


def definition() -> TableDefinition:
    """A small table of two tasks, without published rows."""
    columns = [
        {"key": key, "title": title, "unit": unit, "task": task, "mode": "finetune", "metric": None, "published": None}
        for key, title, unit, task in (
            ("cls", "Classification", "mAP %", "voc-cls"),
            ("det", "Detection", "mAP %", "voc-det"),
        )
    ]  # fmt: skip
    methods = (("random", "Random weights"), ("context-encoder", "Context encoder"), ("rotation", "Rotation"))
    rows = [
        {"title": title, "method": method, "supervision": "none", "recipes": None}
        for method, title in methods
    ]
    return TableDefinition.model_validate(
        {
            "name": "drawn",
            "title": "Drawn runs <two tasks>",
            "caption": "Numbers made up & small.",
            "decimals": 1,
            "information": [
                {"key": "method", "title": "Method"},
                {"key": "pretraining_data", "title": "Learned from"},
            ],
            "columns": columns,
            "rows": rows,
            "published": None,
        }
    )


def protocols() -> list[ProtocolReference]:
    """The protocols that are shipped for these runs."""
    return [make_protocol(task) for task in ("voc-cls", "voc-det")]


def records() -> list[Record]:
    """Judged runs: seeds, a failure, an older protocol, changed code, another version, names that are markup."""
    rich: dict[str, Any] = {
        "intervals": {"mAP": Interval(low=38.5, high=41.25, level=0.95, resamples=1000)},
        "per_class": {"AP": {"aeroplane": 50.5, "bicycle": 29.5, "bird": None}},
        "selection": Selection(rule="fixed schedule, nothing chosen", trials=1),
        "n_evaluated": 80,
    }
    dirty = {**CODE, "git": {"commit": "abcdef0123456789", "dirty": True}}
    other = {**CODE, "ssl_bench": "0.0.9"}
    return [
        make_record("context-encoder", 40.0, run="cls-context-encoder-0", environment=CODE, **rich),
        make_record("context-encoder", 42.0, seed=1, run="cls-context-encoder-1", environment=dirty),
        make_record("random", 9.5, run="cls-random-0", environment=CODE),
        make_record("rotation", 100.0, run="cls-rotation-0", environment=other),
        make_record("context-encoder", 7.25, task="voc-det", run="det-context-encoder-0", environment=CODE),
        make_record(
            "random", None, task="voc-det", run="det-random-0", error="lost <b>50 %</b> & more\nTrace"
        ),
        make_record(
            "rotation", 8.0, task="voc-det", run="det-old", protocol={"hash": "before", "version": 0}
        ),
        make_record("rotation", 3.0, task="voc-det", run=EVIL, encoder={"name": "</article><h1>no"}),
    ]


def write_runs(folder: Path) -> Path:
    """Write the judged runs, a pretraining with log and pictures, an unfinished run and one cut in half."""
    for number, record in enumerate(records()):
        own = folder / record.run
        own.mkdir(parents=True)
        write_record(own, record)
        _write(own / "identity.json", {"stage": "transfer", "protocol": record.protocol.hash, "seed": number})
        (own / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        (own / "done").touch()
        if number < 3:
            _write_log(
                own, [{"step": step, "lr": 0.1, "loss": 3.0 / (step + number)} for step in range(1, 30)]
            )
            (own / "predictions.npz").write_bytes(b"not read by the page")
    _write_learned(folder / LEARNED)
    (folder / "unfinished-1").mkdir()
    _write(folder / "unfinished-1" / "identity.json", {"stage": "transfer", "protocol": "p", "seed": 0})
    half = folder / "half-written"
    half.mkdir()
    _write(half / "identity.json", {"stage": "transfer", "protocol": "p", "seed": 0})
    (half / "result.json").write_text('{"schema_version": 1, "status": "do', encoding="utf-8")
    return folder


def _write_learned(folder: Path) -> None:
    folder.mkdir()
    pretraining = {
        "recipe": "context-encoder-mini",
        "recipe_hash": "recipe-now",
        "data_name": "MiniVOC",
        "data_fingerprint": "minivoc-v1",
        "synthetic": True,
        "steps": 300,
        "images_seen": 2400,
        "wall_s": 138.0,
        "supervision": "context",
        "changed": [],
        "limit": None,
    }
    card = {"method": "context-encoder", "sha256": "5ha", "pretraining": pretraining, "pretraining_seed": 0}
    _write(folder / "encoder.json", {**card, "code_version": CODE["ssl_bench"]})
    _write(folder / "identity.json", {"stage": "pretrain", "recipe": "recipe-now", "seed": 0})
    _write(folder / "environment.json", CODE)
    lines = [
        {"step": step, "discriminator.loss": 1.4 - step / 400, "generator.loss": 2.0 / step}
        for step in range(1, 301)
    ]
    lines[100]["generator.loss"] = float("nan")
    _write_log(folder, lines)
    Image.new("RGB", (48, 24), (30, 90, 160)).save(folder / "pictures.png")
    (folder / "done").touch()


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _write_log(folder: Path, lines: Sequence[dict[str, Any]]) -> None:
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )


def drawn_page(runs: Path) -> Page:
    """The page of these runs, with files where a report would copy them."""
    found = found_runs(runs)
    shipped = Shipped(protocols=protocols(), recipes={"context-encoder-mini": "recipe-now"}, code="0.1.0+abc")
    judged = [run.record for run in found if run.record is not None]
    published = load_published(RESULTS / "published.csv")
    on_page = []
    for run in found:
        name = slug(run.name)
        files = {"log": f"files/{name}/metrics.jsonl"} if run.log else {}
        picture = (
            Picture(href=f"files/{name}/pictures.png", width=48, height=24, words=f"Pictures of {run.name}")
            if run.pictures
            else None
        )
        remarks = remarks_on(run, shipped)
        on_page.append(RunOnPage(facts=run, id=f"run-{name}", remarks=remarks, files=files, picture=picture))
    return Page(
        title="Drawn runs",
        tables=[build_table(definition(), judged, published, protocols())],
        runs=on_page,
        figures=[],
        command="ssl-bench report drawn --runs drawn --out report",
        version="0.1.0+abc",
        outputs={"drawn.md": "tables/drawn/table.md"},
    )
