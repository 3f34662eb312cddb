"""Models that look for words, on tiny random networks, and on replies and detections that are written here."""

from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

import lightning_modules.grounding.llava as llava_module
from lightning_modules.grounding.concepts import SAM3
from lightning_modules.grounding.detection import GroundingDINO, distinct, overlap
from lightning_modules.grounding.hub import load
from lightning_modules.grounding.instances import Instance
from lightning_modules.grounding.llava import QUERIES, STRICT, LLaVA
from lightning_modules.grounding.regions import NotFoundError, box_around
from lightning_modules.grounding.segmenters import FeatheredBox
from lightning_modules.grounding.stuff import CLIPSeg, guided


def silent(kind="llava_next"):
    return SimpleNamespace(model=None, processor=None, kind=kind, name="llava")


def answering(monkeypatch, *replies, **settings):
    """A LLaVA that gives these replies, and the list of what it is asked."""
    asked, left = [], list(replies)

    def ask(self, image, question):
        asked.append(question)
        return left.pop(0)

    monkeypatch.setattr(LLaVA, "_ask", ask)
    return LLaVA(silent(settings.pop("kind", "llava_next")), FeatheredBox(), **settings), asked


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
def test_llava_generates_a_reply_of_its_own_words_alone(kind, photo, tiny, monkeypatch):
    monkeypatch.setattr(llava_module, "NEW_TOKENS", 4)
    llava = LLaVA(load(tiny(kind)), FeatheredBox())
    reply = llava._ask(photo, "Where is the dog?")
    assert 0 < len(reply) <= 4
    assert reply == llava._ask(photo, "Where is the dog?")
    with pytest.raises(NotFoundError, match="LLaVA gives no box for 'dog', but '"):
        llava.ground(photo, "dog")


def test_llava_sees_the_picture_and_the_question_in_its_own_conversation(photo, tiny):
    loaded = load(tiny("llava_next"))
    assert LLaVA(loaded, FeatheredBox())._conversation("Where?") == "[INST] <image>\nWhere? [/INST]"
    loaded = load(tiny("llava"))
    assert LLaVA(loaded, FeatheredBox())._conversation("Where?") == "USER: <image>\nWhere? ASSISTANT:"
    seen = []
    loaded.model.generate = lambda **inputs: seen.append(inputs) or inputs["input_ids"]
    assert LLaVA(loaded, FeatheredBox())._ask(photo, "Where?") == ""
    image = loaded.processor.tokenizer.convert_tokens_to_ids("<image>")
    assert int((seen[0]["input_ids"] == image).sum()) == 4  # 28 pixels are 2 x 2 patches
    assert seen[0]["pixel_values"].shape == (1, 3, 28, 28)


def test_the_box_of_a_reply_is_segmented(photo, monkeypatch):
    llava, asked = answering(monkeypatch, "[0.1, 0.5, 0.5, 0.9]")
    [region] = llava.ground(photo, "leftmost dog")
    assert region.box == pytest.approx((9, 30, 45, 54))
    assert region.source == "llava + box"
    assert asked == [QUERIES["where"].format(phrase="leftmost dog")]


def test_the_paper_s_question(photo, monkeypatch):
    llava, asked = answering(monkeypatch, '[0.1, 0.5, 0.5, 0.9], "cubism"', query="paper")
    llava.ground(photo, "dog")
    assert asked[0].startswith("For a given user prompt: 'stylize the dog', give the bounding box coordinates of the")
    assert asked[0].endswith("Also return the corresponding style in quotes.")


def test_a_reply_without_a_box_is_followed_by_one_stricter_question(photo, monkeypatch):
    llava, asked = answering(monkeypatch, "On the left.", "[0.1, 0.5, 0.5, 0.9]")
    assert len(llava.ground(photo, "dog")) == 1
    assert asked[1] == STRICT.format(phrase="dog")
    llava, asked = answering(monkeypatch, "On the left.", "I'm sorry, there is none.")
    with pytest.raises(NotFoundError, match=r"no box for 'dog', but 'I'm sorry, there is none\.'"):
        llava.ground(photo, "dog")
    assert len(asked) == 2


def test_of_several_boxes_all_are_meant_by_a_plural_alone(photo, monkeypatch):
    two = "[0.1, 0.5, 0.5, 0.9] and [0.6, 0.5, 0.9, 0.9]"
    assert len(answering(monkeypatch, two)[0].ground(photo, "dogs")) == 2
    assert len(answering(monkeypatch, two)[0].ground(photo, "dog")) == 1


def test_the_frame_belongs_to_the_model_and_auto_asks_a_judge(photo, monkeypatch):
    reply, plain, padded = "[0.1, 0.4, 0.5, 0.6]", (9, 24, 45, 36), (9, 21, 45, 39)
    assert answering(monkeypatch, reply)[0].ground(photo, "dog")[0].box == pytest.approx(plain)
    assert answering(monkeypatch, reply, kind="llava")[0].ground(photo, "dog")[0].box == pytest.approx(padded)
    for likes, expected in ((lambda crop, _: crop.shape[1], padded), (lambda crop, _: -crop.shape[1], plain)):
        llava, _ = answering(monkeypatch, reply, frame="auto", judge=likes)
        assert llava.ground(photo, "dog")[0].box == pytest.approx(expected)


