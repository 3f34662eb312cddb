"""Who grounds: by name, by model id, or whatever is on this machine in the order of `auto`."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.concepts import SAM3
from lightning_modules.grounding.detection import GroundingDINO
from lightning_modules.grounding.hub import KNOWN, RECOMMENDED, here, load, task_of
from lightning_modules.grounding.llava import LLaVA, Query
from lightning_modules.grounding.regions import Grounder, NotFoundError, Region
from lightning_modules.grounding.replies import Frame
from lightning_modules.grounding.sam import (
    HubSegmenter,
    Multimask,
    SegmentAnything,
    find_checkpoint,
    package_installed,
)
from lightning_modules.grounding.segmenters import (
    FeatheredBox,
    GrabCut,
    Say,
    Segmenter,
    TokenSimilarity,
    without_weights,
)
from lightning_modules.grounding.stuff import CLIPSeg, is_stuff

WORDS = ("llava", "grounding-dino", "clipseg", "sam3")
"""Grounders of phrases, in the order of `auto`."""
OUTLINES: dict[str, Callable[[], Segmenter]] = {
    "grabcut": GrabCut, "dinov2s_imgfocus": TokenSimilarity, "feathered": FeatheredBox,
}  # fmt: skip
NAMES = ("auto", "mask", "box", "sam", *OUTLINES, *WORDS)
"""What a grounder may be called, beside a model's id or folder."""
log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How grounders are built.

    Attributes:
        device: Where they run.
        download: Fetch weights that are not on this machine.
        sam: File or model id of SAM's weights; by default what is found.
        multimask: See `Promptable`.
        query: See `LLaVA`.
        frame: See `LLaVA`.
        say: Gets one sentence for every step that is not taken.
    """

    device: str = "cpu"
    download: bool = False
    sam: str | None = None
    multimask: Multimask = "best_iou_in_box"
    query: Query = "where"
    frame: Frame | None = None
    say: Say = log.warning


def find_segmenter(name: str, settings: Settings) -> Segmenter:
    """Return who turns boxes and points into masks.

    Args:
        name: ``auto``: SAM where its weights are, else what works without; ``sam``: SAM or an error; one of
            `OUTLINES`; or id or folder of a SAM.
        settings: How it is built.

    Raises:
        ImpastoError: If the name is none of these, or the weights are missing.
    """
    if name in OUTLINES:
        return OUTLINES[name]()
    if name in {"mask", "box", *WORDS}:
        raise _deaf(name)
    chosen = settings.sam if name in {"auto", "sam"} else name
    if chosen is None:
        return _found_segmenter(name, settings)
    if Path(chosen).suffix == ".pth" or Path(chosen).is_file():
        return SegmentAnything(chosen, multimask=settings.multimask, device=settings.device)
    if task_of(chosen) not in {"sam", None}:
        raise _deaf(chosen)
    return HubSegmenter(load(chosen, settings.device, settings.download), settings.multimask)


def _found_segmenter(name: str, settings: Settings) -> Segmenter:
    """Return the SAM that is on this machine; without one, an error for ``sam``, and something else for ``auto``."""
    file, model = find_checkpoint(), here("sam")
    if file is not None and (package_installed() or model is None):
        return SegmentAnything(file, multimask=settings.multimask, device=settings.device)
    if model is not None or settings.download:
        loaded = load(model or RECOMMENDED["sam"], settings.device, settings.download)
        return HubSegmenter(loaded, settings.multimask)
    if name == "auto":
        return without_weights(settings.say)
    return SegmentAnything(device=settings.device)  # which says what is missing


def _deaf(name: str) -> ImpastoError:
    return ImpastoError(
        f"--grounder {name} does not find what a box or a point shows: choose auto, sam, {', '.join(OUTLINES)} or a "
        "SAM's id."
    )


def find_grounder(name: str, settings: Settings) -> Grounder:
    """Return who finds phrases.

    Args:
        name: ``auto``, one of `WORDS`, or id or folder of such a model.
        settings: How it is built.

    Raises:
        ImpastoError: If the name is none of these, or the weights are missing.
    """
    if name == "auto":
        return Auto(settings)
    model = (here(name) or RECOMMENDED[name]) if name in WORDS else name
    _check_understands(name, model)
    loaded = load(model, settings.device, settings.download)
    task = task_of(model)
    if task == "clipseg":
        return CLIPSeg(loaded)
    if task == "sam3":
        return SAM3(loaded)
    outline = find_segmenter("auto", settings)
    if task == "llava":
        return LLaVA(loaded, outline, settings.query, settings.frame)
    return GroundingDINO(loaded, outline)


def _check_understands(name: str, model: str) -> None:
    if (name in NAMES and name not in WORDS) or task_of(model) == "sam":
        raise ImpastoError(
            f"--grounder {name} does not understand words: show the region by --mask, --box or --point, or choose "
            f"{', '.join(WORDS)}, a model's id, or auto."
        )
    if name not in NAMES and task_of(model) is None and "/" not in model:
        raise ImpastoError(f"There is no grounder '{name}': choose {', '.join(NAMES)}, or give a model's id or folder.")


class Auto:
    """The first grounder of `WORDS` that is on this machine and finds the phrase; for stuff, CLIPSeg comes first.

    Nothing is fetched, and nobody is asked: what is not there is passed over, and what fails is said in a sentence.

    Args:
        settings: How grounders are built; ``download`` fetches the recommended Grounding DINO where none is there.

    Source: the order follows LEAST, section 3.1, then from the larger models to the smaller.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._built: dict[str, Grounder] = {}

    def ground(self, image: Tensor, phrase: str) -> list[Region]:
        """Return regions: see `Grounder`."""
        failures = []
        for name, step in self._steps(phrase):
            try:
                return step().ground(image, phrase)
            except NotFoundError as error:
                failures.append(str(error))
            except (ImpastoError, MemoryError, RuntimeError) as error:  # a model may be too large for the machine
                failures.append(f"{name} cannot be used ({(str(error).splitlines() or [''])[0].rstrip('.')}).")
            self._settings.say(failures[-1])
        if failures:
            raise NotFoundError(f"Nobody finds '{phrase}' in the picture: name it otherwise, or give --mask or --box.")
        raise ImpastoError(
            f"Nothing on this machine can look for '{phrase}': show it by --mask, --box or --point, or fetch a model, "
            f"for example `hf download {RECOMMENDED['grounding-dino']}` "
            f"({KNOWN['grounding-dino'][RECOMMENDED['grounding-dino']]:g} GB)."
        )

    def _steps(self, phrase: str) -> Iterator[tuple[str, Callable[[], Grounder]]]:
        names = sorted(WORDS, key=lambda name: name != "clipseg") if is_stuff(phrase) else list(WORDS)
        there = {name: model for name in names if (model := here(name)) is not None}
        if not there and self._settings.download:
            there = {"grounding-dino": RECOMMENDED["grounding-dino"]}
        for name, model in there.items():
            yield name, lambda model=model: self._grounder(model)  # type: ignore[misc]

    def _grounder(self, model: str) -> Grounder:
        if model not in self._built:
            self._built[model] = find_grounder(model, self._settings)
        return self._built[model]
