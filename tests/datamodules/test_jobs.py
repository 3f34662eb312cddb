from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from datamodules.job_table import JobTable
from datamodules.jobs import Labelled, ProceduralJobs, area_mask
from datamodules.masks import Box
from lightning_modules.errors import ImpastoError


@pytest.fixture(scope="module")
def art(tmp_path_factory):
    """ProceduralArt whose paintings are not needed."""
    from datamodules.procedural import SPLITS, region_files

    root = tmp_path_factory.mktemp("jobs")
    (root / "meta.json").write_text('{"contents": {"train": 0, "val": 12, "test": 3}, "size": 32, "seed": 0}')
    for split in SPLITS:
        region_files.named_regions(root, split)
    return root


def test_procedural_jobs_are_many_by_many_painters_on_regions_of_a_fair_size(art):
    jobs = ProceduralJobs(art).jobs("val")
    assert len(jobs) == 24
    assert len({job.style for job in jobs}) >= 8
    assert len({(job.image, job.region, job.style) for job in jobs}) == 24
    shares = [float(area_mask(job.area, 32, 32).mean()) for job in jobs]
    assert 0.05 <= min(shares) <= max(shares) <= 0.7
    assert len({job.image for job in jobs[:8]}) == 8  # scenes take turns
    for job in jobs:
        assert job.painting == art / "val" / "paintings" / job.style / job.image.name
        assert not job.needs_grounding


def test_procedural_jobs_depend_on_the_seed_alone(art):
    assert ProceduralJobs(art).jobs("val") == ProceduralJobs(art).jobs("val")
    assert ProceduralJobs(art, seed=1).jobs("val") != ProceduralJobs(art).jobs("val")
    assert ProceduralJobs(art, count=5).jobs("val") == ProceduralJobs(art).jobs("val")[:5]


def test_few_regions_meet_every_painter_once(art):
    jobs = ProceduralJobs(art, count=1000).jobs("test")
    regions = {(job.image, job.region) for job in jobs}
    assert len(jobs) == 12 * len(regions) == len({(job.image, job.region, job.style) for job in jobs})


def test_procedural_jobs_that_cannot_be(art):
    with pytest.raises(ImpastoError, match="no region of a fitting size"):
        ProceduralJobs(art).jobs("train")
    with pytest.raises(ImpastoError, match="at least 1 job"):
        ProceduralJobs(art, count=0)
    with pytest.raises(ImpastoError, match="range of shares"):
        ProceduralJobs(art, share=(0.7, 0.1))


def test_areas_are_masks_of_the_pictures_size(tmp_path):
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    assert area_mask(Labelled(tmp_path / "labels.png", (1, 3)), 2, 2).tolist() == [[[0, 1], [0, 1]]]
    assert area_mask(tmp_path / "labels.png", 2, 2).max() < 0.02  # as a mask, it is nearly black
    assert area_mask(Box(0.5, 0, 1, 1, shares=True), 4, 2).mean() == 0.5
    with pytest.raises(ImpastoError, match="prepare the data again"):
        area_mask(Labelled(tmp_path / "gone.png", (1,)), 2, 2)


@pytest.fixture
def table(tmp_path):
    """Return a function from lines to a table of jobs beside a photograph and masks."""
    for name, value in {"photo": 90, "mask": 255, "black": 0}.items():
        Image.new("RGB", (8, 6), (value,) * 3).save(tmp_path / f"{name}.png")

    def write(*lines, **options):
        (tmp_path / "jobs.csv").write_text("\n".join(lines) + "\n")
        return JobTable(tmp_path / "jobs.csv", **options)

    return write


def test_a_table_in_the_papers_form(table, tmp_path):
    source = table(
        "image,prompt,style,region,mask,box,truth",
        "photo.png,apply cubism style to the sky in the image,cubism,sky,,,",
        "photo.png,,white wool,the chair,mask.png,,",
        f'{tmp_path}/photo.png,,watercolor,,,"1,2,4,6",photo.png',
        "photo.png,,oil painting of roses,,,,",
    )
    words, masked, boxed, whole = source.jobs("val")
    assert source.jobs("test") == source.jobs("val")
    assert (words.style, words.region, words.area, words.needs_grounding) == ("cubism", "sky", None, True)
    assert (masked.area, masked.needs_grounding) == (tmp_path / "mask.png", False)
    assert boxed.area == Box(1, 2, 4, 6, shares=False)
    assert boxed.painting == boxed.image == tmp_path / "photo.png"
    assert (whole.area, whole.region, whole.needs_grounding) == (None, "", False)
    assert words.name == f"Line 2 of {tmp_path}/jobs.csv (sky in photo.png)"


def test_prompts_are_read_by_a_parser(table):
    def parse(prompt):
        if "?" in prompt:
            raise ImpastoError("Say what to paint.")
        halves = [part.partition("/") for part in prompt.split(";")]
        clauses = tuple(SimpleNamespace(style=style, where=where or None) for style, _, where in halves)
        return SimpleNamespace(clauses=clauses)

    jobs = table("image,prompt", "photo.png,cubism/sky", "photo.png,wool/", parser=parse).jobs("val")
    assert [(job.style, job.region) for job in jobs] == [("cubism", "sky"), ("wool", "")]
    says(table("image,prompt", "photo.png,a/b;c/d", parser=parse), "Line 2", "2 regions")
    says(table("image,prompt", "photo.png,a?", parser=parse), "Line 2", "Say what to paint")
    says(table("image,prompt", "photo.png,cubism/sky"), "Line 2", "columns style and region", "data.parser")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["image,style,colour", "photo.png,a,b"], ("Line 1", "colour", "there may be region, mask, box, truth")),
        (["image,region", "photo.png,a"], ("Line 1", "style or prompt")),
        (["style", "cubism"], ("Line 1", "there must be image")),
        (["image,style"], ("no line below",)),
        (["image,style", "photo.png,a", ",b"], ("Line 3", "no image")),
        (["image,style", "photo.png,a", "gone.png,b"], ("Line 3", "image", "gone.png", "not there")),
        (["image,style,region", "photo.png,,sky"], ("Line 2", "no style")),
        (["image,style,mask", "photo.png,a,gone.png"], ("Line 2", "mask", "gone.png")),
        (["image,style,mask", "photo.png,a,black.png"], ("Line 2", "black.png", "empty")),
        (["image,style,box", "photo.png,a,1"], ("Line 2", "four numbers")),
        (["image,style,box", "photo.png,a,1,2,3,4"], ("Line 2", "more fields", "quotes")),
        (["image,style,mask,box", 'photo.png,a,mask.png,"0,0,2,2"'], ("Line 2", "a mask and a box")),
    ],
)
def test_a_table_that_cannot_be_done_says_which_line(table, lines, words):
    says(table(*lines), *words)


def test_a_table_that_is_not_there(tmp_path):
    says(JobTable(tmp_path / "gone.csv"), "gone.csv", "cannot be read")


def says(source, *words):
    with pytest.raises(ImpastoError) as caught:
        source.jobs("val")
    sentence = str(caught.value)
    assert sentence.count("\n") == 0
    assert all(word in sentence for word in words), sentence
