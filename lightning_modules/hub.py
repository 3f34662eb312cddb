"""Painters on the Hugging Face hub, which any command takes for ``hf:USER/NAME``."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lightning_modules.errors import ImpastoError

PREFIX = "hf:"
WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "model.json", "README.md"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
Answer = TypeVar("Answer")
TRUSTED = ("lightning_modules.", "torch.optim.")
"""Classes that a description from elsewhere may name: to build another one is to run somebody's code."""


def fetch(name: str) -> Path:
    """Return the file of weights of ``USER/NAME``, or of ``USER/NAME@REVISION``, from the hub or from its cache.

    Raises:
        ImpastoError: If it is not there, cannot be fetched, or names classes that are none of ours.
    """
    place, _, revision = name.partition("@")
    check_name(place)
    from huggingface_hub import hf_hub_download

    def download() -> tuple[Path, Path]:
        description = Path(hf_hub_download(place, DESCRIPTION, revision=revision or None))
        commit = description.parent.name  # the page may change in between
        return description, Path(hf_hub_download(place, WEIGHTS, revision=commit))

    description, weights = _asking(download, f"{PREFIX}{name} cannot be loaded")
    try:
        named = list(_classes(json.loads(description.read_text(encoding="utf-8"))))
    except ValueError as error:
        raise ImpastoError(f"{PREFIX}{name} is no painter of Impasto: its {DESCRIPTION} cannot be read.") from error
    stranger = next((path for path in named if not path.startswith(TRUSTED)), None)
    if stranger is not None:
        raise ImpastoError(
            f"{PREFIX}{name} asks for {stranger}, which is no class of Impasto or of torch.optim: it is not loaded."
        )
    return weights


def push(name: str, files: Mapping[str, Path], card: Callable[[set[str]], str], *, private: bool = False) -> str:
    """Upload files and a model card in one commit, and return the page's address.

    Args:
        name: ``USER/NAME``; made where it is missing.
        files: From their names there to the files.
        card: Returns the card, given the names of all files that will be there.
        private: Whether a page that is made is the user's alone.

    Raises:
        ImpastoError: If there is no token, or the hub refuses or cannot be reached.
    """
    check_name(name)
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if get_token() is None:
        raise ImpastoError(
            f"Nothing was sent to {name}: there is no token; `hf auth login` or HF_TOKEN gives one with write access."
        )

    def upload() -> str:
        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        there = set(api.list_repo_files(name)) | set(files)
        operations = [CommitOperationAdd(place, path) for place, path in files.items()]
        operations.append(CommitOperationAdd(CARD, card(there).encode()))
        api.create_commit(name, operations, commit_message="Export with Impasto")
        return f"{api.endpoint}/{name}"

    return _asking(upload, f"Nothing was sent to {name}")


def check_name(name: str) -> None:
    """Refuse what is not ``USER/NAME``.

    Raises:
        ImpastoError: If it is not.
    """
    if not NAME.fullmatch(name):
        raise ImpastoError(f"'{name}' is no USER/NAME of the Hugging Face hub.")


def _asking(call: Callable[[], Answer], failed: str) -> Answer:
    """Return what a call to the hub returns; where it fails, say in one sentence what to do."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    others: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__)  # whichever library carries requests
    try:
        return call()
    except (GatedRepoError, HFValidationError, RepositoryNotFoundError) as error:
        raise ImpastoError(
            f"{failed}: the hub has no such page for you; check the name, or `hf auth login`."
        ) from error
    except LocalEntryNotFoundError as error:
        raise ImpastoError(f"{failed}: it is not in the cache, and the hub cannot be reached.") from error
    except EntryNotFoundError as error:
        raise ImpastoError(f"{failed}: that page holds no {WEIGHTS} with {DESCRIPTION}.") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "with an error")
        raise ImpastoError(f"{failed}: the hub answers {status}; does your token have write access?") from error
    except ValueError as error:
        raise ImpastoError(f"{failed}: the hub's answer cannot be read; is HF_ENDPOINT a hub's address?") from error
    except others as error:
        raise ImpastoError(
            f"{failed}: the hub cannot be reached; is there a network, and no HF_HUB_OFFLINE?"
        ) from error


def _classes(value: Any) -> Iterator[str]:
    """Yield every class that a description names."""
    if isinstance(value, dict):
        yield from (str(path) for key, path in value.items() if key == "class_path")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _classes(each)
