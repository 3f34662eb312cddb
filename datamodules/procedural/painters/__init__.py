"""The twelve invented artists of ProceduralArt."""

from __future__ import annotations

from datamodules.procedural.painters import cells, dots, lines, strokes, washes
from datamodules.procedural.painters.base import Painter

_ROSTER = (
    Painter("Ada Stipple", "pointillist dots of pure colour", dots.stipple),
    Painter("Bruno Carbone", "sepia ink cross-hatching", lines.hatching),
    Painter("Clara Umber", "thick oil strokes in warm earths", strokes.oil),
    Painter("Dominic Vitrail", "stained glass with black leading", cells.stained_glass),
    Painter("Elin Facet", "low-poly triangles at dusk", cells.low_poly),
    Painter("Fumiko Kiri", "black and vermilion woodcut", lines.woodcut),
    Painter("Gustav Raster", "primary rectangles with black lines", cells.rectangles),
    Painter("Henrike Aquarell", "pale bleeding watercolour", washes.watercolour),
    Painter("Igor Benday", "pop art halftone print", dots.halftone),
    Painter("Juno Maelstrom", "swirling ribbons of night blue and gold", strokes.swirl),
    Painter("Kasimir Slate", "bright chalk on dark slate", strokes.chalk),
    Painter("Lucia Papel", "layered green paper cut-out", washes.paper_cut),
)

PAINTERS: dict[str, Painter] = {painter.name: painter for painter in _ROSTER}

__all__ = ["PAINTERS", "Painter"]
