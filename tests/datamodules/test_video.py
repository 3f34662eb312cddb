import ast
import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import Interpolation

from datamodules import video, video_probe, video_sound
from datamodules.video import Frames, VideoReader, VideoWriter, is_video_name
from datamodules.video_probe import VideoLayout, VideoReadError
from lightning_modules.errors import ImpastoError

NTSC = Fraction(30000, 1001)
SMOOTH = Interpolation.BICUBIC | Interpolation.ACCURATE_RND


def picture(number, size):
    """A sky that darkens from frame to frame over smooth ground; the upper left corner is red."""
    height, width = size
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(40, 120, width)
    pixels[..., 1] = np.linspace(60, 160, height)[:, None]
    pixels[..., 2] = 240 - 15 * (number % 12)
    pixels[: height // 4, : width // 4] = (220, 20, 20)
    return pixels


def write_clip(
    path, *, size=(32, 48), count=12, rate=NTSC, stamps=None, rotation=0, sound="aac", codec="libx264", **options
):
    """Write with PyAV alone; ``stamps`` are milliseconds of a variable rate."""
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "4"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.codec_context.max_b_frames = 0
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=48000) if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), "rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone is not None:
            write_sine(container, tone, count / rate)
    return path


def write_sine(container, tone, seconds):
    wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(48000 * seconds)) / 48000)).astype(np.float32)
    for start in range(0, len(wave), 960):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 960], "fltp", "mono")
        frame.sample_rate, frame.pts = 48000, start
        container.mux(tone.encode(frame))
    container.mux(tone.encode())


def read(path, size=5):
    """Return the reader, all pictures, all times."""
    reader = VideoReader(path)
    batches = list(reader.batches(size))
    return reader, torch.cat([batch.pictures for batch in batches]), [time for batch in batches for time in batch.times]


def copy(source, target):
    """Read a clip and write it again, with its sound."""
    reader = VideoReader(source)
    with VideoWriter(target, reader.layout, sound=source) as writer:
        for frames in reader.batches(5):
            writer.write(frames)
    return writer


def sound_packets(path):
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        return [bytes(packet) for packet in packets], [packet.pts * packet.time_base for packet in packets]


def close(a, b, tolerance=0.02):
    return float((a - b).abs().mean()) < tolerance


# ---------------------------------------------------------------------- reading


def test_a_clip_comes_in_batches_with_exact_times(tmp_path):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4"))
    assert (reader.count, reader.layout.size, reader.layout.rate) == (12, (32, 48), NTSC)
    batches = list(reader.batches(5))
    assert [len(batch.pictures) for batch in batches] == [5, 5, 2]
    assert [time for batch in batches for time in batch.times] == [n / NTSC for n in range(12)]
    expected = torch.stack([torch.from_numpy(picture(n, (32, 48))).permute(2, 0, 1) / 255 for n in range(12)])
    assert close(torch.cat([batch.pictures for batch in batches]), expected)
    assert torch.equal(read(reader.path, 1)[1], read(reader.path, 12)[1])


def test_no_more_frames_are_decoded_than_were_asked_for(tmp_path, monkeypatch):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4"))
    converted = []
    convert = VideoReader._picture
    monkeypatch.setattr(VideoReader, "_picture", lambda self, frame: converted.append(1) or convert(self, frame))
    next(reader.batches(3))
    assert len(converted) == 3


def test_rates_that_matroska_rounds_to_milliseconds_are_exact_again(tmp_path):
    reader, _, times = read(write_clip(tmp_path / "clip.mkv"))
    assert reader.layout.rate == NTSC
    assert times == [n / NTSC for n in range(12)]


