"""Implementations of the metrics whose cost grows with the picture: ours first, then public ones, then the formula."""

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.contenders.sets import OURS, Contender, frechet_peers
from lightning_modules.weights import load_artist_classifier, load_clip, load_lpips
from metrics.clip_score import CLIPPictureScore
from metrics.deception import DeceptionRate
from metrics.functional.chamfer import color_chamfer
from metrics.functional.frechet import frechet_of_maps
from metrics.functional.gram import gram_distance
from metrics.functional.ssim import structural_similarity
from metrics.functional.style_distance import style_distance
from metrics.functional.temporal import warped_error
from metrics.perceptual import PerceptualDistance
from metrics.temporal import TemporalLPIPS

NAIVE_ROWS = 512
VGG_CHANNELS = (64, 128, 256, 512, 512)
SIFID_CHANNELS = 192


def chamfer(a: Tensor, b: Tensor) -> list[Contender]:
    """Return contenders for the colour Chamfer distance."""
    from scipy.spatial import cKDTree

    clouds = [(image[0].flatten(1).T * 255).round() for image in (a, b)]
    rows = min(NAIVE_ROWS, *(len(cloud) for cloud in clouds))

    def tree() -> float:
        x, y = (cloud.cpu().double().numpy() for cloud in clouds)
        workers = torch.get_num_threads()
        sides = (cKDTree(goals).query(points, workers=workers)[0] for points, goals in ((x, y), (y, x)))
        return sum(float((gaps**2).mean()) for gaps in sides)

    def every_pair() -> float:
        for points, goals in (clouds, clouds[::-1]):
            torch.cdist(points[:rows], goals, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
        return math.nan

    return [
        Contender(OURS, lambda: color_chamfer(a, b)),
        Contender("scipy cKDTree, every pixel", tree),
        Contender("naive: torch.cdist, every pair", every_pair, rows / max(map(len, clouds))),
    ]


def ssim(a: Tensor, b: Tensor) -> list[Contender]:
    """Return contenders for SSIM; torchmetrics averages the padded border too, so its value differs."""
    from skimage.metrics import structural_similarity as by_skimage
    from torchmetrics.functional.image import structural_similarity_index_measure as by_torchmetrics

    planes = [image[0].cpu().double().numpy() for image in (a, b)]
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    position = torch.arange(11.0, dtype=torch.float64, device=a.device) - 5
    line = torch.exp(-position.square() / 4.5)
    window = (line[:, None] * line / line.sum() ** 2).expand(3, 1, 11, 11)

    def windows() -> Tensor:
        x, y = a.double(), b.double()
        blur = partial(F.conv2d, weight=window, groups=3)
        mx, my = blur(x), blur(y)
        sxx, syy, sxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        return ((2 * mx * my + 1e-4) * (2 * sxy + 9e-4) / ((mx * mx + my * my + 1e-4) * (sxx + syy + 9e-4))).mean()

    return [
        Contender(OURS, lambda: structural_similarity(a, b)),
        Contender("torchmetrics", lambda: by_torchmetrics(a, b, data_range=1.0)),
        Contender("scikit-image", lambda: np.mean([by_skimage(x, y, **options) for x, y in zip(*planes, strict=True)])),
        Contender("naive: conv2d 11x11, float64", windows),
    ]


def vgg_maps(image: Tensor, seed: int) -> dict[str, Tensor]:
    """Return maps of the shapes that VGG-19 gives for a picture."""
    generator = torch.Generator(image.device).manual_seed(seed)
    sides = [(image.shape[2] >> level, image.shape[3] >> level) for level in range(5)]
    shapes = [(1, channels, *side) for channels, side in zip(VGG_CHANNELS, sides, strict=True)]
    maps = (torch.randn(shape, generator=generator, device=image.device).relu_() for shape in shapes)
    return {f"relu{block}_1": layer for block, layer in enumerate(maps, start=1)}


def gram(a: Tensor, b: Tensor) -> list[Contender]:
    """Return contenders for the Gram distance, given the maps."""
    sides = vgg_maps(a, 0), vgg_maps(b, 1)

    def einsum() -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=a.device)
        for name in sides[0]:
            x, y = (side[name].double() for side in sides)
            gap = torch.einsum("bchw,bdhw->bcd", x, x) - torch.einsum("bchw,bdhw->bcd", y, y)
            total += (gap / x[0].numel()).square().mean()
        return total

    return [Contender(OURS, lambda: gram_distance(sides[0], sides[1])), Contender("naive: einsum, float64", einsum)]


