import csv
import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datamodules.sources import WikiArt
from experiments.cli import execute

NAMES = [
    "Realism/vincent-van-gogh_a-pond-1884.jpg",
    "Realism/vincent-van-gogh_a-barn-1885.jpg",
    "Post_Impressionism/vincent-van-gogh_stars-1889.jpg",
    "Post_Impressionism/paul-cezanne_apples.jpg",
    "Post_Impressionism/paul-cezanne_apples_with_a_jug.jpg",
]


def jpeg(number, side=24):
    noise = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write(root, names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(number))
    return root


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(source, *more):
    return execute(["prepare", "wikiart", "--source", str(source), "--out", "art", "--workers", "1", *more])


def titles(root, split="train", **settings):
    return [(p.artist, p.title) for p in WikiArt(root, **settings).paintings(split)]


def rows():
    with open("art/pictures.csv", newline="") as file:  # noqa: PTH123
        return {row["path"]: row for row in csv.DictReader(file)}


def manifest():
    return json.loads(open("art/manifest.json").read())  # noqa: PTH123


BY_ARTIST = [
    ("paul cezanne", "apples"), ("paul cezanne", "apples_with_a_jug"), ("vincent van gogh", "a-barn-1885"),
    ("vincent van gogh", "a-pond-1884"), ("vincent van gogh", "stars-1889"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip", "address"])
def test_folders_of_styles_become_folders_of_artists(here, server, kind, capsys):
    source = write(here / "wikiart", NAMES)
    (source / "Realism" / "vincent-van-gogh_stars-1889.jpg").write_bytes(jpeg(2))  # the archive has some twice
    (source / "Realism" / "paul-cezanne_apples.jpg").write_bytes(jpeg(9))  # another painting of the name
    if kind != "folder":
        with zipfile.ZipFile(here / "wikiart.zip", "w") as archive:
            for path in sorted(source.rglob("*.jpg")):
                archive.write(path, path.relative_to(here))
            archive.writestr("../../Cubism/mallory_evil.jpg", jpeg(0))  # what leaves the folder is left
        source = here / "wikiart.zip"
        server.answers["/art/wikiart.zip?download=1"] = source.read_bytes()
        source = f"{server.url}/art/wikiart.zip?download=1" if kind == "address" else source
    assert prepare(source) == 0
    assert capsys.readouterr().out.strip() == "art"
    assert sorted(titles("art", holdout=0)) == sorted([*BY_ARTIST, ("paul cezanne", "apples-2")])
    assert rows()["vincent-van-gogh/a-pond-1884.jpg"]["style"] == "Realism"
    assert rows()["paul-cezanne/apples-2.jpg"]["artist"] == "paul-cezanne"
    counts = manifest()["counts"]
    assert (counts["pictures"], counts["artists"], counts["same_file_twice"]) == (6, 2, 1)
    if kind == "folder":
        assert (here / "art/paul-cezanne/apples.jpg").stat().st_nlink == 2


def test_folders_of_artists_stay_and_their_splits_are_those_of_training(here):
    names = [f"{artist}/{title}.jpg" for artist in ("ada-stipple", "Bo_Brush") for title in "abcdef"]
    assert prepare(write(here / "mine", names)) == 0
    for split in ("train", "val"):
        told = sorted(path for path, row in rows().items() if row["split"] == split)
        assert told == sorted(f"{p.path.parent.name}/{p.path.name}" for p in WikiArt("art").paintings(split))
    assert manifest()["counts"]["splits"] == {"train": 10, "val": 2}


def test_a_layout_can_be_said(here):
    source = write(here / "mine", ["my_style/ada-stipple_dots.jpg", "my_style/no-underscore.jpg"])
    assert prepare(source, "--layout", "styles") == 0
    assert titles("art") == [("ada stipple", "dots")]
    assert manifest()["counts"]["unknown_artist_left_out"] == 1
    assert execute(["prepare", "wikiart", "--source", "mine", "--out", "other", "--workers", "1"]) == 0
    assert titles("other", holdout=0) == [("my style", "ada-stipple_dots"), ("my style", "no-underscore")]


def test_tables_of_artgan_give_splits_and_classes(here):
    source = write(here / "wikiart", NAMES)
    tables = here / "wikiart_csv"
    tables.mkdir()
    (tables / "style_train.csv").write_text("".join(f"{name},{i % 2}\n" for i, name in enumerate(NAMES[:3])))
    (tables / "style_val.csv").write_text(f"{NAMES[3]},1\n")
    (tables / "style_class.txt").write_text("0 Realism\n1 Post_Impressionism\n")
    (tables / "genre_train.csv").write_text(f"{NAMES[3]},0\n")
    (tables / "genre_class.txt").write_text("0 still_life\n")
    assert prepare(source, "--labels", "wikiart_csv") == 0
    assert {path: row["split"] for path, row in rows().items()} == {
        "paul-cezanne/apples.jpg": "val", "paul-cezanne/apples_with_a_jug.jpg": "train",
        "vincent-van-gogh/a-barn-1885.jpg": "train", "vincent-van-gogh/a-pond-1884.jpg": "train",
        "vincent-van-gogh/stars-1889.jpg": "train",
    }  # fmt: skip
    assert rows()["paul-cezanne/apples.jpg"]["genre"] == "still_life"
    assert manifest()["counts"]["not_in_the_labels"] == 1
    assert titles("art", "val", splits="art/pictures.csv") == [("paul cezanne", "apples")]
    assert len(titles("art", "train", splits="art/pictures.csv")) == 4
    other = ["--out", "by-genre", "--labels", "wikiart_csv", "--split-by", "genre"]
    assert execute(["prepare", "wikiart", "--source", "wikiart", "--workers", "1", *other]) == 0
    assert titles("by-genre", "train", splits="by-genre/pictures.csv") == BY_ARTIST


def test_a_table_with_names_of_columns(here):
    source = write(here / "wikiart", NAMES[:3])
    lines = [f"{name},x,{split}" for name, split in zip(NAMES, ("training", "test", "Val"), strict=False)]
    (here / "classes.csv").write_text("\n".join(["filename,genre,subset", *lines]))
    assert prepare(source, "--labels", "classes.csv") == 0
    assert [row["split"] for _, row in sorted(rows().items())] == ["test", "train", "val"]
    assert titles("art", "test", splits="art/pictures.csv") == [("vincent van gogh", "a-barn-1885")]


def write_parquet(path, artists, names=True, images=None):
    """Write rows as Hugging Face's `datasets` does."""
    features = {"artist": {"names": ["Unknown Artist", "vincent-van-gogh", "paul-cezanne"], "_type": "ClassLabel"}}
    features["style"] = {"names": ["Realism", "Cubism"], "_type": "ClassLabel"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
    images = images or [{"bytes": jpeg(number), "path": None} for number in range(len(artists))]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("artist", pa.int64()), ("style", pa.int64())], metadata)
    table = pa.table({"image": images, "artist": artists, "style": [1] * len(artists)}, schema)
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=2)


