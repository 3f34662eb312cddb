"""The base of every network that judges or describes pictures and is never trained."""

from hashlib import sha256
from pathlib import Path
from typing import Self

from torch import nn

FILE = "; file "


class FrozenNetwork(nn.Module):
    """A network that stays in eval mode and takes no gradients of its own; gradients flow through to its input.

    A LightningModule calls ``train()`` on everything it owns at the start of an epoch, which would switch the batch
    norms and dropouts of a frozen network on; here ``train()`` changes nothing.

    Args:
        source: Where the weights come from, in words for logs and reports, such as ``"embedded"``.

    Attributes:
        digest: Of the file that they were read from, where the same words may mean another file some day.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.digest = ""

    @property
    def signature(self) -> str:
        """Return source and digest, for `same_source`."""
        return self.source + (f"{FILE}{self.digest}" if self.digest else "")

    def read_from(self, path: Path) -> Self:
        """Note the file that the weights came from."""
        self.digest = sha256(path.read_bytes()).hexdigest()[:12]
        return self

    def freeze(self) -> Self:
        """Switch to eval mode and take every parameter out of training; call it last in ``__init__``."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature is torch's
        """Stay in eval mode, whatever is asked."""
        return super().train(False)


def same_source(one: str, other: str) -> bool:
    """Compare two signatures; one without a digest, as checkpoints once had them, says nothing about the file.

    Examples:
        >>> same_source("embedded; file 1a", "embedded; file 2b"), same_source("embedded", "embedded; file 2b")
        (False, True)
        >>> same_source("embedded", "random")
        False
    """
    (source, _, file), (other_source, _, other_file) = one.partition(FILE), other.partition(FILE)
    return source == other_source and (file == other_file or not (file and other_file))
