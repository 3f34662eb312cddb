import pytest

from lightning_modules.errors import ImpastoError
from lightning_modules.nsync.words import Words

LONG = "mountains " * 200


def test_a_placeholder_is_one_token_more_and_the_tokenizer_given_stays_as_it_was(parts):
    before = len(parts.tokenizer)
    words = Words(parts.tokenizer, ["<mine>"])
    assert len(parts.tokenizer) == before
    tokens = words.tokens(["a photo in the style of <mine>", "a photo"])
    assert tokens.present == (0,)
    assert (tokens.style >= 0).sum(1).tolist() == [1, 0]
    assert tokens.ids.max() < before
    assert words.tokenizer.convert_tokens_to_ids("<mine>") == before
    assert tokens.style[0].tolist().index(0) == 7  # start, six words


def test_vectors_follow_one_another_under_names_of_their_own(parts):
    words = Words(parts.tokenizer, ["<one>", "<two>"], vectors=3)
    assert words.full("a <two> sea") == "a <two> <two>_1 <two>_2 sea"
    tokens = words.tokens(["a <two> sea and <one>"])
    there = tokens.style[0] >= 0
    assert tokens.style[0][there].tolist() == [1, 1, 1, 0, 0, 0]
    assert tokens.vector[0][there].tolist() == [0, 1, 2, 0, 1, 2]
    assert tokens.present == (0, 1)


@pytest.mark.parametrize("vectors", [1, 4])
def test_a_caption_of_200_words_does_not_push_the_style_out(parts, vectors):
    words = Words(parts.tokenizer, ["<mine>"], vectors=vectors)
    tokens = words.styled_tokens([f"{LONG} in the style of <mine>"])
    assert (tokens.style[0] >= 0).sum() == vectors
    assert tokens.ids.shape == (1, 77)


def test_a_prompt_without_the_style_teaches_nothing(parts):
    words = Words(parts.tokenizer, ["<mine>"])
    with pytest.raises(ImpastoError, match="'a photo' has none of the placeholders <mine>"):
        words.styled_tokens(["a photo in the style of <mine>", "a photo"])
    Words(parts.tokenizer, ["<mine>"], known=False).styled_tokens(["a photo"])  # LoRA needs no word


def test_a_prompt_gets_the_only_style_and_must_name_one_of_several(parts):
    one, two = Words(parts.tokenizer, ["<mine>"]), Words(parts.tokenizer, ["<mine>", "<yours>"])
    assert one.in_a_style("a pond") == "a pond in the style of <mine>"
    assert one.in_a_style("a <mine> pond") == "a <mine> pond"
    assert two.in_a_style("a pond by <yours>") == "a pond by <yours>"
    with pytest.raises(ImpastoError, match="names no style: put one of <mine>, <yours>"):
        two.in_a_style("a pond")
    with pytest.raises(ImpastoError, match="names <monet>, which was not learnt: this model knows <mine>"):
        one.in_a_style("a pond by <monet>")


@pytest.mark.parametrize(
    ("placeholders", "words"),
    [
        ([], "needs a placeholder for every style"),
        (["painting"], "painting is a word of the text encoder's vocabulary already"),
        (["<|endoftext|>"], "is a word of the text encoder's vocabulary already"),
        (["my style"], "'my style' is not one word"),
        ([""], "'' is not one word"),
        (["<a>", "<a>"], "is, or is part of, another placeholder"),
        (["<a>", "<a>_1"], "is, or is part of, another placeholder"),
    ],
)
def test_what_cannot_be_a_placeholder_is_one_sentence(parts, placeholders, words):
    with pytest.raises(ImpastoError, match=r"^[^\n]+$") as failure:
        Words(parts.tokenizer, placeholders)
    assert words in str(failure.value)


def test_a_word_for_a_later_vector_may_not_be_taken_either(parts):
    taken = Words(parts.tokenizer, ["<mine>_1"]).tokenizer
    with pytest.raises(ImpastoError, match="<mine>_1 is a word"):
        Words(taken, ["<mine>"], vectors=2)
