"""Pairs of every kind, and the file that freezes them."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from experiments.evaluation.pairing import Folders, plan
from experiments.evaluation.protocol import check_pictures, freeze, read_protocol, write_protocol
from experiments.evaluation.recipe import parse_recipe, presets, read_mapping
from lightning_modules.errors import ImpastoError


def save(path, seed, height=32, width=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
    """Three contents, and three styles by two artists."""
    for number, name in enumerate(("boat", "cat", "house")):
        save(tmp_path / "content" / f"{name}.png", number)
    for number, name in enumerate(("ada/dots", "ada/more", "bo/lines")):
        save(tmp_path / "style" / f"{name}.png", 10 + number)
    return Folders(tmp_path / "content", tmp_path / "style")


def preset(name, **changes):
    path = presets()[name]
    return parse_recipe(read_mapping(path) | {"counts": {}} | changes, path)


def frozen(folders, name="every", limit=None, **changes):
    recipe = preset(name, **changes)
    return freeze(recipe, plan(recipe, folders), limit)


def reread(protocol, path, **roots):
    write_protocol(protocol, path)
    return read_protocol(read_mapping(path), path, roots)


def test_every_content_meets_every_style(folders):
    protocol = frozen(folders)
    assert [task.id for task in protocol.tasks] == [f"{number:04}" for number in range(9)]
    assert len({(task.content, task.style) for task in protocol.tasks}) == 9
    assert [task.artist for task in protocol.tasks[:3]] == ["ada", "ada", "bo"]
    assert len(protocol.pictures) == 6


def test_a_recipe_takes_as_many_as_it_says_and_refuses_fewer(folders):
    assert len(frozen(folders, counts={"contents": 2, "styles": 2, "pairs": 4}).tasks) == 4
    with pytest.raises(ImpastoError, match=r"has 5 contents, and here are 3: .* --limit N"):
        frozen(folders, counts={"contents": 5})
    with pytest.raises(ImpastoError, match="has 2 or 4 styles, and here are 3"):
        frozen(folders, counts={"styles": [2, 4]})
    assert len(frozen(folders, counts={"contents": 5}, limit=4).tasks) == 4


def test_a_frozen_file_is_the_protocol_again(folders, tmp_path):
    protocol = frozen(folders)
    again = reread(protocol, tmp_path / "p.yaml")
    assert again == protocol
    assert again.sha256() == protocol.sha256()
    check_pictures(again)


def test_the_hash_is_that_of_what_is_painted_and_not_of_where_it_lies(folders, tmp_path):
    first = frozen(folders)
    shutil.copytree(tmp_path / "content", tmp_path / "elsewhere" / "photos")
    shutil.copytree(tmp_path / "style", tmp_path / "elsewhere" / "works")
    there = Folders(tmp_path / "elsewhere/photos", tmp_path / "elsewhere/works")
    assert frozen(there).sha256() == first.sha256()
    for changes in ({"resize": 24}, {"seed": 1}, {"metrics": ["ssim"]}, {"networks": {"weights": "hed"}}):
        assert frozen(folders, **changes).sha256() != first.sha256()
    assert frozen(folders, source="some other words").sha256() == first.sha256()
    save(tmp_path / "content/cat.png", 99)
    assert frozen(folders).sha256() != first.sha256()
    swapped = dataclasses.replace(first, tasks=[*first.tasks[:-2], first.tasks[-1], first.tasks[-2]])
    assert swapped.sha256() != first.sha256()


def test_another_place_is_named_by_the_options(folders, tmp_path):
    protocol = frozen(folders)
    (tmp_path / "content").rename(tmp_path / "moved")
    with pytest.raises(ImpastoError, match=r"boat.png of the protocol every is not there: say with --content DIR"):
        check_pictures(reread(protocol, tmp_path / "p.yaml"))
    check_pictures(reread(protocol, tmp_path / "p.yaml", content=tmp_path / "moved"))


def test_another_picture_is_named_in_one_sentence(folders, tmp_path):
    protocol = reread(frozen(folders), tmp_path / "p.yaml")
    save(tmp_path / "style/ada/more.png", 77)
    with pytest.raises(ImpastoError, match=r"style/ada/more.png is another picture than the one of the protocol every"):
        check_pictures(protocol)


@pytest.mark.parametrize(
    ("find", "replace", "words"),
    [
        ('"id": "0001"', '"id": "../../0001"', "the id '../../0001'"),
        ('"id": "0001"', '"id": "0000"', "two of one id"),
        ('"content": "content0", "style": "style3"', '"content": "content9"', "content9"),
        ("format: 1", "format: 2", "of format 2"),
        ('"sha256"', '"sha"', "sha"),
        ("pairing: every", "pairing: none", "none"),
    ],
)
def test_a_damaged_file_is_refused(folders, tmp_path, find, replace, words):
    path = tmp_path / "p.yaml"
    write_protocol(frozen(folders), path)
    text = path.read_text()
    assert find in text
    path.write_text(text.replace(find, replace))
    with pytest.raises(ImpastoError, match=r"p\.yaml") as error:
        read_protocol(read_mapping(path), path, {})
    assert words in str(error.value)


def test_artists_are_painted_by_name_and_after_their_works_in_turn(folders):
    protocol = frozen(folders, "clast", options={})
    assert [task.prompt for task in protocol.tasks] == ["ada", "bo"] * 3
    files = [protocol.pictures[task.style].file for task in protocol.tasks[::2]]
    assert files == ["ada/dots.png", "ada/more.png", "ada/dots.png"]
    names = frozen(dataclasses.replace(folders, style=None), "clast", options={"artists": ["Monet"]})
    assert [(task.prompt, task.style) for task in names.tasks] == [("Monet", None)] * 3
    with pytest.raises(ImpastoError, match="no paintings by Monet"):
        frozen(folders, "clast", options={"artists": ["ada", "Monet"]})


def test_captions_are_drawn_in_the_style_that_the_folder_is_called_after(tmp_path):
    for number in range(2):
        save(tmp_path / "claude-monet" / f"{number}.png", number)
        (tmp_path / "claude-monet" / f"{number}.txt").write_text(f"pond {number}")
    tasks = frozen(Folders(style=tmp_path / "claude-monet"), "nsync").tasks
    assert [(task.caption, task.artist, task.content) for task in tasks] == [
        ("pond 0", "claude monet", None), ("pond 1", "claude monet", None)
    ]  # fmt: skip
    (tmp_path / "claude-monet/1.txt").unlink()
    with pytest.raises(ImpastoError, match="no caption"):
        frozen(Folders(style=tmp_path / "claude-monet"), "nsync")


def test_jobs_have_masks_or_boxes(folders, tmp_path):
    save(tmp_path / "mask.png", 5)
    table = tmp_path / "jobs.csv"
    table.write_text(
        "image,prompt,mask,box\ncontent/boat.png,apply wool style to the sail in the image,mask.png,\n"
        'content/cat.png,apply ink style to the cat in the image,,"0.5,0.0,1.0,1.0"\n'
        'content/cat.png,apply ink style to the cat in the image,,"1,2,30,30"\n'
    )
    protocol = frozen(Folders(jobs=table), "least")
    assert [(task.prompt, task.box) for task in protocol.tasks] == [
        ("wool", None), ("ink", "0.5,0.0,1.0,1.0"), ("ink", "1,2,30,30")
    ]  # fmt: skip
    assert protocol.pictures[protocol.tasks[0].mask].file == "mask.png"
    table.write_text("image,prompt\ncontent/boat.png,apply wool style to the sail in the image\n")
    with pytest.raises(ImpastoError, match="in words alone: give it a mask or a box"):
        frozen(Folders(jobs=table), "least")


def test_clips_stay_whole_and_take_styles_in_turn(folders, tmp_path):
    for clip in ("run", "swim", "walk"):
        for frame in range(3):
            save(tmp_path / "clips" / clip / f"{frame}.png", frame)
    videos = Folders(tmp_path / "clips", tmp_path / "style")
    tasks = frozen(videos, "contraast-video", limit=2).tasks
    assert [(task.clip, task.frame) for task in tasks] == [(c, f) for c in ("run", "walk") for f in range(3)]
    assert len({task.style for task in tasks}) == 2
    with pytest.raises(ImpastoError, match="ffmpeg"):
        frozen(folders, "contraast-video")
    with pytest.raises(ImpastoError, match="has 18 clips, and here are 3"):
        frozen(videos, "contraast-video", counts={"clips": 18})


def test_procedural_pairs_know_the_truth(tmp_path):
    options = {"size": 16, "contents_per_split": {"train": 1, "val": 0, "test": 2}}
    protocol = frozen(Folders(tmp_path / "art"), "procedural", options=options)
    assert len(protocol.tasks) == 2 * 12
    for task in protocol.tasks:
        content, style, truth = (
            protocol.pictures[task.pictures()[kind]].file for kind in ("content", "style", "truth")
        )
        assert truth.startswith("test/paintings/")
        assert truth.rpartition("/")[2] == content.rpartition("/")[2] != style.rpartition("/")[2]
        assert truth.split("/")[2].replace("-", " ").lower() == task.prompt.lower()


def test_folders_that_are_missing_are_asked_for(tmp_path):
    with pytest.raises(ImpastoError, match="The protocol neat comes without pictures: give --content DIR"):
        plan(preset("neat"), Folders())
    with pytest.raises(ImpastoError, match="does not exist"):
        plan(preset("neat"), Folders(tmp_path / "no", tmp_path))


def test_the_file_is_plain_yaml(folders, tmp_path):
    write_protocol(frozen(folders), tmp_path / "p.yaml")
    settings = yaml.safe_load((tmp_path / "p.yaml").read_text())
    assert settings["n"] == len(settings["pairs"]) == 9
    assert settings["estimator"]["resample"] == ["content", "style"]


@pytest.mark.parametrize(
    "name", [b"caf\xe9.png", b"\x7f.png", "\x85.png", "\u2028.png", "\ufeffa.png", '\t"\U0001f3a8.png', "\\udce9.png"]
)
def test_a_picture_may_be_called_whatever_a_file_may(folders, tmp_path, name):
    content = tmp_path / "odd"
    content.mkdir()
    save(content / os.fsdecode(name), 7)
    recipe = preset("every")
    protocol = freeze(recipe, plan(recipe, Folders(content, folders.style)))
    again = reread(protocol, tmp_path / "p.yaml")
    assert again == protocol
    check_pictures(again)
