"""What every painter has in the studio: noise, colour ramps, orientation fields, stamped strokes and jittered cells."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Floats = npt.NDArray[np.floating[Any]]  # float32 in and out of every painter
Ints = npt.NDArray[np.int64]


def luma(image: Floats) -> Floats:
    """Return Rec. 601 luma ``(H, W)`` in [0, 1] of an ``(H, W, 3)`` image in [0, 1]."""
    grey: Floats = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey


def blur(image: Floats, sigma: float) -> Floats:
    """Blur over space, never over channels, with a Gaussian of ``sigma`` pixels."""
    sigmas = (sigma, sigma) + (0.0,) * (image.ndim - 2)
    blurred: Floats = ndimage.gaussian_filter(image, sigmas, mode="nearest", truncate=2.5)
    return blurred


def saturate(image: Floats, factor: float) -> Floats:
    """Scale the distance of every colour from its grey by ``factor``; the result is clipped to [0, 1]."""
    grey = luma(image)[..., None]
    vivid: Floats = np.clip(grey + factor * (image - grey), 0.0, 1.0).astype(np.float32)
    return vivid


def mix(a: Floats, b: Floats, weight: Floats | float) -> Floats:
    """Return ``a`` where ``weight`` is 0 and ``b`` where it is 1; an ``(H, W)`` weight spreads over the channels."""
    if isinstance(weight, np.ndarray):
        weight = weight[..., None]
    return (a + (b - a) * weight).astype(np.float32)


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``: a threshold without jagged edges."""
    t: Floats = np.clip((value - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def colours(*hexes: str) -> Floats:
    """Return an ``(N, 3)`` palette in [0, 1] of colours written like ``"ff8800"``."""
    return np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in hexes], np.float32) / 255.0


def ramp(value: Floats, palette: Floats) -> Floats:
    """Map ``value`` in [0, 1], any shape, through equally spaced colours ``(N, 3)``; adds a channel axis."""
    position = np.clip(value, 0.0, 1.0) * (len(palette) - 1)
    lower = np.minimum(position.astype(np.int64), len(palette) - 2)
    steps = np.diff(palette, axis=0)
    return (palette[lower] + steps[lower] * (position - lower).astype(np.float32)[..., None]).astype(np.float32)


def nearest_pigment(image: Floats, palette: Floats, rng: np.random.Generator | None = None, loose: float = 0.0) -> Ints:
    """Return the index of the closest palette colour; ``loose`` adds that much random distance to each choice."""
    distance = ((image[..., None, :] - palette) ** 2).sum(-1)
    if rng is not None and loose > 0:
        distance = distance + loose * rng.random(distance.shape, np.float32)
    nearest: Ints = distance.argmin(-1)
    return nearest


def noise(shape: tuple[int, int], scale: float, rng: np.random.Generator, octaves: int = 1) -> Floats:
    """Return smooth noise ``(H, W)`` of zero mean and roughly unit deviation, with features of ``scale`` pixels."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        cell = max(scale / 2**octave, 1.0)
        grid = rng.standard_normal((int(height / cell) + 3, int(width / cell) + 3)).astype(np.float32)
        box = (0.5, 0.5, 0.5 + width / cell, 0.5 + height / cell)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box)
        total += np.asarray(layer) * 0.5**octave
        power += 0.25**octave
    return total * np.float32(1.5 / power**0.5)  # interpolation shrinks the deviation by about a third


class Orientation(NamedTuple):
    """Where the picture's edges run.

    Attributes:
        angle: ``(H, W)``, radians, direction along the edge (perpendicular to the gradient).
        strength: ``(H, W)``, smoothed gradient magnitude in luma per pixel.
    """

    angle: Floats
    strength: Floats


def orientation(grey: Floats, sigma: float) -> Orientation:
    """Return the smoothed structure tensor's tangent direction and strength for luma ``(H, W)``."""
    smooth = blur(grey, 1.0)
    gy: Floats = np.gradient(smooth, axis=0)
    gx: Floats = np.gradient(smooth, axis=1)
    xx, xy, yy = blur(gx * gx, sigma), blur(gx * gy, sigma), blur(gy * gy, sigma)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.float32(np.pi / 2)
    return Orientation(angle.astype(np.float32), np.sqrt(xx + yy).astype(np.float32))


