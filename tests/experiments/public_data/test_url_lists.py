import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.public_data.extras import extra
from experiments.public_data.url_lists import read_lists
from lightning_modules.errors import ImpastoError

A, B, C = (f"http://example.org/{name}.jpg" for name in "abc")


def test_lists_of_all_kinds_are_one_in_which_the_first_line_of_an_address_counts(tmp_path):
    (tmp_path / "one.txt").write_text(f"\ufeff{A}\n  {A}#top \n\n# {C}\n{B},with,commas\n", encoding="utf-8")
    with gzip.open(tmp_path / "two.csv.gz", "wt") as file:
        file.write(f'URL,licence,sha256\n{A},never seen,1\n{B},"a,\nb",007\n')
    (tmp_path / "three.tsv").write_text(f"url\ttitle\n{C}\ta pond\nftp://example.org/d.jpg\tx\n")
    table = pa.table({"url": [C, "https://example.org/e", None], "year": [1, 1888, 3], "tags": [["x"], [], []]})
    pq.write_table(table, tmp_path / "four.parquet")
    found = read_lists([tmp_path / name for name in ("one.txt", "two.csv.gz", "three.tsv", "four.parquet")])
    rows = found.table.to_pylist()
    assert [(row["url"], row["list"]) for row in rows] == [
        (A, "one.txt"), (f"{B},with,commas", "one.txt"), (B, "two.csv.gz"), (C, "three.tsv"),
        ("https://example.org/e", "four.parquet"),
    ]  # fmt: skip
    assert found.repeated == 3
    assert found.unusable == [("ftp://example.org/d.jpg", "three.tsv"), ("", "four.parquet")]
    assert (rows[2]["licence"], rows[2]["list_sha256"], rows[3]["title"], rows[4]["year"]) == (
        "a,\nb", "007", "a pond", "1888",
    )  # fmt: skip
    assert "tags" not in found.table.column_names


def test_another_column_may_hold_the_addresses(tmp_path):
    (tmp_path / "a.csv").write_text(f"url,original\nthumbnail,{A}\n")
    found = read_lists([tmp_path / "a.csv"], "Original")
    assert found.table.to_pylist() == [{"url": A, "list": "a.csv", "list_url": "thumbnail"}]


def test_a_missing_package_is_named():
    with pytest.raises(ImpastoError, match=r"needs no_such_package: pip install 'impasto\[data\]'"):
        extra("no_such_package.csv")
