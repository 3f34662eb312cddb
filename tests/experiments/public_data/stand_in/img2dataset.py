"""Stands in for the interpreter of an environment with img2dataset: runs a script that finds this file as the package.

Writes what img2dataset 1.47 writes, in its order, one address after the other. STAND_IN_PAUSE makes it slow enough to
be killed between any two writes; STAND_IN_FAIL names a shard that fails in silence, as img2dataset's do.
"""

import io
import json
import os
import runpy
import sys
import tarfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

PAUSE = float(os.environ.get("STAND_IN_PAUSE", "0"))


def download(url_list, output_folder, number_sample_per_shard, timeout, retries, **_):
    import pyarrow.parquet as pq

    out = Path(output_folder)
    done = {int(path.name.split("_")[0]) for path in out.glob("*.json")}
    urls = pq.ParquetFile(url_list).read(["url"])["url"].to_pylist()
    for start in range(0, len(urls), number_sample_per_shard):
        shard = start // number_sample_per_shard
        if shard not in done and str(shard) != os.environ.get("STAND_IN_FAIL"):
            _shard(out, shard, urls[start : start + number_sample_per_shard], number_sample_per_shard, timeout, retries)


def _shard(out, shard, urls, size, timeout, retries):
    import pyarrow as pa
    import pyarrow.parquet as pq

    digits = len(str(size - 1))
    rows = []
    with (out / f"{shard:05d}.tar").open("wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for number in reversed(range(len(urls))):  # pictures come in any order
            key = f"{10**digits * shard + number:0{digits + 5}d}"
            data, error = _fetch(urls[number], timeout, retries)
            status = "success" if data is not None else "failed_to_download"
            rows.append({"url": urls[number], "key": key, "status": status, "error_message": error})
            if data is not None:
                _add(archive, f"{key}.jpg", data)
                _add(archive, f"{key}.json", json.dumps(rows[-1]).encode())
            time.sleep(PAUSE)
        table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in rows[0]]))
        half = out / f"{shard:05d}.parquet"
        pq.write_table(table, half)
        whole = half.read_bytes()
        half.write_bytes(whole[: len(whole) // 2])
        time.sleep(PAUSE)
        half.write_bytes(whole)
    text = json.dumps({"count": len(rows), "status_dict": Counter(row["status"] for row in rows)})
    stats = out / f"{shard:05d}_stats.json"
    stats.write_text(text[: len(text) // 2])
    time.sleep(PAUSE)
    stats.write_text(text)


def _fetch(url, timeout, retries):
    error = None
    for _ in range(retries + 1):
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310
                return response.read(), None
        except Exception as reason:
            error = str(reason)
    return None, error


def _add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


class _WithoutPandas:
    """pyarrow imports pandas where it can, which takes seconds."""

    def find_spec(self, name, *_):
        if name == "pandas":
            raise ModuleNotFoundError(name)


if __name__ == "__main__":
    sys.meta_path.insert(0, _WithoutPandas())
    sys.path.insert(0, str(Path(__file__).parent))
    assert sys.argv[1] == "-I"
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
