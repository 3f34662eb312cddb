"""CLIP's tokenizer with a vocabulary of its own: whole words, everything else spelt, nothing lost."""

import pytest

from datamodules.procedural import PAINTERS, contents
from datamodules.procedural.contents import PHOTOGRAPHS
from datamodules.procedural.scenes import SCENES
from experiments.embedded.diffusion_pictures import BY_NIGHT, CATEGORIES, HELD_OUT, LEADS, PHOTO_LEADS
from lightning_modules.networks.latent_diffusion import WORDS
from lightning_modules.networks.word_tokenizer import END, LONGEST, START, byte_pairs, word_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(WORDS)


def test_every_known_word_is_one_token(tokenizer):
    found = tokenizer(list(WORDS), add_special_tokens=False).input_ids
    assert all(len(ids) == 1 for ids in found)
    assert len({ids[0] for ids in found}) == len(set(WORDS))


def test_the_vocabulary_has_all_that_procedural_art_says(tokenizer):
    shown = " ".join(words for photographs in PHOTOGRAPHS.values() for _, _, words in photographs.values())
    scenes = [picture.caption for picture in contents("train", 4 * len(SCENES), size=16, seed=0)]
    names = [name for name in PAINTERS if name not in HELD_OUT]
    styles = [painter.style for painter in PAINTERS.values()]
    said = " ".join([shown, *scenes, *names, *styles, *CATEGORIES, *LEADS, *PHOTO_LEADS, *BY_NIGHT.values(), "not"])
    words = said.lower().replace("-", " ").replace(",", " ").split()
    assert set(words) <= set(WORDS)


def test_what_is_no_known_word_is_spelt_and_comes_back(tokenizer):
    for text in ("zebra", "naïve ünïcode", "hurdy-gurdy 42", "林檎"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_it_reads_as_long_a_text_as_clip_and_frames_it(tokenizer):
    ids = tokenizer("a painting " * 100, padding="max_length", truncation=True).input_ids
    assert (len(ids), tokenizer.model_max_length) == (77, LONGEST)
    assert (ids[0], ids[-1]) == tuple(tokenizer.convert_tokens_to_ids([START, END]))
    assert tokenizer.pad_token == END


def test_a_new_token_is_not_broken_up(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    from transformers import CLIPTokenizer

    again = CLIPTokenizer.from_pretrained(tmp_path)
    before = len(again)
    assert again.add_tokens(["<ada>"]) == 1
    assert again("in the style of <ada>", add_special_tokens=False).input_ids[-1] == before
    assert again("a painting of the sea").input_ids == tokenizer("a painting of the sea").input_ids


def merged(spelt, pair):
    """Return what is left of a word: everywhere from the left, literally."""
    at = 0
    while at < len(spelt) - 1:
        if tuple(spelt[at : at + 2]) == pair:
            spelt = [*spelt[:at], "".join(pair), *spelt[at + 2 :]]
        at += 1
    return spelt


def test_merges_never_break_the_words_of_others_up():
    words = ["in", "ink", "inn", "kin", "king", "aaaa", "aaa"]
    merges = byte_pairs(words)
    for word in words:
        spelt = [*word[:-1], word[-1] + "</w>"]
        for pair in merges:
            spelt = merged(spelt, pair)
        assert spelt == [word + "</w>"]
