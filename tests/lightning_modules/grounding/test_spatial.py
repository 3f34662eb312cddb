import pytest

from lightning_modules.grounding.spatial import choose, take_apart

SIZE = (100, 200)
# left to right: a, b (sure), c (small), d (at the bottom)
BOXES = [(0, 0, 40, 40), (60, 10, 100, 50), (120, 40, 130, 50), (150, 60, 200, 100)]
SCORES = [0.5, 0.9, 0.6, 0.4]


@pytest.mark.parametrize(
    ("phrase", "chosen"),
    [
        ("chair", "b"),
        ("chairs", "bcad"),
        ("all chairs", "bcad"),
        ("leftmost chair", "a"),
        ("left chair", "a"),
        ("chair on the left", "a"),
        ("chair at the far left", "a"),
        ("rightmost chair", "d"),
        ("chair on the right side", "d"),
        ("topmost chair", "a"),
        ("chair at the bottom", "d"),
        ("chair at the center", "c"),
        ("middle chair", "c"),
        ("largest chair", "d"),
        ("smallest chair", "c"),
        ("first chair", "a"),
        ("second chair", "b"),
        ("third chair from the right", "b"),
        ("2nd chair from the bottom", "c"),
        ("seventh chair", ""),
        ("chairs on the left", "ab"),
        ("chairs on the right", "dc"),
        ("chair left of the sofa", "b"),
        ("chair on the left of the sofa", "b"),
        ("chair to the right of the sofa", "c"),
        ("chairs to the right of the sofa", "cd"),
        ("chair above the sofa", "c"),
        ("chair below the sofa", "d"),
        ("chair next to the sofa", "c"),
    ],
)
def test_geometry(phrase, chosen):
    spatial = take_apart(phrase)
    anchor = (100, 45, 120, 55) if spatial.anchor else None
    assert spatial.noun.removesuffix("s") == "chair"
    assert spatial.anchor in (None, "sofa")
    assert "".join("abcd"[n] for n in choose(BOXES, SCORES, spatial, SIZE, anchor)) == chosen


@pytest.mark.parametrize("phrase", ["red sofa with cushions", "man in the hat", "house of cards", "leftover"])
def test_other_words_stay(phrase):
    assert take_apart(phrase)[:5] == (phrase, None, 1, None, None)
