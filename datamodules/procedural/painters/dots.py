"""Painters who set dots."""

from __future__ import annotations

import numpy as np

from datamodules.procedural.brushes import (
    Floats,
    blur,
    colours,
    luma,
    mix,
    nearest_pigment,
    saturate,
    scatter,
    smoothstep,
    stamp,
)

_TUBES = colours("f4f1e0", "f7d417", "f08a1d", "dd2f3c", "c94f9c", "5b3fa0", "2456c7", "37a9dd", "1e9a55", "9ccb3b",
                 "20224e", "6b3a2a", "8fb4a4")  # fmt: skip
_CANVAS = colours("efe2c2")[0]
_INKS = colours("00b7eb", "ff2d95", "ffe600")
_POP_PAPER = colours("fffaf0")[0]


def stipple(content: Floats, rng: np.random.Generator) -> Floats:
    """Set touching dots of unmixed tube colours on a cream canvas, so that the eye does the mixing."""
    shape = content.shape[:2]
    vivid = saturate(blur(content, 1.0), 1.5) * np.float32(0.84) + np.float32(0.08)
    painting = mix(np.broadcast_to(_CANVAS, content.shape), vivid, 0.35)
    for spacing, radius in ((5.0, 3.1), (4.2, 2.0)):
        spots = scatter(shape, spacing, rng)
        under = np.asarray(spots.at(vivid), np.float32)
        vibration = rng.normal(0, 0.09, under.shape).astype(np.float32)  # neighbouring dots of one tone differ in hue
        tube = _TUBES[nearest_pigment(under + vibration, _TUBES, rng, loose=0.08)]
        dots = stamp(shape, spots, 0.0, radius, radius)
        paint = mix(tube, under, 0.5)[dots.owner]
        painting = np.where(dots.owner[..., None] >= 0, paint, painting)
    drawing = np.clip(1.0 + 0.9 * (luma(content) - blur(luma(content), 4.0)), 0.5, 1.4)  # shows through thin paint
    return blur(painting * drawing[..., None], 0.45)


def halftone(content: Floats, rng: np.random.Generator) -> Floats:
    """Print three loud inks as rotated grids of dots, under a black contour, on white paper."""
    height, width = content.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    soft = saturate(blur(content, 1.5), 1.9)
    painting = np.broadcast_to(_POP_PAPER, content.shape)
    for channel, degrees in enumerate((15.0, 75.0, 0.0)):
        angle = np.deg2rad(degrees)
        start = rng.uniform(0, 2 * np.pi, 2)
        across = np.cos((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / 6.5) + start[0])
        down = np.cos((y * np.cos(angle) - x * np.sin(angle)) * (2 * np.pi / 6.5) + start[1])
        screen = (across + down) / 4 + 0.5  # 1 in the middle of a dot
        coverage = np.clip(1.0 - soft[..., channel], 0.0, 1.0) ** 1.25
        dots = smoothstep(-0.08, 0.08, (coverage * 1.02 - (1.0 - screen)).astype(np.float32))
        painting = painting * mix(np.ones_like(painting), np.broadcast_to(_INKS[channel], content.shape), dots)
    grey = luma(content)
    outline = smoothstep(0.012, 0.05, blur(grey, 3.0) - blur(grey, 1.2))
    shadow = 1 - smoothstep(0.1, 0.2, blur(grey, 2.0))
    ink = np.maximum(outline, shadow)
    tinted = mix(painting, soft, 0.35)
    return mix(tinted, np.broadcast_to(colours("141018")[0], content.shape), ink)
