import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.cli import execute

ROOT = Path(__file__).parents[3]


def command(urls, out, env, *more):
    quick = ["--min-side", "32", "--shard-size", "16", "--timeout", "1", "--retries", "1", "--threads", "8"]
    limits = ["--processes", "2", "--workers", "1", "--picture-seconds", "2", "--picture-size", "0.001"]
    return [
        "prepare",
        "bbst",
        "--urls",
        *map(str, urls),
        "--out",
        str(out),
        "--data-env",
        str(env),
        *quick,
        *limits,
        *more,
    ]


def stored(out):
    """Return how often each picture is stored, by its hash, and what their tables say."""
    found = Counter()
    for path in sorted(out.glob("*.tar")):
        rows = {row["key"]: row for row in pq.read_table(path.with_suffix(".parquet")).to_pylist()}
        with tarfile.open(path) as archive:
            names = archive.getnames()
            assert names == sorted(names)
            for name in (name for name in names if name.endswith(".jpg")):
                digest = hashlib.sha256(archive.extractfile(name).read()).hexdigest()
                assert rows[name.removesuffix(".jpg")]["sha256"] == digest
                described = json.load(archive.extractfile(name.replace(".jpg", ".json")))
                assert described == rows[name.removesuffix(".jpg")]
                found[digest] += 1
    return found


def failures(out):
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        return {row["url"]: row["reason"] for row in csv.DictReader(file)}


def check(out, good, failed):
    assert stored(out) == Counter(good)
    assert failures(out) == failed
    assert not list(out.glob(".*"))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"]["pictures"] == len(good)
    assert manifest["counts"]["failed"] == len(failed)
    assert manifest["failures"]["reasons"] == Counter(failed.values())
    for name, shard in manifest["shards"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == shard["sha256"]
    return manifest


@pytest.fixture(scope="module")
def fetched(tmp_path_factory, listed, data_env):
    """Return a folder of which everything was fetched and nothing was looked at."""
    out = tmp_path_factory.mktemp("fetched") / "bbst"
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, "experiments.public_data.url_shards.check_shard", 0)
        assert execute(command([listed[0]], out, data_env)) == 130
    return out


