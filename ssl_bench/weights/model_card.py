"""The model card beside exported weights: what they are, how they were learned, how to load them, what was measured.

It says only what the encoder's own card and result records say, and lists what nobody checked. There are no paths of
the machine that wrote it, and no licence: we do not know whose weights and pictures these are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.encoders.files import EncoderCard
from ssl_bench.records import PretrainingReference, Record, WeightsReference
from ssl_bench.weights.hub_export import rgb_in_unit_range

# A path from the root or from somebody's home: its folders say nothing to a reader elsewhere.
PATH = re.compile(r"(?<![\w.:/~])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\,;]+)+[/\\]([^\s/\\,;]+)")


def own_results(results: Sequence[Record], sha256: str) -> list[Record]:
    """Choose the finished records of exactly these weights, by protocol, data and seed."""
    chosen = [
        record
        for record in results
        if record.status == "done" and record.encoder is not None and record.encoder.sha256 == sha256
    ]
    return sorted(chosen, key=lambda record: (record.task, record.protocol.name, record.transfer_seed))


def model_card(
    card: EncoderCard, *, library: str, loading: str, compared: str, results: Sequence[Record] = ()
) -> str:
    """Compose the card in Markdown.

    Args:
        library: Who reads these files, for people.
        loading: How to load them, Markdown.
        compared: What was compared with that library at export, one sentence.
        results: Records; those of other weights are left out, and counted.
    """
    chosen = own_results(results, card.sha256)
    others = sum(record not in chosen for record in results)
    weights = card.weights or next((record.encoder.weights for record in chosen if record.encoder), None)
    parts = [
        f"# {_plain(card.name)}\n",
        f"An image encoder without a classifier: {_architecture(card)}, method {_plain(card.method)}. Exported by "
        f"ssl-bench for {library}.\n",
        *_warnings(card, weights),
        "## Weights\n",
        _list(
            ("architecture", _architecture(card)),
            ("sha256 over names, types, shapes and values, by ssl-bench's names", f"`{card.sha256}`"),
            ("code version", _plain(card.code_version)),
        ),
        "## Input\n",
        _input(card.preprocessing),
        "## How it was learned\n",
        _learning(card, weights),
        "## How to load it\n",
        "Run inside this folder.\n",
        loading,
        "## Results\n",
        _results(chosen, others),
        "## Not checked\n",
        "".join(f"- {line}\n" for line in [compared, *_not_checked(card, chosen)]),
    ]
    return "\n".join(parts)


def front_matter(card: EncoderCard, library: str) -> str:
    """Compose the YAML that the Hugging Face hub reads at the head of a card; no licence, since none is known."""
    tags = ["self-supervised-learning", "ssl-bench", _plain(card.method)]
    fields = {"library_name": library, "pipeline_tag": "image-feature-extraction", "tags": tags}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n\n"


def _plain(text: str) -> str:
    """Text that neither names a folder of this machine nor breaks a table."""
    return PATH.sub(r"\1", text).replace("|", "\\|").replace("\n", " ")


def _architecture(card: EncoderCard) -> str:
    settings = {key: value for key, value in card.architecture.items() if key != "name"}
    words = [str(card.architecture["name"]), *(f"{key}={value}" for key, value in settings.items())]
    return _plain(" ".join(words))


def _list(*lines: tuple[str, Any]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in lines)


def _warnings(card: EncoderCard, weights: WeightsReference | None) -> list[str]:
    """Say first what makes wrong features or wrong conclusions."""
    lines = []
    given = card.preprocessing
    if given.channels == "BGR":
        lines.append(
            "**Its input is BGR, not RGB.** Libraries give RGB: flip the channels, as the code below does. "
            "With RGB nothing fails, and its features are others."
        )
    if given.value_range == 255:
        lines.append(
            "**Its input is normalised from 0..255, not from 0..1.** On pixels in 0..1 use mean and standard "
            "deviation divided by 255; the weights are unchanged."
        )
    if card.pretraining is not None and card.pretraining.synthetic:
        lines.append("**It was learned on synthetic data.** Its results say nothing about real pictures.")
    if card.pretraining is not None and card.pretraining.limit is not None:
        lines.append(f"**It was learned on {card.pretraining.limit} images only (--limit): a trial.**")
    if weights is not None and weights.untrained:
        lines.append(
            f"**It is untrained** ({_plain('; '.join(weights.untrained))}): its features are random ones."
        )
    return [f"> {line}\n" for line in lines]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _input(given: Preprocessing) -> str:
    mean, std = rgb_in_unit_range(given)
    flip = "; then flipped to BGR" if given.channels == "BGR" else ""
    return _list(
        ("order of channels", given.channels),
        ("range of values before normalisation", f"0..{given.value_range}"),
        ("mean", f"{_numbers(given.mean)} (order {', '.join(given.channels)})"),
        ("standard deviation", _numbers(given.std)),
        ("the same for RGB in 0..1", f"mean {_numbers(mean)}, deviation {_numbers(std)}{flip}"),
        ("trained at", f"{given.size} x {given.size} pixels"),
        ("interpolation", given.interpolation),
    )


def _learning(card: EncoderCard, weights: WeightsReference | None) -> str:
    learned = card.pretraining
    if learned is None and weights is None:
        return "Not known here: these weights were not learned by ssl-bench, or nothing was learned.\n"
    if learned is None:
        assert weights is not None
        return _list(
            ("origin", f"{_plain(weights.origin)}, {_plain(weights.layout)}"),
            ("tensors of the encoder found there", f"{weights.matched} of {weights.wanted}"),
            *((name, _plain(words)) for name, words in weights.reshaped.items()),
            ("what the input is based on", _plain(weights.preprocessing_basis)),
        )
    return _own_learning(card, learned)


def _own_learning(card: EncoderCard, learned: PretrainingReference) -> str:
    data = _plain(learned.data_name) if learned.data_name else "none: nothing was learned"
    return _list(
        ("method", _plain(card.method)),
        ("recipe", f"{_plain(learned.recipe)}, settings hash `{learned.recipe_hash}`"),
        ("changed in the recipe", _plain(", ".join(learned.changed)) or "nothing"),
        ("data", data + (" (synthetic)" if learned.synthetic else "")),
        ("fingerprint of the data", f"`{learned.data_fingerprint}`" if learned.data_fingerprint else "none"),
        ("supervision", _plain(learned.supervision)),
        ("steps", f"{learned.steps:,}"),
        ("images seen", f"{learned.images_seen:,}"),
        ("seed", card.pretraining_seed if card.pretraining_seed is not None else "not known"),
    )


def _results(chosen: Sequence[Record], others: int) -> str:
    were = "record was" if others == 1 else "records were"
    left_out = f"\n{others} {were} left out: of other weights, or not finished.\n" if others else ""
    if not chosen:
        return "None was given.\n" + left_out
    head = (
        "Protocols by name, version and settings hash; `ssl-bench show NAME` prints one. Intervals are over resampled "
        "test images, not over seeds.\n\n"
        "| protocol | data | tap | metric | score (%) | interval | transfer seed | remarks |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(map(_row, chosen)) + left_out


def _row(record: Record) -> str:
    protocol, data = record.protocol, record.dataset
    interval = record.intervals.get(record.main_metric)
    assert record.encoder is not None
    cells = (
        f"{protocol.name} v{protocol.version} `{protocol.hash}`",
        f"{data.name}, {data.train_split} to {data.test_split}" if data else "",
        record.encoder.tap,
        record.main_metric,
        f"{record.score:.2f}",
        f"{interval.low:.2f} to {interval.high:.2f} ({interval.level:.0%})" if interval else "",
        str(record.transfer_seed),
        "; ".join(_remarks(record)),
    )
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |\n"


def _remarks(record: Record) -> list[str]:
    """Say what keeps a score from standing beside others."""
    remarks = []
    if record.dataset and record.dataset.synthetic:
        remarks.append("synthetic data")
    if record.dataset and record.dataset.limit is not None:
        remarks.append(f"a trial on {record.dataset.limit} images (--limit)")
    if record.protocol.changed:
        remarks.append(f"protocol changed: {', '.join(record.protocol.changed)}")
    if record.selection and record.selection.on_test:
        remarks.append("settings chosen on the test split")
    return remarks


def _not_checked(card: EncoderCard, results: Sequence[Record]) -> list[str]:
    """List what the records do not tell."""
    lines = [
        "The licence of the weights and of the pictures they were learned from.",
        "How the features change at other image sizes, and how much of a picture an evaluation should crop: that "
        "belongs to each protocol.",
        "What the features say of people, and how they treat pictures unlike those they were learned from.",
    ]
    if card.pretraining is not None:
        lines.append("How far another pretraining seed moves the results: these are the weights of one.")
    if not any(record.dataset and record.dataset.overlap for record in results):
        lines.append("Whether images of a test set were among those learned from (`ssl-bench data overlap`).")
    return lines
