"""The comparison as a W&B workspace and a report, built by code: every project gets the same panels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.report.boards import make_boards
from experiments.report.entries import make_entries
from experiments.report.marks import direction, is_reference, stand_in
from experiments.report.published import papers_of
from experiments.report.text import to_markdown
from experiments.report.wandb_runs import SHOWN, STEP

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as reports
    import wandb_workspaces.workspaces as workspaces

    from experiments.report.gathering import Gathered

NAME = "Impasto: methods compared"
USUAL = ("val/chamfer", "val/ssim_content", "val/ssim_truth", "val/cmmd_embedded", "val/csd_embedded",
         "val/deception_embedded", "val/lpips_content_embedded", "val/lpips_truth_embedded", "val/sifid_embedded",
         "val/style_loss_embedded", "val/way_embedded", "train/total")  # fmt: skip
"""What every tiny profile logs: the panels of a project whose runs nobody has read."""
ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}


@dataclass(frozen=True)
class Dashboard:
    """A workspace, for whoever looks on, and a report, to be read from its beginning to its end."""

    workspace: workspaces.Workspace
    report: reports.Report

    def to_json(self) -> str:
        """Return both as W&B's server would get them, without the random numbers that name their parts."""
        parts = {
            "workspace": json.loads(self.workspace._to_model().model_dump_json(by_alias=True)),
            "report": json.loads(self.report._to_model().model_dump_json(by_alias=True)),
        }
        return json.dumps(_without_ids(parts), indent=2, ensure_ascii=False) + "\n"

    def save(self) -> list[str]:
        """Send both to W&B, and return their addresses."""
        return [str(self.workspace.save().url), str(self.report.save().url)]


def make_dashboard(entity: str, project: str, found: Gathered) -> Dashboard:
    """Build the dashboard of a project.

    Args:
        entity: Who owns the project on W&B; empty is whoever the key belongs to.
        project: Its name.
        found: Runs whose names it is limited to, and whose metrics get panels; without any, all runs of the project and
            the usual metrics.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    names = sorted({run.name for run in found.runs})
    keys = sorted({key for run in found.runs for key in (*run.metrics, *run.curves)} or USUAL)
    sections = [
        ws.Section(name=title, is_open=number == 0, panels=panels)
        for number, (title, panels) in enumerate(_panels(keys))
    ]
    filters = ws.And(ws.Metric("Name").isin(names)) if names else ""
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=max(10, len(names))),
        runset_settings=ws.RunsetSettings(groupby=[ws.Metric("Group")], filters=filters),
    )
    runs = wr.Runset(name="runs", groupby=["group"], filters=filters)  # of the report's project: another is looked up
    blocks: list[Any] = [wr.TableOfContents()]
    if found.runs or found.evaluations:
        entries = make_entries(found.runs, found.evaluations)
        blocks.append(wr.MarkdownBlock(text=to_markdown(make_boards(entries), papers_of(entries))))
    for title, panels in _panels(keys):
        blocks += [wr.H1(text=title), wr.PanelGrid(runsets=[runs], panels=panels)]
    return Dashboard(workspace, wr.Report(project=project, entity=entity, title=NAME, blocks=blocks))


def _panels(keys: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Return titles and panels; what a stand-in network measured has a part of its own."""
    import wandb_workspaces.reports.v2 as wr

    measured = [key for key in keys if key.startswith(("val/", "test/"))]
    real = [key for key in measured if not stand_in(key) and not is_reference(key)]
    embedded = [key for key in measured if stand_in(key) and not is_reference(key)]
    references = [key for key in measured if is_reference(key)]
    terms = [key for key in keys if key.startswith("train/")]

    def lines(chosen: Sequence[str]) -> list[Any]:
        return [wr.LinePlot(title=key + ARROWS[direction(key)], x=STEP, y=[key]) for key in chosen]

    def bars(chosen: Sequence[str]) -> list[Any]:
        return [wr.BarPlot(title=key + ARROWS[direction(key)], metrics=[wr.SummaryMetric(key)]) for key in chosen]

    parts = [
        ("Measured without stand-ins", bars(real) + lines(real)),
        ("Measured with stand-in networks: not comparable with published figures", bars(embedded) + lines(embedded)),
        ("What to read them against", bars(references)),
        ("Pictures", [wr.MediaBrowser(title="samples", media_keys=[SHOWN], mode="grid", grid_x_axis="run")]),
        ("Training", [wr.LinePlot(title=key, x=STEP, y=[key]) for key in terms]),
        ("Settings that differ", [wr.RunComparer(diff_only="split")]),
    ]
    return [(title, panels) for title, panels in parts if panels]


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if key not in {"id", "__id__"}}
    return [_without_ids(item) for item in value] if isinstance(value, list) else value
