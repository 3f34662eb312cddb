"""One answer for all ranks of a launch, whoever started them: what ``auto`` means must never differ between two."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from torch import distributed as dist

from lightning_modules.errors import ImpastoError

NOTE = "IMPASTO_AUTO_WEIGHTS"
PATIENCE = timedelta(hours=1)  # the first rank may be downloading


def agree(question: str, answer: Callable[[], str]) -> str:
    """Return what the first rank answers, on every rank.

    A process that stands alone answers for itself and leaves a note in its environment: the ranks that Lightning
    starts from it inherit that. Ranks that have met, or that torchrun started, ask in the store that they share.

    Args:
        question: The same words on every rank.
        answer: Is called on the first rank alone.

    Raises:
        ImpastoError: If this is one of several processes that cannot ask each other yet.
    """
    if not _one_of_several():
        found = answer()
        _note({**_noted(os.getpid()), question: found})
        return found
    noted = _noted(os.getpid(), os.getppid())
    if question not in noted:
        noted[question] = _ask(question, answer)
        _note(noted)
    return noted[question]


def _one_of_several() -> bool:
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size() > 1
    return any(int(os.environ.get(name) or 1) > 1 for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"))


def _note(answers: dict[str, str]) -> None:
    os.environ[NOTE] = json.dumps({"process": os.getpid(), "answers": answers})


def _noted(*processes: int) -> dict[str, str]:
    """Return what one of these processes has answered; a note by anybody else is another launch's."""
    note: dict[str, Any] = json.loads(os.environ.get(NOTE, "{}"))
    answers: dict[str, str] = note.get("answers", {})
    return answers if note.get("process") in processes else {}


def _ask(question: str, answer: Callable[[], str]) -> str:
    met = dist.is_available() and dist.is_initialized()
    listening = met or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not (listening and "MASTER_ADDR" in os.environ):
        raise ImpastoError(
            "Processes that were started one by one cannot agree on what the weights `auto` are: name them, as in "
            "--model.weights pretrained."
        )
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, timeout=PATIENCE)  # type: ignore[attr-defined]
    key = f"impasto/{question}"
    first = (dist.get_rank() if met else int(os.environ["RANK"])) == 0
    if first and not store.check([key]):  # torchrun's store outlives processes that it starts again
        store.set(key, answer())
    found: str = store.get(key).decode()
    return found
