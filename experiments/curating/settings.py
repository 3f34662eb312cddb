"""What the scores of a folder were made with, so that no folder ever mixes two predictors."""

import hashlib
import json
from pathlib import Path

from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

FILE = "settings.json"


def claim(out: Path, *, checkpoint: Path, shards: Path, min_side: int) -> None:
    """Note what a folder of scores is made with, or see that it is made with the same.

    Args:
        out: The folder.
        checkpoint: Of the predictor; its bytes count, not its name.
        shards: The archive.
        min_side: See `experiments.curating.scoring.Task`.

    Raises:
        ImpastoError: If the folder holds scores of another kind, or something else.
    """
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = {"checkpoint": digest, "shards": str(shards.resolve()), "min_side": min_side}
    path = out / FILE
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ImpastoError(f"{out} holds something else: give --out a folder that is new or empty.")
        write_atomically(path, json.dumps(wanted, indent=2) + "\n")
        return
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ImpastoError(f"{path} is damaged: give another --out.") from error
    different = [name for name in wanted if noted.get(name) != wanted[name]]
    if different:
        raise ImpastoError(
            f"{out} holds scores that were made with another {' and another '.join(different)}: give another --out; "
            "--keep and --threshold may change."
        )
