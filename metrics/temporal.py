"""How steady a stylised clip is: the distance between adjacent frames, and between frames moved along the flow."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.base import ANYWHERE, Average, PictureMetric, smallest_side, source_of
from metrics.frame_distance import FrameDistance
from metrics.functional.checks import check_finite, one_of
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import as_float64, full_precision
from metrics.functional.temporal import FlowNorm, warped_error


class _Last(NamedTuple):
    """The last frame of a clip, waiting for the next one."""

    number: int
    size: tuple[int, ...]
    features: list[Tensor]


class ClipMetric(PictureMetric, ABC):
    """The mean over pairs of adjacent frames of one clip, whichever batches the two frames came in.

    A frame is paired with the one before it in *its own* clip, never with a neighbour in the batch or the end of the
    batch before. What is known about a frame is kept until the next update brings its successor; it is no state, and
    ranks must hold whole clips, or the pair across the cut is missing.

    The states are one value and one key for every pair. Where frame numbers are given, a pair that a padded sampler
    repeats counts once.

    Args:
        average: ``micro`` counts every pair the same, ``macro`` every clip.

    Raises:
        ImpastoError: If there is no such average.
    """

    inputs: ClassVar[tuple[str, ...]] = ("stylized", "clip")
    smallest = 1
    pairs: list[Tensor]
    keys: list[Tensor]

    def __init__(self, average: Average = "micro") -> None:
        super().__init__()
        self.average = one_of(average, Average, "average")
        self.add_state("pairs", [], dist_reduce_fx="cat")
        self.add_state("keys", [], dist_reduce_fx="cat")
        self._last: dict[int, _Last] = {}
        self._begin()

    def _begin(self) -> None:
        # A gather needs a tensor of every rank, of one type and number of dimensions: keys are kept flat.
        self.pairs.append(torch.empty(0, dtype=torch.float64, device=self._shelf))
        self.keys.append(torch.empty(0, dtype=torch.int64, device=self._shelf))
        self._last = {}

    @property
    def _shelf(self) -> torch.device:
        """Where the states lie; Apple's GPUs hold no float64."""
        device: torch.device = self.device
        return as_float64(torch.empty(0, device=device)).device

    def reset(self) -> None:
        """Forget everything seen so far, the last frames too."""
        super().reset()
        self._begin()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Count frames and return the mean of the pairs that they complete, nan where there are none."""
        before = len(self.pairs)
        self.update(*args, **kwargs)
        return torch.cat([torch.empty(0, dtype=torch.float64, device=self._shelf), *self.pairs[before:]]).mean()

    def compute(self) -> Tensor:
        """Return the mean of all pairs so far, a float64 scalar; nan without one."""
        values, clips = self._counted()
        if self.average == "micro" or not len(values):
            return values.mean()
        _, position, counts = clips.unique(return_inverse=True, return_counts=True)
        sums = torch.zeros(len(counts), dtype=values.dtype, device=values.device).index_add_(0, position, values)
        mean: Tensor = (sums / counts).mean()
        return mean

    def resampled(self) -> tuple[Tensor, Tensor] | None:
        """Return the values of all pairs, which belong together clip by clip; None for the mean over clips."""
        return self._counted() if self.average == "micro" else None

    def _counted(self) -> tuple[Tensor, Tensor]:
        """Return the value and the clip of every pair, each pair once, in the order of clips and frames."""
        values, keys = (torch.cat(state) if isinstance(state, list) else state for state in (self.pairs, self.keys))
        keys = keys.view(-1, 2)  # clip, frame
        order = torch.argsort(keys[:, 1], stable=True)
        order = order[torch.argsort(keys[order, 0], stable=True)]
        values, keys = values[order], keys[order]
        first = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
        first[1:] = (keys[1:] != keys[:-1]).any(1) | (keys[1:, 1] == ANYWHERE)
        return values[first], keys[first, 0]

    @abstractmethod
    def _distance(self, features: Sequence[Tensor], previous: Sequence[Tensor]) -> Tensor:
        """Return ``(1,)`` from the features of one frame and of the one before it; ``(0,)`` if they do not compare."""

    def _count(self, frames: Tensor, features: Sequence[Tensor], clip: Tensor, frame: Tensor | None) -> None:
        """Pair the frames of a batch, each by its row of every tensor in ``features``."""
        clips, numbers = _numbers(clip, "clip", len(frames)), _numbers(frame, "frame", len(frames))
        size = tuple(frames.shape[1:])
        last, values, keys = dict(self._last), [], []
        for row, (name, number) in enumerate(zip(clips, numbers, strict=True)):
            ours = [part[row : row + 1] for part in features]
            before = last.get(name)
            if before is not None and (frame is None or number == before.number + 1):
                if before.size != size:
                    raise ImpastoError(f"The frames of clip {name} differ in size: {before.size} and {size}.")
                value = self._distance(ours, [part.to(frames.device) for part in before.features])
                values.append(value)
                keys += [name, number] * len(value)
            last[name] = _Last(number, size, ours)
        found = check_finite(as_float64(torch.cat(values)), "distance of two frames") if values else None
        # Copies, for a slice would keep the whole batch alive.
        self._last = {
            name: last[name]._replace(features=[part.clone() for part in last[name].features]) for name in set(clips)
        }
        if found is not None:
            self.pairs.append(found.to(self._shelf))
            self.keys.append(torch.tensor(keys, dtype=torch.int64, device=self._shelf))


class TemporalLPIPS(ClipMetric):
    """The mean perceptual distance between adjacent frames of stylised clips; lower is steadier.

    ``mean_t d(I_t, I_{t-1})`` over the pairs of every clip. Frames ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at
    least 16 pixels a side (32 for AlexNet), at their own size (the value depends on it). At least 0, exactly 0 for a
    still clip. Motion is not compensated: the value of the untouched content clip is the floor to read it against. Each
    frame goes through the network once.

    Args:
        network: ``(a, b) -> (B,)`` on pictures in [0, 1], such as `lightning_modules.weights.load_lpips` returns.
        average: ``micro`` counts every pair the same, ``macro`` every clip.

    Source: ContraAST, section 4.3 and table 2 (18 clips; neither the network nor the average is named there).

    Examples:
        >>> import torch
        >>> class Gap(torch.nn.Module):
        ...     def forward(self, a, b):
        ...         return (a - b).abs().mean((1, 2, 3))
        >>> metric = TemporalLPIPS(Gap())
        >>> levels = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)
        >>> metric.update(levels.expand(3, 3, 16, 16), clip=torch.tensor([7, 7, 8]))
        >>> float(metric.compute())
        0.5
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(self, network: nn.Module, average: Average = "micro") -> None:
        super().__init__(average)
        self._split = FrameDistance(network)
        self._network = self._split.held
        self.smallest = smallest_side(network, 16)

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        network = self._network.network
        return (
            f"perceptual distance of adjacent frames of one clip, {_AVERAGES[self.average]}, "
            f"{type(network).__name__} with weights {source_of(network)}, native size, motion not compensated"
        )

    def update(self, frames: Tensor, clip: Tensor, frame: Tensor | None = None) -> None:
        """Count frames.

        Args:
            frames: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            clip: ``(B,)``, int64, the clip that each belongs to.
            frame: ``(B,)``, int64, its number in the clip; only frames whose numbers follow on each other make a pair.
                By default the frames of a clip are taken to come one after the other.

        Raises:
            ImpastoError: If shape, type or range is wrong, or the frames of a clip differ in size.
        """
        pictures = as_pictures(frames, "stylized", self.smallest)
        if len(pictures):
            with full_precision(frames.device):
                self._count(pictures, self._split.describe(pictures), clip, frame)

    def _distance(self, features: Sequence[Tensor], previous: Sequence[Tensor]) -> Tensor:
        return self._split.distance(features, previous)


