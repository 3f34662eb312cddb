"""Where a benchmark's figures go."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(results: Any, path: Path) -> None:
    """Write figures as JSON, whole or not at all; what JSON does not know, such as a path, as its text."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8")
    partial.replace(path)
