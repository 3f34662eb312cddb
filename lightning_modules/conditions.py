"""Checks of what a user hands to a method: pictures, prompts, regions; and the padding to whole strides."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.types import Condition

TOLERANCE = 1e-4  # of a range that has been through float16 or a resampling


def words(conditions: frozenset[Condition], joint: str = "and") -> str:
    """Return conditions as they stand in a sentence.

    Examples:
        >>> words(frozenset({"text", "image", "region"}))
        'image, region and text'
    """
    names = sorted(conditions)
    return f" {joint} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def check_conditions(
    owner: str, takes: frozenset[Condition], requires: frozenset[Condition], given: frozenset[Condition]
) -> None:
    """Refuse conditions that a method does not take, and the lack of those that it needs.

    Args:
        owner: Name of the method.
        takes: What it takes.
        requires: What it cannot do without.
        given: What there is.

    Raises:
        ImpastoError: If they do not fit.
    """
    for condition in sorted(given - takes):
        raise ImpastoError(f"{owner} does not take {condition} conditions, only {words(takes)}.")
    styles = takes - {"region"}
    if not given & styles:
        raise ImpastoError(f"{owner} needs a style: give {words(requires & styles or styles, 'or')}.")
    if given >= {"image", "text"} and not requires >= {"image", "text"}:
        raise ImpastoError(f"{owner} takes a style image or a text prompt, not both.")
    for condition in sorted(requires - given):
        raise ImpastoError(f"{owner} needs {words(requires)}: give the {condition} too.")


def check_images(images: Tensor, name: str) -> None:
    """Refuse what is no batch of pictures, ``(B, 3, H, W)``, float in [0, 1].

    Raises:
        ImpastoError: If the shape, the type or the range is another one.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ImpastoError(f"The {name} must be (B, 3, H, W), got {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise ImpastoError(f"The {name} must be a float tensor in [0, 1], got {images.dtype}.")
    _check_range(images, name)


def as_styles(style: Tensor, content: Tensor) -> Tensor:
    """Return one style picture per content, on its device.

    Args:
        style: ``(B, 3, h, w)`` or ``(1, 3, h, w)``, RGB in [0, 1].
        content: ``(B, 3, H, W)``.

    Raises:
        ImpastoError: If the pictures are none, or of another number.
    """
    check_images(style, "style")
    _check_number(len(style), len(content), "style images")
    return style.to(content).expand(len(content), -1, -1, -1)


def as_prompts(prompt: str | Sequence[str], batch: int) -> list[str]:
    """Return one prompt per sample.

    Raises:
        ImpastoError: If there are several, but not as many as samples.
    """
    prompts = [prompt] * batch if isinstance(prompt, str) else list(prompt)
    if len(prompts) != batch:
        raise ImpastoError(f"{len(prompts)} prompts were given for {batch} content images.")
    return prompts


def as_masks(mask: Tensor, content: Tensor) -> Tensor:
    """Return one mask per content, float on its device.

    Args:
        mask: ``(B, 1, H, W)`` or ``(1, 1, H, W)``, bool or float in [0, 1]: 1 where to paint.
        content: ``(B, 3, H, W)``.

    Raises:
        ImpastoError: If the mask has another shape, size, type or range, or is empty everywhere.
    """
    if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[-2:] != content.shape[-2:]:
        height, width = content.shape[-2:]
        raise ImpastoError(f"The mask must be (B, 1, {height}, {width}) as the content is, got {tuple(mask.shape)}.")
    _check_number(len(mask), len(content), "masks")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ImpastoError(f"The mask must be a bool or a float tensor in [0, 1], got {mask.dtype}.")
    mask = mask.to(content)
    _check_range(mask, "mask")
    if not bool(mask.any()):
        raise ImpastoError("The mask is empty: there is nowhere to paint.")
    return mask.clamp(0, 1).expand(len(content), -1, -1, -1)


def pad(images: Tensor, stride: int) -> Tensor:
    """Pad right and bottom to multiples of ``stride``, at least two of them: statistics need several pixels."""
    if torch.compiler.is_exporting():
        return _mirrored_to_strides(images, stride)
    height, width = images.shape[-2:]
    bottom, right = (max(2 * stride, -(-side // stride) * stride) - side for side in (height, width))
    # Reflection keeps texture going over the border; it needs more picture than padding.
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, bottom), mode=mode)


def _mirrored_to_strides(images: Tensor, stride: int) -> Tensor:
    """Do what `pad` does, of pictures of two strides and more, in a graph that knows no sizes."""
    for axis in (2, 3):
        last = images.shape[axis] - 1
        places = torch.arange((last + stride) // stride * stride, device=images.device)
        images = images.index_select(axis, (last - (last - places).abs()).clamp(min=0))
    return images


def shrink(images: Tensor, side: int) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` with no side longer than ``side`` pixels, as they are where none is."""
    longest = max(images.shape[-2:])
    if longest <= side:
        return images
    height, width = (max(1, round(length * side / longest)) for length in images.shape[-2:])
    return resized(images, (height, width))


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` at a size, as they are where they have it."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)


def _check_range(values: Tensor, name: str) -> None:
    low, high = (float(value) for value in values.aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ImpastoError(f"The {name} must lie in [0, 1], got [{low:.3g}, {high:.3g}].")


def _check_number(given: int, batch: int, name: str) -> None:
    if given not in (1, batch):
        raise ImpastoError(f"{given} {name} were given for {batch} content images.")
