import pytest

from lightning_modules.prompts import fitted, styled, unstyled


class Words:
    """A tokenizer of whole words that reads eight of them between beginning and end."""

    model_max_length = 10

    def tokenize(self, text):
        return text.split()


def test_the_style_survives_a_caption_of_200_words():
    caption = " ".join(f"w{number}" for number in range(200))
    assert styled(caption, "<tok>", Words()) == "w0 w1 w2 in the style of <tok>"
    assert unstyled(caption, "<tok>", Words()) == "w0 w1 not in the style of <tok>"
    assert styled(caption, "<tok> <tok>_1", Words()) == "w0 w1 in the style of <tok> <tok>_1"


@pytest.mark.parametrize("count", range(12))
def test_no_word_too_many_is_cut(count):
    words = [f"w{number}" for number in range(count)]
    kept = " ".join(words[:3])
    assert styled(" ".join(words), "<tok>", Words()) == f"{kept} in the style of <tok>".strip()


def test_short_prompts_and_prompts_without_a_style_stay():
    assert fitted("a pond in the style of <tok>", Words()) == "a pond in the style of <tok>"
    long = "one two three four five six seven eight nine ten"
    assert fitted(long, Words()) == long
    assert styled(long, "<tok>") == f"{long} in the style of <tok>"  # without a tokenizer nothing is known


def test_the_last_style_is_the_one_that_stays():
    prompt = "a copy in the style of nobody much in the style of <tok> today"
    assert fitted(prompt, Words()) == "a copy in the style of <tok> today"


def test_clips_own_tokenizer_keeps_the_placeholder():
    from lightning_modules.networks.word_tokenizer import word_tokenizer

    tokenizer = word_tokenizer(["mountains", "in", "the", "style", "of"])
    tokenizer.add_tokens(["<tok>"])
    prompt = styled("mountains " * 200, "<tok>", tokenizer)
    ids = tokenizer(prompt, truncation=True).input_ids
    assert tokenizer.convert_tokens_to_ids("<tok>") == ids[-2]
    assert len(ids) == tokenizer.model_max_length
