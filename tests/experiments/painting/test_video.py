from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images import read_image
from datamodules.video import Frames, VideoReader, VideoWriter
from datamodules.video_probe import VideoLayout
from experiments.cli import execute
from experiments.painting.heatmap import FULL_SCALE, Differences, colour
from lightning_modules.weights import load_lpips

RATE = Fraction(30000, 1001)


def write_clip(path, size=(32, 48), count=10, moving=True):
    """Noise that moves to the right, or stands still."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise[None], 5, 1, 2)[0]
    pictures = torch.stack([smooth.roll(n * moving, 2) for n in range(count)])
    layout = VideoLayout(size, RATE, Fraction(1, 30000), 1 / RATE)
    with VideoWriter(path, layout) as writer:
        writer.write(Frames(pictures, [n / RATE for n in range(count)]))
    return path


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Stand in a folder with a clip and a painting."""
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (23, 40, 3), dtype=np.uint8)).save("style.png")
    return tmp_path


def stylize(trained, *arguments):
    fixed = ["--checkpoint", str(trained), "--device", "cpu", "--weights", "embedded"]
    return execute(["stylize", *fixed, *arguments])


def pictures(path):
    return torch.cat([frames.pictures for frames in VideoReader(path).batches(4)])


def distances(path):
    """Return TemporalLPIPS by hand: the mean of a network's distances over pairs of whole frames."""
    network, frames = load_lpips("embedded"), pictures(path)
    with torch.no_grad():
        return float(
            torch.cat([network(a[None], b[None]) for a, b in zip(frames[1:], frames[:-1], strict=True)]).mean()
        )


def add_sound(path):
    """Put a second of a tone beside the pictures."""
    with av.open(str(path)) as source, av.open("with_sound.mp4", "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        tone = container.add_stream("aac", rate=48000)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.sin(np.arange(48000) / 17).astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux([*tone.encode(frame), *tone.encode()])
    Path("with_sound.mp4").replace(path)


def sound(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0)]