class FlowWarpedError(ClipMetric):
    """The mean difference between frames and the frames before them, moved along the optical flow of the content.

    ``mean_t sum_x M_t(x) |I_t(x) - I_{t-1}(x + flow_t(x))|^2 / sum_x M_t(x)`` as in
    `metrics.functional.temporal.warped_error`. Frames ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8. In [0, 1], lower
    is steadier, exactly 0 for a still clip. A picture of one colour is the steadiest of all: read it beside a
    measure of style.

    Args:
        norm: ``mse``, ``rmse`` or ``mae`` over the pixels of a pair that are to be seen in both frames.
        average: ``micro`` counts every pair the same, ``macro`` every clip.

    Source: Lai et al. 2018, eq. 9-10.

    Examples:
        >>> import torch
        >>> metric = FlowWarpedError()
        >>> frame = torch.rand(1, 3, 4, 4)
        >>> moved = torch.cat([frame, frame.roll(1, dims=3)])
        >>> flow = torch.tensor([-1.0, 0.0]).view(1, 2, 1, 1).expand(2, 2, 4, 4)
        >>> metric.update(moved, torch.tensor([0, 0]), flow)
        >>> float(metric.compute())
        0.0
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    inputs: ClassVar[tuple[str, ...]] = ("stylized", "clip", "flow")

    def __init__(self, norm: FlowNorm = "mse", average: Average = "micro") -> None:
        super().__init__(average)
        self.norm: FlowNorm = one_of(norm, FlowNorm, "norm of the warped error")

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            f"{self.norm.upper()} of RGB 0..1 between frames and the ones before them, moved along the given flow, "
            f"occluded and outer pixels left out, {_AVERAGES[self.average]}, native size"
        )

    def update(
        self,
        frames: Tensor,
        clip: Tensor,
        flow: Tensor,
        occlusion: Tensor | None = None,
        frame: Tensor | None = None,
    ) -> None:
        """Count frames.

        Args:
            frames: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            clip: ``(B,)``, int64, the clip that each belongs to.
            flow: ``(B, 2, H, W)``, in pixels, right and down, from each frame *back* to the one before it, of the
                content; that of a clip's first frame is not looked at.
            occlusion: ``(B, 1, H, W)`` or ``(B, H, W)``, True or above 0 where a pixel is not to be seen in the frame
                before; see `metrics.functional.temporal.occluded`.
            frame: ``(B,)``, int64, its number in the clip; see `TemporalLPIPS.update`.

        Raises:
            ImpastoError: If shape, type or range is wrong, or the frames of a clip differ in size.
        """
        pictures = as_pictures(frames, "stylized", self.smallest)
        size = (len(pictures), 2, *pictures.shape[-2:])
        if flow.shape != size:
            raise ImpastoError(f"Frames {tuple(pictures.shape)} need a flow {size}, got {tuple(flow.shape)}.")
        hidden = torch.zeros_like(pictures[:, :1], dtype=torch.bool)
        if occlusion is not None:
            hidden = occlusion if occlusion.ndim == 4 else occlusion.unsqueeze(1)
            if hidden.shape != (len(pictures), 1, *pictures.shape[-2:]):
                raise ImpastoError(
                    f"Frames {tuple(pictures.shape)} need an occlusion mask of one channel and their size."
                )
        if len(pictures):
            self._count(pictures, (pictures, flow, hidden), clip, frame)

    def _distance(self, features: Sequence[Tensor], previous: Sequence[Tensor]) -> Tensor:
        frames, flow, hidden = features
        error = warped_error(frames, previous[0], flow, hidden, norm=self.norm)
        return error[~error.isnan()]  # a pair without a common pixel does not count


_AVERAGES: dict[Average, str] = {"micro": "mean over all pairs", "macro": "mean over clips of the mean over pairs"}


def _numbers(values: Tensor | None, name: str, count: int) -> list[int]:
    if values is None:
        return [ANYWHERE] * count
    values = torch.as_tensor(values)
    if values.shape != (count,):
        raise ImpastoError(f"{count} frames need as many {name} numbers, got {tuple(values.shape)}.")
    return [int(value) for value in values.tolist()]
