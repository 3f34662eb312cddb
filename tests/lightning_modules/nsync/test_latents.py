import copy

import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.nsync import latents
from lightning_modules.nsync.latents import cached_posteriors, posteriors_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))
    return tmp_path / "latents"


def test_both_ways_round_every_picture_is_what_the_encoder_says(parts, triplets):
    data = triplets(["<a>"])
    cached = cached_posteriors(parts, data, CPU)
    assert len(cached) == 8
    picture, flip = torch.tensor([[0, 5], [7, 0]]), torch.tensor([[False, True], [True, True]])
    found = cached.posteriors(picture, flip)
    images = torch.stack([data.pictures[i] for i in picture.flatten().tolist()])
    images = torch.where(flip.flatten()[:, None, None, None], images.flip(-1), images)
    with torch.no_grad():
        truth = parts.vae.encode(images * 2 - 1).latent_dist
    assert found.dtype == torch.float32
    assert torch.allclose(found.flatten(0, 1)[:, 0], truth.mean, atol=1e-5)
    assert torch.allclose(found.flatten(0, 1)[:, 1], truth.std, atol=1e-5)
    assert torch.equal(posteriors_of(parts, images)[:, 1], truth.std)


def test_pictures_are_encoded_once_until_they_or_the_encoder_change(parts, triplets, monkeypatch):
    counted = []
    encode = latents.encode
    monkeypatch.setattr(latents, "encode", lambda *args: (counted.append(1), encode(*args)))
    data = triplets(["<a>"])
    for _ in range(2):
        cached_posteriors(parts, data, CPU)
    assert len(counted) == 1
    data.fingerprint = "other"
    cached_posteriors(parts, data, CPU)
    assert len(counted) == 2
    others = copy.deepcopy(parts)
    with torch.no_grad():
        others.vae.quant_conv.weight.add_(1)
    cached_posteriors(others, data, CPU)
    assert len(counted) == 3


def test_a_writer_that_dies_leaves_nothing_that_is_read(parts, triplets, monkeypatch, cache):
    data, calls = triplets(["<a>"]), []
    plain = latents.posteriors_of

    def dying(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(latents, "posteriors_of", dying)
    with pytest.raises(KeyboardInterrupt):
        cached_posteriors(parts, data, CPU)
    assert not list(cache.rglob("*.npy"))
    # Nor does one that had no time to clean up.
    (folder,) = cache.iterdir()
    (folder / ".left.npy").write_bytes(b"half")
    assert len(cached_posteriors(parts, data, CPU)) == 8
    assert [path.name for path in cache.rglob("*.npy")] == ["posteriors.npy"]


def test_a_folder_that_cannot_be_written_is_one_sentence(parts, triplets, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "file"))
    with pytest.raises(ImpastoError, match="set IMPASTO_CACHE to a folder"):
        cached_posteriors(parts, triplets(["<a>"]), CPU)
