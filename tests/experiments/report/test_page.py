"""The whole page, from folders of runs to three files."""

import csv
import json
import re
import shutil

import pytest
import yaml

from experiments.cli import execute
from experiments.report.page import write_report


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


def evaluation(folder, checkpoint, settings=None, **metrics):
    folder.mkdir(parents=True)
    said = {
        "format": 1,
        "protocol": {"name": "neat", "sha256": "ab12", "n": 750, "seed": 0, "estimator": "mean"},
        "method": "stub_method",
        "checkpoint": {"path": str(checkpoint), "sha256": "cd"},
        "settings": settings or {},
        "device": "NVIDIA <H100>",
        "threads": 1,
        "seconds": {"median": 0.125, "n": 5, "warm_up": 1},
        "metrics": {
            key: {"mean": mean, "low": low, "high": high, "n": 750, "better": "lower", "convention": "c"}
            for key, (mean, low, high) in metrics.items()
        },
        "command": "impasto evaluate --protocol neat",
        "commit": "0",
        "finished": "2026",
    }
    (folder / "evaluation.json").write_text(json.dumps(said))
    return folder


def test_the_page_needs_nothing_but_itself(two_runs, tmp_path, capsys):
    out = tmp_path / "report"
    assert execute(["compare", *map(str, two_runs), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
    page = (out / "index.html").read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)|url\(|@import', page)
    assert "train/<wbr>" not in page
    assert "train/total" in page
    assert "window &lt;11&gt;" in page
    assert 'class="code">model.lr</th>' in page
    assert 'class="code">model.width</th>' not in page  # equal in both


def test_the_tables_hold_what_the_records_hold(two_runs, tmp_path):
    write_report(two_runs, tmp_path)
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    recorded = {path.name: json.loads((path / "summary.json").read_text())["metrics"] for path in two_runs}
    told = {(row["row"].split()[-1], row["metric"]): float(row["mean"]) for row in rows}
    assert told == {(name, key): value for name, metrics in recorded.items() for key, value in metrics.items()}
    assert (tmp_path / "table.md").read_text().splitlines()[4:8] == [
        "| method | `val/ssim_content` ↑ | `val/lpips_content_embedded` ↓ |",
        "| --- | ---: | ---: |",
        "| stub_method tiny a | 0.2500 | 0.2500 ☆ |",
        "| stub_method tiny b | 0.5000 ☆ | 0.5000 |",
    ]
    page = (tmp_path / "index.html").read_text()
    assert re.findall(r'data-value="([\d.]+)">([\d.]+)<', page)[:4] == [
        ("0.25", "0.2500"), ("0.25", "0.2500"), ("0.5", "0.5000"), ("0.5", "0.5000"),
    ]  # fmt: skip


def test_a_metric_of_a_stand_in_stands_apart(two_runs, tmp_path):
    write_report(two_runs, tmp_path)
    page = (tmp_path / "index.html").read_text()
    groups = re.findall(r'scope="colgroup" colspan="(\d)"[^>]*>([^<]*)<', page)
    assert groups == [
        ("1", "without stand-ins"),
        ("1", "with stand-in networks (embedded): not comparable with published figures"),
    ]


def test_a_killed_run_is_compared_by_what_it_left(two_runs, tmp_path):
    (two_runs[0] / "summary.json").unlink()
    write_report(two_runs, tmp_path / "report")
    assert "not finished" in (tmp_path / "report/index.html").read_text()


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
        ("samples/000006.png", "no picture"),
        ("evaluation/neat/evaluation.json", '{"format": 2}'),
        ("evaluation/neat/evaluation.json", '{"format": 1, "metrics": {}}'),
    ],
)
def test_a_damaged_run_is_listed_and_left_out(two_runs, tmp_path, capsys, name, content):
    (two_runs[0] / name).parent.mkdir(parents=True, exist_ok=True)
    (two_runs[0] / name).write_text(content)
    assert execute(["compare", *map(str, two_runs), "--out", str(tmp_path / "report")]) == 1
    told = capsys.readouterr()
    sentence = f"{two_runs[0] / name} is damaged or breaks off"
    assert f"impasto: left out: {sentence}" in told.err
    assert told.out.splitlines()[-1] == str(tmp_path / "report/index.html")
    page = (tmp_path / "report/index.html").read_text()
    assert sentence in page
    assert "<h1>stub_method tiny: b</h1>" in page
    (two_runs[0] / name).unlink()
    assert execute(["compare", *map(str, two_runs), "--out", str(tmp_path / "report")]) == 0