def test_parquet_files_with_the_names_of_their_classes(here):
    write_parquet(here / "huggan" / "train-00000-of-00002.parquet", [1, 0, 2])
    broken = [{"bytes": jpeg(7), "path": "a-pond.png"}, {"bytes": jpeg(8)[:300], "path": None}]
    write_parquet(here / "huggan" / "train-00001-of-00002.parquet", [1, 1], images=broken)
    assert prepare("huggan") == 0
    assert rows().keys() == {
        "vincent-van-gogh/train-00000-of-00002-0-0.jpg", "paul-cezanne/train-00000-of-00002-1-0.jpg",
        "vincent-van-gogh/a-pond.png", "vincent-van-gogh/train-00001-of-00002-0-1.jpg",
    }  # fmt: skip
    assert (here / "art/paul-cezanne/train-00000-of-00002-1-0.jpg").read_bytes() == jpeg(2)
    assert rows()["vincent-van-gogh/a-pond.png"]["style"] == "Cubism"
    assert manifest()["counts"]["unknown_artist_left_out"] == 1
    assert manifest()["failures"] == {"vincent-van-gogh/train-00001-of-00002-0-1.jpg": "cut off"}
    more = ["--out", "all", "--keep-unknown", "--workers", "1"]
    assert execute(["prepare", "wikiart", "--source", "huggan", *more]) == 0
    assert ("unknown artist", "train-00000-of-00002-0-1") in titles("all", holdout=0)


