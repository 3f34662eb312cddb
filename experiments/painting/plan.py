"""What `impasto stylize` paints and where each result goes, settled before anything is painted."""

from collections.abc import Iterable
from pathlib import Path

from datamodules.folders import list_files
from datamodules.images import WRITABLE_SUFFIXES, is_image_name, list_images
from datamodules.video import WRITABLE_VIDEOS, is_video_name
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import refuse_overwriting, slug

Job = tuple[Path, Path]
"""A content and the file that its painting goes to."""
PICTURES = ".png, .jpg or .webp"


def is_video(path: Path) -> bool:
    """Tell whether a path is taken for a video: by its name."""
    return is_video_name(path.name) and not path.is_dir()


def plan(content: Path, out: Path) -> list[Job]:
    """Pair every content with the file that its painting goes to.

    Args:
        content: A picture, a video, or a folder of them.
        out: A file or a folder.

    Raises:
        ImpastoError: If there is nothing to paint, or its painting cannot have that name.
    """
    suffix = out.suffix.lower()
    if content.is_dir():
        if suffix in _writable(content) or out.is_file():
            raise ImpastoError(f"The content {content} is a folder, so --out must be one too, not {out}.")
        # An --out inside the content's folder holds what an earlier call painted.
        inside = out.resolve() != content.resolve() and out.resolve().is_relative_to(content.resolve())
        paths = [p for p in _contents(content) if not (inside and p.resolve().is_relative_to(out.resolve()))]
        jobs = [(path, _target(out / path.relative_to(content))) for path in paths]
    elif out.is_dir() or (not out.suffix and not out.is_file()):
        jobs = [(content, _target(out / content.name))]
    elif suffix in _writable(content):
        jobs = [(content, out)]
    else:
        raise _unwritable(out, ".mp4, .mov, .mkv or .webm" if is_video(content) else PICTURES)
    return jobs


def place_of(prompt: str, out: Path) -> Path:
    """Return the file that the picture of a prompt goes to; in a folder it is called after the prompt.

    Args:
        prompt: What is drawn.
        out: A file or a folder.

    Raises:
        ImpastoError: If a picture cannot have that name.
    """
    if out.is_dir() or (not out.suffix and not out.is_file()):
        return out / f"{slug(prompt)}.png"
    if out.suffix.lower() not in WRITABLE_SUFFIXES:
        raise _unwritable(out, PICTURES)
    return out


def numbered(path: Path, number: int) -> Path:
    """Return the file of one of several pictures: ``pond-3.png`` of ``pond.png``."""
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _unwritable(out: Path, kinds: str) -> ImpastoError:
    return ImpastoError(f"{out} cannot be written: its name must end in {kinds}, or be a folder.")


def _contents(folder: Path) -> list[Path]:
    """List the pictures and videos under a folder, sorted by path, every file once."""
    found = list_files(folder, lambda path: is_image_name(path.name) or is_video_name(path.name))
    return found or list_images(folder)  # which says what should be there


def _writable(content: Path) -> set[str]:
    """Return the suffixes that a content's painting may have."""
    videos = set(WRITABLE_VIDEOS)
    if content.is_dir():
        return videos | WRITABLE_SUFFIXES
    return videos if is_video(content) else set(WRITABLE_SUFFIXES)


def _target(path: Path) -> Path:
    if path.suffix.lower() in _writable(path):
        return path
    return path.with_name(path.name + (".mp4" if is_video(path) else ".png"))


def check_targets(jobs: list[Job], heatmap: Path | None, beside: Iterable[Path], read: Iterable[Path]) -> None:
    """Refuse to write over anything that the command reads, or two results to one place.

    Args:
        jobs: What is painted and where it goes.
        heatmap: Where the heat map goes; None where none is asked for.
        beside: What may be written beside the paintings.
        read: The other files that the command reads, such as style and checkpoint.

    Raises:
        ImpastoError: If a file would be lost, or there is no heat map of such a content.
    """
    targets = [*(target for _, target in jobs), *beside]
    if heatmap is not None:
        _check_heatmap(heatmap, jobs[0][0])
        targets.append(heatmap)
    refuse_overwriting(targets, [*(source for source, _ in jobs), *read])


def _check_heatmap(heatmap: Path, content: Path) -> None:
    if not is_video(content):
        raise ImpastoError(f"--heatmap shows how the frames of one video differ, and {content} is none.")
    if heatmap.suffix.lower() not in WRITABLE_SUFFIXES | set(WRITABLE_VIDEOS):
        raise ImpastoError(f"{heatmap} cannot be written: the name of a heat map must end in .png or .mp4.")
