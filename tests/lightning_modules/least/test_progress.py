"""When a job has nothing left to gain, and what is remembered of those that are done."""

import torch

from lightning_modules.least.progress import Gallery, Plateau, key_of


def test_a_plateau_is_noticed_job_by_job():
    plateau = Plateau(2)
    stopped = [plateau.update(torch.tensor([1.0, 1.0 - 0.02 * step]), 4).tolist() for step in range(12)]
    assert stopped[3] == [False, False]
    assert stopped[-1] == [True, False]
    assert [one for one, _ in stopped] == sorted(one for one, _ in stopped)  # who stands still does not move again
    plateau.start()
    assert plateau.update(torch.tensor([2.0, 2.0]), 4).tolist() == [False, False]


def test_a_gallery_keeps_eight_bits_and_finds_them_again(pictures):
    gallery, picture = Gallery(), pictures()[0]
    gallery.add("job_a", picture)
    assert float((gallery.get("job_a") - picture).abs().max()) <= 0.5 / 255 + 1e-6
    assert gallery.get("job_b") is None
    again = Gallery()
    again.load_state_dict(gallery.state_dict())
    assert torch.equal(again.get("job_a"), gallery.get("job_a"))


def test_a_key_changes_with_everything_that_a_painting_depends_on(pictures, region):
    content, mask = pictures()[0], region()[0]
    key = key_of(content, mask, "cubism", 200)
    assert key == key_of(content.double(), mask, "cubism", 200)
    brighter, other = content.clone(), mask.clone()
    brighter[0, 0, 0] += 1 / 255
    other[0, 0, 0] = 1
    variants = [(brighter, mask, "cubism", 200), (content, other, "cubism", 200), (content, mask, "wool", 200)]
    assert len({key, key_of(content, mask, "cubism", 100), *(key_of(*variant) for variant in variants)}) == 5
