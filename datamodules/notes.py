"""Sentences about a user's files that are said once, on standard error, whoever reads the files."""

import logging
import os
from functools import cache

from lightning_modules.paths import shown

log = logging.getLogger(__name__)


@cache
def note(sentence: str) -> None:
    """Say a sentence; one that was said already, or that another rank on this machine says, is not said again."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        log.warning("%s", shown(sentence))
