import os
from pathlib import Path

import pytest

from datamodules.folders import list_files
from datamodules.notes import note


@pytest.fixture
def folder(tmp_path, monkeypatch, caplog):
    note.cache_clear()
    monkeypatch.chdir(tmp_path)
    for name in ("in/b/2.jpg", "in/b/1.jpg", "in/3.JPG"):
        touch(name)
    return Path("in")


def touch(name):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).touch()


def names(folder, **options):
    return [path.as_posix() for path in list_files(folder, lambda path: path.suffix.lower() == ".jpg", **options)]


PLAIN = ["in/3.JPG", "in/b/1.jpg", "in/b/2.jpg"]


@pytest.mark.parametrize("target", [".", "..", "../b", "../../in"])
@pytest.mark.parametrize("link", ["in/a", "in/b/up"])
def test_folders_that_lead_to_themselves_are_listed_once(folder, link, target):
    Path(link).symlink_to(target, target_is_directory=True)
    assert names(folder) == PLAIN


def test_every_folder_is_opened_once_however_links_lead_there(folder, monkeypatch):
    for name, target in (("in/x", "."), ("in/y", "."), ("in/b/up", "../.."), ("in/b/z", "../b")):
        Path(name).symlink_to(target, target_is_directory=True)
    opened, real = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(Path(path).resolve()) or real(path))
    assert names(folder) == PLAIN
    assert sorted(opened) == sorted(Path(path).resolve() for path in (".", "in", "in/b"))


def test_a_real_path_comes_before_links(folder):
    Path("in/0.jpg").symlink_to("b/1.jpg")
    Path("in/a").symlink_to("b", target_is_directory=True)
    Path("in/c.jpg").hardlink_to("in/3.JPG")
    assert names(folder) == PLAIN


def test_links_to_elsewhere_are_followed(folder):
    touch("out/4.jpg")
    touch("out/deep/5.jpg")
    Path("in/c").symlink_to("../out", target_is_directory=True)
    touch("elsewhere/5.jpg")
    Path("in/6.jpg").symlink_to("../elsewhere/5.jpg")
    Path("in/lost.jpg").symlink_to("nowhere")
    assert names(folder) == [
        "in/3.JPG", "in/6.jpg", "in/b/1.jpg", "in/b/2.jpg", "in/c/4.jpg", "in/c/deep/5.jpg", "in/lost.jpg",
    ]  # fmt: skip


def test_every_name_is_listed_where_names_are_searched(folder):
    Path("in/0.jpg").symlink_to("b/1.jpg")
    Path("in/a").symlink_to("b", target_is_directory=True)
    Path("in/b/up").symlink_to("..", target_is_directory=True)
    assert names(folder, aliases=True) == ["in/0.jpg", "in/3.JPG", "in/a/1.jpg", "in/a/2.jpg", *PLAIN[1:]]


def test_what_is_left_out_is_said_once(folder, caplog):
    for name in ("in/notes.txt", "in/b/c.heic", "in/b/d.HEIC", "in/b/README"):
        touch(name)
    Path("in/0.jpg").symlink_to("3.JPG")
    for _ in range(2):
        names(folder)
    assert caplog.messages == [
        "in: left out 4 of other kinds (2 .heic, 1 .txt, 1 no suffix) and 1 that other names lead to."
    ]


def test_many_kinds_are_summed_up(folder, caplog):
    for suffix in "abcdefg":
        touch(f"in/x.{suffix}")
    names(folder)
    assert caplog.messages == ["in: left out 7 of other kinds (1 .a, 1 .b, 1 .c, 1 .d, 3 more kinds)."]


def test_what_is_hidden_is_left_out_without_a_word(folder, caplog):
    for name in ("in/.4.jpg", "in/.checkpoints/1.jpg"):
        touch(name)
    assert names(folder) == names(folder, aliases=True) == PLAIN
    assert not caplog.messages


@pytest.mark.parametrize("aliases", [False, True])
def test_a_folder_that_cannot_be_opened_is_said(folder, caplog, monkeypatch, aliases):
    listed = {os.scandir: "scandir", os.listdir: "listdir"}

    def closed(real):
        def listing(path="."):
            if Path(path).name == "b":
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return listing

    for real, name in listed.items():
        monkeypatch.setattr(os, name, closed(real))
    assert names(folder, aliases=aliases) == ["in/3.JPG"]
    assert "in/b cannot be opened (Permission denied)" in caplog.text


def test_other_ranks_are_silent(folder, caplog, monkeypatch):
    touch("in/notes.txt")
    monkeypatch.setenv("LOCAL_RANK", "1")
    names(folder)
    assert not caplog.messages
