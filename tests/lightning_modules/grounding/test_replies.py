import pytest

from lightning_modules.grounding.replies import parse_boxes

SIZE = (200, 400)  # height, width
BOX = (40.0, 100.0, 200.0, 180.0)  # 0.1, 0.5, 0.5, 0.9

SHARES = [
    "The bounding box coordinates for the chair on the left of the sofa are: [0.1,0.5,0.5,0.9]. The corresponding "
    'style to be applied is "Starry Night by Van Gogh".',
    "[0.1, 0.5, 0.5, 0.9]",
    "[0.10,0.50,0.50,0.90]",
    "(0.1, 0.5, 0.5, 0.9)",
    "{0.1, 0.5, 0.5, 0.9}",
    "[[0.1, 0.5, 0.5, 0.9]]",
    "[.1, .5, .5, .9]",
    "[0.1 0.5 0.5 0.9]",
    "[1e-1, 5e-1, 5e-1, 9e-1]",
    "[0.5, 0.9, 0.1, 0.5]",  # corners the other way round
    "[0.5, 0.5, 0.1, 0.9]",
    "[10%, 50%, 50%, 90%]",
    "[10 %, 50 %, 50 %, 90 %]",
    "0.1, 0.5, 0.5, 0.9",
    "The box is 0.1 0.5 0.5 0.9.",
    "(0.1, 0.5), (0.5, 0.9)",
    "It spans from (0.1, 0.5) to (0.5, 0.9).",
    "<box>(0.1,0.5),(0.5,0.9)</box>",
    "Top left: [0.1, 0.5]; bottom right: [0.5, 0.9]",
    "x1=0.1, y1=0.5, x2=0.5, y2=0.9",
    "x1: 0.1, x2: 0.5, y1: 0.5, y2: 0.9",
    '{"x1": 0.1, "y1": 0.5, "x2": 0.5, "y2": 0.9}',
    "xmin = 0.1, ymin = 0.5, xmax = 0.5, ymax = 0.9",
    "left: 0.1, top: 0.5, right: 0.5, bottom: 0.9",
    '{"x": 0.1, "y": 0.5, "width": 0.4, "height": 0.4}',
    '{"bbox_2d": [0.1, 0.5, 0.5, 0.9], "label": "chair"}',
    '```json\n[{"box": [0.1, 0.5, 0.5, 0.9]}]\n```',
    "Of the 2 chairs in the image [see above], the box is [0.1, 0.5, 0.5, 0.9].",  # a bracket before the box
    "The box [x1, y1, x2, y2] is [0.1, 0.5, 0.5, 0.9].",
    "[0.1, 0.5, 0.5, 0.9, 0.87]",  # how sure it is
    "chair <0.1, 0.5, 0.5, 0.9>",
    "[-0.0, 0.5, 0.5, 0.9] and nothing else",
]
NOTHING = [
    "",
    "The bounding box is [x1, y1, x2, y2].",
    "I'm sorry, but I cannot find the chair [0.1, 0.5, 0.5, 0.9].",
    "There is no chair in this image.",
    "The image does not contain a chair: [0, 0, 1, 1]",
    "[0.0, 0.0, 0.0, 0.0]",
    "[0.1, 0.5, 0.1, 0.9]",
    "[0.1, 0.5, 0.101, 0.51]",  # smaller than 0.05 % of the picture
    "[0.1, 0.5, 0.5]",
    "The chair is on the left.",
    "[nan, 0.5, inf, 0.9]",
]


@pytest.mark.parametrize("reply", SHARES)
def test_ways_to_write_shares(reply):
    expected = (0.0, *BOX[1:]) if "-0.0" in reply else BOX
    assert parse_boxes(reply, SIZE) == [pytest.approx(expected)]


@pytest.mark.parametrize("reply", NOTHING)
def test_replies_without_a_box(reply):
    assert parse_boxes(reply, SIZE) == []


@pytest.mark.parametrize(
    ("reply", "frame", "expected"),
    [
        ("[40, 100, 200, 180]", "pixels", BOX),
        ("[40px, 100px, 200px, 180px]", "pixels", BOX),
        ("(40,100),(200,180)", "image", BOX),  # larger than 1: pixels of the frame
        ("[100, 500, 500, 900]", "0-1000", BOX),
        ("[0.1, 0.5, 0.5, 0.9]", "0-1000", BOX),
        ("[0.1, 0.5, 0.5, 0.75]", "padded_square", (40.0, 100.0, 200.0, 200.0)),  # the square is 400, 100 above
        ("[40, 200, 200, 300]", "padded_square", (40.0, 100.0, 200.0, 200.0)),
        ("[300, 100, 500, 180]", "pixels", (300.0, 100.0, 400.0, 180.0)),  # beyond the picture
    ],
)
def test_frames(reply, frame, expected):
    assert parse_boxes(reply, SIZE, frame) == [pytest.approx(expected)]


def test_the_square_of_a_tall_picture_is_padded_at_the_sides():
    assert parse_boxes("[0.25, 0.0, 0.75, 0.5]", (400, 200), "padded_square") == [(0.0, 0.0, 200.0, 200.0)]


def test_several_boxes_are_a_list_and_none_comes_twice():
    reply = "1. [0.1, 0.5, 0.5, 0.9]\n2. [0.6, 0.5, 0.9, 0.9]\nAgain: [0.1, 0.5, 0.5, 0.9]"
    assert parse_boxes(reply, SIZE) == [pytest.approx(BOX), pytest.approx((240.0, 100.0, 360.0, 180.0))]
