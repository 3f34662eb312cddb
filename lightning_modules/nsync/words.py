"""Placeholders in a tokenizer: new words, and where they stand in a prompt."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.prompts import fitted, styled

BRACKETED = re.compile(r"<[^<>\s]+>")


class Tokens(NamedTuple):
    """Prompts as a text encoder reads them.

    Attributes:
        ids: Rows of its own table, ``(N, L)``, int64; 0 where a placeholder stands.
        style: Whose placeholder stands there, ``(N, L)``, int64; -1 elsewhere.
        vector: Which of its vectors, ``(N, L)``, int64.
        present: Styles whose placeholder stands anywhere, in order.
    """

    ids: Tensor
    style: Tensor
    vector: Tensor
    present: tuple[int, ...]

    def each(self, change: Callable[[Tensor], Tensor]) -> Tokens:
        """Return the same with every tensor changed."""
        return Tokens(change(self.ids), change(self.style), change(self.vector), self.present)


class Words:
    """A tokenizer that knows the placeholders of styles, as ``load_textual_inversion`` would add them.

    Args:
        tokenizer: A CLIPTokenizer; it is left as it is.
        placeholders: One for each style.
        vectors: Of each: the second and later ones are called ``<placeholder>_1`` and so on.
        known: Whether they become words of the tokenizer; otherwise they are spelt with those that it has.

    Raises:
        ImpastoError: If a placeholder cannot be one.
    """

    def __init__(self, tokenizer: Any, placeholders: Sequence[str], vectors: int = 1, *, known: bool = True) -> None:
        _check_names(placeholders)
        self.tokenizer = copy.deepcopy(tokenizer)
        self.placeholders = list(placeholders)
        self._parts = [[name, *(f"{name}_{number}" for number in range(1, vectors))] for name in placeholders]
        self._places: dict[int, tuple[int, int]] = {}  # id to style and vector
        if known:
            self._add()

    def _add(self) -> None:
        vocabulary = self.tokenizer.get_vocab()
        for style, parts in enumerate(self._parts):
            for part in parts:
                if part in vocabulary or f"{part}</w>" in vocabulary:
                    raise ImpastoError(
                        f"The placeholder {part} is a word of the text encoder's vocabulary already: choose another, "
                        f"such as <{part.strip('<>')}-style>."
                    )
            self.tokenizer.add_tokens(parts)
            ids = self.tokenizer.convert_tokens_to_ids(parts)
            self._places |= {number: (style, vector) for vector, number in enumerate(ids)}
        for parts in self._parts:
            if self.tokenizer.tokenize(f"a {' '.join(parts)}")[-len(parts) :] != parts:
                raise ImpastoError(
                    f"The tokenizer does not read the placeholder {parts[0]} as one word: take small letters and "
                    "dashes in angle brackets, such as <my-style>."
                )

    def full(self, prompt: str) -> str:
        """Return a prompt with every placeholder followed by its other vectors' names, and short enough.

        The names are put in as diffusers' pipelines do; a caption that is too long gives way to its suffix.
        """
        if self._places:
            for parts in self._parts:
                prompt = prompt.replace(parts[0], " ".join(parts))
        return fitted(prompt, self.tokenizer)

    def in_a_style(self, prompt: str) -> str:
        """Return a prompt that names a style: itself, or with the only style at its end.

        Raises:
            ImpastoError: If it names none of several, or one that was not learnt.
        """
        if any(name in prompt for name in self.placeholders):
            return prompt
        unknown = BRACKETED.search(prompt)
        if unknown:
            raise ImpastoError(
                f"The prompt {prompt!r} names {unknown[0]}, which was not learnt: this model knows "
                f"{', '.join(self.placeholders)}."
            )
        if len(self.placeholders) > 1:
            raise ImpastoError(
                f"The prompt {prompt!r} names no style: put one of {', '.join(self.placeholders)} into it, such as "
                f"{styled(prompt, self.placeholders[0])!r}."
            )
        return styled(prompt, self.placeholders[0])

    def styled_tokens(self, prompts: Sequence[str]) -> Tokens:
        """Return the tokens of prompts that are to teach a style.

        Raises:
            ImpastoError: If a prompt does not have a placeholder: its gradient would be zero.
        """
        tokens = self.tokens(prompts)
        named = (tokens.style >= 0).any(1).tolist()
        if self._places and not all(named):
            raise ImpastoError(
                f"The prompt {prompts[named.index(False)]!r} has none of the placeholders "
                f"{', '.join(self.placeholders)}: the data must put one into every prompt."
            )
        return tokens

    def tokens(self, prompts: Sequence[str]) -> Tokens:
        """Return what a text encoder reads of prompts, padded to its length."""
        read = self.tokenizer(
            [self.full(prompt) for prompt in prompts],
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = read.input_ids
        style, vector = torch.full_like(ids, -1), torch.zeros_like(ids)
        for number, (whose, which) in self._places.items():
            there = ids == number
            style[there], vector[there] = whose, which
        present = tuple(style.unique()[style.unique() >= 0].tolist())
        return Tokens(ids.masked_fill(style >= 0, 0), style, vector, present)


def _check_names(placeholders: Sequence[str]) -> None:
    if not placeholders:
        raise ImpastoError("NSYNC needs a placeholder for every style: set model.placeholders, such as [<my-style>].")
    for name in placeholders:
        if not name or name.split() != [name]:
            raise ImpastoError(f"The placeholder {name!r} is not one word: choose another, such as <my-style>.")
        if sum(name in other for other in placeholders) > 1:
            raise ImpastoError(
                f"The placeholder {name} is, or is part of, another placeholder: give every style a name of its own."
            )
