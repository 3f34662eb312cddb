from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.job_batches import share_of
from datamodules.local_style import LocalStyleDataModule
from lightning_modules.errors import ImpastoError

JOBS = """image,style,region,box,truth
a.png,cubism,sky,"0,0,32,16",b.png
b.png,wool,,,
a.png,wool,sea,"16,0,32,32",
b.png,cubism,sky,"0.5,0.5,1,1",a.png
a.png,roses,boat,"8,8,24,24",b.png
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures that differ everywhere, and a table of five jobs."""
    root = tmp_path_factory.mktemp("local")
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"{name}.png")
    (root / "jobs.csv").write_text(JOBS)
    return root


def ready(path, stage="fit", place=None, **options):
    module = LocalStyleDataModule(str(path), **{"size": 32, "iterations": 3} | options)
    if place is not None:
        module.trainer = SimpleNamespace(global_rank=place[0], world_size=place[1])
    module.prepare_data()
    module.setup(stage)
    return module


def turns(loader, count):
    return [(batch.index.tolist(), batch.iteration.tolist()) for batch, _ in zip(loader, range(count), strict=False)]


def test_a_job_is_content_mask_style_and_truth(folder):
    module = ready(folder / "jobs.csv", "validate", val_batch_size=5)
    (batch,) = module.val_dataloader()
    assert module.artists == ("cubism", "roses", "wool")
    assert batch.prompt == ["cubism", "wool", "wool", "cubism", "roses"]
    assert batch.artist.tolist() == [0, 2, 2, 0, 1]
    assert batch.region == ["sky", "", "sea", "sky", "boat"]
    assert batch.index.tolist() == list(range(5))
    assert batch.iteration is batch.style is batch.true_mask is None
    assert batch.truth is None  # not every job has one
    assert batch.mask.mean((1, 2, 3)).tolist() == [0.5, 1, 0.5, 0.25, 0.25]
    assert float(batch.mask[0, 0, :16].min()) == 1
    pixels = torch.from_numpy(np.array(Image.open(folder / "a.png"))).permute(2, 0, 1) / 255
    assert torch.equal(batch.content[0], pixels)


def test_the_truth_is_the_painting_inside_and_the_content_outside(folder):
    module = ready(folder / "jobs.csv", "validate")
    job = next(iter(module.val_dataloader()))
    a, b = (torch.from_numpy(np.array(Image.open(folder / f"{name}.png"))).permute(2, 0, 1) / 255 for name in "ab")
    assert torch.equal(job.truth[0, :, :16], b[:, :16])
    assert torch.equal(job.truth[0, :, 16:], a[:, 16:])
    small = next(iter(ready(folder / "jobs.csv", "validate", size=20).val_dataloader()))
    soft = (small.mask > 0) & (small.mask < 1)
    assert bool(soft.any())
    outside = (small.mask == 0).expand_as(small.content)
    assert torch.equal(small.truth[outside], small.content[outside])


def test_a_batch_is_one_iteration_of_its_jobs(folder):
    loader = ready(folder / "jobs.csv", jobs_per_batch=2).train_dataloader()
    assert len(loader) == 9
    one = [([0, 1], [i, i]) for i in range(3)] + [([2, 3], [i, i]) for i in range(3)] + [([4], [i]) for i in range(3)]
    assert turns(loader, 9) == one
    assert turns(loader, 9) == one  # the next epoch
    assert next(iter(loader)).iteration.dtype == torch.int64


@pytest.mark.parametrize("stop", [1, 4, 8, 9, 13])
def test_a_stream_continues_in_the_middle_of_a_job(folder, stop):
    straight = ready(folder / "jobs.csv", jobs_per_batch=2).train_dataloader()
    everything = turns(straight, 9) + turns(straight, 9)
    loader = ready(folder / "jobs.csv", jobs_per_batch=2).train_dataloader()
    seen = []
    while len(seen) < stop:
        for batch in loader:
            seen.append((batch.index.tolist(), batch.iteration.tolist()))
            if len(seen) == stop:
                state = loader.state_dict()
                break
    resumed = ready(folder / "jobs.csv", jobs_per_batch=2).train_dataloader()
    resumed.load_state_dict(state)
    rest = turns(resumed, 9)
    assert rest == everything[stop : stop + len(rest)]
    assert (stop + len(rest)) % 9 == 0  # to the end of the epoch


