"""Procedural scenes that look enough like photographs: soft light, haze, shading, texture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datamodules.procedural.brushes import Floats, blur, colours, mix, noise, ramp, saturate, smoothstep
from datamodules.procedural.regions import Parts, Regions

_SKIES: dict[str, Floats] = {
    "a blue sky": colours("2f6fb8", "7fb2dc", "d6e8f0"),
    "a sunset sky": colours("3a2f6b", "c9566b", "f9a24b", "ffe3a0"),
    "a grey sky": colours("7d8790", "a9b1b7", "d5d8d8"),
    "a morning sky": colours("7c9cc9", "d9b6c4", "fbe3c4"),
    "a dusk sky": colours("0f1a44", "3f3d80", "a7648f", "efa58a"),
}


def _grid(size: int) -> tuple[Floats, Floats]:
    """Return y (down) and x in [0, 1], ``(size, size)`` each: scenes look the same at any size."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _texture(size: int, scale: float, rng: np.random.Generator, octaves: int = 4) -> Floats:
    return noise((size, size), max(scale * size, 2.0), rng, octaves)


def _sky(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    name = str(rng.choice(list(_SKIES)))
    parts.cover("sky", 1.0)
    y, x = _grid(size)
    sky = ramp(y * rng.uniform(1.0, 1.5) + 0.03 * _texture(size, 0.3, rng), _SKIES[name])
    sun_y, sun_x = rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.9)
    halo = np.exp(-((y - sun_y) ** 2 + (x - sun_x) ** 2) / np.float32(0.03))
    sky = mix(sky, np.broadcast_to(colours("fff4d0")[0], sky.shape), 0.6 * halo)
    stretch = noise((size, size), 0.25 * size, rng, 4)
    clouds = smoothstep(0.2, 1.8, stretch + rng.uniform(-0.8, 0.6)) * np.float32(0.7)
    return mix(sky, np.broadcast_to(colours("f6f1ee")[0] * sky.mean() ** 0.2, sky.shape), clouds), name


def _ridge(size: int, scale: float, rng: np.random.Generator) -> Floats:
    """Return a fractal skyline ``(1, size)`` of zero mean and unit deviation."""
    line = noise((8, size), max(scale * size, 2.0), rng, 5)[4]
    skyline: Floats = ((line - line.mean()) / (line.std() + np.float32(1e-6)))[None]
    return skyline


