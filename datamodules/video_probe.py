"""Find out what is in a video before anybody works on it: layout, number of frames, and whether all of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.video_colours import BT709, tags
from lightning_modules.errors import ImpastoError

if TYPE_CHECKING:  # PyAV takes a while to load, and only videos need it
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Files that state how long they are; of others FFmpeg only guesses it.
_STATE_DURATION = ("mp4", "matroska", "avi", "flv", "asf")
_FINEST_CLOCK = 10_000  # ticks a second, at least, so that a start between two frames hardly moves


class VideoReadError(ImpastoError):
    """A video that cannot be read, or its sound not kept; among others it is skipped, alone it ends a command."""


@dataclass(frozen=True)
class VideoLayout:
    """What a clip has apart from its pictures and its sound.

    Attributes:
        size: Height and width as seen, in pixels.
        rate: Frames per second; their mean where it varies.
        time_base: Every time is a multiple of this many seconds.
        last: For how long the last frame is shown, in seconds.
        rotation: By how many degrees players turn the stored pictures counter-clockwise: 0, 90, 180 or 270.
        aspect: Width of a stored pixel divided by its height.
        primaries: Of the colours as they are read; a number of ISO/IEC 23091-2.
        transfer: Function from light to values, likewise; a number of the same standard.
    """

    size: tuple[int, int]
    rate: Fraction
    time_base: Fraction
    last: Fraction
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    primaries: int = BT709
    transfer: int = BT709

    @property
    def stored(self) -> tuple[int, int]:
        """Return height and width of the pictures as they lie in the file, before players turn them."""
        return self.size if self.rotation % 180 == 0 else (self.size[1], self.size[0])


@dataclass(frozen=True)
class Clock:
    """Turns the time stamps of a file into seconds.

    Attributes:
        tick: Seconds per unit of a time stamp.
        start: Seconds from 0 to the beginning of the file.
        first: Time of the first frame after ``start``.
        rate: Frames per second where all are evenly spaced; None where they are not. Some formats round times to
            milliseconds; with the rate they are exact again.
    """

    tick: Fraction
    start: Fraction
    first: Fraction
    rate: Fraction | None

    def time(self, stamp: int) -> Fraction:
        """Return the seconds from the beginning of the file."""
        time = stamp * self.tick - self.start
        if self.rate is None:
            return time
        return self.first + round((time - self.first) * self.rate) / self.rate


@dataclass(frozen=True)
class Probe:
    """What `probe` found.

    Attributes:
        layout: Of the clip.
        clock: For its time stamps.
        count: Number of frames.
    """

    layout: VideoLayout
    clock: Clock
    count: int


@dataclass
class _Survey:
    """What one passage through a file's packets shows."""

    stamps: list[int]
    frames: int = 0
    last_stamp: int = -1
    last_duration: int = 0
    end: Fraction = Fraction(0)
    cut: bool = False
    first: VideoFrame | None = None


