"""The base of every network that judges or describes pictures and is never trained."""

from typing import Self

from torch import nn


class FrozenNetwork(nn.Module):
    """A network that stays in eval mode and takes no gradients of its own; gradients flow through to its input.

    A LightningModule calls ``train()`` on everything it owns at the start of an epoch, which would switch the batch
    norms and dropouts of a frozen network on; here ``train()`` changes nothing.

    Args:
        source: Where the weights come from, in words for logs and reports, such as ``"embedded"``.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source

    def freeze(self) -> Self:
        """Switch to eval mode and take every parameter out of training; call it last in ``__init__``."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature is torch's
        """Stay in eval mode, whatever is asked."""
        return super().train(False)