def test_names_of_classes_may_lie_beside(here):
    write_parquet(here / "huggan" / "a.parquet", [2], names=False)
    names = {"features": {"artist": {"names": ["Unknown Artist", "ada-stipple", "bo-brush"]}}}
    (here / "dataset_infos.json").write_text(json.dumps({"huggan--wikiart": names}))
    assert prepare("huggan") == 0
    assert titles("art") == [("bo brush", "a-0-0")]


def test_what_was_stopped_goes_on(here, monkeypatch):
    source = write(here / "wikiart", NAMES)
    with monkeypatch.context() as patch:
        patch.setattr("experiments.public_data.wikiart.describe", lambda *_, **__: 1 / 0)
        assert prepare(source, "--link", "copy") == 1
    assert not (here / "art").exists()
    (here / ".art.preparing/paul-cezanne" / f".{'0' * 32}.jpg").touch()  # what a kill -9 leaves
    assert prepare(source, "--link", "copy") == 0
    assert titles("art", holdout=0) == BY_ARTIST
    assert not list((here / "art").rglob(".*"))


def missing(here):
    return ["nowhere"]


def empty(here):
    (here / "nothing").mkdir()
    return ["nothing"]


def loose(here):
    return [write(here / "loose", ["a.jpg", "b.jpg"])]


def no_zip(here):
    (here / "a.zip").write_bytes(b"PK nothing")
    return ["a.zip"]


def other_zip(here):
    with zipfile.ZipFile(here / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    return ["a.zip"]


def other_parquet(here):
    pq.write_table(pa.table({"text": ["a"]}), here / "a.parquet")
    return ["a.parquet"]


def cut_parquet(here):
    (here / "a.parquet").write_bytes(b"PAR1 nothing")
    return ["a.parquet"]


def no_names(here):
    write_parquet(here / "huggan" / "a.parquet", [1, 2], names=False)
    return ["huggan"]


def nobody(here):
    write_parquet(here / "huggan" / "a.parquet", [0, 0])
    return ["huggan"]


def no_labels(here):
    return [write(here / "wikiart", NAMES), "--labels", "wikiart"]


def other_labels(here):
    (here / "a.csv").write_text("x,y\n1,2\n")
    return [write(here / "wikiart", NAMES), "--labels", "a.csv"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing, "nowhere does not exist"),
        (empty, "No pictures under nothing"),
        (loose, "loose holds no folders of paintings"),
        (no_zip, "a.zip is no whole zip file"),
        (other_zip, "a.zip holds no pictures: it is another archive"),
        (other_parquet, "a.parquet has no column artist and image but text: it is another data set"),
        (cut_parquet, "a.parquet is no whole parquet file"),
        (no_names, "a.parquet numbers its artists and does not name them"),
        (nobody, "No painter of the 2 paintings is known: --keep-unknown takes them"),
        (no_labels, "holds none of style_train.csv, style_val.csv and their like"),
        (other_labels, "a.csv has the columns x, y: it needs path"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_has_the_final_name(here, capsys, spoil, sentence):
    assert prepare(*spoil(here)) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
    assert not (here / "art").exists()
