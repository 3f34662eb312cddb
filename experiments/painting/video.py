"""Paint videos: frame by frame with one style, and how steady the result is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.markup import escape
from rich.progress import Progress
from torch import Tensor, nn

from datamodules.video import WRITABLE_VIDEOS, VideoReader, VideoWriter
from datamodules.video_probe import VideoLayout
from experiments.failures import is_out_of_memory
from experiments.painting.heatmap import MovingHeatMap, StillHeatMap
from experiments.painting.inference import TooLargeError
from experiments.painting.regions import Region
from experiments.painting.sizing import AS_THEY_ARE, Sizing
from lightning_modules.base import StyleTransferModule
from lightning_modules.conditions import resized
from lightning_modules.controls import Value
from lightning_modules.paths import shown
from lightning_modules.weights import WeightsSource, load_lpips
from metrics.base import stand_in_suffix
from metrics.temporal import TemporalLPIPS


class VideoPainter:
    """Paints clips with one method and one style, and measures how much their adjacent frames differ.

    Args:
        model: The method.
        style: ``(3, h, w)``, RGB in [0, 1], or None.
        prompt: Text, instead of a style image.
        alpha: Strength; 1 is the trained one, None the one that the method was configured with.
        controls: Values of the method's inference controls.
        seed: Of the random numbers that a method may draw, set anew before every batch.
        batch: Frames that are painted at once.
        sizing: At what size clips are painted.
        weights: Where the network of TemporalLPIPS comes from.

    Raises:
        ImpastoError: If that network's weights are not here and cannot be fetched.
    """

    def __init__(
        self,
        model: StyleTransferModule,
        *,
        style: Tensor | None = None,
        prompt: str | None = None,
        alpha: float | None = None,
        controls: Mapping[str, Value] | None = None,
        seed: int = 0,
        batch: int = 4,
        sizing: Sizing = AS_THEY_ARE,
        weights: WeightsSource = "auto",
    ) -> None:
        self._model = model
        self._condition: dict[str, Any] = {
            "style": None if style is None else style[None].to(model.device),
            "prompt": prompt,
            "alpha": alpha,
            "controls": controls,
        }
        self._seed = seed
        self._batch = batch
        self._sizing = sizing
        self.steadiness = Steadiness(load_lpips(weights, trunk="alex"))

    def paint(
        self,
        source: Path,
        target: Path,
        progress: Progress,
        *,
        heatmap: Path | None = None,
        region: Region = Region(),
    ) -> None:
        """Paint one clip; times, size, rotation and sound are those of the source.

        Args:
            source: A video.
            target: The file to write.
            progress: Gets one more bar.
            heatmap: Also write a heat map of the differences of adjacent frames, as a picture or as a video.
            region: Where to paint, the same in every frame.

        Raises:
            ImpastoError: If the clip cannot be read, painted or written; nothing is left of what was written then.
        """
        reader = VideoReader(source)
        layout = replace(reader.layout, size=self._sizing.of(reader.layout.size, even=True))
        mask = region.of(source, layout.size)
        task = progress.add_task(escape(shown(source.name)), total=reader.count)
        self.steadiness.begin()
        heat = nullcontext() if heatmap is None else _heat_map(heatmap, layout, reader.count)
        # The heat map is finished last: where it fails, the clip is there.
        with heat as differences, VideoWriter(target, layout, sound=source) as writer:
            for frames in reader.batches(self._batch):
                content = resized(frames.pictures, layout.size)
                stylized = self._stylize(content, mask)
                writer.write(frames._replace(pictures=stylized))
                self.steadiness.update(content.to(self._model.device), stylized.to(self._model.device))
                if differences is not None:
                    differences.update(content, stylized, frames.times)
                progress.advance(task, len(content))
        self.steadiness.end()
        if writer.full_colour:
            height, width = layout.size
            print(
                f"{target}: a side of {width} x {height} pixels is odd, so its colours are stored in full resolution "
                "(H.264 4:4:4), which some players do not show.",
                file=sys.stderr,
            )

    def _stylize(self, content: Tensor, mask: Tensor | None) -> Tensor:
        torch.manual_seed(self._seed)
        region = None if mask is None else mask[None].to(self._model.device)
        try:
            return self._model.stylize(content.to(self._model.device), mask=region, **self._condition).cpu()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            count, _, height, width = content.shape
            raise TooLargeError(
                f"{count} frames of {width} x {height} pixels do not fit into memory: take fewer with --batch, or "
                "shrink them with --max-side."
            ) from error


class _Measured(NamedTuple):
    """TemporalLPIPS of one clip."""

    stylized: float
    content: float
    pairs: int


class Steadiness:
    """TemporalLPIPS of paintings, and of what they were made from, over all clips that were painted to their end.

    Args:
        network: ``(a, b) -> (B,)`` on pictures in [0, 1].
    """

    def __init__(self, network: nn.Module) -> None:
        self._stylized, self._content = TemporalLPIPS(network), TemporalLPIPS(network)
        self._frames = 0
        self._clips: list[_Measured] = []

    def begin(self) -> None:
        """Start a clip, and forget the one before where it did not come to its end."""
        self._frames = 0
        self._stylized.reset()
        self._content.reset()

    def update(self, content: Tensor, stylized: Tensor) -> None:
        """Count the clip's next frames, ``(B, 3, H, W)`` in [0, 1]; none where they are too small for the network."""
        if min(content.shape[-2:]) < self._stylized.smallest:
            return
        clip = torch.zeros(len(content), dtype=torch.int64)
        self._stylized.update(stylized, clip)
        self._content.update(content, clip)
        self._frames += len(content)

    def end(self) -> None:
        """End the clip."""
        if self._frames > 1:
            values = float(self._stylized.compute()), float(self._content.compute())
            self._clips.append(_Measured(*values, self._frames - 1))

    def report(self) -> str:
        """Return the means over all pairs of adjacent frames, and the convention, in two lines."""
        key = "temporal_lpips" + stand_in_suffix(self._stylized.sources)
        pairs = sum(clip.pairs for clip in self._clips)
        if not pairs:
            return f"{key}: no two adjacent frames of at least {self._stylized.smallest} pixels a side to compare"
        stylized = sum(clip.stylized * clip.pairs for clip in self._clips) / pairs
        content = sum(clip.content * clip.pairs for clip in self._clips) / pairs
        clips = f"{len(self._clips)} clip{'s' if len(self._clips) > 1 else ''}"
        return (
            f"{key}: stylised {stylized:.4f}, input {content:.4f} (pairs: {pairs}, of {clips})\n"
            f"{key}: {self._stylized.convention}"
        )


def _heat_map(path: Path, layout: VideoLayout, count: int) -> MovingHeatMap | StillHeatMap:
    return MovingHeatMap(path, layout) if path.suffix.lower() in WRITABLE_VIDEOS else StillHeatMap(path, count)
