"""Profiles that say only what differs from another one. Nothing in this file may import torch."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent


def base_of(path: Path) -> Path | None:
    """Return the profile on which a method's YAML file is laid where it comes first: ``tiny``, if it names no model.

    Args:
        path: A file as `impasto fit --config` takes it.

    Returns:
        None where the file is complete, belongs to no method, or cannot be read.
    """
    base = path.with_name("tiny.yaml")
    if not path.is_file() or path.resolve().parents[1] != FOLDER or not base.is_file():
        return None
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return None  # the parser explains it
    model = (settings or {}).get("model") or {}
    return base if isinstance(model, dict) and "class_path" not in model else None
