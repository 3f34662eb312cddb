"""Which of many pictures are the same picture."""

import hashlib

import torch
from torch import Tensor


def picture_numbers(pictures: Tensor) -> Tensor:
    """Return a number for every picture that equal pictures share, whichever batch or process they come in.

    The first 63 bits of a hash of sides and pixels: among a million pictures two different ones share a number with a
    probability of 5e-8.

    Args:
        pictures: ``(B, C, H, W)``, float32 as `metrics.functional.pictures.as_pictures` returns them.

    Returns:
        ``(B,)``, int64, at least 0, on the CPU.

    Examples:
        >>> first, second, third = picture_numbers(torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1, 1)).tolist()
        >>> first == third, first == second
        (True, False)
    """
    numbers = []
    for picture in pictures.detach().float().cpu().contiguous().numpy():
        digest = hashlib.blake2b(f"{picture.shape}".encode(), digest_size=8)
        digest.update(picture)
        numbers.append(int.from_bytes(digest.digest(), "big") >> 1)
    return torch.tensor(numbers, dtype=torch.int64)