def test_a_stream_that_starts_late_begins_at_0(tmp_path):
    source = write_clip(tmp_path / "clip.ts", rate=25, container_options={"output_ts_offset": "2"})
    with av.open(str(source)) as container:
        assert container.start_time > 1_000_000
    _, _, times = read(source)
    assert times[0] < Fraction(1, 10)
    assert [b - a for a, b in pairwise(times)] == [Fraction(1, 25)] * 11
    copy(source, tmp_path / "copy.mp4")
    assert abs(sound_packets(tmp_path / "copy.mp4")[1][0]) < Fraction(1, 10)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_clip_is_read_upright_and_written_as_it_was(tmp_path, rotation):
    source = write_clip(tmp_path / "clip.mp4", rotation=rotation)
    reader, pictures, _ = read(source)
    assert reader.layout.size == ((32, 48) if rotation == 180 else (48, 32))
    upright = np.rot90(picture(3, (32, 48)), rotation // 90)  # players turn counter-clockwise
    assert close(pictures[3], torch.from_numpy(upright.copy()).permute(2, 0, 1) / 255)
    copy(source, tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (32, 48)
        assert next(container.decode(stream)).rotation % 360 == rotation
    assert close(read(tmp_path / "copy.mp4")[1], pictures)


@pytest.mark.parametrize(("size", "matrix"), [((96, 64), "ITU601"), ((720, 16), "ITU709")])
def test_colours_without_a_named_matrix_follow_the_size(tmp_path, size, matrix):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((*size, 3), (200, 40, 90), np.uint8), "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range="MPEG", interpolation=SMOOTH)
        frame.colorspace = 2
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    colour = read(path)[1].mean((0, 2, 3)) * 255
    assert torch.allclose(colour, torch.tensor([200.0, 40.0, 90.0]), atol=3)


def write_plain(path, colour, pixels, *, codec="ffv1", alpha=255, matrix="ITU709", tags=(2, 2, 1, 1)):
    """Write frames of one colour, ``(R, G, B)`` of 16 bits; ``tags`` are primaries, transfer, matrix and range."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        plain = np.empty((48, 64, 4), np.uint16)
        plain[:] = (*colour, alpha * 257)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(plain, "rgba64le").reformat(
                format=pixels, dst_colorspace=matrix, dst_color_range=tags[3], interpolation=SMOOTH
            )
            frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = tags
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


RED = (200 * 257, 60 * 257, 110 * 257)


@pytest.mark.parametrize("shades", [1, 2])
@pytest.mark.parametrize(
    ("pixels", "codec"), [("yuv420p", "ffv1"), ("yuv444p10le", "ffv1"), ("yuv420p10le", "libx264")]
)
def test_range_and_depth_are_those_of_the_clip(tmp_path, pixels, codec, shades):
    path = write_plain(tmp_path / "clip.mkv", RED, pixels, codec=codec, tags=(2, 2, 1, shades))
    colour = read(path)[1].mean((0, 2, 3)) * 255
    assert torch.allclose(colour, torch.tensor([200.0, 60.0, 110.0]), atol=2.5)


@pytest.mark.parametrize("pixels", ["gray", "gray16le", "gbrp10le"])
def test_grey_and_rgb_are_read(tmp_path, pixels):
    colour = read(write_plain(tmp_path / "clip.mkv", (30000,) * 3, pixels, tags=(2, 2, 2, 2)))[1]
    assert torch.allclose(colour, torch.tensor(30000 / 65535), atol=1.5 / 255)


@pytest.mark.parametrize("pixels", ["bgra", "yuva420p"])
@pytest.mark.parametrize(("alpha", "wanted"), [(255, (200, 60, 110)), (0, (255, 255, 255)), (102, (233, 177, 197))])
def test_transparency_lies_over_white(tmp_path, pixels, alpha, wanted):
    named = 1 if pixels.startswith("yuv") else 2
    path = write_plain(tmp_path / "clip.mkv", RED, pixels, alpha=alpha, tags=(2, 2, named, 1 if named == 1 else 2))
    colour = read(path)[1].mean((0, 2, 3)) * 255
    assert torch.allclose(colour, torch.tensor(wanted).float(), atol=2.5)


def pq(light):
    """The value of BT.2100's perceptual quantiser for cd/m2."""
    power = (light / 10000) ** (1305 / 8192)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


@pytest.mark.parametrize(
    ("value", "transfer", "low", "high"),
    [(pq(203), 16, 242, 250), (pq(50), 16, 130, 155), (0.75, 18, 242, 250), (0.38, 18, 95, 125), (0.5, 14, 125, 130)],
)
def test_high_dynamic_range_is_brought_to_that_of_a_picture(tmp_path, value, transfer, low, high):
    path = write_plain(
        tmp_path / "clip.mkv", (round(value * 65535),) * 3, "yuv420p10le", matrix="BT2020", tags=(9, transfer, 9, 1)
    )
    reader, pictures, _ = read(path)
    assert low <= pictures.mean() * 255 <= high
    assert reader.layout.primaries == 1  # so that players do not convert a second time
    assert reader.layout.transfer == (14 if transfer == 14 else 1)


@pytest.mark.parametrize("primaries", [9, 12])
def test_a_wide_gamut_is_brought_to_bt709(tmp_path, primaries):
    path = write_plain(tmp_path / "clip.mkv", (45000, 30000, 30000), "yuv444p10le", tags=(primaries, 1, 1, 1))
    # Matrices of ITU-R BT.2087, and of Display P3 from the same chromaticities.
    matrix = {
        9: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
        12: [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
    }[primaries]
    light = (np.array([45000, 30000, 30000]) / 65535) ** 2.4
    wanted = (np.array(matrix) @ light) ** (1 / 2.4) * 255
    assert np.abs(read(path)[1].mean((0, 2, 3)).numpy() * 255 - wanted).max() < 1.5


# ---------------------------------------------------------------------- writing


@pytest.mark.parametrize("size", [(32, 48), (31, 47), (32, 47)])
@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".webm"])
def test_what_is_written_has_the_rate_size_times_and_pictures(tmp_path, suffix, size):
    source = write_clip(tmp_path / "clip.mp4", size=size, sound="libopus" if suffix == ".webm" else "aac")
    writer = copy(source, tmp_path / f"copy{suffix}")
    assert writer.full_colour == (size != (32, 48) and suffix != ".webm")
    reader, pictures, times = read(tmp_path / f"copy{suffix}")
    assert (reader.count, reader.layout.size, reader.layout.rate) == (12, size, NTSC)
    assert [time - times[0] for time in times] == [n / NTSC for n in range(12)]
    assert close(pictures, read(source)[1])
    (before, before_times), (after, after_times) = map(sound_packets, (source, tmp_path / f"copy{suffix}"))
    assert before == after
    # Matroska knows no time below 0, where AAC begins: there both tracks start a little later.
    lag = times[0] - (after_times[0] - before_times[0])
    assert abs(lag) <= Fraction(1, 1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["clip.mp4", f"copy{suffix}"])


def test_sound_stays_in_step(tmp_path):
    source = write_clip(tmp_path / "clip.mp4")
    copy(source, tmp_path / "copy.mp4")
    assert sound_packets(tmp_path / "copy.mp4") == sound_packets(source)


def test_a_clip_without_sound_stays_without(tmp_path):
    copy(write_clip(tmp_path / "clip.mp4", sound=None), tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rates_keep_every_time(tmp_path, suffix):
    stamps = [0, 40, 50, 130, 131, 300, 320, 500, 533, 700, 1000, 1500]
    source = write_clip(tmp_path / f"clip{suffix}", stamps=stamps)
    reader, _, times = read(source)
    assert times == [Fraction(stamp, 1000) for stamp in stamps]
    copy(source, tmp_path / "copy.mp4")
    again, _, copied = read(tmp_path / "copy.mp4")
    assert copied == times
    assert again.layout.last == reader.layout.last


def test_the_last_frame_stays_as_long_as_it_should(tmp_path):
    layout = VideoLayout((32, 48), Fraction(25), Fraction(1, 12800), last=Fraction(2, 5))
    with VideoWriter(tmp_path / "clip.mp4", layout) as writer:
        writer.write(Frames(torch.rand(3, 3, 32, 48), [Fraction(n, 25) for n in range(3)]))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].duration * container.streams.video[0].time_base == Fraction(12, 25)


def test_named_colours_and_pixel_shape_are_kept(tmp_path):
    layout = VideoLayout((32, 48), Fraction(25), Fraction(1, 12800), Fraction(1, 25), 0, Fraction(4, 3), 5, 6)
    with VideoWriter(tmp_path / "clip.mp4", layout) as writer:
        writer.write(Frames(torch.rand(2, 3, 32, 48), [Fraction(0), Fraction(1, 25)]))
    assert VideoReader(tmp_path / "clip.mp4").layout == layout


@pytest.mark.parametrize("name", ["take12:30.mp4", "a: b/take 1:2.mkv", "file:x.mp4", os.fsdecode(b"caf\xe9.mp4")])
def test_names_are_no_addresses(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4")
    Path(name).parent.mkdir(exist_ok=True)
    Path("clip.mp4").rename(name)
    target = Path(name).with_suffix(".mov")
    copy(Path(name), target)
    assert sound_packets(target.absolute()) == sound_packets(Path(name).absolute())
    assert {path.name for path in target.parent.iterdir() if path.is_file()} == {target.name, Path(name).name}


@pytest.mark.parametrize("channels", ["mono", "stereo", "5.1"])
def test_sound_without_a_named_layout_of_channels_goes_into_mp4(tmp_path, channels):
    source = tmp_path / "clip.avi"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p"
        track = container.add_stream("pcm_s16le", rate=48000, layout=channels)
        for number in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, (32, 48)), "rgb24")))
        heard = av.AudioFrame("s16", channels, 4800)
        heard.sample_rate, heard.pts = 48000, 0
        container.mux([*stream.encode(), *track.encode(heard), *track.encode()])
    copy(source, tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert container.streams.audio[0].codec_context.layout.nb_channels == av.AudioLayout(channels).nb_channels
        assert sum(frame.samples for frame in container.decode(audio=0)) == 4800


# ---------------------------------------------------------------------- failures


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def make_bad(kind, folder):
    path = folder / "clip.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind in ("text", "empty"):
        path.write_text("no video, " * 50 if kind == "text" else "")
    elif kind == "sound only":
        with av.open(str(path), "w") as container:
            write_sine(container, container.add_stream("aac", rate=48000), 0.2)
    elif kind == "no index":
        cut(write_clip(path), 0.6)
    elif kind == "index first":
        cut(write_clip(path, count=60, container_options={"movflags": "faststart"}), 0.7)
    elif kind == "matroska":
        cut(write_clip(folder / "clip.mkv", count=60), 0.5)
        path = folder / "clip.mkv"
    elif kind == "codec":
        write_clip(path)
        path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "does not exist"),
        ("folder", "is a folder"),
        ("text", "is not a video"),
        ("empty", "empty file"),
        ("sound only", "holds no pictures"),
        ("no index", "damaged or truncated"),
        ("index first", "is truncated"),
        ("matroska", "is truncated"),
        ("codec", "cannot decode"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(tmp_path, kind, words):
    with pytest.raises(VideoReadError, match=words) as error:
        VideoReader(make_bad(kind, tmp_path))
    assert "\n" not in str(error.value)


def test_a_clip_without_a_frame_is_refused(tmp_path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        write_sine(container, container.add_stream("libmp3lame", rate=48000), 0.2)
    with pytest.raises(VideoReadError, match="no frame"):
        VideoReader(path)


def write_and_fail(reader, path, failure):
    with VideoWriter(path, reader.layout, sound=reader.path) as writer:
        writer.write(next(reader.batches(3)))
        raise failure


def test_sound_that_only_the_header_refuses_is_named(tmp_path):
    source = write_clip(tmp_path / "clip.mkv", sound="flac")
    with pytest.raises(VideoReadError, match=r"A .mov file cannot hold the sound of .*clip.mkv .flac.: .*\.mkv"):
        copy(source, tmp_path / "copy.mov")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_pictures_that_the_encoder_refuses_are_not_the_fault_of_the_sound(tmp_path, monkeypatch):
    source = write_clip(tmp_path / "clip.mp4")
    monkeypatch.setitem(video._QUALITY, "libx264", {"crf": "nonsense"})
    with pytest.raises(ImpastoError, match="Cannot write"):
        copy(source, tmp_path / "copy.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_failure_on_the_way_leaves_nothing(tmp_path, failure):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4"))
    with pytest.raises(failure) as caught:
        write_and_fail(reader, tmp_path / "copy.mp4", failure)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert caught.type is failure  # its frames are alive, so that no collector has tidied up


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4"))
    (tmp_path / "copy.mp4").write_text("older")
    with VideoWriter(tmp_path / "copy.mp4", reader.layout) as writer:
        for frames in reader.batches(5):
            writer.write(frames)
            assert (tmp_path / "copy.mp4").read_text() == "older"
    assert VideoReader(tmp_path / "copy.mp4").count == 12


def test_what_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    source = write_clip(tmp_path / "clip.mp4")
    layout = VideoReader(source).layout
    (tmp_path / "file").write_text("no folder")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ImpastoError, match=r"choose a name that ends in \.mp4"):
        VideoWriter(tmp_path / "copy.txt", layout)
    with pytest.raises(ImpastoError, match=r"Cannot write .*copy\.mp4 .*choose another place"):
        VideoWriter(tmp_path / "file/copy.mp4", layout)
    with pytest.raises(ImpastoError, match=r"A .webm file cannot hold the sound of .*\.mkv"):
        VideoWriter(tmp_path / "copy.webm", layout, sound=source)
    monkeypatch.setitem(video.WRITABLE_VIDEOS, ".mp4", "nonsense")
    monkeypatch.setitem(video._QUALITY, "nonsense", {})
    with pytest.raises(ImpastoError, match="FFmpeg cannot encode nonsense"):
        VideoWriter(tmp_path / "copy.mp4", layout)
    assert sorted(tmp_path.iterdir()) == before


def test_frames_of_another_size_are_a_mistake_of_the_caller(tmp_path):
    layout = VideoLayout((32, 48), Fraction(25), Fraction(1, 12800), Fraction(1, 25))
    with pytest.raises(ValueError, match="expected pictures"), VideoWriter(tmp_path / "clip.mp4", layout) as writer:
        writer.write(Frames(torch.rand(1, 3, 32, 32), [Fraction(0)]))
    assert not list(tmp_path.iterdir())


def test_names_of_videos():
    assert is_video_name("a.MP4")
    assert not is_video_name("a.png")
    assert not is_video_name(".a.mp4")


@pytest.mark.parametrize("module", [video, video_probe, video_sound])
def test_ffmpeg_is_loaded_only_for_a_video(module):
    tree = ast.parse(Path(module.__file__).read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]  # not those for types alone
    assert not [node for node in imports if ast.unparse(node).split()[1].split(".")[0] == "av"]
