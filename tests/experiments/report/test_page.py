import json
import re
import shutil

import pytest
import yaml

from experiments.cli import execute
from experiments.report.curves import draw
from experiments.report.page import direction, read_run, write_report


@pytest.fixture
def two_runs(trained, tmp_path):
    """The stub's run twice, with metrics and one setting of their own."""
    for name, value in (("a", 0.25), ("b", 0.5)):
        folder = tmp_path / "runs" / name
        shutil.copytree(trained, folder)
        summary = json.loads((folder / "summary.json").read_text())
        summary["metrics"] = {"val/ssim_content": value, "val/lpips_content_embedded": value}
        summary["conventions"] = {"val/ssim_content": "window <11>"}
        (folder / "summary.json").write_text(json.dumps(summary))
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["model"]["init_args"]["lr"] = value
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return [tmp_path / "runs/a", tmp_path / "runs/b"]


def test_the_page_needs_nothing_but_itself(two_runs, tmp_path, capsys):
    out = tmp_path / "report"
    assert execute(["compare", *map(str, two_runs), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
    page = (out / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("<img") == 2
    assert "train/total" in page
    assert "window &lt;11&gt;" in page
    assert "<code>model.lr</code>" in page
    assert "<code>model.width</code>" not in page  # equal in both


def test_the_best_is_marked(two_runs, tmp_path):
    write_report(two_runs, tmp_path)
    assert (tmp_path / "table.csv").read_text().splitlines()[0] == "metric,a,b"
    assert (tmp_path / "table.md").read_text().splitlines()[2:] == [
        "| `val/lpips_content_embedded` | **0.2500** | 0.5000 |",
        "| `val/ssim_content` | 0.2500 | **0.5000** |",
    ]


def test_a_killed_run_is_read_from_what_it_left(two_runs):
    (two_runs[0] / "summary.json").unlink()
    record = read_run(two_runs[0])
    assert record.summary["device"] == "not finished"
    assert record.summary["iterations"] == 6


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", '{"method": "con'),
        ("summary.json", "[]"),
        ("summary.json", '{"metrics": {}}'),
        ("summary.json", '{"method": "m", "metrics": []}'),
        ("metrics.csv", "epoch,val/x\n0,1.0\n"),
        ("metrics.csv", "step,val/x\n0,one\n"),
        ("config.yaml", "model: [1"),
        ("config.yaml", ""),
    ],
)
def test_a_half_written_record_is_named(two_runs, tmp_path, capsys, name, content):
    (two_runs[0] / name).write_text(content)
    assert execute(["compare", *map(str, two_runs), "--out", str(tmp_path / "report")]) == 1
    assert f"{two_runs[0] / name} is damaged or breaks off" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
    (two_runs[0] / name).unlink()
    assert execute(["compare", *map(str, two_runs), "--out", str(tmp_path / "report")]) == 0


def test_a_table_that_breaks_off_in_a_line_is_read_up_to_it(two_runs):
    table = two_runs[0] / "metrics.csv"
    columns = table.read_text().partition("\n")[0].count(",")
    with table.open("a") as file:
        file.write("1234" + ",1.5" * columns)  # and the digits to come
    assert read_run(two_runs[0]).curves == read_run(two_runs[1]).curves


def test_a_report_that_cannot_be_written_is_one_sentence(two_runs, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert execute(["compare", str(two_runs[0]), "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.startswith(f"impasto: {tmp_path}/file cannot be made, because a file stands")


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path, capsys):
    assert execute(["compare", str(tmp_path), "--out", str(tmp_path / "report")]) == 1
    assert "is not a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/deception_embedded", "higher"),
        ("val/deception_ceiling_embedded", "none"),
        ("val/deception_floor_hed", "none"),
        ("val/style_loss", "lower"),
        ("val/ssim_truth", "higher"),
        ("val/accuracy_top5", "higher"),
        ("test/clip_style_embedded", "higher"),
    ],
)
def test_direction(name, expected):
    assert direction(name) == expected


def test_curves_survive_what_training_produces():
    svg = draw([[(0, 1.0), (1, float("nan")), (2, float("inf")), (3, 2.0)], [(5, 1.5)], []], ["red", "blue", "green"])
    assert svg.count("<polyline") == 1
    assert svg.count("<circle") == 1
    assert "nan" not in svg
    assert draw([[], []], ["red", "blue"]) == ""


def test_a_report_never_replaces_what_it_is_made_from(two_runs, tmp_path, capsys):
    out = tmp_path / "report"
    out.mkdir()
    (out / "table.csv").symlink_to(two_runs[0] / "metrics.csv")
    assert execute(["compare", str(two_runs[0]), "--out", str(out)]) == 1
    assert "would overwrite" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["table.csv"]
