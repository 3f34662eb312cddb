"""The model card of a trained method: what it is, what it learnt from, its figures, and how it is loaded."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_modules.errors import ImpastoError

WEIGHTS, GRAPH = "model.safetensors", "model.onnx"
TAGS = ("style-transfer", "impasto")


def run_facts(checkpoint: Path) -> dict[str, Any]:
    """Return what the run around a checkpoint left behind: its ``summary.json`` and, of ``config.yaml``, the data.

    Raises:
        ImpastoError: If the run has a file that cannot be read.
    """
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        try:
            if not (folder / "summary.json").is_file():
                continue
            summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            config = folder / "config.yaml"
            settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
            return {**summary, "data": _data(settings.get("data") or {})}
        except (ValueError, AttributeError, yaml.YAMLError) as error:
            raise ImpastoError(f"The run in {folder} has a summary or a configuration that cannot be read.") from error
    return {}


def painter_facts(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return, as `run_facts` does, what the file of a painter holds; of those that ship, all in one row."""
    if "metrics" in measured:
        return dict(measured)
    metrics = {key: value for key, value in measured.items() if key.startswith("val/")}
    rest = {key: value for key, value in measured.items() if key not in metrics}
    return {**rest, "iterations": rest.get("steps"), "metrics": metrics}


def write_card(
    signature: Mapping[str, Any], kind: type, facts: Mapping[str, Any], files: Iterable[str], name: str, licence: str
) -> str:
    """Return a model card in Markdown, with the head that hubs read.

    Args:
        signature: Of the checkpoint.
        kind: Class of the method.
        facts: As of `run_facts`; or of a painter that ships, its ``metrics`` alone.
        files: What the page holds, or will hold.
        name: ``USER/NAME``.
        licence: Of the weights, as hubs spell it.
    """
    files = set(files)
    head = ["---", f"license: {licence}", "pipeline_tag: image-to-image", "library_name: impasto"]
    head += [f"tags: [{', '.join((signature['method'], *TAGS))}]", "---", ""]
    lines = [
        *head,
        f"# {name.partition('/')[2]}",
        "",
        f"Artistic style transfer by {kind.__name__}, trained and exported with Impasto.",
        "",
        f"{_first_line(kind)}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in _rows(signature, facts).items()),
        "",
        *_figures(facts),
        "## Use",
        "",
        *_usage(files, name, _asked(kind)),
    ]
    return "\n".join(lines) + "\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _rows(signature: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, str]:
    known = {key: facts[key] for key in ("profile", "seed", "commit", "iterations", "device", "data") if facts.get(key)}
    hours = facts.get("seconds")
    rows = {"method": signature["method"], **{key: str(value) for key, value in known.items()}}
    rows |= {"training": f"{hours / 3600:.2g} hours"} if hours else {}
    return rows | {f"`{part}`, frozen": source for part, source in signature["frozen"].items()}


def _figures(facts: Mapping[str, Any]) -> list[str]:
    metrics, conventions = facts.get("metrics") or {}, facts.get("conventions") or {}
    if not metrics:
        return []
    said = {key: conventions.get(key, "").replace("|", "\\|") for key in metrics}
    rows = [f"| `{key}` | {value:.4g} | {said[key]} |" for key, value in metrics.items()]
    return [
        "## Figures",
        "",
        "Of the last validation. Keys that end in `_embedded` were measured by small networks that know invented "
        "painters only; no paper's figure compares with them.",
        "",
        "| metric | value | convention |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _asked(kind: type) -> str:
    """Return what a user gives of a style, as options."""
    return "--style painting.jpg" if "image" in getattr(kind, "conditions", ()) else '--prompt "..."'


def _usage(files: set[str], name: str, asked: str) -> list[str]:
    lines: list[str] = []
    if WEIGHTS in files:
        lines += [
            "With Impasto; frozen networks come from their own files:",
            "",
            "```",
            f"impasto stylize --checkpoint hf:{name} --content photo.jpg {asked} --out painted.png",
            "```",
            "",
        ]
    if GRAPH in files:
        lines += [
            f"Without PyTorch, in onnxruntime; the metadata of `{GRAPH}` names every input with its range:",
            "",
            "```python",
            "import onnxruntime",
            "from huggingface_hub import hf_hub_download",
            "",
            f'session = onnxruntime.InferenceSession(hf_hub_download("{name}", "{GRAPH}"))',
            'print(session.get_modelmeta().custom_metadata_map["inputs"])',
            "```",
            "",
        ]
    return lines


def _data(settings: Mapping[str, Any]) -> str:
    """Return the class names of what a run learnt from."""
    parts = [settings, *(settings.get("init_args") or {}).values()]
    found = [str(part["class_path"]) for part in parts if isinstance(part, Mapping) and "class_path" in part]
    return ", ".join(dict.fromkeys(path.rpartition(".")[2] for path in found))