def test_grounding_dino_runs(photo, tiny):
    regions = GroundingDINO(load(tiny("dino")), FeatheredBox(), threshold=0).ground(photo, "chairs")
    assert regions
    assert all(region.mask.shape == (1, 60, 90) for region in regions)
    assert all(x0 >= -90 and x1 <= 180 for x0, _, x1, _ in (region.box for region in regions))
    with pytest.raises(NotFoundError, match="There is no 'chair' in the picture"):
        GroundingDINO(load(tiny("dino")), FeatheredBox(), threshold=1.0).ground(photo, "leftmost chair")


class Detections(GroundingDINO):
    """Finds two chairs and a sofa between them."""

    FOUND: ClassVar = {
        "chair": [Instance((60, 10, 80, 30), 0.9), Instance((5, 10, 25, 30), 0.6)],
        "sofa": [Instance((30, 10, 50, 30), 0.8)],
    }

    def __init__(self):
        super().__init__(silent(), FeatheredBox())

    def _detect(self, image, noun):
        return self.FOUND[noun]


@pytest.mark.parametrize(
    ("phrase", "left"),
    [
        ("chair", 60),
        ("leftmost chair", 5),
        ("chair left of the sofa", 5),
        ("chair right of the sofa", 60),
        ("second chair", 60),
    ],
)
def test_geometry_chooses_among_detections(photo, phrase, left):
    [region] = Detections().ground(photo, phrase)
    assert region.box[0] == left
    assert region.score == (0.9 if left == 60 else 0.6)


def test_a_thing_that_is_there_but_not_so_is_not_found(photo):
    with pytest.raises(NotFoundError, match="Of 2 times 'chair' in the picture, none is the 'fifth chair'"):
        Detections().ground(photo, "fifth chair")


def test_one_thing_found_twice_is_one():
    boxes = [(0, 0, 10, 10), (0, 0, 10, 11), (20, 0, 30, 10)]
    assert distinct(boxes, [0.5, 0.9, 0.7]) == [1, 2]
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 0, 30, 10)) == 0


def test_clipseg_runs(photo, tiny):
    [region] = CLIPSeg(load(tiny("clipseg")), threshold=0.01).ground(photo, "sky")
    assert region.mask.shape == (1, 60, 90)
    with pytest.raises(NotFoundError, match="There is no 'sky' in the picture"):
        CLIPSeg(load(tiny("clipseg")), threshold=1.0).ground(photo, "sky")


class Heat(CLIPSeg):
    """Two warm pieces, the right one larger."""

    def __init__(self):
        super().__init__(silent())

    def _heat(self, image, noun):
        self.noun = noun
        heat = torch.full((1, *image.shape[-2:]), 0.05)
        heat[:, 10:50, 10:30] = heat[:, 10:50, 50:85] = 0.95
        return heat


def test_a_piece_of_stuff_is_chosen_by_geometry():
    flat = torch.full((3, 60, 90), 0.5)
    both = Heat().ground(flat, "grass")[0].mask
    assert both[0, 30, 20] > 0.9
    assert both[0, 30, 70] > 0.9
    clipseg = Heat()
    left = clipseg.ground(flat, "grass on the left")[0].mask
    assert clipseg.noun == "grass"
    assert left[0, 30, 20] > 0.9
    assert left[0, 30, 70] == 0


def test_the_guided_filter_against_its_formula_written_out():
    generator = torch.Generator().manual_seed(0)
    image, heat = torch.rand(3, 7, 9, generator=generator), torch.rand(1, 7, 9, generator=generator)
    grey, p = image.double().mean(0), heat[0].double()

    def window(values, y, x):
        return values[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]

    slope, offset = torch.zeros(7, 9).double(), torch.zeros(7, 9).double()
    for y in range(7):
        for x in range(9):
            g, q = window(grey, y, x), window(p, y, x)
            covariance = ((g - g.mean()) * (q - q.mean())).mean()
            slope[y, x] = covariance / (((g - g.mean()) ** 2).mean() + 1e-4)
            offset[y, x] = q.mean() - slope[y, x] * g.mean()
    expected = torch.stack(
        [window(slope, y, x).mean() * grey[y, x] + window(offset, y, x).mean() for y in range(7) for x in range(9)]
    )
    assert torch.allclose(guided(heat, image, radius=2)[0].double().flatten(), expected, atol=1e-4)


def test_sam_3_runs(photo, tiny):
    regions = SAM3(load(tiny("sam3")), threshold=0.01).ground(photo, "dogs")
    assert all(region.mask.shape == (1, 60, 90) for region in regions)
    with pytest.raises(NotFoundError, match="There is no 'dog' in the picture"):
        SAM3(load(tiny("sam3")), threshold=1.0).ground(photo, "dog")


def test_geometry_chooses_among_instances(photo):
    class Instances(SAM3):
        def _instances(self, image, noun):
            masks = torch.zeros(2, 1, 60, 90)
            masks[0, :, 10:30, 60:80] = masks[1, :, 10:30, 5:25] = 1
            boxes = map(box_around, masks)
            return [Instance(*found) for found in zip(boxes, (0.9, 0.6), masks, strict=True)]

    [region] = Instances(silent()).ground(photo, "leftmost dog")
    assert region.box == (5, 10, 25, 30)
    assert region.score == 0.6
