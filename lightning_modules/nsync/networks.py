"""What NSYNC trains beside a frozen pipeline, with a copy for every role where gradients must be told apart."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.nsync.settings import Granularity
from lightning_modules.nsync.words import Tokens, Words
from lightning_modules.optim.gradient_projection import Algorithm, GradientProjection, Variant

WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}


class Copies:
    """Copies of weights, one for each role of a batch in which roles follow one another.

    No operation of the pipeline mixes samples, so the gradient of a sum of losses with respect to a role's copy is the
    gradient of that role's loss with respect to the weights.

    Args:
        weights: What is copied.
        roles: How many copies.
    """

    def __init__(self, weights: Sequence[Tensor], roles: int) -> None:
        self.weights = [
            weight.detach().expand(roles, *weight.shape).clone().requires_grad_() for weight in weights
        ]  # (R, ...), leaves

    def gradients(self, role: int) -> list[Tensor | None]:
        """Return a role's gradient of every weight, None where no loss reached it."""
        return [None if weight.grad is None else weight.grad[role] for weight in self.weights]


class Adapter(nn.Module, ABC):
    """Trained weights beside a frozen pipeline.

    Attributes:
        weights: All of them, in the optimiser's order.
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weights)

    @contextmanager
    def apart(self, roles: int) -> Iterator[Copies]:
        """Give every role a copy of the weights for the time of the block.

        Args:
            roles: The batches inside the block are this many roles, one after the other, of equal length.
        """
        copies = Copies(list(self.weights), roles)
        self.use(copies)
        try:
            yield copies
        finally:
            self.use(None)

    @abstractmethod
    def use(self, copies: Copies | None) -> None:
        """Compute with copies, or with the weights themselves."""

    def embed(self, table: Tensor, tokens: Tokens) -> Tensor:  # noqa: ARG002 - for those that add words
        """Return embeddings of prompts.

        Args:
            table: What the text encoder's own table gives, ``(N, L, D)``.
            tokens: The prompts.
        """
        return table

    def begin(self, files: Sequence[str | Path]) -> None:  # noqa: ARG002 - for those that can
        """Take what was learnt before from files.

        Raises:
            ImpastoError: If one does not fit.
        """
        raise ImpastoError(
            "model.start is for learned embeddings: leave it out, or set model.adapter to textual_inversion."
        )

    @abstractmethod
    def combination(self, variant: Variant, algorithm: Algorithm, granularity: Granularity) -> GradientProjection:
        """Return how gradients of roles are combined; arguments as of `NSYNC`."""

    @abstractmethod
    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return from style to the tensors of its file; see `NSYNC.adapter_state`."""


class TextualInversion(Adapter):
    """Rows of a text encoder's table for words that it does not have: one parameter ``(V, D)`` for each style.

    The table itself is never a leaf: no gradient and no optimiser state of its size is made, and no weight decay
    touches it. A style that is not in a batch keeps its rows and its optimiser's state.

    Args:
        words: Knows the placeholders.
        table: The text encoder's own, ``(vocabulary, D)``.
        initializer: Word or words whose rows the new ones begin as; fewer than vectors, they are repeated.
        vectors: V.

    Raises:
        ImpastoError: If the initializer does not fit.

    Source: NSYNC, eq. 1, after Textual Inversion (Gal et al. 2023).
    """

    def __init__(self, words: Words, table: Tensor, initializer: str, vectors: int) -> None:
        ids = _initial_ids(words.tokenizer, initializer, vectors)
        super().__init__([nn.Parameter(table.detach()[ids].clone().float()) for _ in words.placeholders])
        self.names = words.placeholders
        self._copies: Sequence[Tensor] | None = None

    def use(self, copies: Copies | None) -> None:
        """Compute with copies, or with the weights themselves."""
        self._copies = None if copies is None else copies.weights

    def embed(self, table: Tensor, tokens: Tokens) -> Tensor:
        """Return embeddings of prompts, with the new rows where placeholders stand."""
        for style in tokens.present:
            rows = self.weights[style][None] if self._copies is None else self._copies[style]  # (R, V, D)
            rows = rows.repeat_interleave(len(table) // len(rows), dim=0)  # (N, V, D)
            where = tokens.vector[..., None].expand(-1, -1, rows.shape[-1])
            mine = (tokens.style == style)[..., None]
            table = torch.where(mine, rows.gather(1, where).to(table), table)
        return table

    def begin(self, files: Sequence[str | Path]) -> None:
        """Take the rows of files, one for each style, whatever placeholder they were learnt for."""
        if len(files) != len(self.names):
            raise ImpastoError(f"model.start has {len(files)} files for {len(self.names)} placeholders: give one each.")
        for file, weight in zip(files, self.weights, strict=True):
            weight.data.copy_(_row_of(Path(file), *weight.shape))

    def combination(self, variant: Variant, algorithm: Algorithm, granularity: Granularity) -> GradientProjection:
        """Return how gradients are combined: every style alone, or every vector where ``tensor`` is asked for."""
        return GradientProjection(variant, algorithm, rows=granularity == "tensor")

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return for each placeholder what its learned_embeds.safetensors holds: one key, ``(V, D)``."""
        return {name: {name: row.detach().clone()} for name, row in zip(self.names, self.weights, strict=True)}


def _initial_ids(tokenizer: Any, initializer: str, vectors: int) -> list[int]:
    ids: list[int] = tokenizer(initializer, add_special_tokens=False).input_ids
    if not ids or tokenizer.unk_token_id in ids:
        raise ImpastoError(
            f"The initializer {initializer!r} is not in the text encoder's vocabulary: choose a word that it knows, "
            "such as painting."
        )
    if len(ids) > vectors:
        raise ImpastoError(
            f"The initializer {initializer!r} is {len(ids)} tokens ({', '.join(tokenizer.tokenize(initializer))}) for "
            f"{vectors} vector{'s' * (vectors > 1)}: choose a shorter one, or set model.vectors to {len(ids)} or more."
        )
    return [ids[number % len(ids)] for number in range(vectors)]


def _row_of(file: Path, vectors: int, width: int) -> Tensor:
    try:
        state = load_file(file)
    except Exception as error:
        raise ImpastoError(f"{file} is not a file of learned embeddings ({type(error).__name__}).") from error
    if len(state) != 1:
        raise ImpastoError(f"{file} holds {len(state)} tensors, and one style's embedding is one: give its own file.")
    row = next(iter(state.values())).float()
    row = row[None] if row.dim() == 1 else row
    if row.shape[-1] != width:
        there = WIDTHS.get(row.shape[-1], "another text encoder")
        raise ImpastoError(
            f"{file} holds vectors of {row.shape[-1]} numbers ({there}), and the text encoder of model.model has "
            f"{width}: choose the model that it was learnt with."
        )
    if row.shape[0] != vectors:
        raise ImpastoError(f"{file} holds {row.shape[0]} vectors: set model.vectors to {row.shape[0]}.")
    return row