def test_a_clip_keeps_all_but_its_look(trained, clips, capsys):
    add_sound(clips / "clip.mp4")
    assert stylize(trained, "--content", "clip.mp4", "--style", "style.png", "--out", "deep/out.mp4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "deep/out.mp4"
    before, after = VideoReader("clip.mp4"), VideoReader("deep/out.mp4")
    assert (before.count, before.layout) == (after.count, after.layout)
    assert sound("clip.mp4") == sound("deep/out.mp4")
    assert float((pictures("clip.mp4") - pictures("deep/out.mp4")).abs().mean()) > 0.02
    assert [path.name for path in Path("deep").iterdir()] == ["out.mp4"]


@pytest.mark.usefixtures("clips")
def test_steadiness_is_reported_of_both_clips(trained, capsys):
    assert stylize(trained, "--content", "clip.mp4", "--prompt", "a", "--alpha", "0", "--out", "out.mp4") == 0
    line, convention = capsys.readouterr().out.splitlines()[:2]
    value = f"{distances('clip.mp4'):.4f}"
    assert line == f"temporal_lpips_embedded: stylised {value}, input {value} (pairs: 9, of 1 clip)"
    assert "adjacent frames" in convention


@pytest.mark.usefixtures("clips")
def test_the_result_does_not_depend_on_the_batch(trained, monkeypatch):
    # What is handed to the encoder: its threads may round the same frames otherwise on a busy machine.
    written, write = {}, VideoWriter.write

    def note(self, frames):
        written.setdefault(self.path.name, []).append(frames)
        write(self, frames)

    monkeypatch.setattr(VideoWriter, "write", note)
    for batch in ("1", "4", "99"):
        options = ("--prompt", "a", "--batch", batch, "--out", f"{batch}.mp4")
        assert stylize(trained, "--content", "clip.mp4", *options) == 0
    alone, *others = (
        (torch.cat([part.pictures for part in parts]), [time for part in parts for time in part.times])
        for parts in written.values()
    )
    assert len(alone[0]) == 10
    for frames, times in others:
        assert times == alone[1]
        assert (frames - alone[0]).abs().max() < 1 / 512  # less than would be seen in eight bits


@pytest.mark.usefixtures("clips")
def test_all_batches_have_the_same_style_and_no_more_frames_than_asked_for(trained, monkeypatch):
    import stub_method

    seen = []

    def render(self, content, manner):
        seen.append((len(content), manner.style[:1].clone()))
        return content

    monkeypatch.setattr(stub_method.Stub, "_render", render)
    assert stylize(trained, "--content", "clip.mp4", "--style", "style.png", "--out", "o.mp4", "--batch", "4") == 0
    assert [count for count, _ in seen] == [4, 4, 2]
    assert all(torch.equal(style, read_image("style.png")[None]) for _, style in seen)


def test_ctrl_c_leaves_nothing_half_written(trained, clips, monkeypatch, capsys):
    import stub_method

    def render(self, content, manner):
        if len(content) < 4:
            raise KeyboardInterrupt
        return content

    monkeypatch.setattr(stub_method.Stub, "_render", render)
    arguments = ("--content", "clip.mp4", "--prompt", "a", "--out", "out/o.mp4", "--heatmap", "out/h.mp4")
    assert stylize(trained, *arguments) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert not list((clips / "out").iterdir())


@pytest.mark.usefixtures("clips")
def test_frames_that_do_not_fit_into_memory_are_one_sentence(trained, monkeypatch, capsys):
    import stub_method

    def render(self, content, manner):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(stub_method.Stub, "_render", render)
    assert stylize(trained, "--content", "clip.mp4", "--prompt", "a", "--out", "o.mp4") == 1
    assert "4 frames of 48 x 32 pixels do not fit into memory" in capsys.readouterr().err


def test_odd_sides_are_kept_and_explained_and_shrinking_makes_even_ones(trained, clips, capsys):
    write_clip(clips / "odd.mp4", size=(31, 47))
    assert stylize(trained, "--content", "odd.mp4", "--prompt", "a", "--out", "same.mp4") == 0
    assert "47 x 31 pixels is odd" in capsys.readouterr().err
    assert VideoReader("same.mp4").layout.size == (31, 47)
    assert stylize(trained, "--content", "odd.mp4", "--prompt", "a", "--out", "small.mp4", "--max-side", "40") == 0
    assert not capsys.readouterr().err
    assert VideoReader("small.mp4").layout.size == (26, 40)


def test_too_small_or_too_short_clips_are_painted_without_a_distance(trained, clips, capsys):
    write_clip(clips / "small.mp4", size=(12, 32))
    write_clip(clips / "short.mp4", count=1)
    for name in ("small", "short"):
        arguments = ("--content", f"{name}.mp4", "--prompt", "a", "--out", "o.mp4", "--heatmap", f"{name}.png")
        assert stylize(trained, *arguments) == 0
        assert "temporal_lpips_embedded: no two adjacent frames" in capsys.readouterr().out
        assert Image.open(f"{name}.png").size > (300, 100)


def test_a_folder_may_hold_pictures_and_videos(trained, clips, capsys):
    write_clip(clips / "in/a.mp4")
    write_clip(clips / "in/sub/b.mkv", size=(20, 20), count=5)
    write_clip(clips / "in/c.mp4").replace(clips / "in/c.avi")
    Image.new("RGB", (20, 20)).save("in/d.png")
    (clips / "in/text.mp4").write_text("no video")
    (clips / "in/notes.txt").write_text("neither")
    assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "in/out") == 0
    written = capsys.readouterr()
    assert "Skipped 1 of 5 files:\n  in/text.mp4 is not a video" in written.err
    assert "(pairs: 22, of 3 clips)" in written.out
    assert written.out.splitlines()[-1] == "in/out"
    names = {path.relative_to(clips / "in/out").as_posix() for path in (clips / "in/out").rglob("*.*")}
    assert names == {"a.mp4", "sub/b.mkv", "c.avi.mp4", "d.png"}


