"""What a reckoned cost consists of: figures with their origins, the rate of a network, and on what it is to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ssl_bench.stages.costs.device_facts import Device

Unit = Literal["images/s", "s", "bytes", "Wh", "cores", "MB/s", "FLOP", "share", "epochs"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number or range, with its origin."""

    name: str
    low: float
    high: float
    unit: Unit
    origin: str

    def as_json(self) -> dict[str, Any]:
        """All of it, by name."""
        return {
            "name": self.name,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "origin": self.origin,
        }


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Images a second that one process's network learns from by itself, and where that comes from.

    `by_calls`: it is reckoned to be bound by the calls that a host can make, and not by what they compute.
    """

    low: float
    high: float
    origin: str
    measured: bool
    by_calls: bool = False


@dataclass(frozen=True, kw_only=True)
class Setting:
    """On what a recipe is to run; None where it is not known.

    Attributes:
        device: Its name, as asked for.
        sheet: Its data sheet.
        cores: That decode, for each process.
        shares_cores: The network computes on the same cores.
        watts: Of each device.
        base_mb: Of an interpreter with all libraries.
    """

    device: str
    sheet: Device | None
    processes: int
    cores: int | None
    shares_cores: bool
    disk_mb_s: float
    link_gb_s: float
    watts: float | None
    base_mb: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Figures by section, what binds, and what to change."""

    recipe: str
    hash: str
    device: str
    processes: int
    title: str
    sections: dict[str, list[Figure]]
    binds: str
    advice: list[str] = field(default_factory=list)


def exact(name: str, value: float, unit: Unit, origin: str) -> Figure:
    """A figure that is one number."""
    return Figure(name=name, low=value, high=value, unit=unit, origin=origin)
