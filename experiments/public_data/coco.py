"""COCO in the layout that `ImageFolder` reads: ``train2017/``, ``val2017/``, and ``annotations/`` beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from datamodules.images import is_image_name
from experiments.public_data.archives import WrongArchiveError, extract, members, opened
from experiments.public_data.disk import require_space
from experiments.public_data.downloads import fetch, is_address
from experiments.public_data.manifest import MANIFEST, write_manifest
from experiments.public_data.pictures import Link, describe, place
from experiments.public_data.pool import work_progress
from experiments.public_data.staging import DOWNLOADS, staged
from lightning_modules.errors import ImpastoError

SPLITS = ("train", "val")
ANNOTATIONS = "annotations"


class Coco:
    """COCO's photographs of one year.

    Args:
        source: A folder with folders or zip files of pictures, or the address of a server that is laid out as COCO's.
        year: Of the split, such as 2017.
        annotations: Whether to take the captions, too, where they are.
        link: How files of a folder are put into place.
        checksums: Of files that are fetched, by their names.
        workers: Processes that look at pictures; by default one a core.
        near_duplicates: Whether to look for pictures that are nearly the same in both splits.
    """

    def __init__(
        self,
        source: str,
        year: str,
        *,
        annotations: bool,
        link: Link,
        checksums: Mapping[str, str],
        workers: int | None,
        near_duplicates: bool,
    ) -> None:
        self.source = source.rstrip("/") if is_address(source) else source
        self.year = year
        self.annotations = annotations
        self.link = link
        self.checksums = checksums
        self.workers = workers
        self.near_duplicates = near_duplicates

    def write(self, out: Path) -> None:
        """Make the data set, unless it is there; what was interrupted goes on.

        Raises:
            ImpastoError: If the source is missing, empty or something else, or the disk is too small.
        """
        recipe = {"source": self.source, "year": self.year, "annotations": self.annotations}
        with staged(out, recipe) as folder:
            if folder is None:
                return
            folders = [f"{split}{self.year}" for split in SPLITS]
            for name in folders:
                self._bring(name, f"zips/{name}.zip", folder)
            if self.annotations:
                self._bring(ANNOTATIONS, f"annotations/annotations_trainval{self.year}.zip", folder)
            names = {
                f"{name}/{path.name}": name.removesuffix(self.year)
                for name in folders
                for path in sorted((folder / name).iterdir())
            }
            facts = describe(
                folder, names, {}, (), workers=self.workers, near_duplicates=self.near_duplicates
            )  # fmt: skip
            licences = dict(self._licences(folder).most_common())
            write_manifest(folder / MANIFEST, {"data": "COCO", "recipe": recipe, **facts, "licences": licences})

    def _bring(self, name: str, archive: str, folder: Path) -> None:
        """Put a folder of pictures, or the captions, into place."""
        if is_address(self.source):
            file = PurePosixPath(archive).name
            checksum = self.checksums.get(file, "")
            path = fetch(f"{self.source}/{archive}", folder / DOWNLOADS / file, checksum=checksum)
            try:
                self._unpack(path, name, folder)
            except WrongArchiveError:
                path.unlink()  # else the same command would never fetch another one
                raise
            return
        root = Path(self.source)
        if not root.is_dir():
            raise ImpastoError(f"The folder {root} does not exist: check the path, or give the address of a server.")
        zips = [path for path in (root / archive, root / PurePosixPath(archive).name) if path.is_file()]
        paths = [path for path in sorted((root / name).glob("*")) if self._belongs(name, path.name)]
        if paths:
            self._take(paths, folder / name)
        elif zips:
            self._unpack(zips[0], name, folder)
        elif name != ANNOTATIONS:
            raise ImpastoError(
                f"{root} holds neither pictures in {name}/ nor {name}.zip: give the folder of one of them."
            )

    def _take(self, paths: Sequence[Path], target: Path) -> None:
        if self.link == "copy":
            require_space(target, sum(path.stat().st_size for path in paths), f"Copying {len(paths)} files")
        for path in paths:
            place(path, target / path.name, self.link)

    def _unpack(self, path: Path, name: str, folder: Path) -> None:
        with opened(path) as archive, work_progress(f"Unpacking {path.name}") as bar:
            wanted = [m for m in members(archive) if self._belongs(name, PurePosixPath(m.filename).name)]
            wanted = [m for m in wanted if PurePosixPath(m.filename).parent.name == name]
            if not wanted:
                raise WrongArchiveError(f"{path} holds no {name}/: it is another archive, or an empty one.")
            targets = [folder / name / PurePosixPath(member.filename).name for member in wanted]
            missing = sum(m.file_size for m, target in zip(wanted, targets, strict=True) if not target.is_file())
            require_space(folder, missing, f"Unpacking {path.name}")
            task = bar.add_task("", total=len(wanted))
            for member, target in zip(wanted, targets, strict=True):
                extract(archive, member, target)
                bar.update(task, advance=1, refresh=True)

    def _belongs(self, name: str, file: str) -> bool:
        return file.startswith("captions_") and self.year in file if name == ANNOTATIONS else is_image_name(file)

    def _licences(self, folder: Path) -> Counter[str]:
        """Count the licences that the captions' files name."""
        found: Counter[str] = Counter()
        for path in sorted((folder / ANNOTATIONS).glob("captions_*.json")):
            try:
                told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                names = {licence["id"]: licence["name"] for licence in told.get("licenses", [])}
                found.update(names.get(image.get("license"), "not given") for image in told["images"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ImpastoError(f"{path.name} is no file of COCO's captions: fetch it again.") from error
        return found
