"""Painters who divide the canvas into cells."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import Delaunay

from datamodules.procedural.brushes import (
    Floats,
    Ints,
    blur,
    cell_means,
    colours,
    luma,
    mix,
    nearest_pigment,
    noise,
    orientation,
    ramp,
    saturate,
    scatter,
    smoothstep,
    voronoi,
)

_JEWELS = colours(
    "d3122f", "f28c0f", "f7c51e", "1c9a4b", "0fa3a3", "1546c9", "6a1fb0", "cfe6ee", "f3e2b0", "7a1030", "10245f"
)
_LEAD = colours("0c0b10")[0]
_DUSK = colours("2a0f4a", "7a1f80", "d23f86", "f98a7c", "ffd39a", "fff6dc")
_PRIMARIES = colours("15151a", "1d3fa6", "d7261e", "8f9398", "f6cf1b", "f7f5ee")
_PRIMARY_LUMA = np.array([0.10, 0.24, 0.40, 0.56, 0.76, 0.95], np.float32)


def stained_glass(content: Floats, rng: np.random.Generator) -> Floats:
    """Set glowing jewel glass between strips of lead."""
    shape = content.shape[:2]
    cells = voronoi(shape, 10.0, rng)
    means = cell_means(content, cells.owner)
    jewel = _JEWELS[nearest_pigment(saturate(means, 2.2), _JEWELS, rng, loose=0.12)]
    light = 0.3 * luma(means)[cells.owner] + 0.7 * luma(blur(content, 0.7))  # grisaille: shadows painted on the panes
    glow = (0.3 + 1.15 * light) * (1.1 - 0.03 * cells.centre) + 0.04 * noise(shape, 5, rng)
    pane = jewel[cells.owner] * glow[..., None] + (0.1 * light)[..., None]
    lead = np.float32(0.85) * (1.0 - smoothstep(0.5, 1.1, cells.border))
    return mix(pane.astype(np.float32), np.broadcast_to(_LEAD, content.shape), lead)


def _triangles(grey: Floats, spacing: float, rng: np.random.Generator) -> Ints:
    """Number the pixels by triangle; the corners are pulled to edges, so that triangles do not straddle them."""
    height, width = grey.shape
    strength = orientation(grey, 0.8).strength + np.float32(1e-4)
    spots = scatter((height, width), spacing, rng)
    best_y, best_x, best = spots.y, spots.x, np.full(len(spots.y), -1.0)
    for dy, dx in rng.uniform(-0.45 * spacing, 0.45 * spacing, (16, 2)):
        moved = spots._replace(y=spots.y + np.float32(dy), x=spots.x + np.float32(dx))
        found = np.asarray(moved.at(strength), np.float64)
        better = found > best
        best_y, best_x = np.where(better, moved.y, best_y), np.where(better, moved.x, best_x)
        best = np.where(better, found, best)
    corners = np.array([[-40, -40], [-40, width + 40], [height + 40, -40], [height + 40, width + 40]], np.float64)
    points = np.concatenate([np.stack([best_y, best_x], -1).astype(np.float64), corners])
    canvas = Image.new("I", (width, height))
    pen = ImageDraw.Draw(canvas)
    for number, corner in enumerate(points[Delaunay(points).simplices][:, :, ::-1].reshape(-1, 6).tolist()):
        pen.polygon(corner, fill=number)
    return np.asarray(canvas).astype(np.int64)


def low_poly(content: Floats, rng: np.random.Generator) -> Floats:
    """Fold the picture from flat triangles in the colours of dusk, violet to peach."""
    index = _triangles(luma(content), 10.0, rng)
    means = cell_means(content, index)
    facet = rng.normal(0, 0.05, len(means)).astype(np.float32)  # neighbouring facets catch the light differently
    light = np.clip(luma(means) * 0.95 + 0.03 + facet, 0, 1)
    colour = mix(ramp(light, _DUSK), saturate(means, 1.4), 0.15)
    return colour[index]


def _quadtree(grey: Floats, rng: np.random.Generator) -> Ints:
    """Number the pixels by block: 8 px, merged into 16 and 32 where the picture is calm, on a shifted grid."""
    height, width = grey.shape
    shift_y, shift_x = rng.integers(0, 32, 2)
    y, x = np.arange(height)[:, None] + shift_y, np.arange(width)[None] + shift_x
    across = (width + 31) // 8 + 8
    index = (y // 8) * across + x // 8
    for side, limit in ((16, 0.07), (32, 0.045)):
        block = (y // side) * across + x // side
        area = np.maximum(np.bincount(block.ravel()), 1)
        mean = np.bincount(block.ravel(), weights=grey.ravel()) / area
        spread = np.bincount(block.ravel(), weights=(grey.astype(np.float64) ** 2).ravel()) / area - mean**2
        chance = rng.uniform(0.6, 1.3, len(area))
        calm = np.sqrt(np.maximum(spread, 0)) < limit * chance
        index = np.where(calm[block], -((block + 1) * 64 + side), index)
    _, numbers = np.unique(index, return_inverse=True)
    return numbers.reshape(height, width)


def rectangles(content: Floats, rng: np.random.Generator) -> Floats:
    """Rule black lines round rectangles of primary colours, white and grey."""
    grey = luma(content)
    index = _quadtree(grey, rng)
    means = cell_means(saturate(content, 1.5), index)
    light = luma(means)
    tone = np.abs(light[:, None] - _PRIMARY_LUMA) * 1.6
    hue = ((means[:, None] - light[:, None, None]) - (_PRIMARIES - _PRIMARY_LUMA[:, None])) ** 2
    choice = (tone**2 * 2 + hue.sum(-1) * 0.25 + rng.uniform(0, 0.05, tone.shape)).argmin(-1)
    plane = _PRIMARIES[choice][index] * (1.0 + 0.012 * noise(grey.shape, 2, rng))[..., None]
    edge = np.zeros(grey.shape, bool)
    edge[1:] |= index[1:] != index[:-1]
    edge[:, 1:] |= index[:, 1:] != index[:, :-1]
    line = edge.copy()
    line[:-1] |= edge[1:]
    line[:, :-1] |= edge[:, 1:]
    modelled = plane * (0.55 + 0.6 * blur(grey, 0.7) / np.maximum(light[index], 0.2))[..., None]
    return mix(modelled.astype(np.float32), np.broadcast_to(_LEAD, content.shape), np.float32(0.85) * line)
