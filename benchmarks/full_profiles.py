"""Every experiment's full profile on made-up pictures: nothing has to be downloaded, and the sizes are its own.

A full profile reads WikiArt, COCO, BBST, a painter's pictures or a table of jobs. `make_pictures` writes folders that
look like all of these, and `stand_in` lays a profile's data and frozen networks on them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from lightning_modules.checkpoints import class_of
from lightning_modules.generation import GenerativeModule

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
CHEAP: dict[str, Any] = {"workers": 0, "min_paintings": 2}
"""Settings of any data module that ask for more than made-up data have."""


def full_profiles() -> dict[str, type]:
    """Return every experiment that has a full profile, with the class that it trains or runs."""
    profiles = sorted(EXPERIMENTS.glob("*/full.yaml"))
    return {path.parent.name: class_of(yaml.safe_load(path.read_text(encoding="utf-8"))["model"]) for path in profiles}


def make_pictures(folder: Path, *, side: int, artists: int, works: int = 3) -> None:
    """Write folders as the data modules read them, where they are not there yet: smooth noise, quick to decode.

    Args:
        folder: Where.
        side: Of the pictures, in pixels.
        artists: Painters of the style folders.
        works: Paintings of each, and captioned pictures of one painter.
    """
    if (folder / "jobs.csv").is_file():
        return
    noise = np.random.default_rng(0)
    painters = [f"painter-{artist:03d}" for artist in range(artists)]
    files = [f"{place}/{number:03d}.jpg" for place in ("content", "content_val") for number in range(max(artists, 16))]
    files += [f"style/{painter}/{work}.jpg" for painter in painters for work in range(works)]
    files += [
        name for number in range(4 * works) for name in (f"learned/{number}.jpg", f"learned-negatives/{number}.png")
    ]
    for file in files:
        _write(folder / file, noise, side)
    for number in range(4 * works):
        (folder / "learned" / f"{number}.txt").write_text(f"a pond with {number} bridges", encoding="utf-8")
    rows = [f"style/{painter}/{work}.jpg,stylistic,{painter}" for painter in painters for work in range(works)]
    rows += [f"{file},plain," for file in files if file.startswith("content/")]
    (folder / "annotations.csv").write_text("\n".join(["path,label,group", *rows]) + "\n", encoding="utf-8")
    box = f"{side // 4},{side // 4},{side // 4 * 3},{side // 4 * 3}"
    rows = [f'content/{number:03d}.jpg,wool,"{box}"' for number in range(8)]
    (folder / "jobs.csv").write_text("\n".join(["image,style,box", *rows]) + "\n", encoding="utf-8")


def stand_in(
    method: str, folder: Path, *, weights: str = "random", settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return an experiment's full profile on the pictures of a folder.

    Args:
        method: The experiment.
        folder: Of `make_pictures`.
        weights: Of every frozen network that the profile wants pretrained.
        settings: Values of keys, and arguments of classes by their name, wherever in the profile these stand.
    """
    profile = yaml.safe_load((EXPERIMENTS / method / "full.yaml").read_text(encoding="utf-8"))
    laid: dict[str, Any] = _laid(
        profile, {"pretrained": weights, "auto": weights}, CHEAP | _places(folder) | dict(settings or {})
    )
    if issubclass(class_of(profile["model"]), GenerativeModule):
        laid["data"]["init_args"] |= {"placeholders": profile["model"]["init_args"]["placeholders"]}
    return laid


def _places(folder: Path) -> dict[str, Any]:
    return {
        "ImageFolder": {"root": str(folder / "content"), "val_root": str(folder / "content_val")},
        "WikiArt": {"root": str(folder / "style")},
        "AnnotationTable": {"path": str(folder / "annotations.csv"), "holdout": 0.25},
        "StyleFolders": {"roots": [str(folder / "learned")], "holdout": 0.25},
        "jobs": str(folder / "jobs.csv"),
    }


def _laid(value: Any, words: Mapping[str, str], keys: Mapping[str, Any]) -> Any:
    """Replace words wherever they stand, values of keys that are there, and arguments of classes by their name."""
    if isinstance(value, list):
        return [_laid(each, words, keys) for each in value]
    if not isinstance(value, dict):
        return words.get(value, value) if isinstance(value, str) else value
    laid = {key: keys.get(key, _laid(each, words, keys)) for key, each in value.items()}
    own = keys.get(str(value.get("class_path", "")).rpartition(".")[2])
    return laid | {"init_args": laid.get("init_args", {}) | own} if own else laid


def _write(path: Path, noise: np.random.Generator, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(noise.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    coarse.resize((side * 5 // 4, side), Image.Resampling.BICUBIC).save(path, quality=80)
