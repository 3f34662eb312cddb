"""Style halos: is the texture of flat parts another one beside edges than far from them?"""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.edges import luma
from metrics.functional.checks import one_of
from metrics.functional.filters import blur, correlate, gaussian
from metrics.functional.pictures import as_pictures, check_pair
from metrics.functional.precision import as_float64

HaloForm = Literal["ratio", "profile"]
EDGE = 0.03
"""Slope from which a content has an edge, in [0, 1] a pixel: black to white within 33 pixels."""
LIMITS = (8, 12, 16, 20, 28, 40)
"""Distances from the edge, in pixels, between the bands of a profile; the last band has no end."""
NEAR, FAR = slice(0, 2), slice(4, 7)  # up to 12 pixels, and above 20
UNIT = 192  # shorter side from which on distances grow with the picture
MARGIN = 4  # what the filters reach: both are 9 pixels wide
SMALLEST = 32  # side of a picture that has room for both, beside an edge along its border
LEAST = 0.005  # share of a picture's pixels from which on a band says something
FLOOR = 1 / 255**2  # energy of a texture that is one step of 8 bits strong, which nobody sees
_TEXTURE, _SMOOTH = gaussian(2 * MARGIN + 1, 2.0), gaussian(2 * MARGIN - 1, 1.0)
NOWHERE = -1  # the band of what is not measured


class HaloProfile(NamedTuple):
    """How much fine texture the flat parts of pictures have, by their distance from the content's nearest edge.

    Attributes:
        energy: Sums over the pixels of every band, ``(B, K)``, float64, in squared units of [0, 1].
        pixels: How many there are, ``(B, K)``, int64.
        least: How many of them a mean needs.
    """

    energy: Tensor
    pixels: Tensor
    least: float

    def level(self, bands: slice = slice(None)) -> Tensor:
        """Return ln of the mean energy, plus `FLOOR`, in some bands together, ``(B,)``; nan for want of pixels."""
        pixels = self.pixels[:, bands].sum(1)
        level = torch.log(self.energy[:, bands].sum(1) / pixels + FLOOR)
        return level.masked_fill(pixels < self.least, math.nan)

    def contrast(self) -> Tensor:
        """Return the level far from edges less that beside them, ``(B,)``; nan for want of pixels."""
        return self.level(FAR) - self.level(NEAR)

    def curve(self) -> Tensor:
        """Return the level of every band less that of all flat parts, ``(B, K)``; nan for want of pixels."""
        bands = range(self.energy.shape[1])
        return torch.stack([self.level(slice(band, band + 1)) for band in bands], dim=1) - self.level()[:, None]


