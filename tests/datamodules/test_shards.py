import gc
import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from datamodules.images import ImageReadError, read_image, read_pixels
from datamodules.shard_cache import ChunkCache
from datamodules.shard_files import encode_chunk
from datamodules.shards import Shards
from datamodules.sources import OwnStyles
from lightning_modules.errors import ImpastoError


@pytest.fixture
def copy(shards, tmp_path):
    """Shards of 24 pictures in chunks of 3, whose grey level is 10 times their number."""
    return shutil.copytree(shards, tmp_path / "copy")


def _numbers(items):
    return [int(read_pixels(item.path)[0, 0, 0]) // 10 for item in items]


def test_pictures_are_found_where_the_index_says(shards):
    contents = Shards(shards, holdout=0).contents("train")
    assert _numbers(contents) == list(range(24))
    assert contents.blocks.tolist() == [3] * 8
    assert [content.path.name for content in contents[3:5]] == ["000000003", "000000004"]
    assert str(contents[4].path) == f"000000004 in {shards}/00000-0001.bin"
    assert read_image(contents[4].path).shape == (3, 12, 16)


def test_a_share_is_held_out_whole_groups_at_a_time(shards):
    source = Shards(shards, holdout=0.2)
    train, held_out = source.paintings("train"), source.paintings("val")
    assert isinstance(train, OwnStyles)
    assert sorted([*_numbers(train), *_numbers(held_out)]) == list(range(24))
    assert len(held_out) >= 5
    groups = [{source._loaded[1].group(int(number)) for number in part.numbers} - {None} for part in (train, held_out)]
    assert not groups[0] & groups[1]
    assert _numbers(source.paintings("test")) == _numbers(held_out)
    assert len(Shards(shards, holdout=0).contents("val")) == 24


def test_paintings_of_a_group_share_a_label_and_others_have_their_own(shards):
    paintings = Shards(shards, holdout=0).paintings("train")
    labels = [paintings.label(position) for position in range(24)]
    assert len(set(labels[:12])) == 4  # projects of three pictures
    assert labels[0] == labels[1] == labels[2] != labels[3]
    assert len(set(labels[12:]) | set(labels[:12])) == 16
    assert (paintings[0].artist, paintings[13].artist) == ("project 0", "000000013")


def test_titles_of_two_archives_never_agree(shards, copy):
    titles = {content.title for content in Shards(shards).contents("train")}
    assert not titles & {painting.title for painting in Shards(copy).paintings("train")}


def test_nobody_looks_for_the_painters_of_shards(shards, monkeypatch):
    from callbacks.panel import make_panel

    monkeypatch.setattr("callbacks.panel.DINOv2Features", None)  # which would be called
    datamodule = type("Module", (), {"style": Shards(shards, holdout=0)})()
    assert make_panel(datamodule, wanted=True) is None


def test_readers_travel_to_workers(shards):
    contents = Shards(shards, holdout=0).contents("train")
    read_pixels(contents[0].path)  # a file is open
    again = pickle.loads(pickle.dumps(contents))  # noqa: S301  our own
    assert _numbers(again) == list(range(24))


def test_few_files_stay_open(shards, monkeypatch):
    monkeypatch.setattr("datamodules.records.OPEN", 2)
    contents = Shards(shards, holdout=0).contents("train")
    assert _numbers(contents) * 2 == _numbers(contents) + _numbers(contents)
    assert len(contents.reader._open) == 2


def test_files_are_closed_with_their_reader(shards):
    contents = Shards(shards, holdout=0).contents("train")
    _numbers(contents)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del contents
        gc.collect()
    assert not [warning for warning in caught if shards.name in str(warning.message)]


def test_litdata_reads_the_same_folder(shards):
    from litdata import StreamingDataset

    contents = Shards(shards, holdout=0).contents("train")
    theirs = StreamingDataset(str(shards), shuffle=False)
    assert len(theirs) == 24
    for position in (0, 11, 23):
        assert bytes(theirs[position]) == contents[position].path.read_bytes()


def test_a_chunk_has_the_layout_of_litdata():
    data, offsets = encode_chunk([b"ab", b"", b"cde"])
    assert np.frombuffer(data[:20], np.uint32).tolist() == [3, 20, 26, 30, 37]
    assert [data[start : start + size] for start, size in zip(offsets, (2, 0, 3), strict=True)] == [b"ab", b"", b"cde"]
    assert len(data) == 37


def test_a_broken_picture_is_one_and_a_lost_shard_is_an_error(copy):
    path = copy / "00000-0001.bin"
    data = bytearray(path.read_bytes())
    data[24:60] = bytes(36)
    path.write_bytes(data)
    contents = Shards(copy, holdout=0).contents("train")
    with pytest.raises(ImageReadError, match=r"000000003 in .*00000-0001.bin is not a picture"):
        read_pixels(contents[3].path)
    assert _numbers(contents[4:6]) == [4, 5]
    (copy / "00000-0002.bin").unlink()  # after the start of a run
    with pytest.raises(ImpastoError, match=r"The shard .*00000-0002.bin is missing: copy it again") as caught:
        read_pixels(contents[6].path)
    assert not isinstance(caught.value, ImageReadError)  # which would be skipped


def _without_a_chunk(root):
    (root / "00000-0003.bin").unlink()


def _cut(root):
    path = root / "00000-0003.bin"
    path.write_bytes(path.read_bytes()[:-1])


def _without_an_index(root):
    (root / "index.parquet").unlink()


def _garbage(root):
    (root / "index.parquet").write_bytes(b"PAR1 nothing")


def _no_json(root):
    (root / "index.json").write_text("{")


def _of_another_run(root):
    table = json.loads((root / "index.json").read_text())
    table["chunks"] = table["chunks"][:-1]
    (root / "index.json").write_text(json.dumps(table))


def _other_sizes(root):
    table = json.loads((root / "index.json").read_text())
    table["chunks"][2]["chunk_bytes"] = 40
    (root / "index.json").write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_a_chunk, "00000-0003.bin is missing: copy it again"),
        (_cut, r"00000-0003.bin is truncated or damaged \(\d+ bytes of \d+\): copy it again"),
        (_without_an_index, "has no index.json and index.parquet: write shards with `impasto prepare shards`"),
        (_garbage, r"The index of .* is damaged \(.+\): write the shards again"),
        (_no_json, r"The index of .* is damaged \(.+\): write the shards again"),
        (_of_another_run, r"does not belong to its index.json \(24 pictures and 21\)"),
        (_other_sizes, "does not belong to its index.json"),
        (shutil.rmtree, "does not exist: check the path"),
    ],
)
def test_damage_is_one_sentence_before_training_begins(copy, damage, message):
    damage(copy)
    with pytest.raises(ImpastoError, match=message) as caught:
        Shards(copy).contents("train")
    assert "\n" not in str(caught.value)