def style_loss(a: Tensor, b: Tensor) -> list[Contender]:
    """Return contenders for the distance of means and deviations, given the maps."""
    sides = vgg_maps(a, 0), vgg_maps(b, 1)

    def moments() -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=a.device)
        for name in sides[0]:
            x, y = (side[name].double() for side in sides)
            means = (x.mean((2, 3)) - y.mean((2, 3))).square().mean()
            total += means + ((x.var((2, 3)) + 1e-5).sqrt() - (y.var((2, 3)) + 1e-5).sqrt()).square().mean()
        return total

    return [
        Contender(OURS, lambda: style_distance(sides[0], sides[1])),
        Contender("naive: mean and var, float64", moments),
    ]


def sifid(a: Tensor, b: Tensor) -> list[Contender]:
    """Return contenders for the Fréchet distance of two maps with 192 channels."""
    generator = torch.Generator(a.device).manual_seed(0)
    shape = (1, SIFID_CHANNELS, a.shape[2] // 4 - 3, a.shape[3] // 4 - 3)
    x, y = (torch.randn(shape, generator=generator, device=image.device).relu_() for image in (a, b))
    rows = [maps[0].flatten(1).T for maps in (x, y)]
    return [Contender(OURS, lambda: frechet_of_maps(x, y)), *frechet_peers(*rows)]


def warped(a: Tensor, b: Tensor) -> list[Contender]:
    """Return contenders for the error along a smooth flow."""
    height, width = a.shape[-2:]
    flow = F.interpolate(8 * (a - 0.5)[:, :2, ::32, ::32], size=(height, width), mode="bilinear", align_corners=True)

    def grid_sample() -> Tensor:
        lines = [torch.arange(side, dtype=torch.float64, device=a.device) for side in (height, width)]
        y, x = torch.meshgrid(*lines, indexing="ij")
        x, y = (x + flow[:, 0]) * 2 / (width - 1) - 1, (y + flow[:, 1]) * 2 / (height - 1) - 1
        inside = ((x.abs() <= 1) & (y.abs() <= 1)).unsqueeze(1)
        moved = F.grid_sample(b.double(), torch.stack((x, y), dim=3), align_corners=True)
        return ((a - moved).square().mean(1, keepdim=True) * inside).sum() / inside.sum()

    return [
        Contender(OURS, lambda: warped_error(a, b, flow)),
        Contender("naive: grid_sample, float64", grid_sample),
    ]


def temporal(a: Tensor, b: Tensor) -> list[Contender]:  # noqa: ARG001 - one picture that moves is enough
    """Return contenders for the perceptual distance of five frames, network included."""
    frames = torch.cat([a.roll(2 * step, 3) for step in range(5)])
    network = load_lpips("embedded").to(a.device)

    def split() -> Tensor:
        metric = TemporalLPIPS(network)
        metric.update(frames, torch.zeros(5, dtype=torch.int64))
        return metric.compute()

    def pairs() -> Tensor:
        with torch.no_grad():
            return network(frames[1:], frames[:-1]).mean()  # type: ignore[no-any-return]

    return [Contender(OURS, split), Contender("naive: both frames of every pair", pairs)]


def lpips(a: Tensor, b: Tensor) -> list[Contender]:
    """Return the perceptual distance, which is little more than its network."""
    metric = PerceptualDistance(load_lpips("embedded"))
    return [Contender(OURS, lambda: metric.values(a, b))]


def clip_score(a: Tensor, b: Tensor) -> list[Contender]:
    """Return the CLIP score, which is little more than its network."""
    metric = CLIPPictureScore(load_clip("embedded"))
    return [Contender(OURS, lambda: metric.values(a, b))]


def deception(a: Tensor, b: Tensor) -> list[Contender]:  # noqa: ARG001 - it judges single pictures
    """Return the rate of deception, which is little more than its network."""
    metric = DeceptionRate(load_artist_classifier())
    return [Contender(OURS, lambda: metric.values(a, list(metric.artists[:1])))]


PIXEL_CASES = {
    build.__name__: build
    for build in (chamfer, ssim, gram, style_loss, sifid, warped, temporal, lpips, clip_score, deception)
}
