import os
import unicodedata
from pathlib import Path

import pytest

from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically
from lightning_modules.paths import find_file, identity, refuse_overwriting, shown


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("photos/1.jpg").write_text("kept")
    return tmp_path


def spellings(folder):
    """Paths that all lead to photos/1.jpg."""
    (folder / "link.jpg").symlink_to("photos/1.jpg")
    (folder / "hard.jpg").hardlink_to("photos/1.jpg")
    (folder / "album").symlink_to("photos", target_is_directory=True)
    return [
        "photos/1.jpg",
        "./photos/../photos/1.jpg",
        str(folder / "photos/1.jpg"),
        "link.jpg",
        "hard.jpg",
        "album/1.jpg",
    ]


def test_a_target_that_is_read_is_refused_however_it_is_spelt(here):
    for target in spellings(here):
        for source in ("photos/1.jpg", "album/1.jpg"):
            with pytest.raises(ImpastoError, match="would overwrite"):
                refuse_overwriting([Path("new.jpg"), Path(target)], [Path("nowhere.jpg"), Path(source)])
    refuse_overwriting([Path("photos/2.jpg"), Path("new/1.jpg"), Path("1.jpg")], [Path("photos/1.jpg")])


def test_two_results_never_go_to_one_place(here):
    Path("album").symlink_to("photos", target_is_directory=True)
    for one, other in (("a.png", "./a.png"), ("new/a.png", "new/../new/a.png"), ("photos/2.png", "album/2.png")):
        with pytest.raises(ImpastoError, match="Two results"):
            refuse_overwriting([Path(one), Path("b.png"), Path(other)], [])


def test_spellings_that_this_disk_tells_apart_are_two_places(here):
    refuse_overwriting([Path("A.png"), Path("a.png"), Path("new/A/x.png"), Path("new/a/x.png")], [])
    assert {path.name for path in here.iterdir()} == {"photos"}  # what was tried is gone again


@pytest.mark.parametrize(
    ("one", "other"), [("A.png", "a.png"), ("new/A/x.png", "new/a/x.png"), ("é.png", "e\u0301.png")]
)
def test_spellings_that_a_disk_takes_for_one_are_refused(here, monkeypatch, one, other):
    def folded(name):
        return unicodedata.normalize("NFC", name).casefold()

    def exists(self):
        return self.parent.is_dir() and folded(self.name) in {folded(path.name) for path in self.parent.iterdir()}

    monkeypatch.setattr(Path, "exists", exists)
    with pytest.raises(ImpastoError, match="Two results"):
        refuse_overwriting([Path(one), Path(other)], [])


def test_links_in_a_circle_are_no_place_of_anything(here):
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    refuse_overwriting([Path("a"), Path("c")], [Path("b")])


def test_one_file_has_one_identity(here):
    assert len({identity(Path(path)) for path in spellings(here)}) == 1


def test_a_name_is_found_in_either_spelling(here):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        name = unicodedata.normalize(form, f"{form}-cézanne")
        Path(name).mkdir()
        Path(name, unicodedata.normalize(form, "é.jpg")).touch()
        asked = Path(unicodedata.normalize(other, f"{form}-cézanne/é.jpg"))
        assert not asked.exists()
        assert find_file(asked).is_file()
    assert find_file(Path("no/where.jpg")) == Path("no/where.jpg")


def test_names_that_are_no_text_can_be_written(here):
    name = os.fsdecode(b"caf\xe9.jpg")
    assert shown(name) == "caf\\xe9.jpg"
    assert shown("café.jpg") == "café.jpg"
    write_atomically(Path("table.csv"), f"{name},é\n")
    assert Path("table.csv").read_text(encoding="utf-8") == "caf\\xe9.jpg,é\n"
