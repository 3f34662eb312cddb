"""What decides how a negative looks: the settings of a whole set, and what each picture of it is drawn from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from datamodules.learned_styles import Wish
from lightning_modules.errors import ImpastoError
from lightning_modules.prompts import Tokenizer, styled

Sampler = Literal["pndm", "ddim"]
MANIFEST = "negatives.json"


@dataclass(frozen=True)
class Recipe:
    """The settings of a set; two sets of one recipe and the same captions are the same.

    Attributes:
        pipeline: Where its weights came from.
        prompts: What negatives are in the style of, such as ``"painting"``; of several, every picture draws one.
        size: Side in pixels at which they are drawn.
        match_resolution: Side in pixels to which they are shrunk, that of the positives; a larger one changes nothing.
        steps: Of the sampler.
        guidance: Of classifier-free guidance.
        sampler: Which one.
        seed: Of all pictures.

    Source: giddyyupp/NSYNC @2d20a62 for 50 steps, guidance 7.5, the pipeline's own sampler and 256 pixels.
    """

    pipeline: str
    prompts: tuple[str, ...]
    size: int
    match_resolution: int = 256
    steps: int = 50
    guidance: float = 7.5
    sampler: Sampler = "pndm"
    seed: int = 0


class Drawing(NamedTuple):
    """One picture to draw.

    Attributes:
        key: Its name without suffix.
        prompt: The whole of it.
        seed: Its own.
    """

    key: str
    prompt: str
    seed: int


def drawing(wish: Wish, recipe: Recipe, tokenizer: Tokenizer | None = None) -> Drawing:
    """Return what a wish is drawn from: it depends on the recipe and the wish's own name and caption only.

    Args:
        wish: The picture.
        recipe: Of its set.
        tokenizer: Makes long captions give way to the style; see `lightning_modules.prompts.fitted`.
    """
    word = recipe.prompts[_number(recipe.seed, "prompt", wish.key) % len(recipe.prompts)]
    return Drawing(wish.key, styled(wish.caption, word, tokenizer), _number(recipe.seed, "noise", wish.key))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the recipe of a folder of negatives as its file has it; None where there is none."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def manifest(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as its file has it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(recipe).items()}


def check_same(folder: Path, recipe: Recipe) -> None:
    """Refuse a folder that holds negatives of another recipe, or other pictures.

    Raises:
        ImpastoError: If it does.
    """
    found, asked = read_manifest(folder), manifest(recipe)
    if found is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ImpastoError(f"{folder} holds something other than negatives: choose another folder.")
        return
    changed = [f"{name} {found.get(name)}, not {value}" for name, value in asked.items() if found.get(name) != value]
    if changed:
        raise ImpastoError(
            f"{folder} holds negatives of other settings ({'; '.join(changed)}): ask for the same, choose another "
            "folder, or remove it."
        )


def _number(seed: int, purpose: str, key: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # torch takes 63 bits
