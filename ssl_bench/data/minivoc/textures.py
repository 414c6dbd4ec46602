"""Banks of noise that give surfaces their grain.

Natural images have amplitude spectra that fall about as one over frequency, and flat colour is what makes
drawn pictures look drawn. The banks are made once a process by shaping white noise in the Fourier domain
(Field, J. Opt. Soc. Am. A 4, 1987: amplitude ~ 1/f); a scene only cuts pieces out of them. They depend on
the generator's version and not on the seed of a data set, so every process has the same ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIZE = 512
"""Period of a bank in pixels, a power of two so that indices can be wrapped with a mask."""

_MARGIN = 384
# name: (spectral slope, stretch along x, stretch along y). A stretch above 1 makes grain longer that way.
_SPECTRA: dict[str, tuple[float, float, float]] = {
    "cloud": (1.9, 1.6, 1.0),
    "soft": (1.5, 1.0, 1.0),
    "earth": (1.0, 1.0, 1.0),
    "grain": (0.55, 1.0, 1.0),
    "fur": (0.7, 2.6, 1.0),
    "grass": (0.8, 1.0, 2.2),
    "ripple": (1.1, 5.0, 1.0),
    "wood": (1.2, 9.0, 1.0),
    "sensor": (0.12, 1.0, 1.0),
}
TEXTURES: tuple[str, ...] = (*_SPECTRA, "weave", "leaf")


def _shaped_noise(rng: Generator, slope: float, along_x: float, along_y: float) -> Floats:
    """White noise filtered to amplitude f**-slope with elliptic frequency, mean 0, deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    fy = np.fft.fftfreq(SIZE)[:, None] * along_y
    fx = np.fft.rfftfreq(SIZE)[None, :] * along_x
    # Below four periods a bank nothing grows any more: a crop should not be one single gradient.
    radius = np.maximum(np.hypot(fx, fy), 4.0 / SIZE)
    noise = np.fft.irfft2(spectrum * radius**-slope, s=(SIZE, SIZE))
    noise -= noise.mean()
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _weave(noise: Floats) -> Floats:
    """Crossing threads, with a little unevenness."""
    wave = np.tile(np.array([0.0, 1.0, 0.0, -1.0], dtype=np.float32), SIZE // 4)
    threads = wave[None, :] + wave[:, None]
    return np.asarray(0.6 * threads + 0.6 * noise, dtype=np.float32)


def fading(distance: Floats) -> Floats:
    """exp(-distance), rounded from double precision.

    NumPy's single-precision exponential differs in its last bit between processors, and one bit here is
    another fingerprint of the data set there.
    """
    return np.exp(-distance.astype(np.float64)).astype(np.float32)


@cache
def bank(name: str) -> Floats:
    """One bank, (SIZE + margin) squared, mean about 0, deviation about 1, periodic with SIZE."""
    if name == "weave":
        tile = _weave(bank("soft")[:SIZE, :SIZE])
    elif name == "leaf":
        # Clumps of leaves: noise folded at zero has bright blobs between dark gaps.
        folded = np.abs(bank("earth")[:SIZE, :SIZE])
        tile = np.asarray((folded - folded.mean()) / folded.std(), dtype=np.float32)
    else:
        rng = np.random.Generator(np.random.Philox(list(_SPECTRA).index(name) + 7_001))
        tile = _shaped_noise(rng, *_SPECTRA[name])
    tile = np.clip(tile, -3.0, 3.0)
    return np.pad(tile, ((0, _MARGIN), (0, _MARGIN)), mode="wrap")


def warm_up() -> None:
    """Make all banks now, so that forked workers share them."""
    for name in TEXTURES:
        bank(name)


def crop(name: str, rng: Generator, height: int, width: int, *, zoom: int = 1) -> Floats:
    """A random (height, width) piece of a bank; zoom > 1 makes its grain that many times coarser."""
    rows, columns = -(-height // zoom), -(-width // zoom)
    assert max(rows, columns) <= _MARGIN, (height, width, zoom)
    top, left = rng.integers(0, SIZE, 2)
    piece = bank(name)[top : top + rows, left : left + columns]
    if zoom > 1:
        piece = piece.repeat(zoom, axis=0).repeat(zoom, axis=1)[:height, :width]
    return piece


def line(rng: Generator, length: int, *, roughness: float = 1.0) -> Floats:
    """A one-dimensional profile (length,), mean 0, deviation about 1: skylines, shores, tree tops."""
    name = "cloud" if roughness < 1 else "earth"
    row, left = rng.integers(0, SIZE, 2)
    return bank(name)[row, left : left + length].copy()
