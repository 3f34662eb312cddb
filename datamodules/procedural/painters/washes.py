"""Painters who wash and who cut paper."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from datamodules.procedural.brushes import Floats, blur, colours, luma, mix, noise, saturate, smoothstep

_SHEETS = colours("0d3b33", "1f7a5c", "7fb069", "f2e3a0", "fff9e3")
_CORAL = colours("f2644b")[0]


def _warp(image: Floats, reach: float, scale: float, rng: np.random.Generator) -> Floats:
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rows = np.clip(y + noise((height, width), scale, rng) * reach, 0, height - 1).astype(np.int64)
    columns = np.clip(x + noise((height, width), scale, rng) * reach, 0, width - 1).astype(np.int64)
    warped: Floats = image[rows, columns]
    return warped


def watercolour(content: Floats, rng: np.random.Generator) -> Floats:
    """Let pale washes bleed on white, grained paper: pigment gathers at the rim of every wash."""
    shape = content.shape[:2]
    wet = blur(_warp(content, 1.8, 7, rng), 1.6)
    tint = saturate(np.clip(wet * 0.6 + 0.4, 0, 1), 2.1)
    grey = luma(wet)
    pigment = np.zeros(shape, np.float32)
    for level in (0.2, 0.4, 0.6, 0.8):
        rim = (grey + 0.03 * noise(shape, 9, rng) - level).astype(np.float32)
        wash = smoothstep(-0.015, 0.015, -rim)
        pigment += 0.15 * wash + 0.30 * wash * np.exp(-np.clip(-rim, 0, None) / np.float32(0.035))
    bloom = 1.0 + 0.16 * noise(shape, 16, rng, octaves=2)
    grain = noise(shape, 2, rng) * 0.6 + noise(shape, 4, rng) * 0.4
    density = np.clip(pigment * bloom * (1.0 + 0.16 * grain), 0.0, 1.6)
    transmitted = np.clip(tint, 0.05, 1.0) ** (0.25 + 1.35 * density[..., None])
    return transmitted * (0.985 + 0.018 * grain)[..., None]


def paper_cut(content: Floats, rng: np.random.Generator) -> Floats:
    """Stack sheets of green and cream paper, coral where the picture is warm, each casting a shadow on the next."""
    shape = content.shape[:2]
    soft = blur(content, 1.7)
    grey = luma(soft) + 0.02 * noise(shape, 12, rng)
    warmth = soft[..., 0] - 0.5 * (soft[..., 1] + soft[..., 2])
    painting = np.broadcast_to(_SHEETS[0], content.shape)
    for number, level in enumerate((0.2, 0.4, 0.6, 0.8), start=1):
        sheet = (smoothstep(-0.012, 0.012, (grey - level).astype(np.float32))).astype(np.float32)
        shadow = np.clip(blur(np.roll(sheet, (3, 3), (0, 1)), 1.6) - sheet, 0, 1)
        painting = painting * (1.0 - 0.65 * shadow[..., None])
        painting = mix(painting, np.broadcast_to(_SHEETS[number], content.shape), sheet)
        if number == 2:
            warm = sheet * smoothstep(0.10, 0.16, (warmth + 0.02 * noise(shape, 12, rng)).astype(np.float32))
            painting = mix(painting, np.broadcast_to(_CORAL, content.shape), warm)
    fibre = ndimage.uniform_filter1d(rng.standard_normal(shape).astype(np.float32), 7, axis=1)
    textured: Floats = painting * (1.0 + 0.10 * fibre)[..., None]
    return textured
