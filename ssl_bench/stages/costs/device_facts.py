"""What data sheets say of devices: peak rates, memory, power and links, by name.

These are upper bounds of a vendor's, not rates that a network reaches; `reckoning` multiplies them by a declared
utilisation. Every row names its sheet. None of them could be looked up when this table was written: all figures are
recalled, as its column of sources says, and a row that is found wrong is to be corrected here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssl_bench.errors import unknown

# What this machine has, measured; every other name is a row of the table.
HERE = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True)
class Device:
    """One row of a data sheet.

    Attributes:
        fp32: Peak in fp32 outside of tensor cores, TFLOP/s.
        tf32: Peak of convolutions in fp32, which PyTorch computes in TF32 where a device has it, TFLOP/s.
        bf16: Dense peak under bfloat16 autocast, TFLOP/s; where a device has no bf16 units that of fp32.
        memory_gb: Device memory in 10**9 bytes.
        watts: Board power limit.
        link_gb_s: To a neighbour in the same machine, one direction, 10**9 bytes a second.
        note: What is to be said where a recipe asks for bf16.
    """

    title: str
    fp32: float
    tf32: float
    bf16: float
    memory_gb: float
    watts: float
    link_gb_s: float
    source: str
    note: str = ""

    def peak(self, precision: str, *, convolution: bool) -> float:
        """Peak of one kind of operation in FLOP/s."""
        if precision == "bf16":
            return self.bf16 * 1e12
        return (self.tf32 if convolution else self.fp32) * 1e12


DEVICES: dict[str, Device] = {
    "h200": Device(
        title="H200 SXM",
        fp32=67,
        tf32=494,
        bf16=989,
        memory_gb=141,
        watts=700,
        link_gb_s=450,
        source="NVIDIA H200 data sheet, dense rates, recalled",
    ),
    "h100": Device(
        title="H100 SXM",
        fp32=67,
        tf32=494,
        bf16=989,
        memory_gb=80,
        watts=700,
        link_gb_s=450,
        source="NVIDIA H100 data sheet, dense rates, recalled",
    ),
    "a100": Device(
        title="A100 SXM 80 GB",
        fp32=19.5,
        tf32=156,
        bf16=312,
        memory_gb=80,
        watts=400,
        link_gb_s=300,
        source="NVIDIA A100 data sheet, dense rates, recalled",
    ),
    "v100": Device(
        title="V100 SXM2 32 GB",
        fp32=15.7,
        tf32=15.7,
        bf16=15.7,
        memory_gb=32,
        watts=300,
        link_gb_s=150,
        source="NVIDIA V100 data sheet, recalled",
        note="no bf16 units: its 125 TFLOP/s are of fp16, which no recipe here uses",
    ),
    "rtx4090": Device(
        title="GeForce RTX 4090",
        fp32=82.6,
        tf32=82.6,
        bf16=165,
        memory_gb=24,
        watts=450,
        link_gb_s=32,  # PCIe 4.0 x16
        source="NVIDIA Ada whitepaper, dense rates, recalled",
    ),
    "titan-x": Device(
        title="GTX Titan X (Maxwell)",
        fp32=6.1,
        tf32=6.1,
        bf16=6.1,
        memory_gb=12,
        watts=250,
        link_gb_s=16,  # PCIe 3.0 x16
        source="NVIDIA product page, at base clock, recalled",
        note="no bf16 units: under autocast in emulation, the rate is that of fp32 at best",
    ),
}


def device_named(name: str) -> Device | None:
    """Find a device's data sheet; None where the name stands for this machine's own.

    Raises:
        UserError: The name is unknown; all known ones are listed.
    """
    if name in HERE:
        return None
    if name not in DEVICES:
        raise unknown("device", name, [*HERE, *DEVICES])
    return DEVICES[name]


def recognised(product: str) -> str | None:
    """Name the row of a product as its driver calls it, e.g. "NVIDIA H100 80GB HBM3"; None if there is none."""
    plain = product.lower().replace(" ", "").replace("-", "")
    found = [name for name in DEVICES if name.replace("-", "") in plain]
    if "pcie" in plain or "nvl" in plain:  # other clocks and power limits than the rows have
        return None
    return found[0] if len(found) == 1 else None
