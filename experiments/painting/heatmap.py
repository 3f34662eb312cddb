"""Heat maps of how much adjacent frames differ: the input's beside the painting's, on one scale."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from datamodules.images import write_image
from datamodules.video import Frames, VideoWriter
from datamodules.video_probe import VideoLayout
from experiments.painting.inference import fit_within

FULL_SCALE = 0.25
"""What the brightest colour of a heat map that moves stands for, so that two of them can be compared."""
COLOURS = "inferno"
COLUMNS = 4  # frames beside a still heat map
THUMBNAIL = 480  # pixels
GAP = 4  # pixels


class Differences:
    """How much each frame of a clip differs from the one before, ``mean_c |I_t - I_{t-1}|``.

    Attributes:
        total: Sum of what ``update`` returned, ``(H, W)``; None before the first frame.
        pairs: Number of pairs of adjacent frames so far.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.pairs = 0
        self._last: Tensor | None = None

    def update(self, frames: Tensor) -> Tensor:
        """Return the difference of each frame from the one before, 0 for the very first.

        Args:
            frames: ``(B, 3, H, W)``, in [0, 1], those that follow the last call's.

        Returns:
            ``(B, H, W)``, in [0, 1].
        """
        before = frames[:1] if self._last is None else self._last
        differences = (frames - torch.cat([before, frames[:-1]])).abs().mean(1)
        self.pairs += len(frames) - (self._last is None)
        self._last = frames[-1:].clone()
        summed = differences.double().sum(0)
        self.total = summed if self.total is None else self.total + summed
        return differences

    def mean(self) -> Tensor:
        """Return the mean over all pairs, ``(H, W)``; nan without one."""
        assert self.total is not None  # noqa: S101 - a clip has a frame
        return self.total / self.pairs if self.pairs else torch.full_like(self.total, torch.nan)


class StillHeatMap:
    """A picture with one row for the input and one for the painting: some frames, and the mean of all differences.

    Args:
        path: Where it goes, once the ``with`` block has ended well.
        count: Number of frames of the clip.

    Source: ContraAST, figure 4, whose last column it is.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self._wanted = {round(n * (count - 1) / max(1, COLUMNS - 1)) for n in range(COLUMNS)}
        self._rows = {"input": Differences(), "stylised": Differences()}
        self._shown: dict[str, list[Tensor]] = {name: [] for name in self._rows}
        self._seen = 0

    def update(self, content: Tensor, stylized: Tensor, times: Sequence[Fraction]) -> None:
        """Count frames ``(B, 3, H, W)`` and what they were painted into."""
        for name, frames in (("input", content), ("stylised", stylized)):
            self._rows[name].update(frames)
            chosen = [n for n in range(len(frames)) if self._seen + n in self._wanted]
            self._shown[name] += [fit_within(frames[n], THUMBNAIL) for n in chosen]
        self._seen += len(times)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._seen:
            write_image(self._draw(), self.path)

    def _draw(self) -> Tensor:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        columns = len(self._shown["input"]) + 1
        height, width = self._shown["input"][0].shape[-2:]
        figure = Figure(figsize=(2.4 * columns + 0.8, 4.8 * height / width + 0.5), dpi=150, layout="constrained")
        axes = figure.subplots(2, columns, squeeze=False)
        means = {name: row.mean() for name, row in self._rows.items()}
        # One bright pixel must not darken the rest.
        top = max([1e-3, *(float(mean.quantile(0.999)) for mean in map(_thinned, means.values()) if mean.numel())])
        for row, name in zip(axes, self._rows, strict=True):
            for axis, frame in zip(row, self._shown[name], strict=False):
                axis.imshow(frame.permute(1, 2, 0).clamp(0, 1).numpy())
            colours = row[-1].imshow(means[name].numpy(), cmap=COLOURS, vmin=0, vmax=top)
            row[0].set_ylabel(name)
        axes[0, -1].set_title("difference of adjacent frames", fontsize="small")
        figure.colorbar(colours, ax=axes[:, -1], label="mean of |change|, RGB in 0..1")
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).permute(2, 0, 1).float() / 255


class MovingHeatMap:
    """A clip with the input's differences on the left and the painting's on the right, from 0 to ``FULL_SCALE``.

    A frame shows how the clip's frame of the same time differs from the one before it; the first is black.

    Args:
        path: Where it goes, once the ``with`` block has ended well.
        layout: Of the clip that was painted.

    Raises:
        ImpastoError: If it cannot be written.
    """

    def __init__(self, path: Path, layout: VideoLayout) -> None:
        height, width = layout.size
        self._spare = height % 2  # an even height, which H.264 takes with colours of half the resolution
        size = (height + self._spare, 2 * width + GAP)
        self._writer = VideoWriter(path, VideoLayout(size, layout.rate, layout.time_base, layout.last))
        self._sides = Differences(), Differences()
        self.path = path

    def update(self, content: Tensor, stylized: Tensor, times: Sequence[Fraction]) -> None:
        """Append one frame for each of ``(B, 3, H, W)`` and what they were painted into."""
        maps = [colour(side.update(frames)) for side, frames in zip(self._sides, (content, stylized), strict=True)]
        gap = torch.ones(*maps[0].shape[:3], GAP)
        canvas = torch.nn.functional.pad(torch.cat([maps[0], gap, maps[1]], 3), (0, 0, 0, self._spare))
        self._writer.write(Frames(canvas, list(times)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)


def colour(values: Tensor, full_scale: float = FULL_SCALE) -> Tensor:
    """Return the colours of values ``(B, H, W)``, where 0 is black and ``full_scale`` or more the brightest.

    Returns:
        ``(B, 3, H, W)``, RGB in [0, 1].
    """
    from matplotlib import colormaps

    table = torch.from_numpy(colormaps[COLOURS](np.arange(256))[:, :3]).float()
    return table[(values / full_scale * 255).round().clamp(0, 255).long()].permute(0, 3, 1, 2)


def _thinned(values: Tensor) -> Tensor:
    """Return a sample of values without nan, small enough for torch's quantile."""
    flat = values.flatten()
    flat = flat[:: 1 + len(flat) // 1_000_000]
    return flat[~flat.isnan()]
