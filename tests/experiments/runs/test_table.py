from experiments.runs.table import TableWriter, read_table


def test_columns_grow_and_rows_survive(tmp_path):
    path = tmp_path / "metrics.csv"
    writer = TableWriter(path)
    writer.log_metrics({"a": 1.0}, 0)
    writer.save()
    writer.log_metrics({"b": 2.0}, 1)
    writer.save()
    assert path.read_text().splitlines() == ["step,a,b", "0,1.0,", "1,,2.0"]


def test_a_second_writer_continues_and_drops_a_half_line(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,a\n0,1.0\n1,2.0\n2,3")
    writer = TableWriter(path)
    assert path.read_text().endswith("2,3")  # another rank's writer must not touch the file
    writer.log_metrics({"a": 5.0}, 1)
    writer.save()
    assert path.read_text() == "step,a\n0,1.0\n1,2.0\n1,5.0\n"
    assert read_table(path) == {"a": [(0, 1.0), (1, 5.0)]}
