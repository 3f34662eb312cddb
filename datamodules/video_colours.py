"""Colours of a wide gamut or of high dynamic range, as phones film them, brought to those of BT.709."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # PyAV takes a while to load, and only videos need it
    from av.video.frame import VideoFrame

BT709 = 1  # as colour matrix, primaries and transfer function alike; these and all below: numbers of ISO/IEC 23091-2
BT2020 = 9
UNNAMED = (0, 2, 3)  # colours that a file leaves open: reserved, unspecified, reserved
# Colours that players show alike, or nearly: primaries of BT.709 and BT.601, and the transfer functions of SDR.
_USUAL_PRIMARIES = (BT709, 5, 6, 7)
_USUAL_TRANSFERS = (BT709, 4, 5, 6, 7, 11, 12, 13, 14, 15)
_LINEAR, _SRGB, _PQ, _HLG = 8, 13, 16, 18
# Where red, green and blue lie in the plane of chromaticities; white is D65 but for cinema's P3.
_CHROMATICITIES = {
    BT709: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060),
    BT2020: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_WHITE = (0.3127, 0.3290)
_WHITE_LIGHT = 203.0  # cd/m2 of a sheet of paper in HDR, BT.2408
_PEAK_LIGHT = 1000.0  # cd/m2 of the screen that HLG is graded on
_KNEE = 0.75  # share of white from where on highlights are squeezed


def is_foreign(frame: VideoFrame) -> bool:
    """Tell whether a frame has to be converted."""
    return (frame.color_primaries not in (*_USUAL_PRIMARIES, *UNNAMED)) or (
        frame.color_trc not in (*_USUAL_TRANSFERS, *UNNAMED)
    )


def tags(frame: VideoFrame) -> tuple[int, int]:
    """Return primaries and transfer function of what a frame is read as."""
    return (
        frame.color_primaries if frame.color_primaries in _USUAL_PRIMARIES else BT709,
        frame.color_trc if frame.color_trc in _USUAL_TRANSFERS else BT709,
    )


def to_bt709(values: NDArray[np.uint16], primaries: int, transfer: int) -> NDArray[np.uint8]:
    r"""Convert colours, and squeeze what is brighter than white.

    With light $c$ in units of white, $m = \max_i c_i$ and the knee $k$: $c \mapsto c\,f(m)/m$, where $f(m) = m$ up to
    $k$ and $1 - (1 - k)\,e^{-(m - k)/(1 - k)}$ above, for high dynamic range; else $c$ is clipped.

    Args:
        values: ``(H, W, 3)``, RGB of 16 bits.
        primaries: Of the values.
        transfer: Function from light to the values.

    Returns:
        ``(H, W, 3)``, RGB, in the same transfer function where that is one of SDR, else in BT.709's.

    Source: ITU-R BT.2100 (PQ, HLG), BT.2408 (203 cd/m2 for white), BT.1886 (2.4 for BT.709).
    """
    light = _light_of(transfer)[values] @ _matrix(primaries)
    light = np.maximum(light, 0)
    if transfer in (_PQ, _HLG):
        strongest = light.max(-1, keepdims=True)
        squeezed = 1 - (1 - _KNEE) * np.exp((_KNEE - np.maximum(strongest, _KNEE)) / (1 - _KNEE))
        light *= np.where(strongest > _KNEE, squeezed / np.maximum(strongest, _KNEE), 1)
    shares = (np.minimum(light, 1) * 65535 + 0.5).astype(np.uint16)
    converted: NDArray[np.uint8] = _values_of(transfer if transfer in _USUAL_TRANSFERS else BT709)[shares]
    return converted


@lru_cache(maxsize=8)
def _light_of(transfer: int) -> NDArray[np.float32]:
    """Return the light, in units of white, of all 65536 values."""
    values = np.arange(65536) / 65535
    if transfer == _PQ:
        power = values ** (32 / 2523)
        light = (np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (8192 / 1305)
        light *= 10000 / _WHITE_LIGHT
    elif transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
        light = scene**1.2 * _PEAK_LIGHT / _WHITE_LIGHT
    elif transfer == _LINEAR:
        light = values
    elif transfer == _SRGB:
        light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    else:
        light = values**2.4
    return light.astype(np.float32)


@lru_cache(maxsize=8)
def _values_of(transfer: int) -> NDArray[np.uint8]:
    """Return the values, 0 to 255, of 65536 shares of white."""
    shares = np.arange(65536) / 65535
    if transfer == _SRGB:
        values = np.where(shares <= 0.0031308, 12.92 * shares, 1.055 * shares ** (1 / 2.4) - 0.055)
    else:
        values = shares ** (1 / 2.4)
    return (values * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=8)
def _matrix(primaries: int) -> NDArray[np.float32]:
    """Return the matrix from rows of light in some primaries to rows in BT.709's; unknown ones are taken for those."""
    own = _CHROMATICITIES.get(primaries, _CHROMATICITIES[BT709])
    return (_to_xyz(own) @ np.linalg.inv(_to_xyz(_CHROMATICITIES[BT709]))).astype(np.float32)


def _to_xyz(chromaticities: tuple[float, ...]) -> NDArray[np.float64]:
    pairs = np.array([*chromaticities, *_WHITE]).reshape(4, 2)
    rows = np.stack([pairs[:, 0] / pairs[:, 1], np.ones(4), (1 - pairs.sum(1)) / pairs[:, 1]], 1)
    strengths: NDArray[np.float64] = np.linalg.solve(rows[:3].T, rows[3])
    xyz: NDArray[np.float64] = strengths[:, None] * rows[:3]
    return xyz
