"""Paint one region of a scene by several profiles of LEAST, beside what another seed makes of the first.

OMP_NUM_THREADS=1 python -m benchmarks.least_profiles                     # with the embedded networks
python -m benchmarks.least_profiles --pretrained --style "stained glass"

A profile that saves time changes the picture, and so does a seed: a saving costs nothing as long as its picture is no
farther from the first profile's than that profile's own picture of another seed. Written are profiles.jpg, a table and
its figures as JSON. Direction is what the fit asks for, of the CLIP that it asks; LPIPS and SSIM compare the region
with the photograph's and with the first picture's. Time is that of the fit: on a CPU of all threads. Without
--pretrained, experiments/least/embedded.yaml stands on top of every profile.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.contenders.stylists import eight_bits
from benchmarks.meter import Meter
from benchmarks.readme_rows import as_tensor, choose_scene, write_small
from benchmarks.results import write_json
from callbacks.stylization_grid import CAPTION, Sample, draw_grid
from experiments.painting.inference import load_untrained, paint, profile_of
from experiments.report.text import table
from lightning_modules.errors import ImpastoError
from metrics.catalogue import Judges
from metrics.region import RegionLPIPS, RegionSSIM
from metrics.region_judges import RegionDirection

Figures = dict[str, float]


class Order(NamedTuple):
    """What is painted: a photograph ``(3, H, W)`` in [0, 1], its region ``(1, H, W)``, and the style in words."""

    content: Tensor
    mask: Tensor
    style: str


class Judge:
    """Measures pictures of one region.

    Args:
        order: What was asked for.
        pretrained: Whether the judges are pretrained; else the embedded ones.
    """

    def __init__(self, order: Order, *, pretrained: bool) -> None:
        self._content, self._mask, self._style = order.content[None], order.mask[None], [order.style]
        judges = Judges("pretrained" if pretrained else "embedded")
        self._direction = RegionDirection(judges.network("clip"))
        self._distances = {"lpips": RegionLPIPS(judges.network("lpips")), "ssim": RegionSSIM()}

    def __call__(self, picture: Tensor, first: Tensor) -> Figures:
        """Return the figures of a picture, beside the first profile's."""
        painted, mask = picture[None], self._mask
        figures = {"direction": float(self._direction.values(painted, self._content, self._style, mask))}
        for name, other in (("content", self._content), ("first", first[None])):
            for metric, distance in self._distances.items():
                figures[f"{metric}_{name}"] = float(distance.values(painted, other, mask))
        return figures


def fitted(configs: Sequence[Path], order: Order, seed: int, device: torch.device) -> tuple[Tensor, float]:
    """Return the painting by a profile's YAML files, and the seconds that it took after loading."""
    model, held = load_untrained(configs, str(device)), []
    content, mask, style = order
    seconds = Meter(device, 0).seconds(lambda: held.append(paint(model, content, prompt=style, mask=mask, seed=seed)))
    return held[0], seconds


def compare(options: argparse.Namespace) -> dict[str, Figures]:
    """Paint, draw and measure; return the figures of every profile."""
    scene = choose_scene(options.scene, options.scene, options.region, [], options.size)
    order = Order(as_tensor(scene.content.image), scene.mask(), options.style)
    judge = Judge(order, pretrained=options.pretrained)
    on_top = [] if options.pretrained else [profile_of("least", "embedded")]
    first = options.profiles[0]
    pictures, figures = {"content": order.content}, {}
    for title, profile, seed in [*((name, name, 0) for name in options.profiles), (f"{first}, seed 1", first, 1)]:
        configs = [profile_of("least", profile), *on_top]
        pictures[title], seconds = fitted(configs, order, seed, torch.device(options.device))
        figures[title] = {"seconds": seconds} | judge(pictures[title], pictures[first])
        print(f"{title:<14}" + "".join(f"   {name} {value:.3f}" for name, value in figures[title].items()), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    shown = {name: eight_bits(picture) for name, picture in pictures.items()}
    row = draw_grid([Sample(shown, 0, "")], options.cell, {name: name for name in shown})
    write_small(row[:, :-CAPTION], options.out / "profiles.jpg")
    write_json({"style": options.style, "profiles": figures}, options.out / "profiles.json")
    return figures


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--profiles", nargs="+", default=["full", "fast", "cpu"], help="of experiments/least, the exact one first")
    add("--pretrained", action="store_true", help="with the profiles' own CLIP and VGG")
    add("--style", default="Dominic Vitrail", help="what is asked for (%(default)s)")
    add("--scene", default="city", help="what is painted (%(default)s)")
    add("--region", default="sky", help="where (%(default)s)")
    add("--size", type=int, default=512, help="side of the scene in pixels (%(default)s)")
    add("--cell", type=int, default=224, help="side of a picture in the row (%(default)s)")
    add("--device", default="cpu")
    add("--out", type=Path, default=Path("report/least-profiles"), help="folder to write (%(default)s)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Compare, and print the table."""
    try:
        figures = compare(parse(words))
    except ImpastoError as error:
        raise SystemExit(str(error)) from error
    rows = [[title, *(f"{value:.3g}" for value in values.values())] for title, values in figures.items()]
    print(table(["profile", *next(iter(figures.values()))], rows), end="")


if __name__ == "__main__":
    main()