def test_a_clip_that_breaks_off_is_not_counted(trained, clips, capsys):
    write_clip(clips / "in/a.mp4")
    damaged = write_clip(clips / "in/b.mp4", count=40)
    with av.open(str(damaged)) as container:
        packet = next(p for number, p in enumerate(container.demux(video=0)) if number == 20)
        begin, size = packet.pos, packet.size
    content = bytearray(damaged.read_bytes())
    content[begin : begin + size] = b"\xff" * size
    damaged.write_bytes(content)
    assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "out") == 0
    written = capsys.readouterr()
    assert "Skipped 1 of 2 files" in written.err
    assert "(pairs: 9, of 1 clip)" in written.out
    assert [path.name for path in Path("out").iterdir()] == ["a.mp4"]


# ---------------------------------------------------------------------- heat maps


@pytest.mark.usefixtures("clips")
def test_a_moving_heat_map_goes_with_the_clip(trained, capsys):
    arguments = ("--content", "clip.mp4", "--prompt", "a", "--alpha", "0", "--out", "o.mp4", "--heatmap", "h.mp4")
    assert stylize(trained, *arguments) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["h.mp4", "o.mp4"]
    heat, clip = VideoReader("h.mp4"), VideoReader("o.mp4")
    assert heat.layout.size == (32, 2 * 48 + 4)
    assert (heat.count, heat.layout.rate) == (clip.count, clip.layout.rate)
    frames = pictures("h.mp4")
    assert float(frames[0, :, :, :47].max()) < 0.05  # nothing before it
    assert float(frames[1:].mean()) > 0.05
    assert float((frames[..., :48] - frames[..., 52:]).abs().mean()) < 0.02  # both sides are the same clip


def test_a_still_heat_map_shows_both_clips(trained, clips):
    arguments = ("--content", "clip.mp4", "--prompt", "a", "--out", "o.mp4", "--heatmap", "h.png")
    assert stylize(trained, *arguments) == 0
    height, width = read_image("h.png").shape[1:]
    assert width > 1.5 * height
    assert not list(clips.glob(".*"))


def test_differences_do_not_depend_on_batches():
    frames = torch.rand(7, 3, 5, 6)
    expected = torch.zeros(7, 5, 6)
    for n in range(1, 7):
        expected[n] = sum((frames[n, c] - frames[n - 1, c]).abs() for c in range(3)) / 3
    for cuts in ([7], [1, 6], [3, 2, 2]):
        differences = Differences()
        assert torch.allclose(torch.cat([differences.update(part) for part in frames.split(cuts)]), expected)
        assert differences.pairs == 6
        assert torch.allclose(differences.mean(), expected.double().sum(0) / 6)


def test_colours_run_from_black_to_the_brightest():
    colours = colour(torch.tensor([[[0.0, FULL_SCALE / 2, FULL_SCALE, 1.0]]]))[0, :, 0]
    assert float(colours[:, 0].max()) < 0.02
    brightness = colours.sum(0)
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--content clip.mp4 --out o.png", "must end in .mp4"),
        ("--content style.png --out o.mp4", "must end in .png"),
        ("--content clip.mp4 --out o.mp4 --batch 0", "--batch"),
        ("--content clip.mp4 --out o.mp4 --heatmap h.txt", "must end in .png or .mp4"),
        ("--content clip.mp4 --out o.mp4 --heatmap o.mp4", "would overwrite"),
        ("--content clip.mp4 --out clip.mp4", "would overwrite"),
        ("--content clip.mp4 --out style.png/o.mp4", "Cannot write style.png/o.mp4"),
        ("--content style.png --out o.png --heatmap h.png", "style.png is none"),
        ("--content text.mp4 --out o.mp4", "text.mp4 is not a video"),
        ("--content folder --out o.mp4", "must be one too"),
    ],
)
def test_bad_input_is_one_sentence(trained, clips, capsys, arguments, words):
    (clips / "text.mp4").write_text("no video")
    write_clip(clips / "folder/a.mp4")
    before = sorted(clips.rglob("*"))
    assert stylize(trained, *arguments.split(), "--prompt", "a") == 1
    written = capsys.readouterr()
    assert words in written.err
    assert written.err.count("\n") == 1
    assert not written.out
    assert sorted(clips.rglob("*")) == before