def edge_bands(content: Tensor, edge: float = EDGE) -> Tensor:
    """Return how far every flat place of a content is from the nearest edge, in bands.

    An edge is where the Sobel slope of the luma, smoothed by a Gaussian of sigma 1, is above ``edge``. A place is flat
    if none is in the 9x9 window around it, so that what `texture_energy` finds there is not the edge itself. Distances
    are exact and Euclidean, from pixel centre to pixel centre. The bands end at `LIMITS` in pictures of up to 192
    pixels on the shorter side; from there on the limits grow with it.

    Args:
        content: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8; at least 32 pixels a side.
        edge: Slope, in [0, 1] a pixel, above 0.

    Returns:
        ``(B, H - 8, W - 8)``, int64: 0 for the nearest band to 6 for the farthest, -1 where nothing is measured, which
        is everywhere in a picture without an edge.

    Raises:
        ImpastoError: If shape, type, range or slope is wrong.
    """
    check_edge(edge)
    edges = _slope(as_float64(as_pictures(content, "content", SMALLEST))) > edge
    beside_edge = F.max_pool2d(edges[:, None].float(), 2 * MARGIN + 1, 1)[:, 0] > 0
    limits = torch.tensor(LIMITS, dtype=torch.float64) * max(1.0, min(edges.shape[-2:]) / UNIT)
    distances = _distances(edges)[:, MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()
    bands = torch.bucketize(distances, limits).to(edges.device)
    return bands.masked_fill(beside_edge | ~edges.any((1, 2))[:, None, None], NOWHERE)


def check_edge(edge: float) -> float:
    """Return a slope that may mark edges.

    Raises:
        ImpastoError: If it is not above 0, or infinite.
    """
    if not 0 < edge < math.inf:
        raise ImpastoError(f"An edge needs a finite slope above 0, got {edge}.")
    return edge


def texture_energy(images: Tensor) -> Tensor:
    """Return the energy of what a blur takes away, ``(B, H - 8, W - 8)``, float64: ``mean_c (x - G * x)^2``.

    G is a Gaussian of sigma 2, cut to 9x9: marks up to some 10 pixels wide pass, slopes do not.

    Args:
        images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8; at least 32 pixels a side.

    Raises:
        ImpastoError: If shape, type or range is wrong.
    """
    pictures = as_float64(as_pictures(images, "measured", SMALLEST))
    return (pictures[..., MARGIN:-MARGIN, MARGIN:-MARGIN] - blur(pictures, _TEXTURE)).square().mean(1)


def halo_profile(images: Tensor, bands: Tensor) -> HaloProfile:
    """Return how much fine texture pictures have in every band around the edges of their contents.

    Args:
        images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
        bands: Of their contents, ``(B, H - 8, W - 8)``; see `edge_bands`.

    Raises:
        ImpastoError: If shape, type or range is wrong.
    """
    energy = texture_energy(images)
    if energy.shape != bands.shape:
        raise ImpastoError(f"The bands of {tuple(bands.shape)} are those of other contents: {tuple(energy.shape)}.")
    within = [bands.to(energy.device) == band for band in range(len(LIMITS) + 1)]
    sums = [energy.masked_fill(~mask, 0).sum((1, 2)) for mask in within]
    least = LEAST * images.shape[-2] * images.shape[-1]
    return HaloProfile(torch.stack(sums, 1), torch.stack([mask.sum((1, 2)) for mask in within], 1), least)


def halo_profiles(
    stylized: Tensor, content: Tensor, truth: Tensor | None = None, edge: float = EDGE
) -> tuple[HaloProfile, HaloProfile | None]:
    """Return the profile of stylised pictures, and that of the true paintings where they are given.

    Arguments and errors as for `style_halo`.
    """
    sides = {"stylized": stylized} if truth is None else {"stylized": stylized, "true": truth}
    for name, side in sides.items():
        check_pair(side, content, f"{name} and content")
    bands = edge_bands(content, edge)
    found = [halo_profile(side, bands) for side in sides.values()]
    return found[0], found[1] if truth is not None else None


def compare_profiles(found: HaloProfile, truth: HaloProfile | None = None, form: HaloForm = "ratio") -> Tensor:
    """Return the number that `style_halo` makes of the profiles of pictures, ``(B,)``, float64.

    Args:
        found: Of the stylised pictures.
        truth: Of the true paintings; by default one texture everywhere.
        form: See `style_halo`.

    Raises:
        ImpastoError: If there is no such form.
    """
    one_of(form, HaloForm, "form of the halo")
    excess = found.contrast() - (0 if truth is None else truth.contrast())
    if form == "ratio":
        return excess
    gap = (found.curve() - (0 if truth is None else truth.curve())).abs().nanmean(1)
    return gap.masked_fill(excess.isnan(), math.nan)


def style_halo(
    stylized: Tensor, content: Tensor, truth: Tensor | None = None, *, form: HaloForm = "ratio", edge: float = EDGE
) -> Tensor:
    """Return how much more fine texture flat parts have far from edges than beside them, as a logarithm.

    ``ln(E_far / E_near)`` with the mean energies (see `texture_energy`) of places more than 20, and up to 12 pixels
    from the content's nearest edge; less the same of the true painting, where that is given. Above 0 is the halo of the
    paper: a plainer band around things, and a richer texture where no edge is near. Below 0 the band is the richer one.
    0 is one texture everywhere, or what the painter himself does. Contrast cancels; ln 4 is twice the amplitude.

    Args:
        stylized: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at least 32 pixels a side.
        content: What was stylised; the same shape.
        truth: The contents as the painter painted them; the same shape.
        form: ``ratio``, or ``profile`` for ``mean_k |y_k - t_k|``: y_k is ln of the mean energy in band k of distances
            over that of all flat parts, t_k the painter's, by default 0. It sees any change with the distance and has
            no sign, and chance alone makes it more than 0.
        edge: Slope of a content's edge; see `edge_bands`.

    Returns:
        ``(B,)``, float64, without unit; nan where near or far places are less than 0.5% of the picture.

    Raises:
        ImpastoError: If shape, type, range, form or slope is wrong.

    Source: NeAT, section 4.2, which describes halos and does not measure them; the measure is ours.
    """
    one_of(form, HaloForm, "form of the halo")
    return compare_profiles(*halo_profiles(stylized, content, truth, edge), form)


def _slope(pictures: Tensor) -> Tensor:
    """Return the length of the Sobel gradient of the smoothed luma, ``(B, H, W)``, in units a pixel."""
    smooth = blur(F.pad(luma(pictures), (MARGIN,) * 4, mode="replicate")[:, 0], _SMOOTH)
    across, along = (-0.5, 0, 0.5), (0.25, 0.5, 0.25)
    right, down = (correlate(correlate(smooth, across, axis), along, -3 - axis) for axis in (-1, -2))
    return torch.hypot(right, down)


def _distances(edges: Tensor) -> Tensor:
    """Return the distance of every pixel to the nearest edge of its picture, ``(B, H, W)``, float64, on the CPU."""
    found = [distance_transform_edt(~picture) for picture in edges.cpu().numpy()]  # exact, and linear in pixels
    return torch.from_numpy(np.array(found, dtype=np.float64).reshape(edges.shape))
