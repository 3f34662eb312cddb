"""A protocol: which pictures are painted after what, told by the hashes of the pictures; and its file."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from datamodules.samples import spread
from experiments.evaluation.pairing import Plan, Wish
from experiments.evaluation.recipe import RECIPE_KEYS, Recipe, check_counts, parse_recipe
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically
from lightning_modules.paths import find_file

FORMAT = 1
PICTURES = ("content", "style", "truth", "mask")
CONTROL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
"""What JSON lets stand in a string, and YAML does not as it is; the last range are bytes of names that are no UTF-8."""
HEAD = """\
# A frozen protocol of Impasto: `impasto evaluate --protocol FILE` paints and measures exactly these pairs.
# On another machine, --content and --style say where the pictures lie; their hashes are checked.
"""


@dataclass(frozen=True)
class Picture:
    """A picture of a protocol.

    Attributes:
        root: Name of the folder that it lies in.
        file: Its path below that folder.
        sha256: Of the file.
    """

    root: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Task:
    """One picture to be made; what is not part of it is None.

    Attributes:
        id: Its name, of which files are made.
        content: Key of the picture to paint.
        style: Key of the picture to paint after.
        truth: Key of the picture that it should become.
        mask: Key of the picture that is bright where to paint.
        box: The same as a rectangle, ``x0,y0,x1,y1``.
        artist: Whose manner it should have.
        prompt: The style in words.
        caption: What is to be seen.
        clip: The video that it is a frame of.
        frame: Its number there.
    """

    id: str
    content: str | None = None
    style: str | None = None
    truth: str | None = None
    mask: str | None = None
    box: str | None = None
    artist: str | None = None
    prompt: str | None = None
    caption: str | None = None
    clip: str | None = None
    frame: int | None = None

    def pictures(self) -> dict[str, str]:
        """Return the keys of its pictures, by what they are to it."""
        keys = {kind: getattr(self, kind) for kind in PICTURES}
        return {kind: key for kind, key in keys.items() if key is not None}


@dataclass(frozen=True)
class Protocol:
    """A recipe with its pictures.

    Attributes:
        recipe: How pictures are prepared and measured.
        roots: The folders that pictures lie in, by name.
        pictures: All pictures, by key.
        tasks: What is painted, in this order.
    """

    recipe: Recipe
    roots: dict[str, Path]
    pictures: dict[str, Picture]
    tasks: list[Task]

    def sha256(self) -> str:
        """Return what is equal for two protocols exactly if they say the same, wherever their pictures lie."""
        recipe = {key: value for key, value in asdict(self.recipe).items() if key != "source"}
        hashes = {key: picture.sha256 for key, picture in self.pictures.items()}
        tasks = [
            asdict(task) | {kind: hashes[key] for kind, key in task.pictures().items()}  # keys are names, no contents
            for task in self.tasks
        ]
        text = json.dumps({"format": FORMAT, "recipe": recipe, "tasks": tasks}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def path(self, key: str) -> Path:
        """Return the file of a picture.

        Raises:
            ImpastoError: If it is not there.
        """
        picture = self.pictures[key]
        path = find_file(self.roots[picture.root] / picture.file)
        if not path.is_file():
            option = "--style" if picture.root == "style" else "--content"
            raise ImpastoError(
                f"The picture {path} of the protocol {self.recipe.name} is not there: say with {option} DIR where "
                f"{picture.file} lies."
            )
        return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        ImpastoError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImpastoError(f"{path} cannot be read ({error.strerror}): check the file.") from error


def freeze(recipe: Recipe, plan: Plan, limit: int | None = None) -> Protocol:
    """Make a protocol of what was found in folders.

    Args:
        recipe: Where it comes from.
        plan: What was found.
        limit: Take at most so many pairs (of clips, so many clips), spread over all; counts are then not asked for.

    Raises:
        ImpastoError: If there are not as many as the recipe wants, or a picture cannot be read.
    """
    if limit is None:
        check_counts(recipe, plan.counts())
    wishes = _limited(plan.wishes, limit)
    keys: dict[tuple[str, Path], str] = {}
    pictures: dict[str, Picture] = {}

    def key_of(kind: str, wish: Wish) -> str | None:
        path: Path | None = getattr(wish, kind)
        if path is None:
            return None
        root = plan.root_of(kind)
        if (root, path) not in keys:
            keys[root, path] = f"{root}{len(keys)}"
            inside = os.path.relpath(path, plan.roots[root])
            pictures[keys[root, path]] = Picture(root, Path(inside).as_posix(), file_sha256(path))
        return keys[root, path]

    digits = max(4, len(str(len(wishes))))
    words = [each.name for each in fields(Task) if each.name not in ("id", *PICTURES)]
    tasks = []
    for number, wish in enumerate(wishes):
        parts: dict[str, Any] = {kind: key_of(kind, wish) for kind in PICTURES}
        tasks.append(Task(f"{number:0{digits}}", **parts, **{word: getattr(wish, word) for word in words}))
    return Protocol(recipe, {name: path.resolve() for name, path in plan.roots.items()}, pictures, tasks)


def _limited(wishes: Sequence[Wish], limit: int | None) -> list[Wish]:
    """Take some, as far apart as they are; a clip is taken whole."""
    units: list[list[Wish]] = []
    for wish in wishes:
        if wish.clip is not None and units and units[-1][0].clip == wish.clip:
            units[-1].append(wish)
        else:
            units.append([wish])
    return [wish for unit in spread(units, limit) for wish in unit]


def write_protocol(protocol: Protocol, path: Path) -> None:
    """Write a protocol; pairs and pictures stand one a line."""
    recipe = json.loads(json.dumps(asdict(protocol.recipe)))  # tuples become lists
    head = {"format": FORMAT, "n": len(protocol.tasks), **recipe}
    head["roots"] = {name: folder.as_posix() for name, folder in protocol.roots.items()}
    lines = [HEAD + yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=110), "pictures:\n"]
    lines += [f"  {key}: {_line(asdict(picture))}\n" for key, picture in protocol.pictures.items()]
    lines += ["pairs:\n", *(f"- {_line(asdict(task))}\n" for task in protocol.tasks)]
    write_atomically(path, "".join(lines))


def _line(values: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in values.items() if value is not None}, ensure_ascii=False)
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_frozen(settings: Mapping[str, Any]) -> bool:
    """Tell a protocol with pictures from a recipe."""
    return "pairs" in settings


def read_protocol(settings: Mapping[str, Any], path: Path, roots: Mapping[str, Path]) -> Protocol:
    """Return the protocol that a file's settings are.

    Args:
        settings: Of the file.
        path: Of the file, for messages.
        roots: Folders in place of those where it was frozen, by name.

    Raises:
        ImpastoError: If something in it does not fit.
    """
    if settings.get("format") != FORMAT:
        raise ImpastoError(f"The protocol {path} is of format {settings.get('format')}, not {FORMAT}: freeze it again.")
    recipe = parse_recipe({key: value for key, value in settings.items() if key in RECIPE_KEYS}, path)
    try:
        folders = {str(name): Path(folder) for name, folder in settings["roots"].items()}
        pictures = {str(key): Picture(**picture) for key, picture in settings["pictures"].items()}
        tasks = [Task(**task) for task in settings["pairs"]]
        _check_tasks(tasks, pictures, folders)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImpastoError(f"The protocol {path} is damaged ({error}): take another copy of it.") from error
    return Protocol(recipe, folders | {name: root for name, root in roots.items() if name in folders}, pictures, tasks)


def _check_tasks(tasks: Sequence[Task], pictures: Mapping[str, Picture], folders: Mapping[str, Path]) -> None:
    if not tasks or len({task.id for task in tasks}) < len(tasks):
        raise ValueError("no pairs, or two of one id")
    for task in tasks:
        if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", task.id):  # files are named so
            raise ValueError(f"the id {task.id!r}")
        for key in task.pictures().values():
            folders[pictures[key].root]


def check_pictures(protocol: Protocol) -> None:
    """Refuse pictures that are missing or are not those that the protocol was frozen with.

    Raises:
        ImpastoError: With the first of them.
    """
    for key, picture in protocol.pictures.items():
        path = protocol.path(key)
        found = file_sha256(path)
        if found != picture.sha256:
            raise ImpastoError(
                f"{path} is another picture than the one of the protocol {protocol.recipe.name}: its SHA-256 is "
                f"{found[:12]}, not {picture.sha256[:12]}; put back the one that was there."
            )
