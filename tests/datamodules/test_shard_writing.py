import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.images import read_pixels
from datamodules.shard_writing import write_shards
from datamodules.shards import Shards
from lightning_modules.errors import ImpastoError


def _keys(root):
    return [content.path.name for content in Shards(root, holdout=0).contents("train")]


def _manifest(path, rows):
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("shard", "key", "kept"))}
    pq.write_table(pa.table(columns | {"score": [0.5] * len(rows)}), path)
    return path


def test_a_manifest_says_what_is_kept(archive, tmp_path):
    rows = [("00000", "000000002", True), ("00000.tar", "000000005", True), ("00001", "000000013", False)]
    out = write_shards(archive, tmp_path / "out", manifest=_manifest(tmp_path / "kept.parquet", rows))
    assert _keys(out) == ["000000002", "000000005"]


def test_pictures_are_kept_byte_for_byte(archive, tmp_path):
    contents = Shards(write_shards(archive, tmp_path / "out"), holdout=0).contents("train")
    with tarfile.open(archive / "00000.tar") as tar:
        assert contents[3].path.read_bytes() == tar.extractfile("000000003.png").read()


def test_chunks_have_at_most_the_bytes_that_are_asked_for(archive, tmp_path):
    out = write_shards(archive, tmp_path / "out", chunk_bytes=400)
    sizes = [path.stat().st_size for path in out.glob("*.bin")]
    assert len(sizes) > 4
    assert max(sizes) <= 400
    assert len(_keys(write_shards(archive, tmp_path / "one", chunk_bytes=1))) == 24  # a picture is never cut


def test_threads_write_the_same_shards(archive, tmp_path):
    one, two = (write_shards(archive, tmp_path / str(workers), workers=workers, group="project") for workers in (1, 2))
    names = sorted(path.name for path in one.iterdir() if path.is_file())
    assert names == sorted(path.name for path in two.iterdir() if path.is_file())
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_what_was_interrupted_goes_on(archive, tmp_path, monkeypatch):
    from datamodules import shard_writing

    written, write = [], shard_writing._write

    def dies(task):
        if len(written) == 1:
            raise KeyboardInterrupt
        write(task)
        written.append(task.archive.name)

    monkeypatch.setattr(shard_writing, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        write_shards(archive, tmp_path / "out")
    with pytest.raises(ImpastoError, match=r"has no index\.json"):
        Shards(tmp_path / "out").contents("train")
    monkeypatch.setattr(shard_writing, "_write", lambda task: (write(task), written.append(task.archive.name)))
    done = []
    write_shards(archive, tmp_path / "out", progress=lambda done_, total: done.append((done_, total)))
    assert written == ["00000.tar", "00001.tar"]
    assert done == [(1, 2), (2, 2)]
    assert len(_keys(tmp_path / "out")) == 24
    write_shards(archive, tmp_path / "out", chunk_bytes=500)  # other chunks: nothing of before may stay
    assert len(written) == 4
    assert len(_keys(tmp_path / "out")) == 24


def test_a_chunk_that_was_lost_is_written_again(archive, tmp_path):
    out = write_shards(archive, tmp_path / "out")
    (out / "00001-0000.bin").unlink()
    assert len(_keys(write_shards(archive, out))) == 24


def _lost(archive, out):
    rows = [("00000", "000000099", True)]
    write_shards(archive, out, manifest=_manifest(archive / "kept.parquet", rows))


def _stranger(archive, out):
    write_shards(archive, out, manifest=_manifest(archive / "kept.parquet", [("00007", "000000099", True)]))


def _nothing(archive, out):
    write_shards(archive, out, manifest=_manifest(archive / "kept.parquet", [("00000", "000000002", False)]))


def _no_manifest(archive, out):
    (archive / "kept.parquet").write_text("shard,key")
    write_shards(archive, out, manifest=archive / "kept.parquet")


def _no_archive(archive, out):
    write_shards(archive / "nothing", out)


def _no_group(archive, out):
    write_shards(archive, out, group="author")


def _cut(archive, out):
    path = archive / "00001.tar"
    path.write_bytes(path.read_bytes()[:5000])
    write_shards(archive, out)


def _cut_between_members(archive, out):
    whole = archive / "00001.tar"
    with tarfile.open(whole) as tar:
        end = tar.getmembers()[4].offset
    whole.write_bytes(whole.read_bytes()[:end])  # which tarfile takes for the end
    write_shards(archive, out)


def _no_pictures(archive, out):
    for path in archive.glob("*.tar"):
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("000000000.json"), io.BytesIO())
    for path in archive.glob("*.parquet"):
        path.unlink()
    write_shards(archive, out)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (_lost, "lacks 1 pictures that its table or the manifest names, first 000000099"),
        (_stranger, "names 00007.tar, which .* lacks: take its own archive"),
        (_nothing, "keeps no picture: lower its threshold"),
        (_no_manifest, r"cannot be read \(.+\): give the Parquet file that `impasto curate` wrote"),
        (_no_archive, "No archive shards under .*: it should hold 00000.tar"),
        (_no_group, "00000.parquet has no column author to group by"),
        (_cut, r"00001.tar is damaged or truncated \(.+\): delete it"),
        (_cut_between_members, "00001.tar lacks 10 pictures that its table"),
        (_no_pictures, "the archive holds no picture that is wanted"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_index(own_archive, tmp_path, mistake, message):
    with pytest.raises(ImpastoError, match=message) as caught:
        mistake(own_archive, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "index.json").exists()


def test_broken_pictures_go_along_and_are_skipped_later(own_archive, tmp_path):
    with tarfile.open(own_archive / "00000.tar", "a") as tar:
        info = tarfile.TarInfo("000000098.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"oops"))
    contents = Shards(write_shards(own_archive, tmp_path / "out"), holdout=0).contents("train")
    assert contents[12].path.read_bytes() == b"oops"
    assert read_pixels(contents[13].path)[0, 0, 0] == 120