@pytest.mark.parametrize(
    ("options", "word"), [({"iterations": 4}, "iterations"), ({"jobs_per_batch": 1}, "jobs_per_batch")]
)
def test_a_stream_of_other_jobs_is_not_continued(folder, tmp_path, options, word):
    state = ready(folder / "jobs.csv", jobs_per_batch=2).train_dataloader().state_dict()
    with pytest.raises(ImpastoError, match=f"differ in {word}"):
        ready(folder / "jobs.csv", **{"jobs_per_batch": 2} | options).train_dataloader().load_state_dict(state)
    with pytest.raises(ImpastoError, match="differ in ranks"):
        ready(folder / "jobs.csv", jobs_per_batch=2, place=(0, 2)).train_dataloader().load_state_dict(state)
    other = JOBS.replace("roses", "thorns").replace("a.png", f"{folder}/a.png").replace("b.png", f"{folder}/b.png")
    (tmp_path / "jobs.csv").write_text(other)
    with pytest.raises(ImpastoError, match="differ in jobs"):
        ready(tmp_path / "jobs.csv", jobs_per_batch=2).train_dataloader().load_state_dict(state)


def test_ranks_paint_the_jobs_that_they_fitted(folder):
    assert share_of(0, 2, 5) == [0, 2, 4]
    assert share_of(1, 2, 5) == [1, 3, 0]  # as many; the first comes again
    assert share_of(2, 3, 2) == [0]
    for rank in range(2):
        module = ready(folder / "jobs.csv", place=(rank, 2))
        fitted = [index for (index,), (iteration,) in turns(module.train_dataloader(), 9) if iteration == 0]
        painted = [index for batch in module.val_dataloader() for index in batch.index.tolist()]
        assert fitted == painted == share_of(rank, 2, 5)
        assert len(module.train_dataloader()) == 9


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_a_prediction_repeats_no_job(folder, ranks):
    painted = []
    for rank in range(ranks):
        loader = ready(folder / "jobs.csv", "predict", place=(rank, ranks)).predict_dataloader()
        painted += [index for batch in loader for index in batch.index.tolist()]
    assert sorted(painted) == list(range(5))
    assert share_of(5, 6, 5, repeating=False) == [0]  # no rank has nothing to do


def test_every_stage_has_its_jobs_once(folder):
    module = ready(folder / "jobs.csv", None)
    for loader in (module.val_dataloader(), module.test_dataloader(), module.predict_dataloader()):
        assert [batch.index.tolist() for batch in loader] == [[0], [1], [2], [3], [4]]
    with pytest.raises(ImpastoError, match="call setup"):
        LocalStyleDataModule(folder / "jobs.csv").val_dataloader()


def test_workers_change_nothing(folder):
    plain, busy = (ready(folder / "jobs.csv", jobs_per_batch=2, workers=workers) for workers in (0, 2))
    for one, other in zip(plain.train_dataloader(), busy.train_dataloader(), strict=True):
        assert one.iteration.tolist() == other.iteration.tolist()
        assert torch.equal(one.content, other.content)


def test_pictures_keep_their_own_size(folder, tmp_path):
    Image.new("RGB", (40, 24), (9, 9, 9)).save(tmp_path / "wide.png")
    (tmp_path / "jobs.csv").write_text(f'image,style,box\nwide.png,wool,"30,0,40,24"\n{folder}/a.png,wool,"0,0,1,1"\n')
    module = ready(tmp_path / "jobs.csv", "validate", size=None)
    assert [tuple(batch.content.shape[-2:]) for batch in module.val_dataloader()] == [(24, 40), (32, 32)]
    with pytest.raises(ImpastoError, match="different sizes"):
        next(iter(ready(tmp_path / "jobs.csv", "validate", size=None, jobs_per_batch=2).val_dataloader()))
    (tmp_path / "edge.csv").write_text('image,style,box\nwide.png,wool,"36,0,40,24"\n')  # not in the middle square
    with pytest.raises(ImpastoError, match=r"Line 2 .*middle square.*data.size to null"):
        next(iter(ready(tmp_path / "edge.csv", "validate").val_dataloader()))
    (tmp_path / "out.csv").write_text('image,style,box\nwide.png,wool,"50,0,60,24"\n')
    with pytest.raises(ImpastoError, match=r"Line 2 .*outside the picture of 40 x 24"):
        next(iter(ready(tmp_path / "out.csv", "validate").val_dataloader()))


