"""How contents and styles come together: one function for each way, from folders to a list of wishes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from datamodules.captions import list_captioned, require_captions
from datamodules.images import list_images
from datamodules.job_table import JobTable
from datamodules.masks import Box
from datamodules.records import Record, Stored
from datamodules.samples import evaluation_pairs, spread
from datamodules.sources import ProceduralArt, artist_name, paintings_by_artist
from experiments.evaluation.recipe import Pairing, Recipe, most
from experiments.scoring.pairs import check_folder
from lightning_modules.errors import ImpastoError


@dataclass(frozen=True)
class Folders:
    """Where a user's pictures are.

    Attributes:
        content: Folder of contents, or of clips.
        style: Folder of style pictures.
        jobs: Table of jobs.
    """

    content: Path | None = None
    style: Path | None = None
    jobs: Path | None = None

    def need(self, name: str, recipe: Recipe) -> Path:
        """Return one of them.

        Raises:
            ImpastoError: If it was not given, or is not there.
        """
        path: Path | None = getattr(self, name)
        if path is None:
            kind = "FILE" if name == "jobs" else "DIR"
            raise ImpastoError(f"The protocol {recipe.name} comes without pictures: give --{name} {kind}.")
        if name != "jobs":
            check_folder(path, f"--{name}")
        return path


@dataclass(frozen=True)
class Wish:
    """One picture to be made, told by files; see `experiments.evaluation.protocol.Task`."""

    content: Path | None = None
    style: Path | None = None
    truth: Path | None = None
    mask: Path | None = None
    box: str | None = None
    artist: str | None = None
    prompt: str | None = None
    caption: str | None = None
    clip: str | None = None
    frame: int | None = None


@dataclass(frozen=True)
class Plan:
    """What was found.

    Attributes:
        wishes: In the order of painting.
        roots: The folders that files are named from: ``content``, and ``style`` where that is another.
    """

    wishes: list[Wish]
    roots: dict[str, Path]

    def root_of(self, kind: str) -> str:
        """Return the name of the folder that pictures of a kind lie in."""
        return "style" if (kind == "style" and "style" in self.roots) or "content" not in self.roots else "content"

    def counts(self) -> dict[str, int]:
        """Return how many there are of each, as recipes count them."""
        named: dict[str, set[Any]] = {
            "contents": {wish.content for wish in self.wishes},
            "styles": {wish.style for wish in self.wishes},
            "artists": {wish.artist for wish in self.wishes},
            "clips": {wish.clip for wish in self.wishes},
        }
        return {name: len(found - {None}) for name, found in named.items()} | {"pairs": len(self.wishes)}


def plan(recipe: Recipe, folders: Folders) -> Plan:
    """Find the pairs of a recipe in somebody's folders.

    Raises:
        ImpastoError: If a folder is missing, or holds nothing that fits.
    """
    return PAIRINGS[recipe.pairing](recipe, folders)


def _every(recipe: Recipe, folders: Folders) -> Plan:
    """Paint every content after every style; where styles lie in folders, those are the artists."""
    content, style = folders.need("content", recipe), folders.need("style", recipe)
    contents = spread(list_images(content), most(recipe, "contents"))
    styles = spread(list_images(style), most(recipe, "styles"))
    wishes = [
        Wish(content=photo, style=painting, artist=name, prompt=name)
        for photo in contents
        for painting, name in ((painting, _folder_of(painting, style)) for painting in styles)
    ]
    return Plan(wishes, {"content": content, "style": style})


def _artists(recipe: Recipe, folders: Folders) -> Plan:
    """Paint every content for every artist, by name; where there are paintings, after each of theirs in turn."""
    content = folders.need("content", recipe)
    contents = spread(list_images(content), most(recipe, "contents"))
    works = {} if folders.style is None else _works(folders.need("style", recipe))
    names: Sequence[str] = recipe.options.get("artists") or list(works)
    if not names:
        raise ImpastoError(f"The protocol {recipe.name} names no artists: give --style DIR with a folder for each.")
    missing = [name for name in names if works and name.casefold() not in works]
    if missing:
        raise ImpastoError(
            f"There are no paintings by {', '.join(missing)} in {folders.style}: check the folders' names."
        )
    wishes = []
    for number, photo in enumerate(contents):
        for name in names:
            own = works.get(name.casefold(), [])
            style = own[number % len(own)] if own else None
            wishes.append(Wish(content=photo, style=style, artist=name, prompt=name))
    roots = {"content": content} | ({} if folders.style is None else {"style": folders.style})
    return Plan(wishes, roots)


def _captions(recipe: Recipe, folders: Folders) -> Plan:
    """Draw every caption of a folder of test pictures, in the style that the folder is called after."""
    style = folders.need("style", recipe)
    pictures = list_captioned(style)
    require_captions(pictures)
    name = recipe.options.get("artist") or artist_name(style.resolve().name)
    wishes = [Wish(style=each.path, artist=name, prompt=name, caption=each.caption) for each in pictures]
    return Plan(wishes, {"style": style})


def _jobs(recipe: Recipe, folders: Folders) -> Plan:
    """Paint the regions of a table of jobs."""
    from lightning_modules.grounding import parse_prompt

    table = folders.need("jobs", recipe)
    wishes = []
    for job in JobTable(table, parse_prompt).jobs("test"):
        if job.needs_grounding:
            raise ImpastoError(
                f"{job.name} has its region in words alone: give it a mask or a box, equal for all methods."
            )
        mask = job.area if isinstance(job.area, Path) else None
        box = _box_text(job.area) if isinstance(job.area, Box) else None
        wishes.append(Wish(content=job.image, truth=job.painting, mask=mask, box=box, prompt=job.style))
    return Plan(wishes, {"content": folders.content or table.parent})


def _clips(recipe: Recipe, folders: Folders) -> Plan:
    """Paint every frame of every clip, a folder of pictures each, after the styles in turn."""
    content, style = folders.need("content", recipe), folders.need("style", recipe)
    clips: dict[str, list[Path]] = {}
    for path in list_images(content):
        if path.parent != content:
            clips.setdefault(path.parent.relative_to(content).as_posix(), []).append(path)
    if not clips:
        raise ImpastoError(
            f"No clips in {content}: it should hold a folder of frames for each, as `ffmpeg -i clip.mp4 clip/%05d.png` "
            "makes them."
        )
    chosen, styles = spread(sorted(clips), most(recipe, "clips")), list_images(style)
    wishes = [
        Wish(content=photo, style=painting, artist=name, prompt=name, clip=clip, frame=frame)
        for number, clip in enumerate(chosen)
        for painting, name in [(styles[number % len(styles)], _folder_of(styles[number % len(styles)], style))]
        for frame, photo in enumerate(clips[clip])
    ]
    return Plan(wishes, {"content": content, "style": style})


def _procedural(recipe: Recipe, folders: Folders) -> Plan:
    """Paint contents of ProceduralArt for its painters, whose own paintings of them are known."""
    options = dict(recipe.options)
    split, per_content = options.pop("split", "test"), options.pop("pairs_per_content", None)
    root = folders.content or Path("data/procedural")
    source = ProceduralArt(root, **options)
    source.prepare()
    paintings = source.paintings(split)
    artists = sorted({painting.artist for painting in paintings})
    pairs = evaluation_pairs(source.contents(split), paintings, [], artists, pairs_per_content=per_content)
    wishes = [
        Wish(content=_file(pair.content), style=_file(pair.style), truth=_file(pair.truth), artist=name, prompt=name)
        for pair in pairs
        for name in [artists[pair.artist]]
    ]
    return Plan(wishes, {"content": root})


PAIRINGS: Mapping[Pairing, Callable[[Recipe, Folders], Plan]] = {
    "every": _every,
    "artists": _artists,
    "captions": _captions,
    "jobs": _jobs,
    "clips": _clips,
    "procedural": _procedural,
}


def _works(folder: Path) -> dict[str, list[Path]]:
    return {
        name.casefold(): [_file(work.path) for work in works] for name, works in paintings_by_artist(folder).items()
    }


@overload
def _file(place: Stored) -> Path: ...
@overload
def _file(place: None) -> None: ...
def _file(place: Stored | None) -> Path | None:
    """Return the file that a picture is, which a protocol can name."""
    if isinstance(place, Record):
        raise ImpastoError(f"{place} is no file of its own, as a protocol's pictures are: give a folder of pictures.")
    return place


def _folder_of(path: Path, root: Path) -> str | None:
    parents = path.relative_to(root).parts[:-1]
    return artist_name(parents[0]) if parents else None


def _box_text(box: Box) -> str:
    """Write a box as `datamodules.masks.parse_box` reads it."""
    return ",".join(repr(side) if box.shares else str(int(side)) for side in box[:4])
