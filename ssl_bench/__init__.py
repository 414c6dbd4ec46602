"""ssl-bench: from self-supervised pretraining to the comparison table of a paper.

The verbs of the command line are functions here: `pretrain`, `transfer`, `table`, `inpaint`, `load_encoder`.
They are imported when first used, so that `import ssl_bench` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_bench.stages.encoders import load_encoder
    from ssl_bench.stages.inpaint import inpaint
    from ssl_bench.stages.pretraining import pretrain
    from ssl_bench.stages.tables import table
    from ssl_bench.stages.transfer import transfer

__version__ = "0.1.0"
__all__ = ["__version__", "inpaint", "load_encoder", "pretrain", "table", "transfer"]

_PLACES = {
    "inpaint": "ssl_bench.stages.inpaint",
    "load_encoder": "ssl_bench.stages.encoders",
    "pretrain": "ssl_bench.stages.pretraining",
    "table": "ssl_bench.stages.tables",
    "transfer": "ssl_bench.stages.transfer",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'ssl_bench' has no attribute {name!r}")
