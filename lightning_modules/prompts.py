"""Prompts of text-to-image methods: what a picture shows, and in whose style. No Lightning and no torch in here."""

from collections.abc import Sized
from typing import Literal, Protocol

Suffix = Literal["in the style of", "not in the style of"]
STYLED: Suffix = "in the style of"
UNSTYLED: Suffix = "not in the style of"


class Tokenizer(Protocol):
    """What is needed of a tokenizer; transformers' have it."""

    @property
    def model_max_length(self) -> int:
        """The most tokens of a prompt, beginning and end among them."""

    def tokenize(self, text: str) -> Sized:
        """Return a text's tokens, without beginning and end."""


def styled(caption: str, token: str, tokenizer: Tokenizer | None = None) -> str:
    """Return the prompt of a picture in a style.

    Args:
        caption: What the picture shows.
        token: The style: a placeholder token, or words such as ``"painting"``.
        tokenizer: Makes a caption that is too long give way to the suffix; see `fitted`.

    Source: giddyyupp/NSYNC @2d20a62.

    Examples:
        >>> styled("a pond with a bridge", "<monet>")
        'a pond with a bridge in the style of <monet>'
    """
    return with_suffix(caption, STYLED, token, tokenizer)


def unstyled(caption: str, token: str, tokenizer: Tokenizer | None = None) -> str:
    """Return the prompt of a picture that is not in a style, as the Mean variants of NSYNC ask of their negatives.

    Args:
        caption: What the picture shows.
        token: The style.
        tokenizer: See `fitted`.

    Source: NSYNC, section IV-H.

    Examples:
        >>> unstyled("a pond with a bridge", "<monet>")
        'a pond with a bridge not in the style of <monet>'
    """
    return with_suffix(caption, UNSTYLED, token, tokenizer)


def with_suffix(caption: str, suffix: Suffix, token: str, tokenizer: Tokenizer | None = None) -> str:
    """Return a caption with a suffix and a style; see `styled` and `unstyled`."""
    prompt = f"{caption} {suffix} {token}".strip()
    return prompt if tokenizer is None else fitted(prompt, tokenizer)


def fitted(prompt: str, tokenizer: Tokenizer) -> str:
    """Shorten a prompt by the last words of its caption until nothing of its style would be cut off.

    A text encoder drops what is beyond its length, and with it a style at the end, whose gradient would then be zero.

    Args:
        prompt: What `styled` or `unstyled` returns, with placeholders as the tokenizer knows them; any other prompt
            is returned as it is.
        tokenizer: Knows the placeholders.
    """
    cut = prompt.rfind(f" {STYLED} ")
    most = tokenizer.model_max_length - 2  # beginning and end
    if cut < 0 or len(tokenizer.tokenize(prompt)) <= most:
        return prompt
    cut -= len(" not") * prompt[:cut].endswith(" not")
    words, tail = prompt[:cut].split(), prompt[cut:]
    fewest, too_many = 0, len(words)  # a few questions of the tokenizer instead of one a word
    while too_many - fewest > 1:
        middle = (fewest + too_many) // 2
        fits = len(tokenizer.tokenize(" ".join(words[:middle]) + tail)) <= most
        fewest, too_many = (middle, too_many) if fits else (fewest, middle)
    return (" ".join(words[:fewest]) + tail).strip()
