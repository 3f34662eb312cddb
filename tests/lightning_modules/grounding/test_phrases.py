import pytest

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.phrases import Where, parse_prompt, parse_where

# A prompt, and what it asks for: region - style; the style alone is for the whole picture.
PROMPTS = {
    # the paper's own form
    "apply cubism style to the building": "building - cubism",
    "apply cubism style to the building in the image": "building - cubism",
    "apply oil painting of roses and thorns to the sofa": "sofa - oil painting of roses and thorns",
    "apply mosaic to the leftmost chair": "leftmost chair - mosaic",
    "apply mosaic to the chair on the left of the sofa": "chair on the left of the sofa - mosaic",
    "apply mosaic style to the cat at the center in the photo": "cat at the center - mosaic",
    # several clauses
    "apply cubism to the house and watercolor to the sky": "house - cubism | sky - watercolor",
    "Please apply cubism to the house, then watercolor to the sky": "house - cubism | sky - watercolor",
    "apply cubism to the house. Apply watercolor to the sky.": "house - cubism | sky - watercolor",
    "apply cubism to sky and watercolor to house": "sky - cubism | house - watercolor",
    "apply watercolor to the sky and the sea and cubism to the house": "sky and sea - watercolor | house - cubism",
    "apply cubism to the sky and a painting of roses and thorns to the house": (
        "sky - cubism | house - painting of roses and thorns"
    ),
    "apply cubism to the house and garden and make the sky golden": "house and garden - cubism | sky - golden",
    "paint the house in blue and white and the sky in gold": "house - blue and white | sky - gold",
    "paint the sky in the style of Monet, the sea in the style of Hokusai and the boat in crayon": (
        "sky - Monet | sea - Hokusai | boat - crayon"
    ),
    "turn the boat into a woodcut and turn the sea into a field of tulips and daisies": (
        "boat - woodcut | sea - field of tulips and daisies"
    ),
    "stylize the boat with mosaic tiles while the sea as a woodcut": "boat - mosaic tiles | sea - woodcut",
    "house: cubism, sky: white wool": "house - cubism | sky - white wool",
    "house = cubism; sky = red and white wool": "house - cubism | sky - red and white wool",
    "sky: cubism\nhouse: wool": "sky - cubism | house - wool",
    "apply cubism to the house and apply cubism to the house": "house - cubism",
    # verbs
    "paint the house in watercolor": "house - watercolor",
    "paint the cat on the left in watercolor": "cat on the left - watercolor",
    "paint the man in the hat in oil": "man in the hat - oil",
    "paint the house blue": "house - blue",
    "paint only the house in gold": "house - gold",
    "make the sofa look like white wool": "sofa - white wool",
    "make the house look like it is made of wool": "house - wool",
    "make the house cubist": "house - cubist",
    "turn the sky into Starry Night by Van Gogh": "sky - Starry Night by Van Gogh",
    "render the zebras as stained glass": "zebras - stained glass",
    "change the sky to impressionism": "sky - impressionism",
    "give the sofa a mosaic texture": "sofa - mosaic",
    "give the sofa the look of marble": "sofa - marble",
    "use charcoal for the street": "street - charcoal",
    "put gold leaf on the dome": "dome - gold leaf",
    "sky -> mosaic": "sky - mosaic",
    "the house in the style of Monet": "house - Monet",
    "the house in watercolor and the sky in oil": "house - watercolor | sky - oil",
    # quotes
    'apply "roses to the thorns and more" to the sofa': "sofa - roses to the thorns and more",
    "apply \u201cStarry Night\u201d to the sky": "sky - Starry Night",
    "apply 'Van Gogh's Starry Night' to the sky": "sky - Van Gogh's Starry Night",
    "apply \u2018white wool\u2019 to the artists\u2019 sofa": "artists\u2019 sofa - white wool",
    'apply cubism to the "salt and pepper shaker"': "salt and pepper shaker - cubism",
    "use the 'Great Wave' look for the sea & 'gold' for the sky": "sea - Great Wave | sky - gold",
    # styles that look like something else
    "apply Monet's style to the sky": "sky - Monet",
    "apply Van Gogh's wheat field to the sky": "sky - Van Gogh's wheat field",
    "apply the style of Monet to the sky": "sky - Monet",
    "apply freestyle graffiti to the wall": "wall - freestyle graffiti",
    "apply J. M. W. Turner to the sea": "sea - J. M. W. Turner",
    "apply watercolor, oil and pastel to the sky": "sky - watercolor, oil and pastel",
    # complements and unions
    "apply watercolor to the sky and the sea": "sky and sea - watercolor",
    "dogs and cats: wool": "dogs and cats - wool",
    "apply cubism to all of the houses": "all houses - cubism",
    "apply pointillism to everything except the house": "everything except house - pointillism",
    "apply pointillism to everything but the house and the tree": "everything except house and tree - pointillism",
    "paint outside the house in ink": "everything except house - ink",
    "apply pointillism to the background": "background - pointillism",
    "apply cubism to the house and pointillism to the background": "house - cubism | the rest - pointillism",
    "apply watercolor to the rest and cubism to the house": "the rest - watercolor | house - cubism",
    "apply cubism to the house and to the sky": "house and sky - cubism",
    # the whole picture
    "cubism": "cubism",
    "Starry Night by Van Gogh": "Starry Night by Van Gogh",
    "oil on canvas": "oil on canvas",
    "apply cubism": "cubism",
    "apply oil on canvas": "oil on canvas",
    "paint everything in gold": "gold",
    "make it look like a mosaic": "mosaic",
    "paint the picture in cubism": "cubism",
    "apply cubism to the whole image": "cubism",
    "roses and thorns in watercolor": "roses and thorns in watercolor",
    "the girl in Pink": "girl in Pink",
}


