"""How pictures reach an Inception: five tools, five ways, and as many values of one and the same FID."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metrics.functional.checks import one_of

FrontEnd = Literal["clean", "pytorch-fid", "torch-fidelity", "torchmetrics", "native", "unit"]
SIDE = 299
_RESIZE = {
    "clean": "antialiased bicubic to 299x299, clipped, (x - 128) / 128",
    "pytorch-fid": "bilinear without antialiasing to 299x299, 2 x / 255 - 1",
    "torch-fidelity": "TensorFlow 1 bilinear to 299x299, (x - 128) / 128",
    "torchmetrics": "antialiased bilinear to 299x299, (x - 128) / 128",
    "native": "native size, 2 x / 255 - 1",
    "unit": "native size, x / 255",
}


def describe(front_end: FrontEnd) -> str:
    """Return what a front end does, in words.

    Raises:
        ImpastoError: If there is no such front end.
    """
    return f"8 bits, {_RESIZE[one_of(front_end, FrontEnd, 'front end')]}"


def prepare(images: Tensor, front_end: FrontEnd) -> Tensor:
    """Return pictures as an Inception takes them.

    All of these tools read files, so a picture is rounded to 8 bits first, as a file would be. (torchmetrics fed with
    floats truncates instead, which darkens the picture by half a level.)

    Args:
        images: ``(B, 3, H, W)``, float32, RGB in [0, 1].
        front_end: ``clean`` as clean-fid, ``pytorch-fid``, ``torch-fidelity``, ``torchmetrics`` since 1.8; ``native``
            as SinGAN's SIFID, ``unit`` as ArtFID.

    Returns:
        ``(B, 3, 299, 299)`` or, for the last two, ``(B, 3, H, W)``; about [-1, 1], for ``unit`` [0, 1].

    Raises:
        ImpastoError: If there is no such front end.

    Examples:
        >>> prepare(torch.full((1, 3, 2, 2), 0.2), "native")[0, 0, 0, 0]
        tensor(-0.6000)
    """
    describe(front_end)
    levels = images.mul(255).round().clamp(0, 255)
    if front_end == "unit":
        return levels / 255
    if front_end == "native":
        return levels * (2 / 255) - 1
    if front_end == "pytorch-fid":
        return F.interpolate(levels / 255, (SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1
    if front_end == "clean":
        resized = F.interpolate(levels, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False)
        resized = resized.clamp(0, 255)
    elif front_end == "torchmetrics":
        resized = F.interpolate(levels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    else:
        resized = _tensorflow_1_bilinear(levels)
    return (resized - 128) / 128


def _tensorflow_1_bilinear(x: Tensor) -> Tensor:
    """Resize as TensorFlow 1 did: corners of pixels, not their centres, are aligned, so the picture shifts."""
    for axis in (-1, -2):
        length = x.shape[axis]
        position = torch.arange(SIDE, dtype=torch.float32, device=x.device) * (length / SIDE)
        low = position.floor().long()
        high = (low + 1).clamp(max=length - 1)
        share = position - low
        share = share if axis == -1 else share[:, None]
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return x