def test_every_good_picture_is_stored_once_and_every_other_address_has_a_reason(tmp_path, listed, data_env, capsys):
    path, good, failed, _ = listed
    out = tmp_path / "bbst"
    assert execute(command([path], out, data_env, "--workers", "2")) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip() == str(out)
    manifest = check(out, good, failed)
    assert manifest["counts"] == {
        "addresses": 61, "repeated_addresses": 3, "pictures": len(good), "repeated_pictures": 3, "failed": len(failed),
    }  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert execute(command([path], out, data_env)) == 0  # it is there already
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def killed(arguments, seconds, **environment):
    """Run a command, kill it after a while with -9, and tell whether it had ended before."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "experiments", *arguments], cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    return process.wait() == 0


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_what_was_killed_with_its_engine_ends_in_the_same_bytes(tmp_path, listed, fetched, data_env):
    path, good, failed, server = listed
    resumed = tmp_path / "resumed"
    arguments = [sys.executable, "-m", "experiments", *command([path], resumed, data_env)]
    process = subprocess.Popen(arguments, cwd=ROOT, env=os.environ | {"STAND_IN_PAUSE": "0.02"})  # noqa: S603
    wait_for(lambda: list(resumed.glob(".preparing/00001.tar")), 60)
    process.kill()
    process.wait()
    asked = len(server.asked)
    time.sleep(1)
    assert len(server.asked) <= asked + 1, "img2dataset outlived the command"
    assert [path.name for path in resumed.iterdir()] == [".preparing"]
    assert execute(command([path], resumed, data_env)) == 0
    check(resumed, good, failed)
    whole = shutil.copytree(fetched, tmp_path / "whole")
    assert execute(command([path], whole, data_env)) == 0
    assert (resumed / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


def crash_at(monkeypatch, where, call):
    """Let a function of the last phases raise at one of its calls, as if the command ended there."""
    import importlib

    module, name = where.rsplit(".", 1)
    owner = importlib.import_module(module)
    function, calls = getattr(owner, name), iter(range(100))

    def crashing(*arguments):
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments)

    monkeypatch.setattr(owner, name, crashing)


@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("experiments.public_data.url_shards.check_shard", 2),
        ("experiments.public_data.url_shards.write_shard", 2),
        ("experiments.public_data.publishing.write_table", 1),
        ("experiments.public_data.url_shards.write_failures", 0),
        ("experiments.public_data.url_shards.write_manifest", 0),
    ],
)
def test_the_last_phases_go_on_where_they_ended(tmp_path, listed, fetched, data_env, monkeypatch, where, call):
    path, good, failed, _ = listed
    shutil.copytree(fetched, tmp_path / "bbst")
    with monkeypatch.context() as patch:
        crash_at(patch, where, call)
        assert execute(command([path], tmp_path / "bbst", data_env)) == 130
    assert not (tmp_path / "bbst" / "manifest.json").exists()
    (tmp_path / "bbst" / f".{'0' * 32}.tar").touch()  # what a kill -9 leaves
    assert execute(command([path], tmp_path / "bbst", data_env)) == 0
    check(tmp_path / "bbst", good, failed)


def test_half_a_shard_of_img2dataset_is_fetched_again(tmp_path, listed, data_env):
    path, good, failed, _ = listed
    out = tmp_path / "bbst"
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, "experiments.public_data.url_shards.fetch_all", 0)
        assert execute(command([path], out, data_env)) == 130
    run = out / ".preparing" / "run-0"
    run.mkdir()
    for number in range(3):
        pq.write_table(pa.table({"url": ["x"]}), run / f"{number:05d}.parquet")
        tarfile.open(run / f"{number:05d}.tar", "w").close()
        (run / f"{number:05d}_stats.json").write_text("{}")
    (run / "00000_stats.json").write_text('{"cou')
    (run / "00001.parquet").write_bytes(b"PAR1")
    (run / "00002.tar").unlink()
    assert execute(command([path], out, data_env)) == 0
    check(out, good, failed)


def test_a_shard_that_is_cut_off_is_fetched_again(tmp_path, listed, fetched, data_env, capsys):
    path, good, failed, _ = listed
    out = shutil.copytree(fetched, tmp_path / "bbst")
    shard = out / ".preparing" / "00001.tar"
    shard.write_bytes(shard.read_bytes()[:6000])
    assert execute(command([path], out, data_env)) == 1
    assert "1 shards are cut off, first 00001: the same command fetches them" in capsys.readouterr().err
    assert execute(command([path], out, data_env)) == 0
    check(out, good, failed)


def test_columns_and_licences_of_tables_are_kept_and_near_duplicates_of_splits_are_found(tmp_path, server, data_env):
    from io import BytesIO

    from PIL import Image

    noise = Image.effect_noise((96, 96), 80).resize((192, 160)).convert("RGB")
    for number, (quality, side) in enumerate([(95, 160), (60, 120)]):
        buffer = BytesIO()
        noise.resize((side, side)).save(buffer, "JPEG", quality=quality)
        server.answers[f"/{number}.jpg"] = buffer.getvalue()
    Image.effect_noise((64, 64), 80).save(buffer := BytesIO(), "PNG")
    server.answers["/2.jpg"] = buffer.getvalue()
    table = tmp_path / "list.csv"
    rows = [
        (f"{server.url}/{n}.jpg", licence, split)
        for n, licence, split in [(0, "4.0", "train"), (1, "by", "val"), (2, "", "val")]
    ]
    table.write_text(
        "URL,License,split,width\n" + "".join(f"{url},{licence},{split},7\n" for url, licence, split in rows)
    )
    assert execute(command([table], tmp_path / "out", data_env)) == 0
    found = pq.read_table(tmp_path / "out" / "00000.parquet").to_pylist()
    assert [(row["License"], row["list_width"], row["width"], row["format"]) for row in found] == [
        ("4.0", "7", 160, "JPEG"), ("by", "7", 120, "JPEG"), ("", "7", 64, "PNG"),
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["licences"] == {"4.0": 1, "by": 1, "not given": 1}
    assert manifest["near_duplicates"]["found"] == 1
    lines = (tmp_path / "out" / "near_duplicates.csv").read_text().splitlines()
    assert lines[1].startswith(f"{found[1]['key']},val,{found[0]['key']},train,")
    assert execute(command([table], tmp_path / "other", data_env, "--no-near-duplicates")) == 0
    assert "near_duplicates" not in json.loads((tmp_path / "other" / "manifest.json").read_text())


def no_list(tmp_path, server):
    return tmp_path / "missing.txt", []


def no_address(tmp_path, server):
    (tmp_path / "urls.txt").write_text("\n# nothing\n")
    return tmp_path / "urls.txt", []


def no_column(tmp_path, server):
    (tmp_path / "urls.csv").write_text("address,title\nhttp://127.0.0.1/a,b\n")
    return tmp_path / "urls.csv", []


def no_parquet(tmp_path, server):
    (tmp_path / "urls.parquet").write_bytes(b"PAR1 nothing")
    return tmp_path / "urls.parquet", []


def other_kind(tmp_path, server):
    (tmp_path / "urls.docx").touch()
    return tmp_path / "urls.docx", []


def all_refused(tmp_path, server):
    (tmp_path / "urls.txt").write_text(f"{server.url}/1.jpg\n{server.url}/2.jpg\n")
    return tmp_path / "urls.txt", []


def no_engine(tmp_path, server):
    return all_refused(tmp_path, server)[0], ["--data-env", str(tmp_path / "nowhere")]


def no_room(tmp_path, server):
    return all_refused(tmp_path, server)[0], ["--picture-size", "1e12"]


def no_size(tmp_path, server):
    return all_refused(tmp_path, server)[0], ["--shard-size", "0"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_list, "missing.txt does not exist"),
        (no_address, "There is no http address in"),
        (no_column, "has no column 'url' but address, title: name that of the addresses with --url-column"),
        (no_parquet, "is damaged or not what its name says"),
        (other_kind, "is no list of addresses: its name should end in .txt, .csv, .tsv, .parquet"),
        (all_refused, "None of the addresses gave a picture, most often for this reason: HTTP 404 Not Found"),
        (no_engine, "`make data-env` makes it, and --data-env names another"),
        (no_room, "Fetching 2 pictures needs"),
        (no_size, "shard_size is 0, and must be more than 0"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, server, data_env, capsys, spoil, sentence):
    path, more = spoil(tmp_path, server)
    assert execute(command([path], tmp_path / "bbst", data_env, *more)) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
    assert not [path for path in tmp_path.glob("bbst/*") if path.name != ".preparing"]


def test_a_shard_that_fails_in_silence_is_a_failure(tmp_path, listed, data_env, capsys, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAIL", "2")
    assert execute(command([listed[0]], tmp_path / "bbst", data_env)) == 1
    assert "img2dataset cannot fetch 1 of 4 shards (it said nothing)" in capsys.readouterr().err
    monkeypatch.delenv("STAND_IN_FAIL")
    assert execute(command([listed[0]], tmp_path / "bbst", data_env)) == 0
    check(tmp_path / "bbst", *listed[1:3])


def test_a_folder_of_something_else_or_of_other_settings_is_refused(tmp_path, listed, fetched, data_env, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.pdf").touch()
    assert execute(command([listed[0]], mine, data_env)) == 1
    assert "holds something other than shards" in capsys.readouterr().err
    shutil.copytree(fetched, tmp_path / "bbst")
    assert execute(command([listed[0]], tmp_path / "bbst", data_env, "--min-side", "40")) == 1
    assert "holds pictures of other settings (min_side)" in capsys.readouterr().err


def test_a_server_that_sends_a_byte_now_and_then_is_left(tmp_path, server, data_env, museum, slow_answer):
    museum(1)
    server.answers["/slow.jpg"] = slow_answer
    (tmp_path / "urls.txt").write_text(f"{server.url}/slow.jpg\n{server.url}/00000.jpg\n")
    more = ["--picture-seconds", "0.5", "--retries", "0"]
    assert execute(command([tmp_path / "urls.txt"], tmp_path / "bbst", data_env, *more)) == 0
    assert not server.patience  # nobody waited for its end
    assert failures(tmp_path / "bbst") == {f"{server.url}/slow.jpg": "timed out"}


@pytest.mark.parametrize(("count", "kills"), [(60, 1), pytest.param(2000, 5, marks=pytest.mark.slow)])
def test_img2dataset_itself_is_killed_at_random_and_ends_in_the_same_bytes(tmp_path, museum, real_env, count, kills):
    urls, good, failed = museum(count, slow=True)
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    size = ["--shard-size", str(count // 10)]
    arguments = [command([tmp_path / "urls.txt"], tmp_path / name, real_env, *size) for name in ("whole", "resumed")]
    start = time.monotonic()
    assert execute(arguments[0]) == 0
    whole = time.monotonic() - start
    noise = random.Random(count)
    ended = [killed(arguments[1], noise.uniform(0.2, 0.9) * whole / (1 + number)) for number in range(kills)]
    assert not any(ended)
    assert execute(arguments[1]) == 0
    check(tmp_path / "whole", good, failed)
    check(tmp_path / "resumed", good, failed)
    assert (tmp_path / "resumed/manifest.json").read_bytes() == (tmp_path / "whole/manifest.json").read_bytes()


def test_the_stand_in_does_as_img2dataset_does(tmp_path, listed, data_env, real_env):
    for name, env in (("real", real_env), ("stand-in", data_env)):
        assert execute(command([listed[0]], tmp_path / name, env)) == 0
    assert (tmp_path / "real/manifest.json").read_bytes() == (tmp_path / "stand-in/manifest.json").read_bytes()
