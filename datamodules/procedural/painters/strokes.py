"""Painters who pull a brush or a stick of chalk."""

from __future__ import annotations

import numpy as np

from datamodules.procedural.brushes import (
    Floats,
    Spots,
    blur,
    colours,
    luma,
    mix,
    noise,
    orientation,
    ramp,
    relief,
    saturate,
    scatter,
    smoothstep,
    stamp,
)

_EARTHS = colours("1c0f0a", "5a2c14", "a4571e", "d9962f", "f3cf76", "fff3d0")
_NIGHT = colours("050a2a", "0f2a6b", "1f5bb0", "6fb1cf", "efc94f", "fff2a8")
_SLATE = colours("1b2622")[0]


def oil(content: Floats, rng: np.random.Generator) -> Floats:
    """Lay thick bristle strokes of warm earths along the edges, lit from the upper left."""
    shape = content.shape[:2]
    grey = luma(content)
    flow = orientation(grey, 3.0)
    drift = noise(shape, 50, rng) * np.float32(0.8) + np.float32(0.6)  # where the picture has no direction of its own
    angle = np.where(flow.strength > 0.012, flow.angle, drift)
    warm = mix(ramp(grey * 0.94 + 0.04, _EARTHS), saturate(content, 1.3), 0.22)
    painting, surface = blur(warm, 2.0), np.zeros(shape, np.float32)
    for spacing, length, width, threshold in ((6.0, 10.0, 3.8, -1.0), (4.6, 6.0, 2.0, 0.022)):
        spots = scatter(shape, spacing, rng)
        kept = np.asarray(spots.at(flow.strength)) > threshold
        spots = Spots(spots.y[kept], spots.x[kept])
        if not kept.any():
            continue
        tilt = np.asarray(spots.at(angle), np.float32) + rng.normal(0, 0.15, len(spots.x)).astype(np.float32)
        strokes = stamp(shape, spots, tilt, length, width)
        covered = strokes.owner >= 0
        load = rng.normal(0, 0.055, (len(spots.x), 1)).astype(np.float32)
        paint = (np.asarray(spots.at(warm), np.float32) + load)[strokes.owner]
        groove = rng.uniform(0, 6.28, len(spots.x)).astype(np.float32)[strokes.owner]
        bristles = np.cos(strokes.across * width * 2.4 + groove) * 0.22 + (1 - strokes.across**2) * 0.8
        painting = np.where(covered[..., None], paint, painting)
        surface = np.where(covered, bristles - 0.15 * strokes.along, surface).astype(np.float32)
    drawing = np.clip(1.0 + 0.8 * (grey - blur(grey, 4.0)), 0.6, 1.3)
    return painting * (drawing * relief(blur(surface, 0.6), 0.32))[..., None]


def swirl(content: Floats, rng: np.random.Generator) -> Floats:
    """Comb the picture into swirling ribbons of night blue and gold."""
    shape = content.shape[:2]
    height, width = shape
    grey = luma(content)
    angle = noise(shape, 34, rng) * np.float32(2.4)
    step_y, step_x = np.sin(angle) * np.float32(1.3), np.cos(angle) * np.float32(1.3)
    grain = blur(rng.standard_normal(shape).astype(np.float32), 1.25)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    ribbons, tone = grain.copy(), grey.copy()
    for sign in (-1.0, 1.0):
        y, x = rows.copy(), columns.copy()
        for walked in range(8):
            at = np.clip(y, 0, height - 1).astype(np.int64) * width + np.clip(x, 0, width - 1).astype(np.int64)
            y += step_y.ravel()[at] * np.float32(sign)
            x += step_x.ravel()[at] * np.float32(sign)
            ribbons += grain.ravel()[at]
            if walked < 4:
                tone += grey.ravel()[at]
    tone /= 9
    ribbons = np.tanh(ribbons / (ribbons.std() + np.float32(1e-6)) * np.float32(1.2))
    value = np.clip(0.06 + 0.86 * (0.45 * grey + 0.55 * tone) + 0.14 * ribbons, 0.0, 1.0)
    painting = mix(ramp(value.astype(np.float32), _NIGHT), saturate(content, 1.2), 0.08)
    return painting * relief(blur(ribbons, 0.5), 0.16)[..., None]


def chalk(content: Floats, rng: np.random.Generator) -> Floats:
    """Rub bright chalk in parallel diagonal strokes over rough, dark slate that shows through the shadows."""
    shape = content.shape[:2]
    grey = luma(content)
    light = np.clip(grey * 1.4 - blur(grey, 7.0) * 0.4, 0.0, 1.0)
    pull = np.arange(-9, 10)  # up to the right, a little flatter than the diagonal
    coarse = rng.standard_normal((*shape, 2)).astype(np.float32)
    streak = np.zeros_like(coarse)
    for step in pull:
        streak += np.roll(coarse, (round(-0.8 * step), step), (0, 1))
    streak = blur(streak, 0.8)
    streak /= streak.std() + np.float32(1e-6)
    tooth = noise(shape, 2, rng)
    pastel = saturate(np.clip(blur(content, 0.9) * 0.7 + 0.32, 0.0, 1.0), 1.9)
    paint = pastel * (1.0 + 0.10 * streak[..., 1])[..., None]
    held = smoothstep(-0.30, 0.30, (light * 1.35 - 0.58 + 0.32 * streak[..., 0] + 0.13 * tooth).astype(np.float32))
    slate = np.broadcast_to(_SLATE, content.shape) * (0.55 + 1.1 * light + 0.12 * tooth)[..., None]
    return mix(slate.astype(np.float32), paint.astype(np.float32), held * np.float32(0.9))
