"""ProceduralArt: invented painters paint real photographs and procedural scenes, so the true stylization is known."""

from datamodules.procedural.contents import SPLITS, Content, contents
from datamodules.procedural.dataset import DEFAULT_COUNTS, VERSION, generate, paint
from datamodules.procedural.painters import PAINTERS, Painter

__all__ = ["DEFAULT_COUNTS", "PAINTERS", "SPLITS", "VERSION", "Content", "Painter", "contents", "generate", "paint"]
