"""Networks of the libraries with the weights that the libraries offer for them, and with the input they expect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ssl_bench.encoders.contract import Encoder, Preprocessing
from ssl_bench.encoders.registry import build_encoder
from ssl_bench.errors import UserError, unknown


def pretrained_encoder(
    kind: str, name: str, *, pretrained: bool | str, options: Mapping[str, Any] | None = None
) -> tuple[Encoder, dict[str, str]]:
    """Build a library's network, with its weights if they are wanted: from the library's cache or from the network.

    Args:
        kind: timm, torchvision or hf-hub.
        name: The library's name of the network; for hf-hub ORG/NAME.
        pretrained: Whether to load weights; for torchvision also which, e.g. IMAGENET1K_V2. "" and "false" mean no.
        options: Of the network.

    Returns:
        The encoder, and what it is in words: `weights`, `preprocessing_basis`.

    Raises:
        UserError: There is no such network or are no such weights, or they could not be fetched.
    """
    asked = str(pretrained) if pretrained not in (False, "", "false", "False") else ""
    if kind == "torchvision":
        return _of_torchvision(name, asked, options or {})
    if kind == "timm":
        return _of_timm(name, bool(asked), options or {})
    if kind == "hf-hub":
        return _of_hub(name, bool(asked), options or {})
    raise unknown("library", kind, ("timm", "torchvision", "hf-hub"))


def _of_timm(name: str, asked: bool, options: Mapping[str, Any]) -> tuple[Encoder, dict[str, str]]:
    where = f"timm:{name}"
    import timm

    from ssl_bench.encoders.timm_support import preprocessing_of

    encoder = build_encoder({"name": where, **options})
    if not asked:
        return encoder, {"weights": "", "preprocessing_basis": "timm's settings of this network"}
    network = _fetched(
        lambda: timm.create_model(name, pretrained=True, num_classes=0, **options), where, _file_of_timm(name)
    )
    encoder.load_state_dict(network.state_dict(), strict=True)
    encoder.preprocessing, _ = preprocessing_of(network, options, None)
    tag = getattr(network, "pretrained_cfg", {}).get("tag")
    named = name if "." in name or not tag else f"{name}.{tag}"
    return encoder, {"weights": f"timm {named}", "preprocessing_basis": f"timm's settings of {named}"}


def _of_hub(name: str, asked: bool, options: Mapping[str, Any]) -> tuple[Encoder, dict[str, str]]:
    """A model of the Hugging Face hub that timm can read: config.json tells the network, its options and its input."""
    import timm
    from timm.models import load_model_config_from_hf

    from ssl_bench.encoders.timm_support import preprocessing_of

    where = f"hf-hub:{name}"
    _, network_name, own_options = _fetched(
        lambda: load_model_config_from_hf(name), where, f"config.json of {name}"
    )
    if not timm.is_model(network_name):
        raise UserError(f"{where}: its config.json names {network_name!r}, which timm does not have")
    chosen = {**(own_options or {}), **options}
    encoder = build_encoder({"name": f"timm:{network_name}", **chosen})
    basis = f"config.json of {name}"
    network = _fetched(
        lambda: timm.create_model(where, pretrained=asked, num_classes=0, **options),
        where,
        f"the weights of {name}",
    )
    encoder.preprocessing, _ = preprocessing_of(network, chosen, None)
    if asked:
        encoder.load_state_dict(network.state_dict(), strict=True)
    return encoder, {"weights": where if asked else "", "preprocessing_basis": basis}


def _of_torchvision(name: str, asked: str, options: Mapping[str, Any]) -> tuple[Encoder, dict[str, str]]:
    from torchvision import models

    encoder = build_encoder({"name": f"torchvision:{name}", **options})
    if not asked:
        return encoder, {"weights": "", "preprocessing_basis": "torchvision's usual input, ImageNet's"}
    known = models.get_model_weights(name)
    which = "DEFAULT" if asked.lower() == "true" else asked
    if which not in known.__members__:
        raise unknown(f"weights of torchvision's {name}", which, known.__members__)
    weights = known[which]
    stored = _fetched(
        lambda: weights.get_state_dict(progress=False, check_hash=True), f"torchvision:{name}", weights.url
    )
    wanted = encoder.state_dict()
    heads = ("classifier.", "head.", "fc.")
    encoder.load_state_dict(
        {key: value for key, value in stored.items() if key in wanted or not key.startswith(heads)},
        strict=True,
    )
    encoder.preprocessing = _of_transforms(weights.transforms())
    named = f"torchvision {name} {weights.name}"
    return encoder, {"weights": named, "preprocessing_basis": f"torchvision's transforms of {weights.name}"}


def _of_transforms(transforms: Any) -> Preprocessing:
    """Read what torchvision's own evaluation does to an image."""
    how = transforms.interpolation.value
    return Preprocessing(
        size=transforms.crop_size[0],
        interpolation=how if how in ("bilinear", "bicubic") else "bicubic",
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        channels="RGB",
        value_range=1,
    )


def _file_of_timm(name: str) -> str:
    """Say where timm has a network's weights from.

    Raises:
        UserError: It has none.
    """
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise UserError(f"timm:{name}: timm offers no weights of this network")
    return f"model.safetensors of {config.hf_hub_id}" if config.hf_hub_id else str(config.url)


def _fetched(fetch: Callable[[], Any], where: str, file: str) -> Any:
    """Fetch something; say which file it was and how to do without where that fails."""
    try:
        return fetch()
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{where}: {file} could not be fetched and is in no cache ({type(error).__name__}: {reason}). Without a "
            f"network, bring the file here and name it: --encoder PATH/TO/FILE?as={_as(where)}"
        ) from error


def _as(where: str) -> str:
    return where if not where.startswith("hf-hub:") else "timm:NETWORK"
