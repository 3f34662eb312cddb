"""Read and write videos a few frames at a time; times, size, rotation and sound come out as they went in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.video_colours import BT709, BT2020, is_foreign, to_bt709
from datamodules.video_probe import VideoLayout, opened, probe, url, video_stream
from datamodules.video_sound import SoundCopy
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing

if TYPE_CHECKING:  # PyAV takes a while to load, and only videos need it
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)
WRITABLE_VIDEOS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
# Constant quality, hard to tell from the pictures that were painted; the codecs' scales differ.
_QUALITY = {"libx264": {"crf": "18"}, "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"}}
_LIMITED_RANGE = 1
_UNNAMED_MATRIX = 2
_HIGH_DEFINITION = 720  # lines; from here on a matrix that a file does not name is BT.709's, below BT.601's


class Frames(NamedTuple):
    """Some consecutive frames of a clip.

    Attributes:
        pictures: ``(B, 3, H, W)``, float32, RGB in [0, 1], as a person would see them.
        times: When each appears, in seconds, one after the other.
    """

    pictures: Tensor
    times: list[Fraction]


class VideoReader:
    """Reads a video; a file without a full set of frames is refused before the first is decoded.

    Args:
        path: A file in any format that FFmpeg decodes; the suffix does not matter.

    Attributes:
        path: The file.
        layout: What the clip has apart from its pictures and its sound.
        count: Number of frames.

    Raises:
        VideoReadError: If the file is missing, a folder, no video, without frames, truncated, or of an unknown codec.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        found = probe(self.path)
        self.layout = found.layout
        self.count = found.count
        self._clock = found.clock

    def batches(self, size: int) -> Iterator[Frames]:
        """Decode the clip from its beginning.

        Args:
            size: Number of frames in every batch but the last.

        Yields:
            Batches in order of time; pictures have 8 bits a channel and the size of the first one, lie over white
            where they are transparent, and colours of a wide gamut or of high dynamic range are brought to BT.709.

        Raises:
            VideoReadError: If a frame is damaged.
        """
        pictures: list[Tensor] = []
        times: list[Fraction] = []
        time: Fraction | None = None
        with opened(self.path) as container:
            stream = video_stream(container, self.path)
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                time = self._time(frame.pts, time)
                times.append(time)
                pictures.append(self._picture(frame))
                if len(pictures) == size:
                    yield _batch(pictures, times)
                    pictures, times = [], []
        if pictures:
            yield _batch(pictures, times)

    def _time(self, stamp: int | None, before: Fraction | None) -> Fraction:
        """Return when a frame appears: always after the one before, whatever the file says."""
        if stamp is None:
            return Fraction(0) if before is None else before + 1 / self.layout.rate
        time = self._clock.time(stamp)
        return time if before is None else max(time, before + self.layout.time_base)

    def _picture(self, frame: VideoFrame) -> Tensor:
        from av.video.reformatter import Interpolation

        height, width = self.layout.stored
        foreign = is_foreign(frame)
        see_through = any(component.is_alpha for component in frame.format.components)
        pixels: NDArray[Any] = frame.reformat(
            width,
            height,
            ("rgba" if see_through else "rgb24") if not foreign else ("rgba64le" if see_through else "rgb48le"),
            src_colorspace=self._matrix(frame),
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        ).to_ndarray()
        if foreign:
            colours = to_bt709(pixels[..., :3], frame.color_primaries, frame.color_trc)
            pixels = np.concatenate([colours, (pixels[..., 3:] // 257).astype(np.uint8)], -1)
        if see_through:
            opacity = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
        return torch.from_numpy(pixels).permute(2, 0, 1).rot90(self.layout.rotation // 90, (1, 2))

    def _matrix(self, frame: VideoFrame) -> str | None:
        """Return the matrix that a file leaves open; None leaves it to the file, or to FFmpeg, which takes BT.601."""
        if frame.colorspace != _UNNAMED_MATRIX:
            return None
        if frame.color_primaries == BT2020:
            return "BT2020"
        return "ITU709" if self.layout.stored[0] >= _HIGH_DEFINITION else None


class VideoWriter:
    """Writes a video, inside a ``with`` block, so that the file appears whole at its end or not at all.

    ``.webm`` becomes VP9, the others H.264. The colours of H.264 have half the resolution (4:2:0), as every player
    expects, or where a side is odd the full one (4:4:4), without which the size could not be kept. MP4 and MOV keep
    times exactly, MKV and WebM to the millisecond.

    Args:
        path: Target with a suffix of ``WRITABLE_VIDEOS``; missing folders are made.
        layout: What the clip has apart from its pictures and its sound.
        sound: A video whose sound is copied as it is, where it has any.

    Attributes:
        full_colour: Whether H.264 stores colours in full resolution, which some players do not show.

    Raises:
        ImpastoError: If the suffix is another one, FFmpeg has no such encoder here, the file cannot hold such sound, or
            cannot be written.
    """

    def __init__(self, path: Path | str, layout: VideoLayout, *, sound: Path | None = None) -> None:
        self.path = Path(path)
        codec = WRITABLE_VIDEOS.get(self.path.suffix.lower())
        if codec is None:
            raise ImpastoError(f"Cannot write {self.path}: choose a name that ends in {', '.join(WRITABLE_VIDEOS)}.")
        self.full_colour = codec == "libx264" and any(side % 2 for side in layout.size)
        self._layout = layout
        self._place = ExitStack()  # holds the temporary file until the clip is whole
        self._container: OutputContainer | None = None
        self._sound: SoundCopy | None = None
        self._held: VideoFrame | None = None
        with self._guarded():
            self._open(codec, sound)

    def _open(self, codec: str, sound: Path | None) -> None:
        import av

        temporary = self._place.enter_context(replacing(self.path))
        self._container = av.open(url(temporary), "w")
        self._stream = self._add_stream(self._container, codec)
        self._stream.codec_context.open()
        if sound is not None:
            self._sound = SoundCopy(sound, self._container)
        with self._blaming_sound():
            self._container.start_encoding()

    @contextmanager
    def _blaming_sound(self) -> Iterator[None]:
        """Take a file that is refused as a whole, though the encoder takes its pictures, for one of a wrong sound."""
        from av.error import ArgumentError

        try:
            yield
        except ArgumentError as error:
            if self._sound is None or not self._sound.has_tracks:
                raise
            raise self._sound.refusal() from error

    def _add_stream(self, container: OutputContainer, codec: str) -> VideoStream:
        from av.codec.context import Flags

        layout = self._layout
        stream: Any = container.add_stream(codec, rate=layout.rate, options=dict(_QUALITY[codec]))
        stream.height, stream.width = layout.stored
        stream.pix_fmt = "yuv444p" if self.full_colour else "yuv420p"
        stream.time_base = layout.time_base
        context = stream.codec_context
        context.time_base = layout.time_base
        context.sample_aspect_ratio = layout.aspect
        # Frames that wait for later ones have a second set of times, and MP4 takes the durations from that one.
        context.max_b_frames = 0
        context.flags |= Flags.frame_duration
        context.colorspace, context.color_range = BT709, _LIMITED_RANGE
        context.color_primaries, context.color_trc = layout.primaries, layout.transfer
        if layout.rotation:
            stream.set_display_rotation(layout.rotation)
        return stream  # type: ignore[no-any-return]

    def write(self, frames: Frames) -> None:
        """Append frames.

        Args:
            frames: Pictures of the layout's size, clipped to [0, 1], and times that go on from the last call's.

        Raises:
            ImpastoError: If the file cannot be written any further.
        """
        expected = (len(frames.times), 3, *self._layout.size)
        if frames.pictures.shape != expected:
            raise ValueError(f"expected pictures of shape {expected}, got {tuple(frames.pictures.shape)}")
        upright = frames.pictures.detach().float().cpu().clamp(0, 1).mul(255).add(0.5).byte()
        stored = upright.rot90(-(self._layout.rotation // 90), (2, 3)).permute(0, 2, 3, 1).contiguous().numpy()
        with self._guarded():
            for pixels, time in zip(stored, frames.times, strict=True):
                frame = self._frame(pixels, round(time / self._layout.time_base))
                self._encode(frame.pts)
                self._held = frame
                if self._sound is not None:
                    self._sound.copy(time)

    def _frame(self, pixels: NDArray[np.uint8], stamp: int) -> VideoFrame:
        from av import VideoFrame
        from av.video.reformatter import Interpolation

        frame = VideoFrame.from_ndarray(pixels, "rgb24").reformat(
            format=self._stream.pix_fmt,
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        )
        frame.color_primaries, frame.color_trc = self._layout.primaries, self._layout.transfer
        frame.time_base, frame.pts = self._layout.time_base, stamp
        return frame

    def _encode(self, until: int | None) -> None:
        """Encode the frame that waits for its duration: up to the next one, or the layout's for the last."""
        if self._held is None or self._held.pts is None or self._container is None:
            return
        until = self._held.pts + round(self._layout.last / self._layout.time_base) if until is None else until
        self._held.duration = until - self._held.pts
        self._container.mux(self._stream.encode(self._held))
        self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._discard(error)
            return
        with self._guarded():
            self._finish()

    def _finish(self) -> None:
        assert self._container is not None  # noqa: S101 - opened by the constructor
        self._encode(None)
        self._container.mux(self._stream.encode())
        if self._sound is not None:
            self._sound.copy()
        with self._blaming_sound():
            self._container.close()
        if self._sound is not None:
            self._sound.close()
        self._place.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Leave nothing behind where the block fails, and say why in one sentence."""
        from av.codec.codec import UnknownCodecError
        from av.error import FFmpegError

        try:
            yield
        except UnknownCodecError as error:
            self._discard(error)
            raise ImpastoError(f"FFmpeg cannot encode {error} here: install PyAV from its wheels.") from error
        except (FFmpegError, OSError) as error:
            self._discard(error)
            reason = error.strerror or error
            raise ImpastoError(f"Cannot write {self.path} ({reason}): choose another place.") from error
        except BaseException as error:
            self._discard(error)
            raise

    def _discard(self, error: BaseException) -> None:
        try:
            with suppress(Exception):  # what could not be written cannot be completed either
                if self._sound is not None:
                    self._sound.close()
                if self._container is not None:
                    self._container.close()
        finally:
            with suppress(OSError):  # nor can what was never begun be removed
                self._place.__exit__(type(error), error, error.__traceback__)


def is_video_name(name: str) -> bool:
    """Tell whether a file name looks like a video's; hidden files do not."""
    return not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES


def _batch(pictures: list[Tensor], times: list[Fraction]) -> Frames:
    return Frames(torch.stack(pictures).float().div_(255), times)
