import gc
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from datamodules import parquet, records
from datamodules.images import ImageReadError, read_pixels
from datamodules.parquet import Parquet
from datamodules.sources import ImageFolder
from datamodules.style_transfer import StyleTransferDataModule
from lightning_modules.errors import ImpastoError

ARTISTS = ["ada-stipple", "ben_hatch", "unknown"]


def _png(number):
    with io.BytesIO() as file:
        Image.new("RGB", (20, 16), (10 * number,) * 3).save(file, "PNG")
        return file.getvalue()


def _write(path, numbers, *, named=True, classes=True, image="image"):
    rows = [{"bytes": _png(number), "path": f"work {number}.png" if named else None} for number in numbers]
    artists = [number % 2 for number in numbers]
    table = pa.table(
        {
            image: pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "artist": artists if classes else [ARTISTS[artist] for artist in artists],
        }
    )
    info = {"info": {"features": {"artist": {"names": ARTISTS, "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(info if classes else {})})
    pq.write_table(table, path, row_group_size=3)
    return path


@pytest.fixture
def hub(tmp_path):
    """Two training files of 12 and 8 pictures in row groups of 3, and one for validation."""
    folder = tmp_path / "data"
    folder.mkdir()
    _write(folder / "train-00000-of-00002.parquet", range(12))
    _write(folder / "train-00001-of-00002.parquet", range(12, 20))
    _write(folder / "validation-00000-of-00001.parquet", range(20, 24))
    return folder


def _numbers(items):
    return [int(read_pixels(item.path)[0, 0, 0]) // 10 for item in items]


def test_rows_are_contents_with_the_names_that_they_had(hub):
    contents = Parquet(hub).contents("train")
    assert _numbers(contents) == list(range(20))
    assert contents.blocks.tolist() == [3, 3, 3, 3, 3, 3, 2]
    assert contents[4].title == "work 4"
    assert str(contents[13].path) == f"work 13.png in {hub}/train-00001-of-00002.parquet"
    assert _numbers(Parquet(hub).contents("val")) == _numbers(Parquet(hub).contents("test")) == [20, 21, 22, 23]


@pytest.mark.parametrize("classes", [True, False])
def test_artists_are_classes_or_words(tmp_path, classes):
    path = _write(tmp_path / "art.parquet", range(10), classes=classes)
    paintings = Parquet(path, holdout=0.2).paintings("train")
    assert {painting.artist for painting in paintings} == {"ada stipple", "ben hatch"}
    for painting, number in zip(paintings, _numbers(paintings), strict=True):
        assert painting.artist == ["ada stipple", "ben hatch"][number % 2]
    held_out = Parquet(path, holdout=0.2).paintings("val")
    assert sorted([*_numbers(paintings), *_numbers(held_out)]) == list(range(10))
    assert len(held_out) == 2


def test_artists_are_chosen_by_their_training_paintings(hub):
    chosen = Parquet(hub, artists=["Ben Hatch"])
    assert _numbers(chosen.paintings("train")) == list(range(1, 20, 2))
    assert _numbers(chosen.paintings("val")) == [21, 23]
    assert len(Parquet(hub, min_paintings=10).paintings("val")) == 4
    with pytest.raises(ImpastoError, match=r"No artist in .* has 11 paintings"):
        Parquet(hub, min_paintings=11).paintings("train")
    with pytest.raises(ImpastoError, match="No paintings by Cy"):
        Parquet(hub, artists=["Cy"]).paintings("train")


def test_a_share_is_held_out_where_no_file_is_for_validation(tmp_path):
    path = _write(tmp_path / "photos.parquet", range(20), named=False)
    train, held_out = (Parquet(path, holdout=0.1).contents(split) for split in ("train", "val"))
    assert sorted([*_numbers(train), *_numbers(held_out)]) == list(range(20))
    assert len(held_out) == 2
    assert sum(train.blocks) == 18


def test_only_the_newest_row_groups_stay_in_memory(hub, monkeypatch):
    monkeypatch.setattr(parquet, "_HELD", 1)
    contents = Parquet(hub).contents("train")
    assert _numbers(contents) == list(range(20))
    assert len(contents[0].path.reader._held) == 1


def _open_files(folder):
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
    return [link for link in links if link.resolve().parent == folder.resolve()]


@pytest.fixture
def many(tmp_path):
    """Return a folder of twelve files with a picture in each."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(12):
        _write(folder / f"train-{number:05d}.parquet", [number])
    return folder


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux to count open files")
def test_few_files_stay_open_and_none_without_their_reader(many, monkeypatch):
    monkeypatch.setattr(records, "OPEN", 3)
    contents = Parquet(many, holdout=0).contents("train")
    assert _numbers(contents) == list(range(12))
    reader = contents[0].path.reader
    assert len(_open_files(many)) == len(reader._open) == 3
    reader._held.clear()  # read the same pictures again, from files that were closed
    assert _numbers(contents) == list(range(12))
    kept = reader._open.get(11, None)  # which is open
    del contents, reader
    gc.collect()
    assert _open_files(many) == []
    assert kept.closed


def test_what_was_read_outlives_its_file(many, monkeypatch):
    monkeypatch.setattr(records, "OPEN", 1)
    contents = Parquet(many, holdout=0).contents("train")
    first = _numbers(contents)
    reader = contents[0].path.reader
    assert len(reader._held) == 12
    assert _numbers(contents) == first
    assert list(reader._open) == [11]


def test_a_column_of_plain_bytes_will_do(tmp_path):
    pq.write_table(pa.table({"jpg": [_png(1), _png(2)]}), tmp_path / "a.parquet")
    contents = Parquet(tmp_path / "a.parquet", image="jpg", holdout=0).contents("train")
    assert _numbers(contents) == [1, 2]
    assert contents[1].title == "row 1"


def test_rows_travel_to_workers_and_train(hub):
    again = pickle.loads(pickle.dumps(Parquet(hub).contents("train")))  # noqa: S301  our own
    assert _numbers(again) == list(range(20))
    source = Parquet(hub)
    seen = {}
    for workers in (0, 2):
        module = StyleTransferDataModule(source, source, size=16, batch_size=4, artists_per_batch=2, workers=workers)
        module.setup("fit")
        greys = [batch.content[:, 0, 0, 0].mul(25.5).round().int() for batch in module.train_dataloader()]
        seen[workers] = torch.cat(greys).tolist()
    assert seen[0] == seen[2]
    assert sorted(seen[0]) == list(range(20))


def test_a_folder_and_a_table_go_together(hub, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.png").write_bytes(_png(number))
    options = {"size": 16, "batch_size": 2, "artists_per_batch": 2, "workers": 0}
    module = StyleTransferDataModule(ImageFolder(tmp_path / "photos", holdout=0), Parquet(hub), **options)
    module.setup()
    assert module.artists == ("ada stipple", "ben hatch")
    assert len(list(module.val_dataloader())) == 3


def test_a_broken_row_is_one_picture(tmp_path):
    pictures = {"a.png": _png(1), "b.png": b"no picture", "c.png": None}
    rows = [{"bytes": data, "path": name} for name, data in pictures.items()]
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet")
    contents = Parquet(tmp_path, holdout=0).contents("train")
    for number, name in ((1, "b.png"), (2, "c.png")):
        with pytest.raises(ImageReadError, match=f"{name} in .*a.parquet is not a picture"):
            read_pixels(contents[number].path)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def _bent(path):
    data = bytearray(path.read_bytes())
    data[4:200] = np.random.default_rng(0).bytes(196)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_cut, _bent])
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = _write(tmp_path / "a.parquet", range(6))
    damage(path)
    with pytest.raises(ImpastoError, match=r"The Parquet file .*a.parquet is damaged or truncated \(.+\)") as caught:
        read_pixels(Parquet(path, holdout=0).contents("train")[0].path)
    assert not isinstance(caught.value, ImageReadError)
    assert "\n" not in str(caught.value)


def test_wrong_columns_and_places_are_explained(hub, tmp_path):
    with pytest.raises(ImpastoError, match="no pictures in a column photo, among image, artist: set image"):
        Parquet(hub, image="photo").contents("train")
    with pytest.raises(ImpastoError, match="has no column painter of artists, among image, artist: set artist"):
        Parquet(hub, artist="painter").paintings("train")
    with pytest.raises(ImpastoError, match="does not exist"):
        Parquet(tmp_path / "nothing").contents("train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImpastoError, match="No Parquet files of the training split"):
        Parquet(tmp_path / "empty").contents("train")
