"""Curves as inline SVG: a page with hundreds of them stays one small file and needs no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 8, 34
POINTS = 400  # more than a curve of this width can show

Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Line:
    """One run's curve.

    Attributes:
        label: Whose it is.
        points: ``(step, value)`` in order of steps; a run without the quantity has none.
        colour: Number of its colour, which the page's style sheet knows as ``c0``, ``c1`` ...
        dash: Number of its dash, ``d0``, ``d1`` ...
    """

    label: str
    points: Curve
    colour: int = 0
    dash: int = 0


def draw(name: str, lines: Sequence[Line]) -> str:
    """Draw curves of one quantity on common axes.

    Args:
        name: What it is.
        lines: One a run; what is not finite is left out.

    Returns:
        An ``<svg>`` element that says in words how each curve begins and ends; nothing where there is no point.
    """
    finite = [
        Line(line.label, [(x, y) for x, y in line.points if abs(y) < float("inf")], line.colour, line.dash)
        for line in lines
    ]
    shown = [line for line in finite if line.points]
    points = [point for line in shown for point in line.points]
    if not points:
        return ""
    x0, x1 = _range([x for x, _ in points])
    y0, y1 = _range([y for _, y in points])

    def place(x: float, y: float) -> str:
        across = LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    drawn = []
    for line in shown:
        look = f"c{line.colour} d{line.dash}"
        if len(line.points) > 1:
            path = " ".join(place(x, y) for x, y in _thinned(line.points))
            drawn.append(f'<polyline class="{look}" points="{path}"/>')
        else:
            across, down = place(*line.points[0]).split(",")
            drawn.append(f'<circle class="{look}" r="3.5" cx="{across}" cy="{down}"/>')
    words = escape(f"{name}: {'; '.join(map(_words, shown))}", quote=True)
    axes = _axes(x0, x1, y0, y1)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{axes}{"".join(drawn)}</svg>'


def _words(line: Line) -> str:
    (first_step, first), (last_step, last) = line.points[0], line.points[-1]
    if len(line.points) == 1:
        return f"{line.label} {last:.4g} at iteration {last_step}"
    return f"{line.label} from {first:.4g} at iteration {first_step} to {last:.4g} at {last_step}"


def _axes(x0: float, x1: float, y0: float, y1: float) -> str:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + share * (HEIGHT - TOP - BOTTOM)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{_tick(y1 - share * (y1 - y0))}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - 20}" text-anchor="{anchor}">{x0 + share * (x1 - x0):.0f}</text>',
        ]
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    return "".join([*parts, f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">iteration</text>'])


def _tick(value: float) -> str:
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high > low:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def _thinned(curve: Curve) -> Curve:
    stride = -(-len(curve) // POINTS)
    return curve if stride == 1 else [*curve[:-1:stride], curve[-1]]
