"""The page of a study: one file with its pictures inside, which opens from a disk and asks no network."""

import base64
import io
import json
import random
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from datamodules.images import read_pixels
from experiments.study.questions import ASKED, MADE, REAL, Study

TEMPLATE = "page.html"
LARGEST = 768
"""Longer side of a picture on the page, in pixels."""
QUALITY = 92
SHOWN, CHOSEN = 0, 1
Place = tuple[int, Path]
"""Whether a picture is shown beside others or can be chosen, and its file."""


def render_page(study: Study, per_voter: int | None) -> str:
    """Return the page.

    What is in it of a picture are its pixels, written anew by one encoder, in a random order: neither names, nor
    metadata, nor places tell whose it is.

    Args:
        study: What is asked.
        per_voter: How many trials each person gets, drawn by the page; None asks all of everyone.

    Raises:
        ImpastoError: If a picture cannot be read.
    """
    shown = {file for trial in study.trials for file in (trial.content, trial.style) if file is not None}
    chosen = {option.file for trial in study.trials for option in trial.options}
    # A painting that is shown as a style here and judged there is two pictures: one number would give it away.
    files = _shuffled([*((SHOWN, file) for file in shown), *((CHOSEN, file) for file in chosen)])
    number = {file: place for place, file in enumerate(files)}
    trials = [
        {
            "id": trial.id,
            "question": trial.question,
            "content": None if trial.content is None else number[SHOWN, trial.content],
            "style": None if trial.style is None else number[SHOWN, trial.style],
            "options": [{"id": option.id, "picture": number[CHOSEN, option.file]} for option in trial.options],
        }
        for trial in study.trials
    ]
    data: dict[str, Any] = {
        "study": study.id,
        "questions": {trial.question: ASKED[trial.question] for trial in study.trials},
        "answers": [REAL, MADE],
        "perVoter": min(per_voter or len(trials), len(trials)),
        "trials": trials,
        "pictures": [_encoded(file) for _, file in files],
    }
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    # Inside a script element, the one thing that ends it is its own closing tag.
    return environment.get_template(TEMPLATE).render(data=json.dumps(data).replace("<", "\\u003c"))


def _shuffled(files: list[Place]) -> list[Place]:
    return random.SystemRandom().sample(sorted(files), len(files))


def _encoded(path: Path) -> str:
    image = Image.fromarray(read_pixels(path))
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
