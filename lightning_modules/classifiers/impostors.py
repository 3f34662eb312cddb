"""Pictures that nobody painted, so that a classifier of artists learns to say so.

Each lacks the palette or the stroke of the artist whose name it could be taken for: a photograph in a painter's
colours, a painting without its strokes or in foreign colours, a photograph with the faults of half-trained methods.

Random numbers come from a generator on the CPU, whatever device the pictures are on. Pictures are ``(B, 3, H, W)``, RGB
in [0, 1], and of equal size on both sides where there are two.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.classifiers.augmentation import blur, random_factors
from lightning_modules.networks.edges import luma

TONES = 16  # steps of the ramp from a palette's darkest to its lightest colours
FOREIGN = 3.0  # standard deviations from a painter's palette from which on colours are not his any more
Change = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Palettes:
    """What colours every artist paints in: some in a few of their own, some in nearly all.

    Attributes:
        mean: Of the mean colours of the artist's paintings, ``(A, 3)``.
        inverse: Of their covariance, ``(A, 3, 3)``.
    """

    mean: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, colours: Tensor, artists: Tensor) -> "Palettes":
        """Return the palettes of artists, numbered from 0 on.

        Args:
            colours: Mean colour of every painting, ``(N, 3)`` in [0, 1].
            artists: Who painted each, ``(N,)``, int64; everybody at least two.
        """
        groups = [colours[artists == number] for number in range(int(artists.max()) + 1)]
        spread = torch.stack([group.T.cov() for group in groups])
        return cls(torch.stack([group.mean(0) for group in groups]), torch.linalg.inv(spread + 1e-4 * torch.eye(3)))

    def distance(self, images: Tensor, artists: Tensor) -> Tensor:
        """Return how many standard deviations the images are from the artists' palettes, ``(B,)``.

        Source: Mahalanobis 1936.
        """
        off = images.mean((2, 3)).cpu() - self.mean[artists]
        return (off[:, None] @ self.inverse[artists] @ off[:, :, None]).flatten().sqrt()


def impostors(
    photographs: Tensor, paintings: Tensor, artists: Tensor, palettes: Palettes, generator: torch.Generator
) -> Tensor:
    """Return a picture by nobody for every photograph.

    One in six stays a photograph, more than half take on the painting's colours, pixel by pixel or tone by tone; of the
    rest a third are the painting washed out until no stroke is left, and the others the painting in the photograph's
    colours, where its artist never paints in those. Two in three of all are then damaged by one of `DAMAGES`.
    """
    kind = torch.rand(len(photographs), generator=generator)
    pictures = photographs.clone()
    for low, high, make in (
        (0.16, 0.4, lambda plain, painted, _: transfer_colours(plain, painted)),
        (0.4, 0.7, lambda plain, painted, _: tint(plain, painted)),
        (0.7, 0.8, lambda _, painted, __: wash(painted, generator)),
        (0.8, 1.0, lambda plain, painted, by: recolour(plain, painted, by, palettes)),
    ):
        chosen = ((kind >= low) & (kind < high)).nonzero().flatten()
        if len(chosen):
            pictures[chosen] = make(photographs[chosen], paintings[chosen], artists[chosen])
    return damage(pictures, generator)


def transfer_colours(images: Tensor, palette: Tensor) -> Tensor:
    """Return the images with the mean and the covariance of the palette's colours, by the least change that gives them.

    ``A = S^-1/2 (S^1/2 P S^1/2)^1/2 S^-1/2`` with the covariances S of the image and P of the palette.

    Source: Pitié & Kokaram 2007, the linear Monge-Kantorovitch transfer.
    """
    (mean, cov), (goal, wanted) = _colours(images), _colours(palette)
    root, inverse = _power(cov, 0.5), _power(cov, -0.5)
    matrix = inverse @ _power(root @ wanted @ root, 0.5) @ inverse
    moved = matrix @ (images.flatten(2) - mean) + goal
    return moved.view_as(images).clamp(0, 1)


def tint(images: Tensor, palette: Tensor) -> Tensor:
    """Return the images in the palette's ramp of colours, from its darkest to its lightest, tone by tone."""
    tones = luma(palette).flatten(1)
    order = tones.argsort(1)[:, None].expand(-1, 3, -1)
    ramp = F.adaptive_avg_pool1d(palette.flatten(2).gather(2, order), TONES)  # B, 3, TONES
    place = luma(images).flatten(1).mul(TONES - 1)
    low = place.long().clamp(0, TONES - 2)
    share = (place - low)[:, None]
    below, above = (ramp.gather(2, at[:, None].expand(-1, 3, -1)) for at in (low, low + 1))
    return torch.lerp(below, above, share).view_as(images)