def test_chunks_elsewhere_are_fetched_and_the_oldest_removed(shards, tmp_path):
    source = Shards(f"local:{shards}", holdout=0, cache=tmp_path / "cache")
    source.cache.limit = 3 * max(path.stat().st_size for path in shards.glob("*.bin"))
    source.prepare()
    folder = source.cache.folder
    assert not list(folder.glob("*.bin"))  # when they are read
    contents = source.contents("train")
    order = np.random.default_rng(0).permutation(24).tolist()
    assert _numbers([contents[position] for position in order]) == order
    assert 1 <= len(list(folder.glob("*.bin"))) <= 3
    assert not list(folder.glob(".*[!k]"))  # nothing half-fetched beside the locks
    assert (
        Shards("s3://bucket/style", cache=tmp_path).cache.folder
        != Shards("s3://bucket/content", cache=tmp_path).cache.folder
    )


def test_a_cached_chunk_that_was_cut_is_fetched_again(shards, tmp_path):
    cache = ChunkCache(f"local:{shards}", tmp_path, 2**30)
    size = (shards / "00000-0000.bin").stat().st_size
    path = cache.fetch("00000-0000.bin", size)
    path.write_bytes(b"cut")
    assert cache.fetch("00000-0000.bin", size).stat().st_size == size


def test_what_cannot_be_fetched_is_one_sentence(tmp_path):
    with pytest.raises(ImpastoError, match=r"local:.*/nowhere/index.json cannot be fetched \(.+\): check the address"):
        Shards(f"local:{tmp_path}/nowhere", cache=tmp_path / "cache").contents("train")


def test_a_million_pictures_are_listed_without_an_object_for_each(tmp_path, big_index):
    source = Shards(big_index(tmp_path, 200_000), holdout=0.001)
    paintings = source.paintings("train")
    assert len(paintings) + len(source.paintings("val")) == 200_000
    assert len(source.paintings("val")) == 200
    held = sum(array.nbytes for array in vars(source._loaded[0]).values() if hasattr(array, "nbytes"))
    assert held < 80 * 200_000
    assert isinstance(paintings[-1].path.parent, Path)
