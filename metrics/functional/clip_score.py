"""Cosines in CLIP's space of pictures and texts, and the crop that LEAST scores."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_finite, check_vectors
from metrics.functional.precision import as_float64
from metrics.functional.region import as_weights


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of every pair of vectors.

    Args:
        a: ``(B, D)``, any length and floating type.
        b: The same.

    Returns:
        ``(B,)``, float64, in [-1, 1]; exactly 1 for equal vectors, 0 where one of the two has length 0.

    Raises:
        ImpastoError: If the shapes differ, or a number is nan or infinite.

    Examples:
        >>> cosine(torch.tensor([[0.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.1], [1.0, 1.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    check_vectors(a, b)
    a, b = (check_finite(as_float64(x), "number of an embedding") for x in (a, b))
    # Lengths of 1 first, or the squares of tiny vectors vanish; sqrt(x * x) is x, so equal vectors give exactly 1.
    a, b = (x / x.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny) for x in (a, b))
    lengths = ((a * a).sum(1) * (b * b).sum(1)).sqrt()
    return torch.where(lengths > 0, (a * b).sum(1) / lengths, 0.0).clamp(-1, 1)


def clip_score(preds: Tensor, target: Tensor, *, scale: float = 1.0, clamp: bool = False) -> Tensor:
    """Return ``scale * cos`` of every pair of embeddings, or ``scale * max(cos, 0)``.

    Hessel's CLIPScore has scale 2.5 and clamps every pair; torchmetrics has 100 and clamps the mean of the batch, which
    is another number as soon as one pair is negative. Figures of 20 to 30 in papers have scale 100.

    Args:
        preds: ``(B, D)``, embeddings of pictures, of any length.
        target: ``(B, D)``, embeddings of the texts or pictures that they are compared with.
        scale: Factor.
        clamp: Count a negative cosine as 0.

    Returns:
        ``(B,)``, float64, in [-scale, scale], or [0, scale] clamped.

    Raises:
        ImpastoError: As of `cosine`.

    Source: Hessel et al. 2021, eq. 1.

    Examples:
        >>> clip_score(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.ones(2, 2), scale=2.5, clamp=True)
        tensor([1.7678, 0.0000], dtype=torch.float64)
    """
    score = cosine(preds, target)
    return scale * (score.clamp(min=0) if clamp else score)


def directional_score(preds: Tensor, content: Tensor, target: Tensor, origin: Tensor) -> Tensor:
    """Return how far the step from content to picture goes in the direction from one text to another.

    ``cos(E(preds) - E(content), E(target) - E(origin))``, of embeddings of unit length.

    Args:
        preds: ``(B, D)``, embeddings of the stylised pictures, of any length.
        content: ``(B, D)``, of what they were made from.
        target: ``(B, D)``, of the texts that describe the style.
        origin: ``(B, D)`` or ``(1, D)``, of the text that describes the content, such as "a Photo".

    Returns:
        ``(B,)``, float64, in [-1, 1]; 0 where the picture is the content, or the two texts are the same.

    Raises:
        ImpastoError: As of `cosine`.

    Source: Gal et al. 2022, eq. 3; LEAST, eq. 1, whose loss is 1 minus this.
    """
    origin = origin.expand(len(target), -1) if origin.ndim == 2 and len(origin) == 1 else origin
    check_vectors(preds, content, target, origin)
    unit = [F.normalize(as_float64(x), dim=1) for x in (preds, content, target, origin)]
    return cosine(unit[0] - unit[1], unit[2] - unit[3])


def masked(images: Tensor, masks: Tensor) -> Tensor:
    """Return the pictures with everything black that lies under no mask, ``I * M``.

    Args:
        images: ``(B, 3, H, W)``, floating.
        masks: ``(B, 1, H, W)`` or ``(B, H, W)``, bool, or numbers in [0, 1], which may be soft.

    Returns:
        ``(B, 3, H, W)``.

    Raises:
        ImpastoError: If a mask does not fit its picture or leaves [0, 1].
    """
    return images * as_weights(masks, images).to(images)


def masked_crop(images: Tensor, masks: Tensor, *, square: bool = False) -> list[Tensor]:
    """Return what lies under each mask: everything else black, cropped to the mask's compact box.

    ``crop_B(I * M)`` with B the smallest box that holds every pixel where M is above 0.

    Args:
        images: ``(B, 3, H, W)``, floating.
        masks: As for `masked`.
        square: Pad the crop with black on both sides of its shorter axis. CLIP looks at the centre square of a picture
            only, so a wide crop loses its ends without.

    Returns:
        One picture ``(3, h, w)`` for each, of its own size.

    Raises:
        ImpastoError: If a mask does not fit its picture, is empty, or leaves [0, 1].

    Source: LEAST, section 4, "Evaluation".

    Examples:
        >>> image, mask = torch.ones(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> mask[0, 2:4, 1:6] = True
        >>> masked_crop(image, mask)[0].shape, masked_crop(image, mask, square=True)[0].shape
        (torch.Size([3, 2, 5]), torch.Size([3, 5, 5]))
    """
    weights = as_weights(masks, images).to(images)
    crops = []
    for position, (image, mask) in enumerate(zip(images, weights, strict=True)):
        rows, columns = (mask[0] > 0).any(1).nonzero(), (mask[0] > 0).any(0).nonzero()
        if not len(rows):
            raise ImpastoError(f"The mask of picture {position} is empty: there is nothing to score.")
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        crop = (image * mask)[:, top:bottom, left:right]
        crops.append(_padded_to_square(crop) if square else crop)
    return crops


def _padded_to_square(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    down, across = max(0, width - height), max(0, height - width)
    return F.pad(image, (across // 2, across - across // 2, down // 2, down - down // 2))