def probe(path: Path) -> Probe:
    """Read every packet of a video, and decode its first frame.

    Raises:
        VideoReadError: If the file is missing, a folder, no video, without frames, truncated, or of an unknown codec.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        start = Fraction(container.start_time or 0, 1_000_000)
        survey = _survey(container, stream)
        stated = Fraction(container.duration or 0, 1_000_000) if _states_duration(container) else None
        tick = stream.time_base or Fraction(1, 90_000)
        rates = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate]
        aspect = stream.sample_aspect_ratio or Fraction(1)
    if survey.first is None:
        raise VideoReadError(f"{path} holds no frame that can be decoded: convert or replace it.")
    lost = Fraction(0) if stated is None else stated - (survey.end - start)
    if survey.cut or (stated and lost > max(Fraction(1, 2), stated / 20)):
        raise VideoReadError(f"{path} is truncated, {float(survey.end - start):.1f} s of it are there: copy it again.")
    clock = _clock(survey, tick, start, rates)
    return Probe(_layout(survey, clock, rates, aspect), clock, survey.frames)


def url(path: Path) -> str:
    """Return a path for FFmpeg, which takes what stands before a colon for a protocol."""
    return f"file:{path}"


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a video; what FFmpeg complains about inside the block becomes a `VideoReadError`."""
    import av
    from av.error import FFmpegError, InvalidDataError

    _check_file(path)
    try:
        with av.open(url(path)) as container:
            yield container
    except InvalidDataError as error:
        raise VideoReadError(_refusal(path)) from error
    except FFmpegError as error:
        raise VideoReadError(f"{path} cannot be read as a video ({error.strerror}): convert or replace it.") from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the stream with the moving pictures; the picture on the cover of a record is none.

    Raises:
        VideoReadError: If there is none, or nothing here decodes it.
    """
    from av.stream import Disposition

    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        raise VideoReadError(f"{path} holds no pictures, only other tracks: give a video.")
    best = container.streams.best("video")
    stream = next((each for each in moving if best is not None and each.index == best.index), moving[0])
    if stream.codec_context is None:
        raise VideoReadError(f"{path} is coded in a way that FFmpeg cannot decode here: convert it to H.264.")
    return stream


def _check_file(path: Path) -> None:
    if not path.exists():
        raise VideoReadError(f"The video {path} does not exist: check the path.")
    if path.is_dir():
        raise VideoReadError(f"{path} is a folder where a video was expected: give a file in it.")
    if path.stat().st_size == 0:
        raise VideoReadError(f"{path} is an empty file: replace or remove it.")


def _refusal(path: Path) -> str:
    with path.open("rb") as file:
        begins_as_mp4 = b"ftyp" in file.read(12)
    if begins_as_mp4:  # its index is at the end, where a file that was cut short has none
        return f"{path} is damaged or truncated: copy it again, or replace it."
    return f"{path} is not a video, whatever its name says: convert it to MP4."


def _survey(container: InputContainer, stream: VideoStream) -> _Survey:
    survey = _Survey([])
    for packet in container.demux():
        if packet.stream.index == stream.index:
            _count(survey, packet)
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size and stamp is not None:
            survey.end = max(survey.end, (stamp + (packet.duration or 0)) * Fraction(packet.time_base or 0))
            survey.cut = packet.is_corrupt  # damage in the middle is the decoder's business
    return survey


def _count(survey: _Survey, packet: Packet[Any]) -> None:
    if survey.first is None:  # an empty packet at the end brings out what the decoder holds back
        decoded: list[Any] = list(packet.decode())
        survey.first = decoded[0] if decoded else None
    if not packet.size or packet.is_discard:  # what an edit list cuts away is no part of the clip
        return
    survey.frames += 1
    if packet.pts is None:
        return
    survey.stamps.append(packet.pts)
    if packet.pts >= survey.last_stamp:
        survey.last_stamp, survey.last_duration = packet.pts, packet.duration or 0


def _states_duration(container: InputContainer) -> bool:
    return any(name in container.format.name for name in _STATE_DURATION)


def _clock(survey: _Survey, tick: Fraction, start: Fraction, rates: list[Fraction]) -> Clock:
    stamps = sorted(survey.stamps)
    first = (stamps[0] if stamps else 0) * tick - start
    for rate in rates if len(stamps) == survey.frames else []:
        spaced = (abs((stamp - stamps[0]) * tick - number / rate) <= tick for number, stamp in enumerate(stamps))
        if all(spaced):
            base = _fine(rate)
            return Clock(tick, start, round(first / base) * base, rate)
    return Clock(tick, start, first, None)


def _fine(rate: Fraction) -> Fraction:
    """Return a time base that a rate's frames fall on."""
    parts = rate.numerator
    while parts < _FINEST_CLOCK:
        parts *= 2
    return Fraction(1, parts)


def _layout(survey: _Survey, clock: Clock, rates: list[Fraction], aspect: Fraction) -> VideoLayout:
    assert survey.first is not None  # noqa: S101 - asked before
    frame = survey.first
    rate = clock.rate or (rates[0] if rates else Fraction(25))
    rotation = round(frame.rotation / 90) * 90 % 360
    primaries, transfer = tags(frame)
    size = (frame.height, frame.width) if rotation % 180 == 0 else (frame.width, frame.height)
    return VideoLayout(
        size=size,
        rate=rate,
        time_base=clock.tick if clock.rate is None else _fine(rate),
        last=(clock.rate is None and survey.last_duration * clock.tick) or 1 / rate,
        rotation=rotation,
        aspect=aspect,
        primaries=primaries,
        transfer=transfer,
    )
