from typing import ClassVar

import pytest
import torch

from lightning_modules.grounding import GivenMask, NotFoundError, PhraseGrounder, Where, configured, locate
from lightning_modules.grounding.places import overlaps
from lightning_modules.grounding.regions import region_of

IMAGE = torch.rand(3, 8, 12)


def stripe(x0, x1):
    mask = torch.zeros(1, 8, 12)
    mask[..., x0:x1] = 1
    return mask


class Stripes:
    """Knows where some things are; there are two dogs."""

    PLACES: ClassVar = {
        "sky": [(0, 4)],
        "sea": [(3, 6)],
        "dog": [(0, 1), (5, 6)],
        "dogs": [(0, 1), (5, 6)],
        "all": [(0, 12)],
    }

    def __init__(self):
        self.asked = []

    def ground(self, image, phrase):
        self.asked.append(phrase)
        if phrase not in self.PLACES:
            raise NotFoundError(f"There is no {phrase}.")
        return [region_of(stripe(*place), 0.5, "stripes") for place in self.PLACES[phrase]]


def columns(region):
    return "".join(str(int(value)) for value in region.mask[0, 0])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Where(("sky",)), "111100000000"),
        (Where(("sky", "sea")), "111111000000"),
        (Where(("sky", "sea"), outside=True), "000000111111"),
        (Where(("dog",)), "100000000000"),
        (Where(("dogs",)), "100001000000"),
    ],
)
def test_places_in_words(where, expected):
    [region] = locate(IMAGE, [where], Stripes())
    assert columns(region) == expected


def test_the_rest_is_what_all_others_leave_wherever_it_stands():
    regions = locate(IMAGE, [Where((), True), Where(("sky",)), None, GivenMask(stripe(8, 12))], Stripes())
    assert columns(regions[0]) == "000011110000"
    assert regions[2] is None
    assert regions[3].source == "mask"


def test_what_is_not_there_and_what_leaves_nothing():
    with pytest.raises(NotFoundError, match="There is no cat"):
        locate(IMAGE, [Where(("cat",))], Stripes())
    with pytest.raises(NotFoundError, match="The region is empty"):
        locate(IMAGE, [Where(("all",), outside=True)], Stripes())


def test_overlaps_are_shares_of_the_earlier_region():
    regions = locate(IMAGE, [Where(("sky",)), None, Where(("sea",)), Where(("dog",))], Stripes())
    assert overlaps(regions) == [(0, 2, 0.25), (0, 3, 0.25)]


def test_a_yaml_file_chooses_who_finds_whole_phrases(monkeypatch):
    asked = []

    def find(name, settings):
        asked.append((name, settings.device, settings.download))
        return Stripes()

    monkeypatch.setattr(configured, "find_grounder", find)
    grounder = PhraseGrounder("stripes", download=True)
    assert asked == [("stripes", "cpu", True)]
    [region] = grounder.ground(IMAGE, "everything except the sky and the dogs")
    assert columns(region) == "000010111111"
    assert grounder.ground(IMAGE, "the whole picture") == []