def wash(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images smoothed until no stroke is left; a brush here is 3 to 14 pixels wide."""
    return torch.stack([blur(image, _between(3.5, 7.0, generator)) for image in images])


def recolour(images: Tensor, paintings: Tensor, artists: Tensor, palettes: Palettes) -> Tensor:
    """Return the paintings in the images' colours; the images where the artists might have painted in these."""
    moved = transfer_colours(paintings, images)
    foreign = (palettes.distance(moved, artists) > FOREIGN).to(images.device)
    return torch.where(foreign[:, None, None, None], moved, images)


def damage(images: Tensor, generator: torch.Generator) -> Tensor:
    """Damage two in three of the images, each by one of `DAMAGES`, as half-trained methods do."""
    kind = torch.rand(len(images), generator=generator)
    images = images.clone()
    for number, change in enumerate(DAMAGES):
        low = number / (1.5 * len(DAMAGES))
        chosen = ((kind >= low) & (kind < low + 1 / (1.5 * len(DAMAGES)))).nonzero().flatten()
        if len(chosen):
            images[chosen] = change(images[chosen], generator)
    return images.clamp(0, 1)


def soften(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur every image."""
    return torch.stack([blur(image, _between(1.0, 4.0, generator)) for image in images])


def emboss(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add to every image its difference from itself, shifted by a pixel or two, several times over."""
    dy, dx = (int(torch.randint(-2, 3, (), generator=generator)) for _ in range(2))
    amount = random_factors(images, 0.7, generator) * 3
    return images + amount * (images - images.roll((dy or 1, dx), (2, 3)))


def streak(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise that is smeared along rows or columns."""
    length = int(torch.randint(8, 40, (), generator=generator)) | 1
    grain = torch.randn(images.shape, generator=generator).to(images)
    width = F.pad(grain, (length // 2, length // 2, 0, 0), mode="circular")
    lines: Tensor = F.avg_pool2d(width, (1, length), 1) * length**0.5
    if images.shape[2] == images.shape[3] and float(torch.rand((), generator=generator)) < 0.3:
        lines = lines.transpose(2, 3)
    return images + 0.1 * random_factors(images, 0.7, generator) * lines


def speckle(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise of one grain, in colour or grey."""
    grain = int(torch.randint(1, 5, (), generator=generator))
    height, width = images.shape[2:]
    noise = torch.randn(len(images), 3, -(-height // grain), -(-width // grain), generator=generator).to(images)
    noise = F.interpolate(noise, (height, width), mode="nearest" if grain == 1 else "bilinear")
    if float(torch.rand((), generator=generator)) < 0.5:
        noise = noise[:, :1]
    return images + 0.15 * random_factors(images, 0.7, generator) * noise


def stretch(images: Tensor, generator: torch.Generator) -> Tensor:
    """Stretch the contrast until light and dark run out."""
    middle = images.mean((2, 3), keepdim=True)
    return middle + (images - middle) * random_factors(images, 0.4, generator) * 2.2


DAMAGES: tuple[Change, ...] = (soften, emboss, streak, speckle, stretch)


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _colours(images: Tensor) -> tuple[Tensor, Tensor]:
    pixels = images.flatten(2)
    mean = pixels.mean(2, keepdim=True)
    centred = pixels - mean
    covariance = centred @ centred.transpose(1, 2) / pixels.shape[2]
    return mean, covariance + 1e-5 * torch.eye(3).to(images)


def _power(matrices: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrices)
    found: Tensor = vectors @ (values.clamp_min(1e-7).pow(exponent)[:, :, None] * vectors.transpose(1, 2))
    return found
