"""CLIP's tokenizer with a small vocabulary of its own: every known word is one token, anything else is spelt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from lightning_modules.networks.diffusion_extra import demand_diffusion

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

LONGEST = 77
"""Tokens that CLIP reads, start and end among them."""
START, END = "<|startoftext|>", "<|endoftext|>"
_CLOSE = "</w>"  # ends the last letter of a word


def word_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Return transformers' own `CLIPTokenizer` for a list of words.

    Byte pairs are merged until each of the words is whole; as with CLIP, text is put in lower case, and bytes that form
    no known word stay tokens by themselves.

    Args:
        words: Lower-case letters only, each one token afterwards.

    Raises:
        ImpastoError: If transformers is not installed.
    """
    demand_diffusion()
    from transformers import CLIPTokenizer

    merges = byte_pairs(sorted(set(words)))
    letters = [_shown(byte) for byte in range(256)]
    tokens = [*letters, *(letter + _CLOSE for letter in letters), *(one + other for one, other in merges), START, END]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=merges, model_max_length=LONGEST
    )


def byte_pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the merges of byte pair encoding that make each of the words one token, in the order of their rank.

    The commonest pair goes first and the first in the alphabet among equals. A word is read by the same merges in the
    same order, so it ends where it ended here: whole.

    Examples:
        >>> byte_pairs(["in", "ink"])
        [('i', 'n'), ('i', 'n</w>'), ('in', 'k</w>')]
    """
    spelt = [[*word[:-1], word[-1] + _CLOSE] for word in words]
    merges = []
    while pairs := Counter(pair for letters in spelt for pair in pairwise(letters)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelt = [_merged(letters, best) for letters in spelt]
    return merges


def _merged(letters: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    rest = iter(range(len(letters)))
    for at in rest:
        if tuple(letters[at : at + 2]) == pair:
            merged.append("".join(pair))
            next(rest)
        else:
            merged.append(letters[at])
    return merged


def _shown(byte: int) -> str:
    """Return the letter that stands for a byte in a byte-level vocabulary: itself where it can be seen and read.

    Source: GPT-2's vocabulary, whose other 68 bytes are the code points from 256 on, in their order.
    """
    hidden = [code for code in range(256) if not (33 <= code <= 126 or 161 <= code <= 172 or 174 <= code <= 255)]
    return chr(256 + hidden.index(byte)) if byte in hidden else chr(byte)
