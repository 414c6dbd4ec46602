"""Encoders that others made, as subjects of a judgement: libraries' networks, checkpoints, one's own code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ssl_bench.encoders.contract import Encoder, weights_hash
from ssl_bench.encoders.library import pretrained_encoder
from ssl_bench.encoders.module_encoder import factory_encoder as made_by
from ssl_bench.encoders.names import usual_init
from ssl_bench.encoders.registry import fresh_encoder
from ssl_bench.errors import UserError
from ssl_bench.progress import say
from ssl_bench.records import EncoderSource, WeightsReference
from ssl_bench.stages.named_encoders import NamedEncoder
from ssl_bench.weights.addresses import INPUT_OPTIONS, Address, declared_preprocessing
from ssl_bench.weights.loading import Foreign, load_foreign, load_into
from ssl_bench.weights.matching import refuse_values_that_are_not_finite
from ssl_bench.weights.untouched import looks_untouched

RANDOM = "random"


def library_encoder(address: Address, seed: int) -> NamedEncoder:
    """Build a library's network, with its weights if they are asked for (hf-hub: always).

    Args:
        seed: Of the weights where none are asked for; such an encoder counts as untrained.
    """
    given = f"{address.kind}:{address.name}"
    asked = _weights_asked(address)
    if asked:
        say(f"{given}: its weights come from the library's cache, or are fetched")
    encoder, about = pretrained_encoder(address.kind, address.name, pretrained=asked)
    untrained: tuple[str, ...] = ()
    if not asked:
        encoder = fresh_encoder(
            encoder.architecture, init=usual_init(str(encoder.architecture["name"])), seed=seed
        )
        untrained = (f"no weights were asked for (`{given}?pretrained` loads the library's)",)
    basis = _declare(encoder, address.options, about["preprocessing_basis"])
    count = len(encoder.state_dict())
    return NamedEncoder(
        encoder=encoder,
        name=address.options.get("name", about["weights"] if asked else f"{given} seed {seed}"),
        method=address.options.get("method", address.kind if asked else RANDOM),
        source=address.kind,  # type: ignore[arg-type]
        sha256=weights_hash(encoder),
        pretraining_seed=None if asked else seed,
        weights=WeightsReference(
            origin=about["weights"] if asked else given,
            layout=address.kind,
            matched=count if asked else 0,
            wanted=count,
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
            preprocessing_basis=basis,
            untrained=untrained,
        ),
        untrained=untrained,
    )


def _weights_asked(address: Address) -> str:
    """Say which weights of a library's network are asked for: "true" for its own choice, "" for none.

    Raises:
        UserError: Some are named where a library does not choose by an option.
    """
    if address.kind == "hf-hub":
        return "true"
    asked = address.options.get("pretrained", "")
    if asked.lower() in ("false", "no", "0", "none"):
        return ""
    if address.kind == "timm" and asked and asked.lower() != "true":
        raise UserError(
            f"timm:{address.name}?pretrained={asked}: timm's weights are chosen behind the network's name "
            "(timm:resnet50.a1_in1k?pretrained), and pretrained takes no value"
        )
    return asked


def factory_encoder(address: Address, seed: int) -> NamedEncoder:
    """Call one's own function for an encoder, with weights from a checkpoint if one is named.

    Args:
        seed: Of torch's generator while the function runs: weights that it draws are the same each time.

    Raises:
        UserError: The function makes no encoder, or one whose weights are not finite.
    """
    file, _, function = address.name.rpartition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = made_by(Path(file), function)
    if "weights" in address.options:
        found = load_into(encoder, Path(address.options["weights"]), address.options)
        _say_notes(found)
        basis = _declare(encoder, address.options, f"{Path(file).name}")
        return _of_checkpoint(encoder, found, address.options, "factory", basis)
    tensors = encoder.state_dict()
    refuse_values_that_are_not_finite(tensors, f"{Path(file).name}:{function}")
    untouched = looks_untouched(tensors)
    basis = _declare(encoder, address.options, f"{Path(file).name}")
    count = len(tensors)
    signs = untouched.reasons if untouched.verdict or not tensors else ()
    return NamedEncoder(
        encoder=encoder,
        name=address.options.get("name", f"{Path(file).name}:{function}"),
        method=address.options.get("method", RANDOM if signs else "factory"),
        source="factory",
        sha256=weights_hash(encoder),
        weights=WeightsReference(
            origin=f"{Path(file).name}:{function}",
            layout="one's own code",
            matched=count,
            wanted=count,
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
            preprocessing_basis=basis,
            untrained=signs,
        ),
        untrained=signs,
    )


def checkpoint_encoder(path: Path, options: Mapping[str, str]) -> NamedEncoder:
    """Load a checkpoint from elsewhere: all of the encoder's tensors, or a refusal."""
    encoder, found = load_foreign(path, options)
    _say_notes(found)
    if found.preprocessing_basis.startswith("assumed"):
        name, basis = found.checkpoint.name, found.preprocessing_basis
        say(f"{name}: its input is {basis} (`ssl-bench inspect` says how to declare another)")
    return _of_checkpoint(encoder, found, options, "checkpoint", found.preprocessing_basis)


def _say_notes(found: Foreign) -> None:
    changed = (f"{name}: {words}" for name, words in found.match.reshaped.items())
    for note in (*found.checkpoint.notes, *found.understood.notes, *changed):
        say(f"{found.checkpoint.name}: {note}")


def _of_checkpoint(
    encoder: Encoder, found: Foreign, options: Mapping[str, str], source: EncoderSource, basis: str
) -> NamedEncoder:
    assert found.sha256 is not None
    untouched = looks_untouched(found.tensors)
    signs = untouched.reasons if untouched.verdict else ()
    where = f", {found.understood.where}" if found.understood.where else ""
    return NamedEncoder(
        encoder=encoder,
        name=options.get("name", found.checkpoint.name),
        method=options.get("method", found.understood.layout),
        source=source,
        sha256=found.sha256,
        weights=WeightsReference(
            origin=found.checkpoint.name,
            layout=f"{found.understood.layout_title}{where}",
            matched=len(found.match.matched),
            wanted=found.match.wanted,
            reshaped=dict(found.match.reshaped),
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
            preprocessing_basis=basis,
            untrained=signs,
        ),
        untrained=signs,
    )


def _declare(encoder: Encoder, options: Mapping[str, str], basis: str) -> str:
    """Change an encoder's input as options declare; say what it is then based on."""
    given = [f"{key}={options[key]}" for key in INPUT_OPTIONS if key in options]
    if not given:
        return basis
    encoder.preprocessing = declared_preprocessing(encoder.preprocessing, options)
    return f"declared: {', '.join(given)}; else {basis}"
