import json

import numpy as np
import pytest
from PIL import Image

from datamodules.captions import list_captioned, require_captions
from datamodules.procedural import contents
from datamodules.procedural.captions import caption
from lightning_modules.errors import ImpastoError


def paint(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.jpg", "deep/a.png"):
        paint(tmp_path / name)
    return tmp_path


def captions(folder):
    return {picture.key: picture.caption for picture in list_captioned(folder)}


def test_text_files_lie_beside_their_pictures(folder):
    (folder / "a.txt").write_text("a pond\n with a bridge \n")
    (folder / "deep/a.txt").write_text("\ufeffpoppies", encoding="utf-8")
    assert captions(folder) == {"a": "a pond with a bridge", "b": "", "deep/a": "poppies"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '{"file_name": "b.jpg", "text": "a  boat"}\n\n{"file_name": "deep/a.png", "text": "hay"}\n'),
        ("metadata.csv", "file_name,text\nb.jpg,a boat\ndeep/a.png,hay\n"),
        ("captions.csv", "file,artist,caption\nb.jpg,x,a boat\ndeep/a.png,x,hay\n"),
    ],
)
def test_tables_name_pictures_below_the_folder(folder, name, text):
    (folder / name).write_text(text)
    (folder / "a.txt").write_text("a pond")
    assert captions(folder) == {"a": "a pond", "b": "a boat", "deep/a": "hay"}


def test_a_text_file_comes_before_the_table(folder):
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "old"}))
    (folder / "a.txt").write_text("new")
    assert captions(folder)["a"] == "new"


@pytest.mark.parametrize("text", ['{"file_name": "a.png"}', '["a.png", "hay"]', '{"file_name": "a.png", "text": 3}'])
def test_an_entry_without_a_name_or_a_text_is_named(folder, text):
    (folder / "metadata.jsonl").write_text('{"file_name": "b.jpg", "text": "x"}\n' + text)
    with pytest.raises(ImpastoError, match=r"Entry 2 of .*metadata\.jsonl has no file_name or no text"):
        list_captioned(folder)


def test_a_broken_table_is_named(folder):
    (folder / "metadata.jsonl").write_text("{")
    with pytest.raises(ImpastoError, match=r"metadata\.jsonl cannot be read"):
        list_captioned(folder)


def test_missing_captions_are_counted(folder):
    (folder / "a.txt").write_text("a pond")
    with pytest.raises(ImpastoError, match=r"2 of 3 pictures have no caption, first .*b\.jpg: write one into a \.txt"):
        require_captions(list_captioned(folder))


def test_two_pictures_of_one_name_are_refused(folder):
    paint(folder / "b.png")
    with pytest.raises(ImpastoError, match="differ in their suffix alone"):
        list_captioned(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ImpastoError, match="does not exist"):
        list_captioned(tmp_path / "none")
    (tmp_path / "a.txt").write_text("words alone")
    with pytest.raises(ImpastoError, match="No pictures under"):
        list_captioned(tmp_path)


def test_captions_and_tables_are_not_files_of_other_kinds(folder, caplog):
    (folder / "a.txt").write_text("a pond")
    (folder / "captions.csv").write_text("file,caption\nb.jpg,a boat\n")
    list_captioned(folder)
    assert not caplog.records
    (folder / "movie.mp4").write_text("")
    list_captioned(folder)
    assert "left out 1 of other kinds" in caplog.text


def test_what_procedural_contents_show_has_no_word_of_the_medium():
    said = {caption(content) for content in contents("train", 40, size=16)}
    assert len(said) > 15
    assert not [words for words in said if "photo" in words]
    assert "an astronaut in an orange suit" in said
