import pytest

from lightning_modules.clast.prompts import TEMPLATES, parse_prompt, sentences


@pytest.mark.parametrize(
    ("prompt", "clauses"),
    [
        ("  van gogh ", [("van gogh", 1.0)]),
        ("van gogh:0.5", [("van gogh", 0.5)]),
        ("van gogh : 1, thick paint:-0.5", [("van gogh", 1.0), ("thick paint", -0.5)]),
        ("van gogh:1.0, brighter", [("van gogh:1.0, brighter", 1.0)]),
        ("opus 3: blue", [("opus 3: blue", 1.0)]),
        ("a 16:9 picture", [("a 16:9 picture", 1.0)]),
        ("", [("", 1.0)]),
    ],
)
def test_only_prompts_that_are_all_weights_are_split(prompt, clauses):
    assert parse_prompt(prompt) == clauses


def test_names_are_put_into_sentences_and_sentences_are_left_alone():
    assert sentences("Ada Stipple") == [template.format("Ada Stipple") for template in TEMPLATES]
    assert sentences("Anna Ancher")[0] == "a painting by Anna Ancher"  # begins like an article, is a name
    for text in ("the sea at night", "In the style of nobody", "cubist style", "something by someone"):
        assert sentences(text) == [text]


def test_every_template_holds_the_name_once_and_speaks_of_no_photo():
    assert all(template.count("{}") == 1 and "photo" not in template for template in TEMPLATES)
    assert len(set(TEMPLATES)) == len(TEMPLATES)
