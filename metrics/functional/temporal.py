"""How steady a clip is: differences between a frame and the one before it, moved along the optical flow."""

from typing import Literal

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import one_of
from metrics.functional.precision import has_float64

FlowNorm = Literal["mse", "rmse", "mae"]


def warp(images: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return pictures whose pixel x is taken from ``x + flow(x)`` of the given ones, bilinearly.

    Args:
        images: ``(B, C, H, W)``, floating.
        flow: ``(B, 2, H, W)``, in pixels: how far to the right and how far down to look.

    Returns:
        The pictures, ``(B, C, H, W)``, float64, and where ``x + flow(x)`` lies inside, ``(B, 1, H, W)``, bool; outside
        and where the flow is not finite the picture is 0. Exact, without interpolation, where the flow is whole.

    Raises:
        ValueError: If the flow does not fit the pictures.

    Examples:
        >>> row = torch.tensor([[[[1.0, 2.0, 4.0]]]])
        >>> moved, inside = warp(row, torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 3))
        >>> moved.tolist(), inside.tolist()
        ([[[[1.5, 3.0, 0.0]]]], [[[[True, True, False]]]])
    """
    batch, channels, height, width = images.shape
    if flow.shape != (batch, 2, height, width):
        raise ValueError(f"pictures {tuple(images.shape)} need a flow (B, 2, H, W), got {tuple(flow.shape)}")
    images, flow = (x.double() if has_float64(x.device) else x.cpu().double() for x in (images, flow))
    x = flow[:, 0] + torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = flow[:, 1] + torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)  # False where the flow is nan
    x, y = x.where(inside, 0.0), y.where(inside, 0.0)  # B, H, W
    left, top = x.floor(), y.floor()
    pixels = images.flatten(2)  # B, C, H * W
    result = torch.zeros_like(pixels)
    for down in (0, 1):
        for across in (0, 1):
            share = (1 - (x - left - across).abs()) * (1 - (y - top - down).abs())
            # A neighbour beyond the edge has a share of 0; any pixel will do.
            position = (top + down).clamp(max=height - 1) * width + (left + across).clamp(max=width - 1)
            index = position.long().flatten(1).unsqueeze(1).expand(-1, channels, -1)
            result += pixels.gather(2, index) * share.flatten(1).unsqueeze(1)
    visible = inside.unsqueeze(1)
    return result.view_as(images) * visible, visible


def warped_error(
    frames: Tensor, previous: Tensor, flow: Tensor, occlusion: Tensor | None = None, norm: FlowNorm = "mse"
) -> Tensor:
    """Return how much every frame differs from the one before it, moved to where the flow says.

    ``sum_x M(x) mean_c |I_t(x) - I_{t-1}(x + flow(x))|^2 / sum_x M(x)``, with M = 0 where the pixel is occluded in, or
    came into the picture since, the frame before.

    Args:
        frames: ``(B, C, H, W)``, float in [0, 1].
        previous: The frames before them, the same shape.
        flow: ``(B, 2, H, W)``, in pixels, right and down, *from each frame back to the one before it*. It belongs to
            the contents: a stylised clip shall move as its content does.
        occlusion: ``(B, 1, H, W)`` or ``(B, H, W)``, True or above 0 where the pixel is not to be seen in the frame
            before; see `occluded`.
        norm: ``mse``, its root ``rmse``, or ``mae``, the mean absolute difference.

    Returns:
        ``(B,)``, float64, in [0, 1]; exactly 0 for a still clip with no flow, nan where no pixel is left to compare.

    Raises:
        ImpastoError: If there is no such norm, or the occlusion is nan somewhere.
        ValueError: If the shapes do not fit each other.

    Source: Lai et al. 2018, eq. 9-10 (their frames are warped with the flow forwards; the mean over channels is taken
    here, so that the value does not depend on their number).

    Examples:
        >>> frame = torch.rand(1, 3, 4, 4)
        >>> float(warped_error(frame, frame, torch.zeros(1, 2, 4, 4)))
        0.0
    """
    one_of(norm, FlowNorm, "norm of the warped error")
    if frames.shape != previous.shape:
        raise ValueError(f"frames differ in shape: {tuple(frames.shape)} and {tuple(previous.shape)}")
    moved, visible = warp(previous, flow)
    if occlusion is not None:
        hidden = occlusion if occlusion.ndim == 4 else occlusion.unsqueeze(1)
        if hidden.shape != visible.shape:
            raise ValueError(f"occlusion must be {tuple(visible.shape)}, got {tuple(hidden.shape)}")
        if bool(hidden.isnan().any()):
            raise ImpastoError(
                "An occlusion mask is nan somewhere: give 0 where a pixel is to be seen, and 1 elsewhere."
            )
        visible = visible & (hidden <= 0).to(visible.device)
    gap = frames.to(moved.device).double() - moved
    gap = (gap.abs() if norm == "mae" else gap.square()).mean(1, keepdim=True)
    error = gap.where(visible, 0.0).sum((1, 2, 3)) / visible.sum((1, 2, 3))
    return error.sqrt() if norm == "rmse" else error


def occluded(flow: Tensor, reverse: Tensor) -> Tensor:
    """Return where a pixel has no partner in the other frame: the way there and back does not end where it began.

    ``|w(x) + r(x + w(x))|^2 > 0.01 (|w(x)|^2 + |r(x + w(x))|^2) + 0.5``, or ``x + w(x)`` lies outside.

    Args:
        flow: ``w``, ``(B, 2, H, W)``, in pixels, from this frame to the other.
        reverse: ``r``, the same from the other frame to this one.

    Returns:
        ``(B, 1, H, W)``, bool.

    Source: Sundaram et al. 2010, eq. 5.

    Examples:
        >>> still = torch.zeros(1, 2, 2, 2)
        >>> bool(occluded(still, still).any())
        False
    """
    back, visible = warp(reverse, flow)
    there = flow.to(back.device).double()
    gap = (there + back).square().sum(1, keepdim=True)
    size = there.square().sum(1, keepdim=True) + back.square().sum(1, keepdim=True)
    return ~visible | ~(gap <= 0.01 * size + 0.5)
