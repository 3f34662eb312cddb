"""Copy the sound of one video into another, packet by packet, as it is."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.video_probe import VideoReadError, url

if TYPE_CHECKING:  # PyAV takes a while to load, and only videos need it
    from av.container import OutputContainer
    from av.packet import Packet

_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # by their channels


class SoundCopy:
    """Copies all sound tracks, never further than the pictures have come, so that nothing piles up in the file written.

    Args:
        path: A video, with or without sound.
        output: The file to write, before its header.

    Raises:
        VideoReadError: If a file of this kind cannot hold such sound.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        import av

        self._path = path
        self._input = av.open(url(path))
        self._output = output
        streams = list(self._input.streams.audio)
        self._targets = {stream.index: self._target(stream) for stream in streams}
        self._start = Fraction(self._input.start_time or 0, 1_000_000)
        self._packets: Iterator[Packet[Any]] = self._input.demux(streams) if streams else iter(())
        self._next = next(self._packets, None)

    def _target(self, stream: Any) -> Any:
        try:
            target = self._output.add_stream_from_template(stream)
        except ValueError as error:
            raise self.refusal() from error
        layout = stream.codec_context.layout
        if layout.name == f"{layout.nb_channels} channels":  # AVI names none, and MP4 takes none without
            target.codec_context.layout = _LAYOUTS.get(layout.nb_channels, layout)
        if stream.language:
            target.metadata["language"] = stream.language
        return target

    def refusal(self) -> VideoReadError:
        """Return the error that says that a file of this kind cannot hold such sound."""
        suffix = Path(self._output.name).suffix
        kinds = ", ".join(sorted({stream.codec_context.name for stream in self._input.streams.audio}))
        return VideoReadError(
            f"A {suffix} file cannot hold the sound of {self._path} ({kinds}): choose a name in "
            f"{'.mov' if suffix == '.mkv' else '.mkv'}, or convert the sound to AAC first."
        )

    @property
    def has_tracks(self) -> bool:
        """Whether there is any sound to copy."""
        return bool(self._targets)

    def copy(self, until: Fraction | None = None) -> None:
        """Copy what is to be heard before a time, in seconds; by default all that is left."""
        while self._next is not None:
            packet, base = self._next, self._next.time_base or Fraction(1)
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None:  # the empty packet that ends a track has none
                if until is not None and stamp * base - self._start > until:
                    return
                self._mux(packet, round(self._start / base))
            self._next = next(self._packets, None)

    def _mux(self, packet: Packet[Any], start: int) -> None:
        packet.dts = None if packet.dts is None else packet.dts - start
        packet.pts = None if packet.pts is None else packet.pts - start
        packet.stream = self._targets[packet.stream.index]
        self._output.mux(packet)

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self._input.close()