def test_a_truth_of_another_size_is_refused(folder, tmp_path):
    Image.new("RGB", (40, 24)).save(tmp_path / "wide.png")
    (tmp_path / "jobs.csv").write_text(f'image,style,box,truth\n{folder}/a.png,wool,"0,0,9,9",wide.png\n')
    with pytest.raises(ImpastoError, match=r"Line 2 .*truth of 40 x 24"):
        next(iter(ready(tmp_path / "jobs.csv", "validate").val_dataloader()))


class Finder:
    """Finds what it is told to, and remembers what it was asked."""

    def __init__(self, **known):
        self.known, self.asked = known, []

    def ground(self, image, phrase):
        self.asked.append((tuple(image.shape), phrase))
        if phrase == "nonsense":
            raise ImpastoError("Nobody finds that.")
        return self.known.get(phrase, [])


def region(top, bottom):
    mask = torch.zeros(1, 32, 32)
    mask[:, top:bottom] = 1
    return SimpleNamespace(mask=mask)


WORDS = "image,style,region\n{0}/a.png,wool,sky\n{0}/a.png,cubism,sky\n{0}/a.png,wool,ropes\n"


def test_words_are_grounded_once_on_the_rank_that_paints_them(folder, tmp_path):
    (tmp_path / "jobs.csv").write_text(WORDS.format(folder))
    finder = Finder(sky=[region(0, 8)], ropes=[region(0, 8), region(28, 32)])
    module = ready(tmp_path / "jobs.csv", grounder=finder)
    masks = [batch.mask for batch in module.val_dataloader()]
    assert [float(mask.mean()) for mask in masks] == [0.25, 0.25, 0.25]
    assert not bool(masks[2][0, 0, 8:].any())  # the first of the regions that were found
    module.train_dataloader()
    assert finder.asked == [((3, 32, 32), "sky"), ((3, 32, 32), "ropes")]
    second = Finder(sky=[region(0, 8)])
    ready(tmp_path / "jobs.csv", grounder=second, place=(1, 3)).val_dataloader()
    assert second.asked == [((3, 32, 32), "sky")]


def test_words_that_nobody_finds(folder, tmp_path):
    (tmp_path / "jobs.csv").write_text(WORDS.format(folder))
    with pytest.raises(ImpastoError, match=r"3 of 3 jobs .*Line 2 .*\(sky in a.png\).*mask or a box.*data.grounder"):
        ready(tmp_path / "jobs.csv")
    module = ready(tmp_path / "jobs.csv", grounder=Finder(sky=[region(0, 8)]))
    with pytest.raises(ImpastoError, match=r"Line 4 .*ropes.*not found by Finder"):
        module.val_dataloader()
    (tmp_path / "jobs.csv").write_text(WORDS.format(folder).replace("ropes", "nonsense"))
    module = ready(tmp_path / "jobs.csv", grounder=Finder(sky=[region(0, 8)]))
    with pytest.raises(ImpastoError, match=r"Line 4 .*Nobody finds that"):
        module.val_dataloader()


def test_grounding_can_be_measured_against_known_masks(folder):
    finder = Finder(sky=[region(0, 32)], sea=[region(0, 32)], boat=[region(8, 24)])
    module = ready(folder / "jobs.csv", "validate", grounder=finder, ground="all")
    sky, whole, _, _, boat = module.val_dataloader()
    assert sky.mask.mean() == 1
    assert sky.true_mask.mean() == 0.5
    assert whole.true_mask is None  # nobody looked for it
    assert boat.mask.mean() == 0.5
    assert [phrase for _, phrase in finder.asked] == ["sky", "sea", "sky", "boat"]


def test_a_job_has_a_name_for_files(folder):
    module = ready(folder / "jobs.csv", "validate")
    assert module.describe(0) == {
        "job": "0000_a_sky_cubism",
        "image": f"{folder}/a.png",
        "style": "cubism",
        "region": "sky",
    }
    assert module.describe(1)["job"] == "0001_b_everything_wool"


@pytest.mark.parametrize("name", ["size", "jobs_per_batch", "iterations"])
def test_numbers_that_are_too_small(name):
    with pytest.raises(ImpastoError, match=f"{name} is 0"):
        LocalStyleDataModule("jobs.csv", **{name: 0})
