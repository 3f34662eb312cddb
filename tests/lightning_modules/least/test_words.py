"""Vectors of texts that were read before, in this process or in another one."""

import pytest
import torch

from lightning_modules.least.words import mean_vector

TEXTS = ["a house", "a blue house"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def readings(lens, monkeypatch):
    """Return the list of what the CLIP was asked to read."""
    seen, encode = [], lens.clip.encode_text
    monkeypatch.setattr(lens.clip, "encode_text", lambda texts: seen.append(list(texts)) or encode(texts))
    return seen


def test_a_text_is_read_once(lens, folder, readings):
    expected = lens.clip.encode_text(TEXTS).mean(0, keepdim=True).detach()
    readings.clear()
    first, again = mean_vector(lens.clip, TEXTS), mean_vector(lens.clip, TEXTS)
    assert torch.equal(first, expected)
    assert torch.equal(again, expected)
    assert readings == [TEXTS]
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


def test_another_text_and_another_clip_are_other_vectors(lens, folder, readings, monkeypatch):
    for texts in (TEXTS, TEXTS[:1], TEXTS[::-1]):
        mean_vector(lens.clip, texts)
    monkeypatch.setattr(lens.clip, "digest", "another file")
    mean_vector(lens.clip, TEXTS)
    with torch.no_grad():
        projection = lens.clip.model.text_projection.clone()
        lens.clip.model.text_projection.mul_(2)
        doubled = mean_vector(lens.clip, TEXTS)
        lens.clip.model.text_projection.copy_(projection)
    assert len(readings) == len(list(folder.iterdir())) == 5
    assert torch.allclose(doubled, 2 * mean_vector(lens.clip, TEXTS))


@pytest.mark.parametrize("damage", [b"", b"rubbish"])
def test_a_damaged_file_is_made_anew(lens, folder, readings, damage):
    expected = mean_vector(lens.clip, TEXTS)
    [path] = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert torch.equal(mean_vector(lens.clip, TEXTS), expected)
    assert len(readings) == 2
    assert path.read_bytes() == whole


def test_what_cannot_be_kept_is_read_again(lens, folder, readings):
    folder.write_text("a file")
    assert torch.equal(mean_vector(lens.clip, TEXTS), mean_vector(lens.clip, TEXTS))
    assert len(readings) == 2
