"""The cache of reference features: what it finds again, what it must not, and how it writes."""

import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.reference_cache import ReferenceCache, content_hash


class Colours(nn.Module):
    source = "embedded"

    def __init__(self, gain=1.0, preprocessing="none"):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.preprocessing = preprocessing
        self.passes = 0

    def forward(self, images, taps):
        self.passes += 1
        found = {"colour": images.mean((2, 3)) * self.gain, "half": images[..., :4].mean((2, 3)), "map": images}
        return {tap: found[tap] for tap in taps}


def read(path):
    return torch.load(path)


@pytest.fixture
def files(tmp_path):
    draw = torch.Generator().manual_seed(0)
    paths = [tmp_path / f"{name}.pt" for name in "abc"]
    for side, path in enumerate(paths, start=8):
        torch.save(torch.rand(1, 3, side, side, generator=draw), path)
    return paths


@pytest.fixture
def cache(tmp_path):
    return ReferenceCache(tmp_path / "cache")


def refuse(path):
    raise AssertionError("read again")


def test_rows_are_extracted_once(cache, files):
    network = Colours()
    rows, numbers = cache.rows(files, network, ["colour", "half"], read)
    expected = torch.stack([read(path).double().mean((0, 2, 3)) for path in files])
    assert float((rows["colour"] - expected).abs().max()) < 1e-6
    assert network.passes == 3
    again, known = cache.rows(files, network, ["half", "colour"], refuse)
    assert torch.equal(known, numbers)
    assert network.passes == 3
    assert list(again) == ["half", "colour"]
    assert all(torch.equal(again[tap], rows[tap]) for tap in rows)
    assert not rows["colour"].requires_grad
    assert [path.suffix for path in cache.folder.iterdir()] == [".safetensors"]


def test_files_of_one_picture_have_one_number(cache, files, tmp_path):
    copy = tmp_path / "copy.pt"
    torch.save((255 * read(files[0])).round().byte(), tmp_path / "bytes.pt")
    torch.save(read(files[0]).double(), copy)  # another file, the same picture
    numbers = cache.rows([*files, copy, tmp_path / "bytes.pt"], Colours(), ["colour"], read).numbers.tolist()
    assert numbers[3] == numbers[0]
    assert len(set(numbers)) == 4


def test_the_same_pictures_elsewhere_are_the_same_set(cache, files, tmp_path):
    cache.rows(files, Colours(), ["colour"], read)
    copies = []
    for number, path in enumerate(files):
        copies.append(tmp_path / f"copy{number}.pt")
        copies[-1].write_bytes(path.read_bytes())
    assert content_hash(copies) == content_hash(files)
    cache.rows(copies, Colours(), ["colour"], refuse)


def test_anything_else_is_another_set(cache, files):
    base = cache.path(files, Colours(), ["colour"])
    others = [
        cache.path(files[:2], Colours(), ["colour"]),
        cache.path(files[::-1], Colours(), ["colour"]),
        cache.path(files, Colours(2.0), ["colour"]),
        cache.path(files, Colours(preprocessing="resized"), ["colour"]),
        cache.path(files, Colours(), ["half"]),
    ]
    torch.save(torch.zeros(1, 3, 8, 8), files[0])
    others.append(cache.path(files, Colours(), ["colour"]))
    assert len({base, *others}) == 7


@pytest.mark.parametrize("damage", [b"", b"rubbish"])
def test_damaged_files_are_made_anew(cache, files, damage):
    rows = cache.rows(files, Colours(), ["colour"], read)
    path = cache.path(files, Colours(), ["colour"])
    path.write_bytes(damage)
    again = cache.rows(files, Colours(), ["colour"], read)
    assert torch.equal(again.features["colour"], rows.features["colour"])
    assert torch.equal(again.numbers, rows.numbers)
    cache.rows(files, Colours(), ["colour"], refuse)


def test_what_is_refused(cache, files, tmp_path):
    with pytest.raises(ImpastoError, match="reference set is empty"):
        cache.rows([], Colours(), ["colour"], read)
    with pytest.raises(ImpastoError, match=r"none\.pt cannot be read \(No such file"):
        cache.rows([tmp_path / "none.pt"], Colours(), ["colour"], read)
    with pytest.raises(ImpastoError, match="features map are maps"):
        cache.rows(files, Colours(), ["map"], read)
    with pytest.raises(ImpastoError, match="reference pictures must lie"):
        cache.rows(files, Colours(), ["colour"], lambda path: 2 * read(path))
    blocked = ReferenceCache(files[0] / "cache")
    with pytest.raises(ImpastoError, match="set IMPASTO_CACHE"):
        blocked.rows(files, Colours(), ["colour"], read)


def test_the_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "x"))
    assert ReferenceCache().folder == tmp_path / "x"
