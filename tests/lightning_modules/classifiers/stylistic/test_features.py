"""Features on disk: no picture is looked at twice, and nothing damaged or foreign is taken for a feature."""

import pytest
import torch

from lightning_modules.classifiers.stylistic.features import cache_folder, cached_features
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork

CPU = torch.device("cpu")


class Colour(FrozenNetwork):
    """The mean colour, and how many pictures were looked at."""

    def __init__(self, factor=1.0):
        super().__init__("colour")
        self.register_buffer("factor", torch.tensor([factor]))
        self.seen = 0
        self.freeze()

    def forward(self, images):
        if bool(images.any()):  # the picture that asks for the width is black
            self.seen += len(images)
        return images.mean((2, 3)) * self.factor


class Pictures:
    def __init__(self, values):
        self.pictures = [None if value is None else torch.full((3, 4, 4), value) for value in values]
        self.hashes = [bytes([int(200 * (value or 0))]) * 32 for value in values]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))


def rows(branch, data):
    return cached_features("colour", branch, data, 4, CPU)


def test_only_new_pictures_are_looked_at_and_rows_keep_the_order():
    first = Colour()
    assert torch.allclose(rows(first, Pictures([0.5, 0.25]))[:, 0], torch.tensor([0.5, 0.25]))
    assert first.seen == 2
    second = Colour()
    found = rows(second, Pictures([0.25, 1.0, 0.5, 0.25]))
    assert torch.allclose(found[:, 0], torch.tensor([0.25, 1.0, 0.5, 0.25]))
    assert second.seen == 1


def test_the_data_is_asked_for_its_pictures_once():
    class Asked(Pictures):
        times = 0

        @property
        def pictures(self):
            self.times += 1
            return self.held

        @pictures.setter
        def pictures(self, held):
            self.held = held

    data = Asked([0.5, 0.25, 1.0])
    assert len(rows(Colour(), data)) == 3
    assert data.times == 1


def test_other_weights_look_again():
    rows(Colour(), Pictures([0.5]))
    other = Colour(factor=2.0)
    assert float(rows(other, Pictures([0.5]))[0, 0]) == 1.0
    assert other.seen == 1


def test_two_files_with_the_same_bytes_are_one_picture():
    branch = Colour()
    rows(branch, Pictures([0.5, 0.5, 0.5]))
    assert branch.seen == 1


def test_a_picture_that_cannot_be_read_has_no_features_and_is_asked_for_again():
    found = rows(Colour(), Pictures([0.5, None]))
    assert bool(found[0].isfinite().all())
    assert bool(found[1].isnan().all())
    data = Pictures([0.5, None])
    data.pictures[1] = torch.full((3, 4, 4), 0.125)
    assert float(rows(Colour(), data)[1, 0]) == 0.125


def test_more_pictures_than_a_file_or_a_batch_holds(monkeypatch):
    monkeypatch.setattr("lightning_modules.classifiers.stylistic.features.KEPT", 4)
    monkeypatch.setattr("lightning_modules.classifiers.stylistic.features.BATCH", 2)
    values = [(number + 1) / 16 for number in range(11)]
    assert torch.allclose(rows(Colour(), Pictures(values))[:, 0], torch.tensor(values))
    assert len(list(cache_folder().rglob("*.safetensors"))) == 3


def test_what_an_interrupted_run_has_seen_is_kept(monkeypatch):
    monkeypatch.setattr("lightning_modules.classifiers.stylistic.features.KEPT", 2)
    monkeypatch.setattr("lightning_modules.classifiers.stylistic.features.BATCH", 2)
    data = Pictures([0.1, 0.2, 0.3, 0.4])

    dying = Colour()

    def die(module, images):
        if module.seen == 2:
            raise KeyboardInterrupt

    dying.register_forward_pre_hook(die)
    with pytest.raises(KeyboardInterrupt):
        rows(dying, data)
    branch = Colour()
    rows(branch, data)
    assert branch.seen == 2


def test_a_damaged_file_is_made_anew():
    rows(Colour(), Pictures([0.5]))
    (path,) = cache_folder().rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    branch = Colour()
    assert float(rows(branch, Pictures([0.5]))[0, 0]) == 0.5
    assert branch.seen == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "file"))
    with pytest.raises(ImpastoError, match="set IMPASTO_CACHE"):
        rows(Colour(), Pictures([0.5]))
