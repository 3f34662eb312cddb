"""Windows into pictures: where to look, what is seen there, and how much goes on in it.

A window is ``(centre y, centre x, half height, half width)`` in units in which the picture spans [-1, 1] on either
axis: one window means the same place of pictures of different sizes. A negative half width mirrors what is seen.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.losses.precision import at_least_float32, without_autocast


def draw_windows(
    batch: int, count: int, scales: tuple[float, float] = (1 / 8, 1 / 4), device: torch.device | str = "cpu"
) -> Tensor:
    """Draw windows of random sides, places and orientations from the global generator of the CPU.

    Args:
        batch: B, pictures.
        count: K, windows into each.
        scales: Least and largest side as a share of the picture's, in (0, 1]; height and width are drawn apart.
        device: Where the windows go; which ones they are does not depend on it.

    Returns:
        ``(B, K, 4)``; all inside the picture, every second one mirrored.

    Source: Park et al. 2020 (Swapping Autoencoder), section 3.2: 1/8 to 1/4 of either side.
    """
    least, most = scales
    half = least + (most - least) * torch.rand(batch, count, 2, dtype=torch.float32)
    centre = (2 * torch.rand(batch, count, 2, dtype=torch.float32) - 1) * (1 - half)
    half[..., 1] *= torch.randint(2, (batch, count)) * 2 - 1
    return torch.cat([centre, half], 2).to(device, non_blocking=True)


def crop_windows(images: Tensor, windows: Tensor, size: int) -> Tensor:
    """Return what is seen through the windows, resampled to squares; gradients pass to the pictures.

    Args:
        images: ``(B, C, H, W)``.
        windows: ``(B, K, 4)``.
        size: Side of the squares in pixels.

    Returns:
        ``(B, K, C, size, size)``, at least float32: bilinear samples at the middles of size x size equal cells.
    """
    with without_autocast(images):
        images = at_least_float32(images)
        middles = (2 * torch.arange(size, dtype=windows.dtype, device=images.device) + 1) / size - 1
        rows, columns = (
            (windows[..., axis, None] + windows[..., axis + 2, None] * middles).to(images.dtype)  # B, K, size
            for axis in range(2)
        )
        shape = (*windows.shape[:2], size, size)
        grid = torch.stack([columns.unsqueeze(2).expand(shape), rows.unsqueeze(3).expand(shape)], -1)
        # One tall grid for each picture: no picture is repeated for its windows.
        seen = F.grid_sample(images, grid.flatten(1, 2), padding_mode="border", align_corners=False)
    patches: Tensor = seen.unflatten(2, (-1, size)).transpose(1, 2)
    return patches


def window_scores(values: Tensor, windows: Tensor) -> Tensor:
    """Return the mean of a map over every window, exactly: pixels that a window cuts count by the part inside.

    Args:
        values: ``(B, 1, H, W)``, one for each pixel.
        windows: ``(B, K, 4)``.

    Returns:
        ``(B, K)``.
    """
    with without_autocast(values):
        rows = _shares(windows[..., 0], windows[..., 2], values.shape[2])
        columns = _shares(windows[..., 1], windows[..., 3].abs(), values.shape[3])
        return ((rows.to(values) @ values[:, 0]) * columns.to(values)).sum(2)


def split_by_complexity(windows: Tensor, scores: Tensor, each: int) -> tuple[Tensor, Tensor]:
    """Return the windows with the lowest and those with the highest scores, each in ascending order.

    Args:
        windows: ``(B, K, 4)``.
        scores: ``(B, K)``; equal ones keep the order of the windows.
        each: Size of either group, up to K / 2.

    Returns:
        Simple and complex windows, ``(B, each, 4)`` each.

    Source: NeAT section 4.2 and Fig. 4.

    Examples:
        >>> windows = torch.arange(4.0).view(1, 4, 1).expand(1, 4, 4)
        >>> simple, complex = split_by_complexity(windows, torch.tensor([[0.3, 0.1, 0.4, 0.2]]), 2)
        >>> simple[0, :, 0].tolist(), complex[0, :, 0].tolist()
        ([1.0, 3.0], [0.0, 2.0])
    """
    order = scores.argsort(dim=1, stable=True).unsqueeze(2)
    ranked = windows.gather(1, order.expand(-1, -1, windows.shape[2]))
    return ranked[:, :each], ranked[:, -each:]


def _shares(centre: Tensor, half: Tensor, count: int) -> Tensor:
    """Return which share of each window lies in each of ``count`` equal cells of its axis, ``(B, K, count)``."""
    low, high = ((1 + centre + sign * half).unsqueeze(2) * (count / 2) for sign in (-1, 1))
    cell = torch.arange(count, device=centre.device)
    inside = (torch.minimum(high, cell + 1) - torch.maximum(low, cell)).clamp_min(0)
    return inside / inside.sum(2, keepdim=True)
