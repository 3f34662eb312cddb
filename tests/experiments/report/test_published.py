import math
from pathlib import Path

import pytest

from experiments.report.boards import make_boards
from experiments.report.entries import Entry
from experiments.report.published import FILENAME, FOLDER, measured_here, read_paper
from experiments.report.records import RunRecord
from lightning_modules.errors import ImpastoError

PAPERS = sorted(path.parent.name for path in FOLDER.glob(f"*/{FILENAME}"))


def test_every_paper_has_its_tables():
    assert {"clast", "contraast", "neat", "least", "nsync"} <= set(PAPERS)


@pytest.mark.parametrize("method", PAPERS)
def test_a_table_says_what_it_needs_to(method):
    paper = read_paper(method)
    assert paper.link.startswith("https://")
    for table in paper.tables:
        assert table.caption
        assert any(row.own for row in table.rows) or "preferred" in table.caption
        for metric in table.metrics:
            assert metric.better in {"higher", "lower", "none"}
            assert metric.differs
        for row in table.rows:
            assert all(value is None or math.isfinite(value) for value in row.values)


@pytest.mark.parametrize(
    ("method", "table", "row", "column", "value"),
    [
        ("clast", "Main results", "CLAST", "deception rate", 0.747),
        ("contraast", "Table 2", "ContraAST", "LPIPS", 0.317),
        ("neat", "Table 1", "NeAT, WikiArt and MSCOCO", "Chamfer", 78.780),
        ("neat", "Table 2", "NeAT", "1920x1080", 0.226),
        ("least", "Table 1", "LEAST", "CLIP score", 21.47),
        ("nsync", "Table II", "NSYNC, SD 1.5", "Monet CSD", 0.7232),
        ("nsync", "Table III", "NSYNC, SD 2.0", "PM FID", 170.2),
        ("nsync", "Table IV", "NSYNC on LoRA", "Van Gogh KID", 0.021),
        ("nsync", "Table V", "CTOA (NSYNC)", "CMMD", 0.721),
    ],
)
def test_figures_stand_in_their_columns(method, table, row, column, value):
    (found,) = [each for each in read_paper(method).tables if each.name == table]
    (line,) = [each for each in found.rows if each.method == row]
    assert line.values[found.columns.index(column)] == value


def test_only_what_real_networks_measured_stands_below_a_paper():
    summary = {"method": "neat", "metrics": {"val/lpips_content_embedded": 0.5, "val/ssim_content": 0.4}}
    boards = make_boards([Entry("ours", [RunRecord("a", "a", summary)])])
    table = read_paper("neat").tables[0]
    ((label, values),) = measured_here(table, "neat", boards)
    assert label.startswith("ours")
    assert {name: value.mean for name, value in zip(table.columns, values, strict=True) if value} == {"SSIM": 0.4}
    assert measured_here(table, "clast", boards) == []


def test_a_column_of_one_data_set_has_nothing_below_it():
    summary = {"method": "nsync", "metrics": {"val/csd": 0.5}}
    boards = make_boards([Entry("ours", [RunRecord("a", "a", summary)])])
    monet, *_, variants = read_paper("nsync").tables
    assert measured_here(monet, "nsync", boards) == []
    assert measured_here(variants, "nsync", boards)[0][1][0].mean == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "paper: p\n",
        "paper: p\nlink: l\ntraining: {hours: 1, device: d, note: n}\nmetrics: {}\ntables: "
        "[{name: t, caption: c, columns: [x], rows: []}]\n",
        "paper: p\nlink: l\ntraining: {hours: 1, device: d, note: n}\n"
        "metrics: {x: {better: lower, here: [], differs: d}}\n"
        "tables: [{name: t, caption: c, columns: [x], rows: [{method: m, values: [1, 2]}]}]\n",
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(tmp_path, text):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / FILENAME).write_text(text)
    with pytest.raises(ImpastoError, match="is not what a table of a paper should be"):
        read_paper("m", tmp_path)


def test_a_method_without_a_paper_has_none():
    assert read_paper("nobody") is None
    assert read_paper(str(Path("..") / "clast")) is None