def test_nothing_but_damage_writes_nothing(two_runs, tmp_path, capsys):
    (two_runs[0] / "summary.json").write_text("[]")
    assert execute(["compare", str(two_runs[0]), "--out", str(tmp_path / "report")]) == 1
    assert "is damaged or breaks off" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_an_evaluation_stands_in_a_table_of_its_protocol(two_runs, tmp_path):
    for run, mean in zip(two_runs, (1.0, 2.0), strict=True):
        evaluation(run / "evaluation/neat", run / "checkpoints/best.ckpt", sifid=(mean, mean - 0.1, mean + 0.1))
    other = evaluation(tmp_path / "elsewhere", "someone/else.ckpt", sifid=(1.05, 0.9, 1.2))
    write_report([*two_runs, other], tmp_path / "report")
    told = (tmp_path / "report/table.md").read_text()
    assert told.splitlines()[0] == "# Protocol neat"
    assert "SHA-256 of the protocol: ab12" in told
    rows = [line for line in told.splitlines() if line.startswith("| stub_method")][:3]
    assert rows == [
        "| stub_method | 1.050 ≈ (0.9000 to 1.200) |",
        "| stub_method tiny a | 1.000 ≈ (0.9000 to 1.100) |",
        "| stub_method tiny b | 2.000 (1.900 to 2.100) |",
    ]
    page = (tmp_path / "report/index.html").read_text()
    assert "impasto evaluate --protocol neat" in page
    assert "NVIDIA &lt;H100&gt;" in page


def test_a_checkpoint_measured_in_two_ways_is_two_rows_and_no_two_seeds(two_runs, tmp_path):
    run, checkpoint = two_runs[0], two_runs[0] / "checkpoints/best.ckpt"
    told = {"text": {"condition": "text", "controls": {"alpha": 1.0}}}
    told |= {"image": told["text"] | {"condition": "image"}, "weak": {"condition": "text", "controls": {"alpha": 0.5}}}
    for mean, (name, settings) in enumerate(told.items(), start=1):
        evaluation(run / f"evaluation/{name}", checkpoint, settings, sifid=(mean, mean - 0.1, mean + 0.1))
    evaluation(run / "evaluation/weak-again", checkpoint, told["weak"], sifid=(3.5, 3.4, 3.6))
    write_report([run], tmp_path / "report")
    rows = [line for line in (tmp_path / "report/table.md").read_text().splitlines() if "stub_method tiny" in line][:3]
    assert rows == [
        "| stub_method tiny, by image, alpha 1.0 | 2.000 (1.900 to 2.100) |",
        "| stub_method tiny, by text, alpha 1.0 | **1.000 ★** (0.9000 to 1.100) |",
        "| stub_method tiny, by text, alpha 0.5 | 3.500 (3.400 to 3.600) |",
    ]


def test_a_folder_of_runs_is_all_of_them(two_runs, tmp_path):
    (tmp_path / "runs/latest").symlink_to("b", target_is_directory=True)
    (tmp_path / "runs/empty").mkdir()
    write_report([tmp_path / "runs", two_runs[0]], tmp_path / "report")
    assert "<h1>2 rows compared: stub_method</h1>" in (tmp_path / "report/index.html").read_text()


def test_a_run_says_how_to_repeat_it(two_runs, tmp_path):
    for run, command in zip(two_runs, ("python -m experiments fit --config <x>", None), strict=True):
        summary = json.loads((run / "summary.json").read_text())
        summary["command"] = command
        (run / "summary.json").write_text(json.dumps(summary))
    write_report(two_runs, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "<code>python -m experiments fit --config &lt;x&gt;</code>" in page
    assert f"<code>python -m experiments fit --config {two_runs[1]}/config.yaml</code>" in page


def test_a_report_that_cannot_be_written_is_one_sentence(two_runs, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert execute(["compare", str(two_runs[0]), "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.startswith(f"impasto: {tmp_path}/file cannot be made, because a file stands")


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path, capsys):
    assert execute(["compare", str(tmp_path), "--out", str(tmp_path / "report")]) == 1
    assert "is not a run" in capsys.readouterr().err


def test_a_report_never_replaces_what_it_is_made_from(two_runs, tmp_path, capsys):
    out = tmp_path / "report"
    out.mkdir()
    (out / "table.csv").symlink_to(two_runs[0] / "metrics.csv")
    assert execute(["compare", str(two_runs[0]), "--out", str(out)]) == 1
    assert "would overwrite" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["table.csv"]
