"""What the extractors have in common, and how one is told from another."""

import hashlib

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork


def fingerprint(extractor: nn.Module) -> str:
    """Return a hash of everything that decides about features: structure, weights, preprocessing.

    Two networks of equal structure and other weights, or of equal weights behind other preprocessing, differ in it;
    where the weights came from does not matter.

    Args:
        extractor: Any module; its attribute ``preprocessing``, a string, counts where it has one.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{extractor!r}\n{getattr(extractor, 'preprocessing', '')}\n".encode())
    for name, tensor in sorted([*extractor.named_parameters(), *extractor.named_buffers()]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous()
        digest.update(raw.reshape(-1).view(torch.uint8).numpy().tobytes() if raw.numel() else b"")
    return digest.hexdigest()


class FeatureExtractor(FrozenNetwork):
    """A frozen network behind the preprocessing of a published metric; see `metrics.base.Extractor`.

    Args:
        network: The network; its ``source`` becomes the extractor's.
        preprocessing: What happens to pictures before it, in words.

    Attributes:
        preprocessing: As given.
    """

    def __init__(self, network: nn.Module, preprocessing: str) -> None:
        super().__init__(str(getattr(network, "source", type(network).__name__)))
        self.network = network
        self.preprocessing = preprocessing
        self.freeze()

    def fingerprint(self) -> str:
        """Return a hash of weights and preprocessing; see `fingerprint`."""
        return fingerprint(self)


def check_side(images: Tensor, smallest: int, tap: str) -> None:
    """Refuse pictures in which a tap would be empty.

    Raises:
        ImpastoError: If a side is shorter than ``smallest`` pixels.
    """
    height, width = images.shape[-2:]
    if min(height, width) < smallest:
        raise ImpastoError(
            f"The features {tap} need pictures of at least {smallest} pixels a side, got {height}x{width}."
        )
