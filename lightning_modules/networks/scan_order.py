"""Orders in which a causal mixer walks over a feature map."""

from typing import Literal

import torch
from torch import Tensor, nn

ScanOrder = Literal["unidi", "bidi", "cross4"]


class DirectionalMixer(nn.Module):
    """Walk over a feature map in one, two or four orders with the same causal mixer, as one batch.

    The results are averaged, not summed, so that the scale of the output does not depend on the number of orders.

    Args:
        mixer: Maps ``(B, L, C)`` tokens to the same shape, causally.
        order: ``unidi``: row by row (CLAST); ``bidi``: row by row, forwards and backwards; ``cross4``: rows and
            columns, forwards and backwards (VMamba). The cost grows with the number of orders: 1, 2, 4.
    """

    def __init__(self, mixer: nn.Module, order: ScanOrder = "unidi") -> None:
        super().__init__()
        self.mixer, self.order = mixer, order

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Mix ``(B, height * width, C)`` tokens, given row by row; same shape and order out.

        Raises:
            ValueError: If the number of tokens is not ``height * width``.
        """
        if tokens.shape[1] != height * width:
            raise ValueError(f"{tokens.shape[1]} tokens do not fill a map of {height} x {width}.")
        if self.order == "unidi":
            mixed: Tensor = self.mixer(tokens)
            return mixed
        walks = [tokens] if self.order == "bidi" else [tokens, _transpose(tokens, height, width)]
        ahead: Tensor
        ahead, back = self.mixer(torch.cat([*walks, *(walk.flip(1) for walk in walks)])).chunk(2)
        both: Tensor = (ahead + back.flip(1)) / 2
        if self.order == "bidi":
            return both
        rows: Tensor
        rows, columns = both.chunk(2)
        return (rows + _transpose(columns, width, height)) / 2


def _transpose(tokens: Tensor, height: int, width: int) -> Tensor:
    return tokens.reshape(-1, height, width, tokens.shape[-1]).transpose(1, 2).flatten(1, 2)