class Spots(NamedTuple):
    """Jittered positions on the canvas, in random order: ``y`` and ``x`` are ``(N,)`` floats in pixels."""

    y: Floats
    x: Floats

    def at(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the image's values under the spots."""
        height, width = image.shape[:2]
        rows = np.clip(self.y, 0, height - 1).astype(np.int64)
        columns = np.clip(self.x, 0, width - 1).astype(np.int64)
        picked: npt.NDArray[np.generic] = image[rows, columns]
        return picked


def scatter(shape: tuple[int, int], spacing: float, rng: np.random.Generator) -> Spots:
    """Cover the canvas with one jittered spot for every ``spacing`` x ``spacing`` pixels, shuffled."""
    ys, xs = np.meshgrid(np.arange(-spacing / 2, shape[0] + spacing, spacing),
                         np.arange(-spacing / 2, shape[1] + spacing, spacing), indexing="ij")  # fmt: skip
    order = rng.permutation(ys.size)
    jitter = rng.uniform(-0.5, 0.5, (2, ys.size)) * spacing
    return Spots((ys.ravel() + jitter[0])[order].astype(np.float32), (xs.ravel() + jitter[1])[order].astype(np.float32))


class Strokes(NamedTuple):
    """Which stroke lies on top of each pixel.

    Attributes:
        owner: ``(H, W)``, number of the topmost stroke, -1 where the ground shows.
        along: ``(H, W)``, position along that stroke in [-1, 1]; meaningless where ``owner`` is -1.
        across: ``(H, W)``, position across that stroke in [-1, 1]; the same.
    """

    owner: Ints
    along: Floats
    across: Floats


def stamp(shape: tuple[int, int], spots: Spots, angle: Floats | float, length: float, width: float) -> Strokes:
    """Lay elliptic strokes over each other, later spots on top.

    Args:
        shape: Height and width of the canvas in pixels.
        spots: Centres of the strokes, ``(N,)`` each.
        angle: Direction of each stroke in radians, ``(N,)`` or one for all.
        length: Half length in pixels.
        width: Half width in pixels.

    Returns:
        The topmost stroke of every pixel and the pixel's place within it.
    """
    height, canvas_width = shape
    reach = int(np.ceil(max(length, width)))
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    cosine = np.broadcast_to(np.cos(angle).astype(np.float32), spots.x.shape)
    sine = np.broadcast_to(np.sin(angle).astype(np.float32), spots.x.shape)
    rows, columns = np.round(spots.y)[:, None] + offsets, np.round(spots.x)[:, None] + offsets  # N, K
    dy, dx = rows - spots.y[:, None], columns - spots.x[:, None]
    along = (dy * (sine / length)[:, None])[:, :, None] + (dx * (cosine / length)[:, None])[:, None]  # N, K, K
    across = (dy * (cosine / width)[:, None])[:, :, None] - (dx * (sine / width)[:, None])[:, None]
    along *= along
    inside = along * along + across * across < 1  # rounded ends, straight flanks
    inside &= ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < canvas_width))[:, None]
    target = (rows.astype(np.int32) * canvas_width)[:, :, None] + columns.astype(np.int32)[:, None]
    index = np.full(height * canvas_width, -1, np.int64)
    index[target[inside]] = np.repeat(np.arange(len(spots.x)), inside.sum((1, 2)))  # the last assignment is on top
    index = index.reshape(shape)
    y = np.arange(height, dtype=np.float32)[:, None] - spots.y[index]
    x = np.arange(canvas_width, dtype=np.float32) - spots.x[index]
    u, v = (x * cosine[index] + y * sine[index]) / length, (y * cosine[index] - x * sine[index]) / width
    return Strokes(index, u.astype(np.float32), v.astype(np.float32))


class Cells(NamedTuple):
    """A jittered Voronoi diagram.

    Attributes:
        owner: ``(H, W)``, number of the pixel's cell.
        border: ``(H, W)``, half the difference between the distances to the two nearest seeds, in pixels.
        centre: ``(H, W)``, distance to the nearest seed in pixels.
    """

    owner: Ints
    border: Floats
    centre: Floats


def voronoi(shape: tuple[int, int], spacing: float, rng: np.random.Generator) -> Cells:
    """Divide the canvas into Voronoi cells of about ``spacing`` pixels (one seed per square, 3 x 3 searched)."""
    rows, columns = int(shape[0] / spacing) + 3, int(shape[1] / spacing) + 3
    jitter = rng.uniform(0.1, 0.9, (2, rows, columns)).astype(np.float32)
    seed_y = ((np.arange(rows)[:, None] - 1 + jitter[0]) * spacing).astype(np.float32)
    seed_x = ((np.arange(columns)[None] - 1 + jitter[1]) * spacing).astype(np.float32)
    y, x = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None]
    cell_y, cell_x = (y / spacing).astype(np.int64) + 1, (x / spacing).astype(np.int64) + 1
    first = np.full(shape, np.inf, np.float32)
    second = first.copy()
    index = np.zeros(shape, np.int64)
    for step in range(9):
        at = (cell_y + step // 3 - 1) * columns + cell_x + step % 3 - 1
        distance = (seed_y.ravel()[at] - y) ** 2 + (seed_x.ravel()[at] - x) ** 2
        closer = distance < first
        second = np.where(closer, first, np.minimum(second, distance))
        first = np.where(closer, distance, first)
        index = np.where(closer, at, index)
    nearest = np.sqrt(first)
    return Cells(index, (np.sqrt(second) - nearest) / 2, nearest)


def cell_means(image: Floats, index: Ints) -> Floats:
    """Return the mean colour ``(N, 3)`` of every numbered region; empty regions are black."""
    count = int(index.max()) + 1
    flat = index.ravel()
    area = np.maximum(np.bincount(flat, minlength=count), 1)
    sums = [np.bincount(flat, weights=image[..., channel].ravel(), minlength=count) for channel in range(3)]
    return (np.stack(sums, -1) / area[:, None]).astype(np.float32)


def relief(height: Floats, strength: float) -> Floats:
    """Return a shading around 1 for a surface ``(H, W)`` lit from the upper left."""
    slope: Floats = np.gradient(height, axis=1) + np.gradient(height, axis=0)
    shading: Floats = np.clip(1.0 + strength * slope, 0.5, 1.5).astype(np.float32)
    return shading
