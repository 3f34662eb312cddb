import shutil

from experiments.report.records import read_run


def test_a_killed_run_is_read_from_what_it_left(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "m/a")
    (tmp_path / "m/a/summary.json").unlink()
    record = read_run(tmp_path / "m/a")
    assert not record.finished
    assert (record.method, record.summary["iterations"], record.summary["seed"]) == ("m", 6, 0)


def test_a_table_that_breaks_off_in_a_line_is_read_up_to_it(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "a")
    table = tmp_path / "a/metrics.csv"
    columns = table.read_text().partition("\n")[0].count(",")
    with table.open("a") as file:
        file.write("1234" + ",1.5" * columns)  # and the digits to come
    assert read_run(tmp_path / "a").curves == read_run(trained).curves
