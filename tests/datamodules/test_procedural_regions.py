import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from datamodules.procedural import contents, generate
from datamodules.procedural.contents import generator
from datamodules.procedural.region_files import named_regions
from datamodules.procedural.regions import Parts
from datamodules.procedural.scenes import SCENES, scene
from lightning_modules.errors import ImpastoError

# Of two scenes of a kind, 40 pixels wide, before scenes named their regions: sum(picture * cos(0.7 n)) over its
# numbers n = 0, 1 ..., and what the generator draws next. One pixel that is one step of 255 brighter shows.
BEFORE = {
    "mountains": (2.8202, 883637800, -1.3222, 1578578377),
    "sea": (-3.6093, 1437596613, -1.8606, 1025091854),
    "forest": (0.1465, 1069886588, 0.0113, 135597499),
    "table": (0.7247, 976464432, 1.0138, 1733976895),
    "city": (-2.8423, 1668217566, -6.3493, 1808521939),
    "meadow": (-2.7189, 1512443411, -1.5563, 490038357),
    "clouds": (1.3765, 711009060, -0.0466, 1219016719),
    "portrait": (-1.2901, 710982186, 0.0566, 1781754303),
    "night": (-2.4643, 1583700505, 5.2702, 47720340),
}
SHOWN = {
    "mountains": {"sky", "mountains"},
    "sea": {"sky", "sea"},
    "forest": {"sky", "forest", "ground"},
    "table": {"wall", "table"},
    "city": {"sky", "buildings"},
    "meadow": {"sky", "grass", "flowers", "meadow"},
    "clouds": {"sky", "clouds"},
    "portrait": {"wall", "coat", "neck", "face", "hair", "person"},
    "night": {"sky", "hills"},
}
SOMETIMES = {"fruit", "bowls", "vase", "moon"}


@pytest.mark.parametrize("kind", SCENES)
def test_pictures_and_draws_are_those_of_before_there_were_regions(kind):
    found = []
    for seed in range(2):
        rng = generator(seed, "before", kind)
        picture = scene(kind, 40, rng)[0]
        weights = np.cos(np.arange(picture.size) * 0.7).reshape(picture.shape)
        found += [float((picture * weights).sum()), int(rng.integers(2**31))]
    assert found == pytest.approx(BEFORE[kind], abs=1e-3)
    assert found[1::2] == list(BEFORE[kind][1::2])


@pytest.mark.parametrize("kind", SCENES)
def test_a_scene_names_what_it_shows_and_each_pixel_once(kind):
    _, _, regions = scene(kind, 64, generator(1, "regions", kind))
    assert regions.names.keys() - SOMETIMES == SHOWN[kind]
    parts = [name for name, labels in regions.names.items() if len(labels) == 1]
    covered = sum(regions.mask(name).astype(int) for name in parts)
    assert covered.max() == 1
    assert covered.mean() > 0.95
    assert all(regions.mask(name).any() for name in regions.names)


@pytest.mark.parametrize("kind", ["mountains", "sea", "city", "portrait", "night"])
def test_regions_lie_where_the_picture_shows_them(kind):
    """Edges of the picture are steeper along the edges of its regions than along those of the mirrored regions."""
    own, mirrored = [], []
    for seed in range(4):
        picture, _, regions = scene(kind, 96, generator(seed, "where", kind))
        steps = np.abs(np.diff(picture.mean(-1), axis=0))
        for labels, found in ((regions.labels, own), (regions.labels[:, ::-1], mirrored)):
            found.append(steps[np.diff(labels, axis=0) != 0].mean())
    if kind == "sea":  # its horizon is the same in the mirror
        assert np.mean(own) > 2 * steps.mean()
    else:
        assert np.mean(own) > 1.2 * np.mean(mirrored)


def test_what_comes_later_covers_what_came_before():
    parts = Parts(4)
    parts.cover("sky", 1.0)
    half = np.zeros((4, 4), np.float32)
    half[:, 1:] = 1
    parts.cover("sea", half)
    parts.cover("sea", np.full((1, 1), 0.6, np.float32), (slice(0, 1), slice(0, 1)))  # two halves of one thing
    parts.cover("ball", np.full((2, 1), 0.4, np.float32), (slice(2, 4), slice(3, 4)))  # seen through
    parts.cover("boat", np.ones((2, 2), np.float32), (slice(2, 4), slice(1, 3)))
    regions = parts.regions(1e-3, mirrored=False)
    assert regions.labels.tolist() == [[2, 2, 2, 2], [1, 2, 2, 2], [1, 4, 4, 2], [1, 4, 4, 2]]
    assert regions.names == {"sky": (1,), "sea": (2,), "boat": (4,)}  # nothing of the ball
    assert parts.regions(1e-3, mirrored=True).labels.tolist() == [row[::-1] for row in regions.labels.tolist()]
    assert len(np.unique(parts.regions(3.0, mirrored=False).labels)) < 3  # through a lens that shows nothing small


def test_a_pixel_that_no_part_has_most_of_is_nobodys():
    parts = Parts(2)
    parts.cover("mist", 0.4)
    assert not parts.regions(1e-3, mirrored=False).labels.any()
    parts.cover("mist", 0.4)  # together 0.64
    assert parts.regions(1e-3, mirrored=False).mask("mist").all()


def test_photographs_have_no_regions():
    known = [picture.regions is not None for picture in contents("val", 6, 32)]
    assert known == [False, True, True, False, True, True]


@pytest.fixture(scope="module")
def art(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("regions") / "art", size=32, contents_per_split={"val": 3}, workers=1, quiet=True
    )


def test_a_data_set_of_before_gets_its_regions_when_they_are_asked_for(art):
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in art.rglob("*") if path.is_file()}
    assert not (art / "val" / "regions.json").exists()
    found = named_regions(art, "val")
    assert {region.title for region in found} == {"mountains-1000001", "sea-1000002"}
    for picture in contents("val", 3, 32):
        for region in (region for region in found if region.title == picture.title):
            image = Image.open(art / "val" / "regions" / f"{region.title}.png")
            mask = np.isin(np.asarray(image), region.labels)
            assert np.array_equal(mask, picture.regions.mask(region.name))
            assert region.share == pytest.approx(mask.mean(), abs=1e-6)
    stamps = {path: path.stat().st_mtime_ns for path in (art / "val").rglob("regions*")}
    assert named_regions(art, "val") == found
    assert {path: path.stat().st_mtime_ns for path in (art / "val").rglob("regions*")} == stamps
    assert all(hashlib.sha256(path.read_bytes()).digest() == digest for path, digest in before.items())
    generate(art, size=32, contents_per_split={"val": 3}, workers=1, quiet=True)  # they do not make it another's
    assert named_regions(art, "val") == found


def test_regions_of_another_version_are_replaced(art):
    found = named_regions(art, "val")
    legend = art / "val" / "regions.json"
    legend.write_text(json.dumps({"version": 0, "scenes": {}}))
    assert named_regions(art, "val") == found
    legend.write_text("{")  # a disk that was full
    assert named_regions(art, "val") == found


def test_regions_of_no_data_set(tmp_path):
    with pytest.raises(ImpastoError, match="impasto prepare procedural"):
        named_regions(tmp_path, "val")
