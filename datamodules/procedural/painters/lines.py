"""Painters who draw and carve lines."""

from __future__ import annotations

import numpy as np

from datamodules.procedural.brushes import Floats, blur, colours, luma, mix, noise, ramp, smoothstep

_INK = colours("3a1d0c")[0]
_WASH = colours("52331c", "a98558", "dfc79c", "f8edd6")
_BLOCK, _VERMILION, _WASHI = colours("16120f", "d8392b", "f3e3c3")


def _triangle_wave(phase: Floats) -> Floats:
    folded: Floats = np.abs(phase - np.floor(phase) - 0.5).astype(np.float32) * 2
    return folded  # 0 in the middle of a line, 1 between lines


def hatching(content: Floats, rng: np.random.Generator) -> Floats:
    """Cross-hatch the shadows in sepia ink on ivory paper: one set of lines more for every step darker."""
    height, width = content.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    grey = luma(content)
    dark = 1.0 - np.clip(blur(grey, 0.8) * 1.3 - blur(grey, 8.0) * 0.3 + 0.06, 0.0, 1.0)
    ink: Floats = np.zeros((height, width), np.float32)
    for degrees, begins in ((45.0, -0.06), (-45.0, 0.4), (8.0, 0.6), (82.0, 0.76)):
        angle = np.deg2rad(degrees)
        wobble = noise((height, width), 24, rng) * 0.7 + noise((height, width), 6, rng) * 0.15
        wave = _triangle_wave(((x * np.cos(angle) + y * np.sin(angle) + wobble) / 5.0).astype(np.float32))
        thick = np.clip((dark - begins) * 0.95, 0.0, 0.45) + 0.02
        pressure = 1.0 + 0.15 * noise((height, width), 9, rng)
        ink = np.maximum(ink, smoothstep(-0.18, 0.18, (thick * pressure - wave).astype(np.float32)) * (dark > begins))
    contour = smoothstep(0.02, 0.07, blur(grey, 2.0) - blur(grey, 0.9))
    ink = np.maximum(blur(ink, 0.35), contour) * 0.7
    wash = ramp(blur(grey, 0.8) * 1.1, _WASH)  # diluted ink under the lines carries the tone
    paper = wash * (1.0 + 0.015 * noise((height, width), 2, rng))[..., None]
    return mix(paper.astype(np.float32), np.broadcast_to(_INK, content.shape), ink)


def woodcut(content: Floats, rng: np.random.Generator) -> Floats:
    """Carve lines that swell round the forms; print black over a vermilion block on washi."""
    height, width = content.shape[:2]
    y = np.arange(height, dtype=np.float32)[:, None]
    grey = blur(luma(content), 1.0)
    form = blur(grey, 5.0)
    bend = noise((height, width), 40, rng) * 4.0 + form * 34.0  # lines ride over bright forms as over hills
    wave = _triangle_wave(((y + bend) / 7.0).astype(np.float32))
    chips = noise((height, width), 5, rng) * 0.10 + noise((height, width), 2, rng) * 0.05
    tone = np.clip(grey * 1.7 - form * 0.7, 0.0, 1.0)
    black = smoothstep(-0.09, 0.09, ((1.02 - 1.7 * tone) - wave * 0.9 + chips).astype(np.float32))
    red = smoothstep(-0.09, 0.09, ((1.55 - 1.75 * tone) - (1 - wave) * 0.85 + chips).astype(np.float32))
    contour = smoothstep(0.025, 0.05, blur(grey, 3.0) - grey)
    rubbed = 0.62 + 0.38 * smoothstep(0.1, 0.75, grey)  # the printer wipes ink unevenly: more stays in the shadows
    fibre = _WASHI * (rubbed * (1.0 + 0.02 * noise((height, width), 2, rng)))[..., None]
    vermilion = _VERMILION * (0.75 + 0.4 * tone)[..., None]
    painting = mix(fibre.astype(np.float32), vermilion.astype(np.float32), red * np.float32(0.95))
    return mix(painting, np.broadcast_to(_BLOCK, content.shape), np.maximum(black, contour) * np.float32(0.9))
