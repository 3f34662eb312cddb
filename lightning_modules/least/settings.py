"""Groups of LEAST's settings, as they stand in YAML: every difference between paper and public code is a field."""

from dataclasses import dataclass
from typing import Literal

from lightning_modules.errors import ImpastoError
from lightning_modules.least.networks import STRIDE
from lightning_modules.networks.padding import Padding


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of eq. 5.

    Attributes:
        direction: Lambda d, of the masked picture's direction (eq. 1).
        patch: Lambda p, of the patches' directions (eq. 2).
        content: Lambda c, of the distance to the content's features (eq. 3).
        tv: Lambda tv, of the roughness (eq. 4).
    """

    direction: float = 500.0
    patch: float = 9000.0
    content: float = 150.0
    tv: float = 2e-3


@dataclass(frozen=True)
class Canvas:
    """The square of pixels that a network is fitted on, and how a picture gets there and back.

    Attributes:
        size: Side in pixels.
        crop: Whether the canvas shows the region with its surroundings (the control ``context``); False shows the
            whole picture.
        keep_aspect: Whether things keep their shape, and what is left over is filled by reflection; False stretches.
        mask_resize: Interpolation of the mask.
        solid: A pixel belongs to the region's box where the mask is at least this share of its greatest value.
        repaint: Longest side at which a fitted network paints the picture that is kept, in pixels, if the picture is
            as large; 0 enlarges the canvas instead.
        padding: What the network sees beyond the canvas, which is often the picture's own border.
    """

    size: int = 512
    crop: bool = True
    keep_aspect: bool = True
    mask_resize: Literal["bilinear", "bicubic"] = "bilinear"
    solid: float = 0.5
    repaint: int = 0
    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        """Refuse what the network cannot halve three times.

        Raises:
            ImpastoError: If a side is no multiple of 8.
        """
        for name, side, least in (("size", self.size, 2 * STRIDE), ("repaint", self.repaint, 0)):
            if side < least or side % STRIDE:
                near = max(least, round(side / STRIDE) * STRIDE)
                raise ImpastoError(f"canvas.{name} must be a multiple of {STRIDE} pixels, not {side}: take {near}.")


@dataclass(frozen=True)
class Patches:
    """The crops of the patch term.

    Attributes:
        count: C, patches of each picture and iteration.
        size: Their side in pixels of the canvas.
        fit_box: Whether the side is at most the shorter one of the region's box.
        coverage: Share of a patch that must be region; where no place has that, the fullest ones are taken.
        distortion: Scale of the random perspective, in [0, 1]; 0 leaves the squares as they are.
        darken_twice: Whether the warp's border is multiplied by its coverage once more, as torchvision does it where a
            fill is given.
        threshold: Losses below it count as 0; 0 keeps all.
        source: Where a patch's direction starts: at the same patch of the content, or at the whole content.
        reduction: Over the patches.
        composite: Whether patches are cut out of the picture as it will be, background and all; False takes the
            network's output.
    """

    count: int = 64
    size: int = 100
    fit_box: bool = True
    coverage: float = 0.5
    distortion: float = 0.5
    darken_twice: bool = False
    threshold: float = 0.7
    source: Literal["content_patch", "content"] = "content"
    reduction: Literal["mean", "sum"] = "mean"
    composite: bool = True

    def __post_init__(self) -> None:
        """Refuse what draws nothing.

        Raises:
            ImpastoError: If a number is out of its range.
        """
        if self.count < 1 or self.size < 2:
            raise ImpastoError(f"patches needs a count of 1 and a size of 2 or more, not {self.count} and {self.size}.")
        for name in ("distortion", "coverage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ImpastoError(f"patches.{name} must lie in [0, 1], not at {getattr(self, name):g}.")


@dataclass(frozen=True)
class Structure:
    """The content term: what of the content must stay.

    Attributes:
        layers: Of the VGG.
        size: Side in pixels to which the region's box is resized.
        distance: Mean squared error of each layer, or the norm of its difference.
        masked: Whether only the region counts within its box.
        one_short: Whether the box ends a pixel early, as in the public code.
    """

    layers: tuple[str, ...] = ("relu4_2", "relu5_2")
    size: int = 512
    distance: Literal["mse", "norm"] = "mse"
    masked: bool = True
    one_short: bool = False


@dataclass(frozen=True)
class Schedule:
    """The learning rate, as a function of the job's iteration: ``lr * factor ** ((iteration + 1) // every)``.

    The public code steps its schedule before the first update, hence the 1.

    Attributes:
        every: Iterations between two steps.
        factor: Of each.
    """

    every: int = 100
    factor: float = 0.5

    def share(self, iteration: int) -> float:
        """Return what is left of the learning rate.

        Examples:
            >>> [Schedule().share(iteration) for iteration in (0, 98, 99, 198, 199)]
            [1.0, 1.0, 0.5, 0.5, 0.25]
        """
        return float(self.factor ** ((iteration + 1) // self.every))
