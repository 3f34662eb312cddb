"""The judge's training on a gallery of a handful of small pictures: what it sees, and what it writes."""

import json

import pytest
import torch

from experiments.embedded import classifier, halfway
from experiments.embedded.gallery import PHOTOGRAPH, Gallery, load_gallery
from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet
from lightning_modules.weights import load_artist_classifier

ARTISTS = ("Ada Stipple", "Bo Hatch")


def make_gallery(seed=0, contents=6, side=256):
    """Photographs are smooth, Ada adds dots in red, and Bo stripes in blue."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(contents, 3, 4, 4, generator=generator)
    plain = torch.nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 1)
    dots, stripes = torch.zeros(2, 1, 1, side, side)
    dots[..., ::8, ::8] = dots[..., 1::8, ::8] = 1
    stripes[..., ::6] = 1
    works = [0.5 * plain + 0.5 * mark * torch.tensor(colour).view(3, 1, 1) for mark, colour in (
        (dots, (1.0, 0.1, 0.1)), (stripes, (0.1, 0.1, 1.0))
    )]  # fmt: skip
    images = (torch.cat([plain, *works]) * 255).byte()
    artist = torch.tensor([PHOTOGRAPH] * contents + [0] * contents + [1] * contents)
    captions = tuple("a scene" for _ in range(3 * contents))
    return Gallery(images, artist, captions, torch.arange(contents).repeat(3), ARTISTS, ("dots", "stripes"))


@pytest.fixture(scope="module")
def gallery():
    return make_gallery()


@pytest.fixture(scope="module")
def lessons(gallery):
    return classifier.Lessons(gallery, seed=0, effort=2)


def test_lessons_are_paintings_and_as_many_pictures_by_nobody(lessons, gallery):
    works = gallery.paintings()[torch.arange(classifier.PAINTED) % 12]
    pictures, labels = lessons.draw(works, 80)
    painted = classifier.PAINTED + classifier.PATCHED
    assert pictures.shape == (painted + classifier.IMPOSTORS + classifier.BLENDS + classifier.HALFWAY, 3, 80, 80)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1
    assert torch.equal(labels[: classifier.PAINTED], gallery.artist[works])
    assert set(labels[classifier.PAINTED : painted].tolist()) <= {0, 1}
    assert set(labels[painted:].tolist()) == {2}


def test_the_same_seed_gives_the_same_lessons(lessons, gallery):
    again = classifier.Lessons(gallery, seed=0, effort=2)
    assert torch.equal(again.halfway, lessons.halfway)
    assert torch.equal(again.patched, lessons.patched)
    ours, theirs = (copyist.state_dict() for copyist in (again.copyists[0], lessons.copyists[0]))
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_what_a_small_painter_makes_changes_as_it_learns(lessons):
    assert lessons.halfway.dtype == torch.uint8
    assert lessons.halfway.shape[1:] == (3, halfway.SIZE, halfway.SIZE)
    assert len(lessons.halfway) == 3 * 2 * 4  # painters, steps, pictures
    residual = lessons.halfway[:4].float()
    assert float(residual.std()) > 10


def test_a_patchwork_of_the_very_scene_is_the_painting(gallery):
    """Every patch finds itself where the scene is among the known ones; elsewhere it finds other paint."""
    photograph = gallery.images[:1, :, :192, :192].float() / 255
    painting = gallery.images[6:7, :, :192, :192].float() / 255
    others = gallery.images[1:3, :, :192, :192].float() / 255
    contents = torch.cat((others, photograph))
    paintings = torch.cat((gallery.images[7:9, :, :192, :192].float() / 255, painting))
    found = halfway._patchwork(photograph[0], contents, paintings)
    inside = (slice(None), slice(0, 150), slice(0, 150))  # what hangs over the border has no counterpart
    aligned = (found - painting[0]).abs()[inside].mean()
    assert float(aligned) < 0.02
    foreign = halfway._patchwork(photograph[0], others, paintings[:2])
    assert foreign.shape == (3, 192, 192)
    assert float((foreign - painting[0]).abs()[inside].mean()) > 2 * float(aligned)


def test_copyists_learn_to_copy(gallery):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    images = gallery.images[:4, :, :64, :64].float() / 255
    early, late = (
        [
            float((copyist(images) - images).abs().mean())
            for copyist in halfway.copyists(gallery, generator, steps=steps)
        ]
        for steps in (1, 30)
    )
    assert all(after < 0.6 * before for before, after in zip(early, late, strict=True))


def test_the_file_knows_that_a_picture_may_be_nobodys(gallery, tmp_path):
    figures = classifier.train(gallery, make_gallery(1, contents=2), tmp_path, seed=0, steps=2, doubts=(1, 1), effort=1)
    config = json.loads((tmp_path / "artist_classifier.json").read_text())
    assert config["none"] is True
    assert config["measured"] == figures
    assert figures["floor"] == pytest.approx(figures["named_photographs"] / 2, abs=1e-4)
    judge = load_artist_classifier(tmp_path / "artist_classifier.safetensors")
    assert judge.none
    assert judge(torch.rand(1, 3, 64, 64)).shape == (1, 3)


class Reddish(torch.nn.Module):
    """Names Ada where red leads, Bo where blue leads, and nobody where neither leads by much."""

    def forward(self, images):
        red, _, blue = images.mean((2, 3)).unbind(1)
        return torch.stack((red - blue, blue - red, torch.full_like(red, 0.02)), 1)


def test_the_figures_are_shares_of_what_they_say():
    held_out = make_gallery(1, contents=2, side=256)
    grey = held_out.images.float().mean(1, keepdim=True).expand(-1, 3, -1, -1).byte()
    plain = torch.where((held_out.artist == PHOTOGRAPH)[:, None, None, None], grey, held_out.images)
    figures = classifier.measure(
        ArtistClassifier(Reddish(), ARTISTS, "embedded", none=True), Gallery(plain, *list(vars(held_out).values())[1:])
    )
    assert figures["named_photographs"] == figures["floor"] == 0
    assert figures["named_palette"] >= 0.5  # colour alone fools it
    assert {"accuracy", "accuracy_crops_96", "named_stroke", "named_impostors"} <= figures.keys()


def test_the_first_part_starts_where_the_old_judge_ended(gallery):
    network = classifier.tell_painters(gallery, seed=0, steps=1)
    old = network.eval()(torch.full((1, 3, 64, 64), 0.4))
    network.head = classifier._with_nobody(network.head)
    new = network(torch.full((1, 3, 64, 64), 0.4))
    torch.testing.assert_close(new[:, :2], old)
    assert float(new[0, 2]) == 0


@pytest.mark.parametrize("bias", [-50.0, 50.0])
def test_nobody_is_set_below_the_painter_in_nearly_all_paintings(gallery, monkeypatch, bias):
    monkeypatch.setattr(classifier, "EVERY", 1)
    network = BrushworkNet(3, (8, 8), (1, 1))
    torch.nn.init.constant_(network.head.bias[-1:], bias)
    classifier.calibrate(network, gallery)
    works = gallery.paintings()
    whole = torch.nn.functional.interpolate(gallery.images[works] / 255, (192, 192), mode="bilinear", antialias=True)
    with torch.no_grad():
        logits = network(whole)
    margin = logits[:, 2] - logits.gather(1, gallery.artist[works][:, None])[:, 0]
    assert int((margin < 0).sum()) == 11  # of twelve, where 0.98 are asked for
    assert float(margin.max()) < 1


def test_the_palettes_are_those_of_the_paintings(gallery):
    found = classifier.palettes(gallery)
    red, blue = gallery.images[6:12].float() / 255, gallery.images[12:].float() / 255
    torch.testing.assert_close(found.mean, torch.stack((red.mean((0, 2, 3)), blue.mean((0, 2, 3)))))
    expected = red.mean((2, 3)).T.cov() + 1e-4 * torch.eye(3)
    torch.testing.assert_close(torch.linalg.inv(found.inverse[0]), expected, rtol=1e-2, atol=1e-6)


def test_every_painting_knows_its_photograph(tmp_path):
    from datamodules.procedural import generate

    root = generate(tmp_path / "art", size=16, contents_per_split={"train": 2}, seed=3, quiet=True, workers=1)
    found = load_gallery(root, "train")
    assert found.content[found.photographs()].tolist() == found.photographs().tolist()
    for index in found.paintings().tolist():
        assert found.captions[index] == found.captions[int(found.content[index])]
    assert found.content[found.paintings()].bincount().tolist() == [12, 12]
