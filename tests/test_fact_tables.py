"""Published facts against the reference tables (protocols.md, beside the shared data), read as a person would.

A fact's `says` must stand in its section, the number must be in these words, and the mark of certainty there must
be the fact's own. Facts from: repository were read elsewhere and stay out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ssl_bench.facts import Fact, agree
from tests.conftest import REPOSITORY
from tests.test_facts import FACTS, named

FROM_TABLES = [fact for fact in FACTS if fact.origin == "reference"]
HEADING = re.compile(r"#+ (\d+(?:\.\d+)?)\.? ")
MARKS = {"S": "seen", "S2": "second-hand", "R": "recalled", "C": "computed"}
MARKED = re.compile(r"\[((?:S2|S|R|C)(?:[/,](?:S2|S|R|C))*)(?: [^\]]*)?\]")
# What must stand in `says` where the value is no number: a pattern for each value.
WORDS: dict[tuple[str, str], str] = {
    ("splits.VOC2007.train", "trainval"): r"trainval",
    ("splits.VOC2007.test", "test"): r"\btest\b",
    ("mode", "finetune"): r"\ball\b|full",
    ("mode", "frozen"): r"train-from|fc6-8|all conv",
    ("settings.kind", "classification"): r"20-way",
    ("settings.kind", "segmentation"): r"deconv|same net",
    ("settings.kind", "dilated-segmentation"): r"FCN R50-d8",
    ("settings.input.resize.kind", "relative"): r"scale min .* max",
    ("settings.input.resize.kind", "area"): r"area|random_sized_crop|RandomResizedCrop",
    ("settings.input.flip", "True"): r"mirror|flips",
    ("settings.flip", "True"): r"flips",
    ("settings.flip", "False"): r"no augmentation",
    ("settings.head_init", "gaussian"): r"N\(0,",
    ("settings.ap", "sklearn-ties-against"): r"sklearn .*ties count against",
    ("settings.ap", "voc-11-point"): r"11-point",
    ("settings.ap", "voc-11-point-over-iou"): r"detectron2 .*11-point",
    ("settings.fixed_hidden", "False"): r"train-from pool5",
    ("settings.fixed_hidden", "True"): r"train-from drop7",
    ("settings.hidden", "[]"): r"clip pool5",
    ("settings.batch_norm", "eval"): r"BN in eval",
    ("settings.batch_norm", "train"): r"SyncBN",
    ("settings.fixed_layers", "['conv1']"): r"conv1 lr 0",
    ("settings.fixed_layers", "[]"): r"all layers|no freeze",
    ("settings.use_difficult", "True"): r"trains on them",
    ("settings.proposals.kind", "given"): r"selective.search",
    ("settings.proposals.most", "None"): r"only in the IJCV variant",
    ("settings.head.kind", "fully-connected"): r"fc6, fc7",
    ("settings.head.kind", "stage"): r"R50-C4",
    ("settings.train_scale", "choice"): r"multi-scale train \(",
    ("settings.tap", "res4"): r"C4",
    ("settings.short_side", "None"): r"whole images",
    ("settings.crop", "None"): r"whole images",
    ("optimizer.name", "sgd"): r"SGD",
    ("optimizer.decay_biases", "True"): r"biases decay|bias decayed",
    ("optimizer.nesterov", "True"): r"Nesterov",
    ("schedule.decay", "step"): r"every|at \d+k|then",
    ("schedule.decay", "constant"): r"fixed",
    ("schedule.decay", "poly"): r"poly",
    ("settings.taps.pool5.kind", "map"): r"as is",
    ("optimizer.decay_biases", "False"): r"bias .*wd 0",
    ("features.fit", "squash"): r"no crop",
    ("settings.kind", "svm"): r"LinearSVC",
    ("settings.kind", "low-shot"): r"Low-shot",
    ("settings.normalise", "l2"): r"L2 norm",
    ("settings.difficult", "negative"): r"difficult .*are negatives",
    ("settings.ap", "voc-area"): r"area under precision envelope",
    ("settings.validation_ap", "sklearn"): r"^sklearn average_precision",
    ("settings.cost_chosen_on", "test"): r"picked on test",
    **{
        (f"features.networks.caffenet.taps.conv{number}.kind", "average"): r"avg-pool"
        for number in range(1, 6)
    },
}
NUMBER = re.compile(r"(?<![\w.])(?:x|d|k|C)?(\d{1,3}(?:,\d{3})+(?!\d)|\d+\.?\d*(?:e-?\d+)?|\.\d+)(k)?")
# In brackets, and in rows of four and more, a comma parts numbers, not thousands.
ROW = r"(?:\.?\d+,){3,}\.?\d+"
IN_WORDS = {"TEN_CROP": 10.0, "halv": 0.5}


def numbers_in(text: str) -> set[float]:
    """The numbers in a piece of text, in any usual spelling: 1e-6, .001, 80,000, 80k, 6x6, R50-d8, half."""
    found = {value for word, value in IN_WORDS.items() if word in text.replace("halve", "halv")}
    text = re.sub(r"\bk(\d+)s(\d+)(?:p(\d+))?", r" \1 \2 \3 ", text)  # a pooling's kernel, stride and padding
    spaced = re.sub(r"(?<=\d)x(?=\d)|(?<=\d)[-/](?=[\d.])", " ", text)
    plain = re.sub(ROW, " ", re.sub(r"(?<=[A-Za-z]-)d(?=\d)", " ", spaced))
    for digits, thousands in NUMBER.findall(plain):
        found.add(float(digits.replace(",", "")) * (1000 if thousands else 1))
    for row in [*re.findall(r"\((\d+(?:,\d+)+)", text), *re.findall(ROW, text)]:
        found |= {float(digits) for digits in row.split(",")}
    return found


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("weight decay 1e-6", {1e-6}),
        ("base_lr 0.001", {0.001}),
        ("lr .001 wd 5e-4", {0.001, 0.0005}),
        ("x0.5 every 10,000, 80,000 it.", {0.5, 10000, 80000}),
        ("150k it.", {150000}),
        ("steps 18k/22k", {18000, 22000}),
        ("512x512", {512}),
        ("area 0.1-0.5", {0.1, 0.5}),
        ("FCN R50-d8", {8}),
        ("(480,576,688,864,1200 max 2000)", {480, 576, 688, 864, 1200, 2000}),
        ("halving every 5,000", {0.5, 5000}),
        ("conv1 pad 100", {100}),
        ("avg-pool k19s4, k12s3", {19, 4, 12, 3}),
        ("conv1 k24s12p4", {24, 12, 4}),
        (".01,.2,5,50,100,1000 (base", {0.01, 0.2, 5, 50, 100, 1000}),
    ],
)
def test_the_numbers_of_a_text(text: str, numbers: set[float]) -> None:
    assert numbers <= numbers_in(text)
    assert not {1.0, 10.0, 80.0, 150.0, 18.0, 50100.0} & numbers_in(text)


@pytest.fixture(scope="module")
def tables() -> dict[str, list[str]]:
    """The lines of protocols.md by section, the heading first; skipped where it is not at hand."""
    given = os.environ.get("SSL_BENCH_SHARED")
    places = [Path(given)] if given else [REPOSITORY / "shared/data", REPOSITORY.parent / "shared/data"]
    path = next(
        (found for place in places if (found := place.parent / "reference/protocols.md").exists()), None
    )
    if path is None:
        pytest.skip("no reference/protocols.md beside the shared data (set SSL_BENCH_SHARED to its folder)")
    sections: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := HEADING.match(line):
            here = sections.setdefault(match[1], [])
        if sections:
            here.append(line)
    return sections


def places_of(says: str, lines: list[str]) -> list[int]:
    """The lines of a section on which a literal piece stands."""
    return [number for number, line in enumerate(lines) if says in line]


def marks(line: str) -> set[str]:
    """The marks of certainty on a line, e.g. [S], [S2 CEn], [S/S2]."""
    return {MARKS[mark] for marked in MARKED.findall(line) for mark in re.split("[/,]", marked)}


def certainty(lines: list[str], number: int) -> set[str]:
    """The marks that hold for a line: its own, else its table's head's or its paragraph's, else the section's."""
    table = lines[number].startswith("|")
    block = [number]
    while block[-1] > 1 and (above := lines[block[-1] - 1]).strip() and above.startswith("|") == table:
        block.append(block[-1] - 1)
    asked = [number, block[-1]] if table else block
    return next((found for line in (*asked, 0) if (found := marks(lines[line]))), set())


def test_certainty_comes_from_the_line_its_table_its_paragraph_or_the_section() -> None:
    table = ["### 9.9 Name [S]", "| a | b [R] |", "|---|---|", "| c [C] | d |", "| e | f |"]
    text = ["", "One [S2 CEn]: two", "three", "", "four", "[S,R] five [x]"]
    expected = {1: {"recalled"}, 3: {"computed"}, 4: {"recalled"}, 6: {"second-hand"}, 7: {"second-hand"}}
    expected |= {9: {"seen"}, 10: {"seen", "recalled"}}
    assert {number: certainty(table + text, number) for number in expected} == expected


@pytest.mark.parametrize("fact", FROM_TABLES, ids=named)
def test_the_reference_tables_say_so(fact: Fact, tables: dict[str, list[str]]) -> None:
    assert fact.section in tables, "no such section"
    lines = tables[fact.section]
    assert fact.says is not None
    found = places_of(fact.says, lines)
    assert found, f"section {fact.section} does not say {fact.says!r}"
    assert fact.sure in set().union(*(certainty(lines, number) for number in found))


@pytest.mark.parametrize("fact", [fact for fact in FROM_TABLES if fact.key], ids=named)
def test_a_value_follows_from_what_is_said(fact: Fact) -> None:
    assert fact.says is not None
    if fact.reckoned is not None:
        one, sign, other = fact.reckoned.split()
        assert {float(one), float(other)} - {100.0} <= numbers_in(fact.says)
        result = float(one) * float(other) if sign == "*" else float(one) / float(other)
        assert agree(fact.value, result)
        return
    items = fact.value if isinstance(fact.value, list) else [fact.value]
    numeric = [item for item in items if isinstance(item, (int, float)) and not isinstance(item, bool)]
    if numeric:
        assert {float(item) for item in numeric} <= numbers_in(fact.says)
    else:
        assert re.search(WORDS[str(fact.key), str(fact.value)], fact.says)


def test_no_word_stands_idle() -> None:
    used = {(fact.key, str(fact.value)) for fact in FROM_TABLES}
    assert set(WORDS) <= used