def told(clause):
    return clause.style if clause.where is None else f"{clause.where} - {clause.style}"


@pytest.mark.parametrize(("prompt", "expected"), PROMPTS.items())
def test_prompts(prompt, expected):
    parsed = parse_prompt(prompt)
    assert " | ".join(map(told, parsed.clauses)) == expected
    assert not parsed.remainder


@pytest.mark.parametrize(
    ("prompt", "remainder"),
    [
        ("apply cubism to the house; nice weather", "nice weather"),
        ("Hello there; apply cubism to the house", "Hello there;"),
        ("apply cubism to the house but leave the sky", "leave the sky"),
        ("paint the house in gold, and don't touch 'the old car'", "don't touch the old car"),
    ],
)
def test_what_is_not_understood_is_handed_back(prompt, remainder):
    parsed = parse_prompt(prompt)
    assert [str(clause.where) for clause in parsed.clauses] == ["house"]
    assert parsed.remainder == remainder


@pytest.mark.parametrize(
    "prompt",
    [
        "paint the house", "apply to the house", "apply style to the house", "apply a style to the sky", "house:",
        "stylize the old house", "apply", "to the house", "give the sofa", "leave the sky",
        "apply cubism to the house and paint the sky",
    ],
)  # fmt: skip
def test_a_prompt_without_a_style_shows_the_forms(prompt):
    with pytest.raises(ImpastoError, match=r"names no style: write 'apply STYLE to the REGION', 'paint the REGION in"):
        parse_prompt(prompt)


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        ("apply cubism to the house and watercolor to the House", "'house'"),
        ("sky and sea: cubism; the sea and the sky: oil", "'sky and sea'"),
        ("apply cubism to everything and paint the picture in oil", "the whole picture"),
    ],
)
def test_two_styles_for_one_region_are_a_contradiction(prompt, place):
    with pytest.raises(ImpastoError, match=f"Two styles are asked for {place}, .*: give each region one"):
        parse_prompt(prompt)


def test_two_regions_may_overlap():
    assert len(parse_prompt("apply cubism to everything and oil to the house").clauses) == 2


def test_the_rest_needs_something_that_it_is_the_rest_of():
    with pytest.raises(ImpastoError, match="The rest of what"):
        parse_prompt("apply cubism to the rest")


def test_a_region_in_words():
    assert parse_where("the sky and the sea") == Where(("sky", "sea"))
    assert parse_where("the whole picture") is None
    assert parse_where("all but the house") == Where(("house",), outside=True)