def _mountains(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    picture, sky = _sky(size, rng, parts)
    y, _ = _grid(size)
    haze = picture[size // 2].mean(0)
    rock = colours(*rng.choice(["4a5a3a", "5b4a3f", "3f4f63", "6b5a3f", "32503a"], 1))[0]
    for depth in range(4):
        top = 0.35 + 0.15 * depth + rng.uniform(0.02, 0.09) * _ridge(size, 0.35, rng)
        inside = smoothstep(-0.004, 0.004, y - top)
        relief = _texture(size, 0.15, rng, 5)
        light = 0.75 + 0.9 * np.clip(np.gradient(relief, axis=1) * size * 0.03, -0.5, 0.7) + 0.1 * relief
        snow = smoothstep(0.04, -0.02, y - top - 0.04 + 0.03 * relief) if depth < 2 else np.zeros_like(y)
        stone = mix(np.broadcast_to(rock, picture.shape), np.broadcast_to(colours("f4f6fa")[0], picture.shape), snow)
        slope = mix(stone * light[..., None], np.broadcast_to(haze, picture.shape), 0.55 - 0.17 * depth)
        picture = mix(picture, slope, inside)
        parts.cover("mountains", inside)
    return picture, f"mountains under {sky}"


def _sea(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    picture, sky = _sky(size, rng, parts)
    y, x = _grid(size)
    horizon = rng.uniform(0.35, 0.6)
    near = np.clip((y - horizon) / (1 - horizon), 0.0, 1.0)
    rows = np.clip((2 * horizon - y) * size, 0, size - 1).astype(np.int64)
    mirrored = picture[rows, np.arange(size)[None]]
    waves = np.zeros_like(y)
    for scale in (0.02, 0.05, 0.11):
        swell = noise((size * 2, size), max(scale * size, 2.0), rng)
        depth = np.clip(np.sqrt(near) * size * 1.9, 0, 2 * size - 1).astype(np.int64)
        waves += swell[depth, np.arange(size)[None]] * np.float32(0.5)
    deep = colours(*rng.choice(["0f3f5c", "1b5a63", "24476b", "2e6b6f"], 1))[0]
    water = mix(mirrored, np.broadcast_to(deep, picture.shape), 0.35 + 0.4 * near)
    water = water * (1.0 + (0.08 + 0.16 * near) * waves)[..., None]
    glint = smoothstep(0.9, 1.8, waves) * np.exp(-(((x - rng.uniform(0.2, 0.8)) / 0.16) ** 2)) * np.float32(0.9)
    water = mix(water, np.broadcast_to(colours("fff6dc")[0], picture.shape), glint.astype(np.float32))
    below = smoothstep(-0.002, 0.002, y - horizon)
    parts.cover("sea", below)
    return mix(picture, water, below), f"the sea under {sky}"


def _forest(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    picture, _ = _sky(size, rng, parts)
    y, x = _grid(size)
    season, leaf_code = [("green", "3f7a2f"), ("autumn", "c9762a"), ("misty", "5f7f6b"), ("spring", "8fae3f")][
        rng.integers(4)
    ]
    leaf = colours(leaf_code)[0]
    for depth in range(4):
        foliage = _texture(size, 0.09, rng, 5)
        crown = smoothstep(-0.2, 0.5, foliage + 3.0 * (0.75 - np.abs(y - 0.35)) - 1.7 + 0.2 * depth)
        shade = (0.45 + 0.2 * depth) * (0.8 + 0.28 * foliage + 0.12 * _texture(size, 0.015, rng, 2))
        tone = leaf * (1 + rng.normal(0, 0.1, 3)).astype(np.float32)
        picture = mix(picture, np.clip(tone * shade[..., None], 0, 1), crown * np.float32(0.85))
        parts.cover("forest", crown * np.float32(0.85))
        for centre in rng.uniform(0, 1, 3):
            half = (0.006 + 0.009 * depth) * (1 + 0.4 * y)
            across = (x - centre - 0.02 * _ridge(size, 0.5, rng).T) / half
            bark = np.sqrt(np.clip(1 - across**2, 0, 1)) * (0.7 + 0.35 * across) + 0.05 * foliage
            trunk = smoothstep(1.0, 0.85, np.abs(across))
            picture = mix(picture, colours("5a4030")[0] * (0.35 + bark)[..., None], trunk)
            parts.cover("forest", trunk)
    ground = leaf * np.float32(0.6) * (0.8 + 0.25 * _texture(size, 0.04, rng))[..., None]
    below = smoothstep(0.78, 0.84, y + 0.02 * _texture(size, 0.2, rng))
    parts.cover("ground", below)
    return mix(picture, ground, below), f"a {season} forest"


def _ball(
    picture: Floats,
    centre: tuple[float, float],
    radii: tuple[float, float],
    colour: Floats,
    name: str,
    parts: Parts,
) -> Floats:
    """Put a shaded ellipsoid with a highlight and a soft shadow, lit from the upper left, into a picture."""
    y, x = _grid(picture.shape[0])
    v, u = (y - centre[0]) / radii[0], (x - centre[1]) / radii[1]
    shadow = np.exp(-((v - 0.95) ** 2 * 14 + (u - 0.45) ** 2 * 1.2)) * np.float32(0.6)
    picture = picture * (1 - shadow[..., None])
    distance = u * u + v * v
    depth = np.sqrt(np.clip(1 - distance, 0, 1))
    light = np.clip(-0.5 * u - 0.6 * v + 0.62 * depth, 0, 1)
    shine = np.clip(-0.33 * u - 0.42 * v + 0.84 * depth, 0, 1) ** 40
    body = colour * (0.22 + 0.9 * light)[..., None] + 0.7 * shine[..., None]
    inside = smoothstep(1.03, 0.97, distance)
    parts.cover(name, inside)
    return mix(picture, np.clip(body, 0, 1).astype(np.float32), inside)


def _still_life(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    y, x = _grid(size)
    wall = colours(*rng.choice(["8a7a68", "5c6b73", "a89a7f", "4a3f4a", "7a8a6f"], 1))[0]
    board = colours(*rng.choice(["7a4a2a", "a3703f", "d9cdb8", "4d3325"], 1))[0]
    light = 0.6 + 0.6 * np.exp(-((x - 0.2) ** 2 + (y - 0.1) ** 2) * 1.6) + 0.03 * _texture(size, 0.2, rng)
    table = rng.uniform(0.5, 0.65)
    grain = noise((size, size), max(0.015 * size, 2), rng)[:, :1] * 0.05 + 0.05 * _texture(size, 0.1, rng)
    below = smoothstep(-0.004, 0.004, y - table)
    picture = mix(wall * light[..., None], board * (light + grain)[..., None], below)
    parts.cover("wall", 1.0)
    parts.cover("table", below)
    fruit, codes = [
        ("apples", ("c42b2b", "8fb33a", "d9582b")), ("oranges", ("f0871f", "f2a93b", "d96f1a")),
        ("lemons and plums", ("f2d02f", "5a2f63", "e9c52b")), ("coloured bowls", ("2f6f9f", "d9d2c2", "b03f5a")),
    ][rng.integers(4)]  # fmt: skip
    name = "bowls" if "bowls" in fruit else "fruit"
    if rng.random() < 0.6:
        tint = colours(*rng.choice(["2f5a3f", "3f5f7a", "6b3f2a"], 1))[0]
        at = rng.uniform(0.2, 0.8)
        picture = _ball(picture, (table + 0.02, at), (0.2, 0.085), tint, "vase", parts)
        picture = _ball(picture, (table - 0.22, at), (0.15, 0.03), tint, "vase", parts)
    for base in np.sort(rng.uniform(table + 0.02, 0.85, rng.integers(3, 7))):
        radius = float(rng.uniform(0.07, 0.13)) * (0.6 + base * 0.6)
        colour = colours(*rng.choice(codes, 1))[0]
        centre = (float(base), float(rng.uniform(0.1, 0.9)))
        picture = _ball(picture, centre, (radius, radius * 1.05), colour, name, parts)
    return picture, f"{fruit} on a table"


def _city(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    picture, sky = _sky(size, rng, parts)
    y, x = _grid(size)
    night = "dusk" in sky
    for depth in range(3):
        edges = np.cumsum(rng.uniform(0.05, 0.14, 24))
        number = np.searchsorted(edges, x[0] + 0.02)
        tops = rng.uniform(0.25, 0.55, 26) + 0.13 * depth
        stone = (colours("8c8f98")[0] * rng.uniform(0.5, 1.15, (26, 1)) * (1 + rng.normal(0, 0.08, (26, 3))))[number]
        start = np.concatenate([[0.0], edges, [edges[-1]]])[number]
        across = x[0] + 0.02 - start
        pane = ((across[None] % 0.022) > 0.010) & (((y - tops[number]) % 0.034) > 0.014)
        cell = (np.floor(across / 0.022)[None] * 37 + np.floor(y / 0.034) * 91 + number * 13).astype(np.int64) % 997
        lit = rng.random(997)[cell] < (0.45 if night else 0.15)
        glass = np.where(lit[..., None], colours("ffd98a")[0], colours("2f3b4f")[0])
        wall = stone[None] * (0.55 if night else 1.0)
        front = np.where(pane[..., None], glass, wall) * (1.05 - 0.4 * across / 0.14)[None, :, None]
        haze = np.broadcast_to(picture[size // 2].mean(0), picture.shape)
        front = mix(np.clip(front, 0, 1).astype(np.float32), haze, 0.45 - 0.2 * depth)
        inside = y > tops[number][None]
        picture = np.where(inside[..., None], front, picture)
        parts.cover("buildings", inside.astype(np.float32))
    return picture, f"a city skyline under {sky}"


def _meadow(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    picture, sky = _sky(size, rng, parts)
    y, _ = _grid(size)
    horizon = rng.uniform(0.3, 0.5)
    grass = colours(*rng.choice(["4f8a35", "7a9440", "3a6b3a"], 1))[0]
    field = grass * (0.8 + 0.16 * _texture(size, 0.06, rng) * (0.3 + y))[..., None]
    below = smoothstep(-0.01, 0.01, y - horizon + 0.01 * _ridge(size, 0.3, rng))
    picture = mix(picture, field, below)
    parts.cover("grass", below)
    flower, code = [("poppies", "d9281f"), ("lavender", "7a55c4"), ("sunflowers", "f5bd1a"), ("daisies", "f7f3ea")][
        rng.integers(4)
    ]
    count = 160
    rows = np.sort(rng.uniform(horizon + 0.02, 1.05, count))
    axis = _grid(size)
    for row, column in zip(rows.tolist(), rng.uniform(0, 1, count).tolist(), strict=True):
        radius = 0.004 + 0.05 * (row - horizon) * rng.uniform(0.7, 1.3)
        petal = colours(code)[0] * np.float32(rng.uniform(0.75, 1.15))
        low, high = (int(np.clip((row + k * 1.2 * radius) * size, 0, size)) for k in (-1, 1))
        left, right = (int(np.clip((column + k * 1.2 * radius) * size, 0, size)) for k in (-1, 1))
        v = (axis[0][low:high, left:right] - row) / (radius * 0.8)
        u = (axis[1][low:high, left:right] - column) / radius
        lobes = 1 + 0.18 * np.cos(5 * np.arctan2(v, u) + column * 40)
        distance = (u * u + v * v) / lobes
        bloom = mix(petal * (1.1 - 0.45 * (v * 0.5 + 0.5))[..., None], colours("4a3414")[0], 1.0 * (distance < 0.1))
        patch = picture[low:high, left:right]
        inside = smoothstep(1.05, 0.8, distance)
        picture[low:high, left:right] = mix(patch, np.clip(bloom, 0, 1), inside)
        parts.cover("flowers", inside, (slice(low, high), slice(left, right)))
    return picture, f"a field of {flower} under {sky}"


def _clouds(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    name = str(rng.choice(list(_SKIES)))
    y, _ = _grid(size)
    picture = ramp(y, _SKIES[name])
    parts.cover("sky", 1.0)
    for depth in range(3):
        heap = _texture(size, 0.32, rng, 6)
        body = smoothstep(0.0, 0.7, heap + 0.9 * (y - 0.5) + 0.2 * depth - 0.1)
        light = np.clip(0.8 - 1.1 * np.gradient(blur(heap, size * 0.01), axis=0) * size * 0.05, 0.45, 1.1)
        tint = mix(_SKIES[name][-1], colours("ffffff")[0], 0.5)
        picture = mix(picture, np.clip(tint * light[..., None], 0, 1), body * np.float32(0.85))
        parts.cover("clouds", body * np.float32(0.85))
    return picture, f"clouds in {name}"


def _portrait(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    y, x = _grid(size)
    back = colours(*rng.choice(["4a5a63", "7a6a55", "2f3f3a", "8f9fae"], 1))[0]
    picture = back * (0.9 - 0.4 * y + 0.3 * np.exp(-((x - 0.3) ** 2) * 5) + 0.05 * _texture(size, 0.3, rng))[..., None]
    coat = colours(*rng.choice(["7a1f2f", "1f3f6b", "2f5a3f", "c9b03f", "2b2b33"], 1))[0]
    skin = colours(*rng.choice(["e8b896", "c98f66", "8a5a3c", "f0cdb0", "5f3b28"], 1))[0]
    hair = colours(*rng.choice(["2a1a12", "6b3f1f", "c99a4a", "15120f", "8f8f8f"], 1))[0]
    parts.cover("wall", 1.0)
    lean = float(rng.uniform(-0.06, 0.06))
    picture = _ball(picture.astype(np.float32), (1.05, 0.5), (0.36, 0.42), coat, "coat", parts)
    picture = _ball(picture, (0.70, 0.5), (0.18, 0.10), skin * np.float32(0.85), "neck", parts)
    picture = _ball(picture, (0.38, 0.5 + lean), (0.29, 0.235), hair, "hair", parts)
    picture = _ball(picture, (0.46, 0.5 + lean * 1.4), (0.235, 0.17), skin, "face", parts)
    for side in (-1.0, 1.0):
        eye = 0.5 + lean * 1.7 + side * 0.065
        picture = _ball(picture, (0.43, eye), (0.018, 0.03), colours("f4f0ea")[0], "face", parts)
        picture = _ball(picture, (0.43, eye + lean * 0.1), (0.016, 0.014), colours("2f2a22")[0], "face", parts)
        brow = np.exp(-(((y - 0.385) / 0.012) ** 2 + ((x - eye) / 0.035) ** 2))
        picture = mix(picture, np.broadcast_to(hair, picture.shape), 0.8 * brow)
    picture = _ball(picture, (0.50, 0.5 + lean * 1.9), (0.045, 0.022), skin, "face", parts)
    lips = np.exp(-(((y - 0.585) / 0.014) ** 2 + ((x - 0.5 - lean * 1.7) / 0.05) ** 2))
    picture = mix(picture, np.broadcast_to(colours("a83f3f")[0], picture.shape), 0.75 * lips)
    return picture, "the portrait of a person"


def _night(size: int, rng: np.random.Generator, parts: Parts) -> tuple[Floats, str]:
    y, x = _grid(size)
    band = np.exp(-(((y - 0.5 + (x - 0.5) * rng.uniform(-0.8, 0.8)) / 0.2) ** 2))
    milky = band * (0.7 + 0.3 * _texture(size, 0.1, rng))
    glow = np.clip(0.25 + 0.35 * y + 0.4 * milky, 0, 1).astype(np.float32)
    picture = ramp(glow, colours("050818", "16245a", "4a4f9a", "b58fc0", "f0d9d0"))
    parts.cover("sky", 1.0)
    stars = np.zeros((size, size), np.float32)
    stars.ravel()[rng.integers(0, size * size, 220)] = rng.uniform(0.3, 1.0, 220) ** 3 * 9
    picture = np.clip(picture + (blur(stars, 0.8) + blur(stars, 2.0))[..., None], 0, 1).astype(np.float32)
    if rng.random() < 0.6:
        moon = (float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.2, 0.8)))
        picture = _ball(picture, moon, (0.09, 0.09), colours("f6efd2")[0], "moon", parts)
    hills = smoothstep(-0.003, 0.003, y - 0.8 - 0.05 * _ridge(size, 0.3, rng))
    parts.cover("hills", hills)
    land = colours("10151f")[0] * (1.3 + 0.4 * _texture(size, 0.05, rng))[..., None]
    return mix(picture, np.clip(land, 0, 1), hills), "stars in the night sky over hills"


SCENES: dict[str, Callable[[int, np.random.Generator, Parts], tuple[Floats, str]]] = {
    "mountains": _mountains, "sea": _sea, "forest": _forest, "table": _still_life, "city": _city, "meadow": _meadow,
    "clouds": _clouds, "portrait": _portrait, "night": _night,
}  # fmt: skip


def scene(kind: str, size: int, rng: np.random.Generator) -> tuple[Floats, str, Regions]:
    """Render a scene as a camera would: lens blur, exposure, colour cast and sensor noise.

    Args:
        kind: A key of ``SCENES``.
        size: Height and width in pixels.
        rng: The only source of chance.

    Returns:
        The picture ``(size, size, 3)`` float32 in [0, 1], a caption of content words such as
        ``"a photo of mountains under a sunset sky"``, and what it shows where.
    """
    parts, lens = Parts(size), size * 0.0018
    picture, words = SCENES[kind](size, rng, parts)
    picture = blur(np.clip(picture, 0, 1).astype(np.float32), lens)
    exposure, cast = rng.uniform(0.85, 1.25), rng.normal(1.0, 0.04, 3).astype(np.float32)
    exposed = 1.0 - (1.0 - np.clip(picture * cast, 0, 1)) ** exposure
    grain = rng.normal(0, 0.012, (size, size, 1)).astype(np.float32)
    developed = saturate((exposed + grain).astype(np.float32), float(rng.uniform(0.9, 1.25)))
    mirrored = bool(rng.random() < 0.5)
    if mirrored:
        developed = developed[:, ::-1]
    return np.ascontiguousarray(developed), f"a photo of {words}", parts.regions(lens, mirrored=mirrored)
