"""Draw one row a method: a scene, what the method was told, and what it made of it; small enough to be committed.

python -m benchmarks.readme_rows --out docs/pictures/methods
python -m benchmarks.readme_rows --checkpoint neat=runs/neat/latest --profile least=tiny --out docs/pictures/methods
python -m benchmarks.readme_rows --checkpoint nsync=runs/nsync/latest --painters "Juno Maelstrom" "Lucia Papel"

Without --checkpoint and --profile, all painters that ship paint. Scenes and paintings are ProceduralArt's, of its test
split, painted for this alone. A method that reads is told the painter's name, and the painting beside its result is
there to compare with; one that looks is shown that painting. A method that paints regions is given one of the scene's,
and one that draws from words redraws the scene. A row is NAME.jpg; an older one is replaced.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.contenders.stylists import eight_bits
from callbacks.stylization_grid import CAPTION, Sample, draw_grid
from datamodules.procedural.contents import Content, contents
from datamodules.procedural.dataset import paint as paint_truly
from datamodules.procedural.painters import PAINTERS
from experiments.options import assignment
from experiments.painting.inference import draw, load_untrained, open_model, paint, profile_of, prompt_in_style
from lightning_modules.base import StyleTransferModule
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing
from lightning_modules.generation import GenerativeModule
from lightning_modules.shipped import PREFIX, painters

Method = StyleTransferModule | GenerativeModule
QUALITY = 85
SEARCHED = 60
"""Scenes of the test split that --scene chooses from."""


@dataclass(frozen=True)
class Scene:
    """What is painted, and how.

    Attributes:
        content: A scene.
        other: Another one, which the painters paint.
        region: Of the content, for methods that paint regions.
        painters: Their names.
    """

    content: Content
    other: Content
    region: str
    painters: tuple[str, ...]

    def mask(self) -> Tensor:
        """Return 1 in the region and 0 elsewhere, ``(1, H, W)``; without named regions, 1 everywhere."""
        regions, sides = self.content.regions, self.content.image.shape[:2]
        inside = np.ones(sides) if regions is None else regions.mask(self.region)
        return torch.from_numpy(inside.astype(np.float32))[None]


def choose_scene(kind: str, other: str, region: str, names: Sequence[str], size: int) -> Scene:
    """Return what is painted.

    Args:
        kind: Of the scene, such as ``city``.
        other: Of the one that the painters paint.
        region: A name that the scene has for a part of it.
        names: Of the painters.
        size: Side in pixels.

    Raises:
        ImpastoError: If there is no such scene, region or painter.
    """
    unknown = [name for name in names if name not in PAINTERS]
    if unknown:
        raise ImpastoError(f"There is no painter {unknown[0]}: choose of {', '.join(PAINTERS)}.")
    found = {each.title.partition("-")[0]: each for each in islice(contents("test", SEARCHED, size), SEARCHED)}
    for name in (kind, other):
        if name not in found or found[name].regions is None:
            scenes = sorted(title for title, each in found.items() if each.regions is not None)
            raise ImpastoError(f"There is no scene {name}: choose of {', '.join(scenes)}.")
    regions = found[kind].regions
    there = [] if regions is None else list(regions.names)
    if region not in there:
        raise ImpastoError(f"The scene {kind} has no region {region}: choose of {', '.join(there)}.")
    return Scene(found[kind], found[other], region, tuple(names))


def row(method: Method, scene: Scene, cell: int) -> Tensor:
    """Draw the row of a method, ``(3, H, W)`` in [0, 1]: the scene, then of every painter a painting and the result."""
    pictures = {"content": as_tensor(scene.content.image)}
    titles = {"content": "content"}
    for number, name in enumerate(scene.painters):
        painting = as_tensor(paint_truly(scene.other, name, seed=0))
        told, result = _painted(method, scene, name, painting)
        pictures |= {f"style{number}": painting, f"result{number}": result}
        titles |= {f"style{number}": told, f"result{number}": type(method).__name__}
    shown = {name: eight_bits(picture) for name, picture in pictures.items()}
    return draw_grid([Sample(shown, 0, "")], cell, titles)[:, :-CAPTION]  # nothing stands below


def _painted(method: Method, scene: Scene, name: str, painting: Tensor) -> tuple[str, Tensor]:
    """Return in words what a method was told, and its picture."""
    content = as_tensor(scene.content.image)
    if isinstance(method, GenerativeModule):
        prompt = prompt_in_style(method, name, scene.content.caption)
        return f"“{name}”", draw(method, prompt, seeds=[0], content=content)[0]
    if "region" in method.conditions:
        return f"“{name}”, {scene.region}", paint(method, content, prompt=name, mask=scene.mask())
    if "text" in method.conditions:
        return f"“{name}”", paint(method, content, prompt=name)
    return "style", paint(method, content, style=painting)


def as_tensor(image: np.ndarray) -> Tensor:
    """Return an RGB picture ``(H, W, 3)`` as ``(3, H, W)``, clipped to [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1).clamp(0, 1)


def open_methods(checkpoints: Mapping[str, str], profiles: Mapping[str, str]) -> dict[str, Method]:
    """Return the methods by name: of checkpoints, and of profiles those that need no training.

    Raises:
        ImpastoError: If one of them is not there.
    """
    if not checkpoints and not profiles:
        checkpoints = {name: PREFIX + name for name in painters()}
    opened = {name: open_model(Path(path), "cpu") for name, path in checkpoints.items()}
    return opened | {name: load_untrained([profile_of(name, profile)], "cpu") for name, profile in profiles.items()}


def write_small(picture: Tensor, file: Path) -> None:
    """Write ``(3, H, W)`` in [0, 1] as a JPEG of half the size of those that `write_image` makes."""
    with replacing(file) as temporary:
        Image.fromarray(eight_bits(picture).permute(1, 2, 0).numpy()).save(temporary, format="JPEG", quality=QUALITY)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--checkpoint", nargs="+", type=assignment, default=[], metavar="METHOD=PATH", help="file, run or embedded:NAME"
    )
    add(
        "--profile",
        nargs="+",
        type=assignment,
        default=[],
        metavar="METHOD=PROFILE",
        help="of methods without training",
    )
    add("--painters", nargs="+", default=["Dominic Vitrail", "Juno Maelstrom"], metavar="NAME")
    add("--scene", default="city", help="what is painted (%(default)s)")
    add("--other", default="meadow", help="what the painters paint (%(default)s)")
    add("--region", default="sky", help="where methods paint that take a region (%(default)s)")
    add("--size", type=int, default=256, help="side of the scene in pixels (%(default)s)")
    add("--cell", type=int, default=160, help="side of a picture in a row (%(default)s)")
    add("--threads", type=int, default=1)
    add("--out", type=Path, default=Path("report/rows"), help="folder to write (%(default)s)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Draw the rows and print their files."""
    options = parse(words)
    torch.set_num_threads(options.threads)
    try:
        scene = choose_scene(options.scene, options.other, options.region, options.painters, options.size)
        for name, method in open_methods(dict(options.checkpoint), dict(options.profile)).items():
            file = options.out / f"{name}.jpg"
            write_small(row(method, scene, options.cell), file)
            print(file, flush=True)
    except ImpastoError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
