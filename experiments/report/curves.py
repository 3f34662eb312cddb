"""Curves as inline SVG: a page with hundreds of them stays one small file and needs no script."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 8, 22
POINTS = 400  # more than a curve of this width can show

Curve = Sequence[tuple[int, float]]


def draw(curves: Sequence[Curve], colours: Sequence[str]) -> str:
    """Draw curves of one quantity on common axes.

    Args:
        curves: For each run its points ``(step, value)``, in order of steps; a run without the quantity has none.
        colours: One CSS colour per run.

    Returns:
        An ``<svg>`` element; values that are not finite are left out.
    """
    finite = [[(x, y) for x, y in curve if abs(y) < float("inf")] for curve in curves]
    points = [point for curve in finite for point in curve]
    if not points:
        return ""
    x0, x1 = _range([x for x, _ in points])
    y0, y1 = _range([y for _, y in points])

    def place(x: float, y: float) -> str:
        across = LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    lines = [
        f'<polyline fill="none" stroke="{escape(colour)}" stroke-width="1.6" stroke-linejoin="round" '
        f'points="{" ".join(place(x, y) for x, y in _thinned(curve))}"/>'
        for curve, colour in zip(finite, colours, strict=True)
        if len(curve) > 1
    ] + [
        '<circle r="3" fill="{}" cx="{}" cy="{}"/>'.format(escape(colour), *place(*curve[0]).split(","))
        for curve, colour in zip(finite, colours, strict=True)
        if len(curve) == 1
    ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{_axes(x0, x1, y0, y1)}{"".join(lines)}</svg>'


def _axes(x0: float, x1: float, y0: float, y1: float) -> str:
    style = 'font-size="10" fill="#6b7280" font-family="system-ui, sans-serif"'
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + share * (HEIGHT - TOP - BOTTOM)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>',
            f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end" {style}>{y1 - share * (y1 - y0):.3g}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}" {style}>{x0 + share * (x1 - x0):.0f}</text>',
        ]
    return "".join(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high > low:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def _thinned(curve: Curve) -> Curve:
    stride = -(-len(curve) // POINTS)
    return curve if stride == 1 else [*curve[:-1:stride], curve[-1]]
