"""ContraAST's public code in plain layers."""

import torch.nn.functional as F
from torch import Tensor

from benchmarks.contenders import internal_external
from benchmarks.contenders.internal_external import Fast, Maps, PlainPainter, gather_by_resemblance, norm
from lightning_modules.contraast import ContraAST
from lightning_modules.contraast.networks import StyleAttention

__all__ = ["Fast", "Literal", "PlainGenerator", "attend"]


class PlainGenerator(PlainPainter):
    """Two SANets, and a merge.

    Args:
        model: Whose convolutions are used.
    """

    def __init__(self, model: ContraAST) -> None:
        super().__init__(model)
        transform = model.generator.transform
        self.attentions, self.merge = transform.attentions, transform.merge.convolution

    def transform(self, content: Maps, style: Maps) -> Tensor:
        """Attend at relu4_1 and relu5_1."""
        upper, lower = (
            attend(attention, content[level], style[level])  # type: ignore[arg-type]
            for attention, level in zip(self.attentions, (3, 4), strict=True)
        )
        joined = upper + F.interpolate(lower, upper.shape[-2:])
        merged: Tensor = self.merge(F.pad(joined, (1, 1, 1, 1), mode="reflect"))
        return merged


class Literal(internal_external.Literal):
    """The public code's step."""

    def __init__(self, model: ContraAST) -> None:
        super().__init__(model)
        self.plain = PlainGenerator(model)


def attend(attention: StyleAttention, content: Tensor, style: Tensor) -> Tensor:
    """Add what a SANet gathers of the style."""
    query, key = attention.query(norm(content)), attention.key(norm(style))
    restyled: Tensor = attention.out(gather_by_resemblance(query, key, attention.value(style))) + content
    return restyled
