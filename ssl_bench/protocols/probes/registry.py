"""Which probe stands behind each kind of settings."""

from __future__ import annotations

from ssl_bench.probe_schemas import (
    LogisticSettings,
    LowShotSettings,
    NeighboursSettings,
    ProbeProtocol,
    SvmSettings,
)
from ssl_bench.protocols.probes.contract import Probe
from ssl_bench.protocols.probes.logistic import LogisticProbe
from ssl_bench.protocols.probes.low_shot import LowShotProbe
from ssl_bench.protocols.probes.neighbours import NeighboursProbe
from ssl_bench.protocols.probes.svm import SvmProbe


def probe_of(protocol: ProbeProtocol, *, several_classes: bool) -> Probe:
    """Make a protocol's probe.

    Args:
        several_classes: Whether an image of the data may have several classes, or none.
    """
    settings = protocol.settings
    if isinstance(settings, SvmSettings):
        return SvmProbe(settings)
    if isinstance(settings, LowShotSettings):
        return LowShotProbe(settings)
    if isinstance(settings, LogisticSettings):
        return LogisticProbe(settings, several_classes=several_classes)
    assert isinstance(settings, NeighboursSettings)
    return NeighboursProbe(settings, several_classes=several_classes)
