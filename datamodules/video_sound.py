"""Copy the sound of one video into another, packet by packet, as it is."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.video_probe import VideoReadError

if TYPE_CHECKING:  # PyAV takes a while to load, and only videos need it
    from av.container import OutputContainer
    from av.packet import Packet


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

        self._input = av.open(str(path))
        self._output = output
        streams = list(self._input.streams.audio)
        self._targets = {stream.index: self._target(path, stream) for stream in streams}
        self._start = Fraction(self._input.start_time or 0, 1_000_000)
        self._packets: Iterator[Packet[Any]] = self._input.demux(streams) if streams else iter(())
        self._next = next(self._packets, None)

    def _target(self, path: Path, stream: Any) -> Any:
        try:
            target = self._output.add_stream_from_template(stream)
        except ValueError as error:
            raise VideoReadError(
                f"A {Path(self._output.name).suffix} file cannot hold the sound of {path}: choose a name in .mkv."
            ) from error
        if stream.language:
            target.metadata["language"] = stream.language
        return target

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
