"""What happened inside a region, outside it, and along its edge."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_finite
from metrics.functional.filters import blur, gaussian
from metrics.functional.pictures import as_pictures, check_pair
from metrics.functional.precision import as_float64

WINDOW = 11
HALF = 0.5  # from here on a pixel of a soft mask is inside
_WEIGHTS = gaussian(WINDOW, 1.5)


def as_weights(masks: Tensor, images: Tensor) -> Tensor:
    """Return masks as ``(B, 1, H, W)``, float64, on the device of their pictures where that has such numbers.

    Args:
        masks: ``(B, 1, H, W)`` or ``(B, H, W)``, bool, or numbers in [0, 1].
        images: ``(B, 3, H, W)``.

    Raises:
        ImpastoError: If they do not fit the pictures, or leave [0, 1].
    """
    masks = masks if masks.ndim == 4 else masks.unsqueeze(1)
    if masks.shape != (len(images), 1, *images.shape[-2:]):
        raise ImpastoError(f"Pictures {tuple(images.shape)} need masks (B, 1, H, W), got {tuple(masks.shape)}.")
    weights = as_float64(masks.to(images.device))
    if not bool(((weights >= 0) & (weights <= 1)).all()):
        raise ImpastoError("Masks must be bool or lie in [0, 1].")
    return weights


def masked_ssim(a: Tensor, b: Tensor, masks: Tensor) -> Tensor:
    """Return the structural similarity of every pair inside a mask.

    SSIM as `metrics.functional.ssim.structural_similarity`, its windows weighted by ``G * M`` instead of G: no pixel
    outside the mask counts, and the mean is over window centres, weighted by M. A mask of ones gives the same number.

    Args:
        a: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at least 11 pixels a side.
        b: The same shape.
        masks: See `as_weights`.

    Returns:
        ``(B,)``, float64, in [-1, 1]; exactly 1 for pictures that are equal inside the mask; nan where no centre of a
        window is in it.

    Raises:
        ImpastoError: If shape, type or range is wrong.

    Source: Wang et al. 2004, eq. 13; the weights are ours.
    """
    check_pair(a, b, "compared")
    x, y = (as_float64(as_pictures(side, "compared", WINDOW)) for side in (a, b))
    mask = as_weights(masks, a)
    centres = mask[..., WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)]
    share = blur(mask, _WEIGHTS).clamp(min=torch.finfo(torch.float64).tiny)

    def mean(values: Tensor) -> Tensor:
        return blur(values * mask, _WEIGHTS) / share

    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x.square() + mean(y * y) - mean_y.square()
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x.square() + mean_y.square() + c1) * (variances + c2)
    return _mean_inside((above / below).mean(1, keepdim=True), centres)


def masked_distance(distance: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor, masks: Tensor) -> Tensor:
    """Return a perceptual distance of every pair inside a mask.

    ``d(b + M (a - b), b) / mean(M)``: outside the mask the two sides are one picture, where a distance that is a mean
    over places finds nothing, so that the quotient is its mean inside. A network sees a little of what lies outside,
    and of the edge.

    Args:
        distance: ``(a, b) -> (B,)`` on pictures in [0, 1].
        a: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
        b: The same shape.
        masks: See `as_weights`.

    Returns:
        ``(B,)``, float64, at least 0; exactly 0 for pictures that are equal inside the mask; nan for an empty one.

    Raises:
        ImpastoError: If shape, type or range is wrong, or a distance is nan or infinite.

    Source: Zhang et al. 2018, eq. 1, for the distance; the mask is ours.
    """
    check_pair(a, b, "compared")
    x, y = (as_pictures(side, "compared") for side in (a, b))
    mask = as_weights(masks, a)
    # `lerp` gives y itself where the two are equal, which a difference of sums might not.
    found = check_finite(as_float64(distance(torch.lerp(y, x, mask.to(y)), y).flatten()), "distance")
    share = mask.mean((1, 2, 3)).to(found.device)
    return (found / share).masked_fill(share == 0, math.nan)


def background_error(stylized: Tensor, content: Tensor, masks: Tensor) -> Tensor:
    """Return the largest change of a pixel where the mask is 0.

    ``max |stylized - content|`` over pixels and channels with M = 0.

    Args:
        stylized: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
        content: The same shape.
        masks: See `as_weights`.

    Returns:
        ``(B,)``, float64, in [0, 1]: a method for regions has exactly 0; nan for a mask without a 0.

    Raises:
        ImpastoError: If shape, type or range is wrong.
    """
    check_pair(stylized, content, "stylized and content")
    outside = as_weights(masks, content) == 0
    change = (as_pictures(stylized, "stylized") - as_pictures(content, "content")).abs().amax(1, keepdim=True)
    largest = as_float64(change).masked_fill(~outside, 0).amax((1, 2, 3))
    return largest.masked_fill(~outside.any(3).any(2).any(1), math.nan)


def edge_seam(stylized: Tensor, content: Tensor, masks: Tensor) -> Tensor:
    """Return how much harder the picture's step across the mask's edge is than the content's.

    ``mean |s_p - s_q| - mean |c_p - c_q|`` over all pairs of neighbours p inside (M at least 0.5) and q outside, next
    to or above each other, and over the channels.

    Args:
        stylized: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
        content: The same shape.
        masks: See `as_weights`.

    Returns:
        ``(B,)``, float64, in [-1, 1]: 0 for the content itself, above 0 where the edge shows more, below 0 where the
        region melts into what is around it; nan for a mask without an edge.

    Raises:
        ImpastoError: If shape, type or range is wrong.
    """
    check_pair(stylized, content, "stylized and content")
    inside = as_weights(masks, content) >= HALF
    s, c = (as_float64(as_pictures(side, "compared")) for side in (stylized, content))
    total = torch.zeros(len(s), dtype=torch.float64, device=s.device)
    pairs = torch.zeros_like(total)
    for axis in (-2, -1):
        crosses = _step(inside.to(s), axis).abs()
        excess = (_step(s, axis).abs() - _step(c, axis).abs()).mean(1, keepdim=True)
        total = total + (excess * crosses).sum((1, 2, 3))
        pairs = pairs + crosses.sum((1, 2, 3))
    return total / pairs  # 0 / 0 is nan


def mask_iou(found: Tensor, true: Tensor) -> Tensor:
    """Return intersection over union of every pair of masks, both cut at 0.5.

    Args:
        found: ``(B, 1, H, W)`` or ``(B, H, W)``, bool, or numbers in [0, 1].
        true: The same shape.

    Returns:
        ``(B,)``, float64, in [0, 1]; nan where both are empty.

    Raises:
        ImpastoError: If the shapes differ.

    Examples:
        >>> mask = torch.tensor([[[1.0, 1.0, 0.0]]])
        >>> mask_iou(mask, mask.flip(2))
        tensor([0.3333], dtype=torch.float64)
    """
    if found.shape != true.shape:
        raise ImpastoError(f"The masks differ in shape: {tuple(found.shape)} and {tuple(true.shape)}.")
    a, b = (mask.flatten(1).float() >= HALF for mask in (found, true.to(found.device)))
    return as_float64((a & b).sum(1)) / as_float64((a | b).sum(1))


def region_crops(images: Tensor, masks: Tensor, smallest: int = 1) -> list[Tensor]:
    """Return every picture cut to its mask's compact box, and what lies there outside the mask filled from inside.

    A pixel outside becomes its mirror image in the nearest pixel inside, or that pixel where the mirror image is not
    inside, too: a judge of brushwork sees the region's own, and no photograph around it. Boxes narrower than
    ``smallest`` grow, within the picture.

    Args:
        images: ``(B, 3, H, W)``, floating.
        masks: See `as_weights`; inside is at least 0.5, or, where nothing is, all that is above 0.
        smallest: Side of the crops in pixels, if the picture has that.

    Returns:
        One picture ``(3, h, w)`` for each, of its own size.

    Raises:
        ImpastoError: If a mask does not fit its picture, or is empty.
    """
    weights = as_weights(masks, images)[:, 0]
    crops = []
    for position, (image, weight) in enumerate(zip(images, weights, strict=True)):
        inside = weight >= HALF if bool((weight >= HALF).any()) else weight > 0
        if not bool(inside.any()):
            raise ImpastoError(f"The mask of picture {position} is empty: there is nothing to judge.")
        rows, columns = (_span(inside.any(axis), smallest) for axis in (1, 0))
        crops.append(_filled(image[:, rows, columns], inside[rows, columns]))
    return crops


def _mean_inside(values: Tensor, weights: Tensor) -> Tensor:
    """Return means over the last three axes; nan where all weights are 0."""
    values = torch.where(weights > 0, values, 0)
    return (values * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))


def _step(x: Tensor, axis: int) -> Tensor:
    return x.diff(dim=axis)


def _span(occupied: Tensor, smallest: int) -> slice:
    """Return where one axis is occupied, at least ``smallest`` wide if it is as long."""
    places = occupied.nonzero()
    first, end, length = int(places[0]), int(places[-1]) + 1, len(occupied)
    wide = min(length, max(smallest, end - first))
    first = min(max(0, first - (wide - (end - first)) // 2), length - wide)
    return slice(first, first + wide)


def _filled(image: Tensor, inside: Tensor) -> Tensor:
    from scipy.ndimage import distance_transform_edt  # costs a moment, and most who import this do without

    mask = inside.cpu()
    nearest = distance_transform_edt(~mask.numpy(), return_distances=False, return_indices=True)
    near = torch.from_numpy(nearest).long()
    here = torch.stack(torch.meshgrid(*(torch.arange(side) for side in mask.shape), indexing="ij"))
    mirror = 2 * near - here
    known = ((mirror >= 0) & (mirror < torch.tensor(mask.shape)[:, None, None])).all(0)
    mirror = torch.where(known, mirror, near)
    rows, columns = torch.where(mask[mirror[0], mirror[1]], mirror, near).to(image.device)
    return image[:, rows, columns]
