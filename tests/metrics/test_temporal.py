import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from lightning_modules.weights import load_lpips
from metrics.frame_distance import FrameDistance
from metrics.temporal import FlowWarpedError, TemporalLPIPS


class Gap(nn.Module):
    source = "embedded"

    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


def pictures(seed, n=7, height=16, width=16):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


CLIPS = torch.tensor([3, 3, 3, 5, 5, 9, 3])  # clip 3 comes back after two others


def expected(frames, clips, numbers=None, average="micro"):
    """By the definition: frame after frame of every clip."""
    frames, groups = frames.double().numpy(), {}
    for clip in sorted(set(clips.tolist())):
        rows = [row for row in range(len(clips)) if clips[row] == clip]
        pairs = list(itertools.pairwise(rows))
        if numbers is not None:
            pairs = [(a, b) for a in rows for b in rows if numbers[b] == numbers[a] + 1]
        if pairs:
            groups[clip] = [np.abs(frames[a] - frames[b]).mean() for a, b in pairs]
    every = [value for group in groups.values() for value in group]
    return np.mean([np.mean(group) for group in groups.values()] if average == "macro" else every)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_pairs_stay_in_their_clip(average):
    frames, clips = pictures(0), torch.tensor([3, 3, 3, 5, 5, 9, 5])
    metric = TemporalLPIPS(Gap(), average=average)
    metric.update(frames, clips)
    np.testing.assert_allclose(float(metric.compute()), expected(frames, clips, average=average), rtol=1e-6)
    assert "mean over" in metric.convention


def test_pairs_belong_together_clip_by_clip():
    frames, clips = pictures(0), torch.tensor([3, 3, 3, 5, 5, 9, 5])
    metric = TemporalLPIPS(Gap())
    metric.update(frames, clips)
    values, units = metric.resampled()
    assert units.tolist() == [3, 3, 5, 5]
    assert float(values.mean()) == float(metric.compute())
    assert TemporalLPIPS(Gap(), average="macro").resampled() is None


@pytest.mark.parametrize("splits", [(6,), (1, 5), (2, 2, 2), (1,) * 6, (5, 1), (4, 2)])
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_batches_of_any_size_give_one_mean(splits, average):
    frames, clips = pictures(0, n=6), torch.tensor([3, 3, 3, 5, 5, 5])
    metric = TemporalLPIPS(Gap(), average=average)
    for part, names in zip(frames.split(splits), clips.split(splits), strict=True):
        metric.update(part, names)
    np.testing.assert_allclose(float(metric.compute()), expected(frames, clips, average=average), rtol=1e-6)


def test_no_pair_across_batches_of_different_clips():
    metric = TemporalLPIPS(Gap())
    for row in range(4):
        metric.update(pictures(row, n=1), torch.tensor([row]))
    assert bool(metric.compute().isnan())
    metric.reset()
    metric.update(pictures(0, n=1), torch.tensor([3]))  # clip 3 again, but after a reset
    assert bool(metric.compute().isnan())


def test_interleaved_clips():
    frames = pictures(0, n=6)
    metric = TemporalLPIPS(Gap())
    for part in frames.split(2):
        metric.update(part, torch.tensor([1, 2]))
    clips = torch.tensor([1, 2, 1, 2, 1, 2])
    np.testing.assert_allclose(float(metric.compute()), expected(frames, clips), rtol=1e-6)


def test_numbers_say_what_is_adjacent():
    frames, clips, numbers = pictures(0), torch.tensor([1, 1, 1, 1, 2, 2, 2]), torch.tensor([0, 1, 3, 4, 7, 8, 9])
    metric = TemporalLPIPS(Gap())
    metric.update(frames, clips, numbers)
    np.testing.assert_allclose(float(metric.compute()), expected(frames, clips, numbers), rtol=1e-6)
    metric.update(frames[5:], clips[5:], numbers[5:])  # what a padded sampler repeats
    np.testing.assert_allclose(float(metric.compute()), expected(frames, clips, numbers), rtol=1e-6)


def test_forward_tells_the_pairs_of_the_batch():
    frames = pictures(0, n=4)
    metric = TemporalLPIPS(Gap())
    values = [float(metric(part, torch.zeros(len(part), dtype=torch.int64))) for part in frames.split((1, 2, 1))]
    gaps = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    assert np.isnan(values[0])
    np.testing.assert_allclose(values[1:], [float(gaps[:2].mean()), float(gaps[2])], rtol=1e-6)
    np.testing.assert_allclose(float(metric.compute()), float(gaps.mean()), rtol=1e-6)


@pytest.mark.parametrize("weights", ["embedded", "random"])
def test_splitting_a_network_keeps_its_value_and_saves_passes(weights):
    network, passes = load_lpips(weights), []
    trunk = network.encoder.trunk if weights == "embedded" else network.network.net
    trunk.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    frames = pictures(0, n=4, height=32, width=48)
    with torch.no_grad():
        whole = network(frames[1:], frames[:-1])
        split = FrameDistance(network)
        features = split.describe(frames)
        parts = split.distance([x[1:] for x in features], [x[:-1] for x in features])
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    passes.clear()
    metric = TemporalLPIPS(network)
    for part in frames.split(2):
        metric.update(part, torch.zeros(2, dtype=torch.int64))
    assert sum(passes) == 4
    np.testing.assert_allclose(float(metric.compute()), float(whole.mean()), rtol=1e-5)
    metric.reset()
    metric.update(frames[:1].expand(4, -1, -1, -1), torch.zeros(4, dtype=torch.int64))
    assert float(metric.compute()) == 0
    assert weights in metric.convention
    assert metric.sources == (weights,)  # what marks its name in tables


def test_last_frames_are_no_state():
    metric = TemporalLPIPS(Gap())
    metric.update(pictures(0, n=3), torch.tensor([1, 1, 1]))
    assert metric.state_dict() == {}
    assert {"pairs", "keys", "instance"} == set(metric.metric_state)
    assert all(len(part.features[0]) == 1 for part in metric._last.values())
    assert all(x.untyped_storage().nbytes() == 3 * 16 * 16 * 4 for x in metric._last[1].features)
    clone = copy.deepcopy(metric)
    clone.update(pictures(1, n=1), torch.tensor([1]))
    assert len(torch.cat(clone.pairs)) == 3
    assert len(torch.cat(metric.pairs)) == 2


def test_a_collection_does_not_merge_metrics_that_have_no_pair_yet():
    from torchmetrics import MetricCollection  # needs the shim, which our imports install

    class Tenfold(Gap):
        def forward(self, a, b):
            return 10 * super().forward(a, b)

    collection = MetricCollection({"one": TemporalLPIPS(Gap()), "ten": TemporalLPIPS(Tenfold())})
    for frame in pictures(0, n=3).split(1):
        collection.update(frame, torch.tensor([1]))
    values = collection.compute()
    np.testing.assert_allclose(float(values["one"]), expected(pictures(0, n=3), torch.ones(3)), rtol=1e-6)
    np.testing.assert_allclose(float(values["ten"]), 10 * float(values["one"]), rtol=1e-6)


def test_no_gradient_and_no_random_number_is_spent():
    frames, flow = moving()
    state = torch.get_rng_state()
    for metric, inputs in ((TemporalLPIPS(Gap()), ()), (FlowWarpedError(), (flow.clone().requires_grad_(),))):
        metric.update(frames.requires_grad_(), torch.zeros(5), *inputs)
        assert not metric.compute().requires_grad
    assert torch.equal(state, torch.get_rng_state())


def test_casts_keep_the_sums():
    parent = nn.Module()
    parent.metric = TemporalLPIPS(Gap())
    parent.metric.update(pictures(0), CLIPS)
    before = float(parent.metric.compute())
    parent.to(torch.bfloat16).half()
    assert float(parent.metric.compute()) == before
    assert parent.state_dict() == {}


def test_half_precision_and_bytes():
    for frames in (pictures(0).half(), (pictures(0) * 255).byte()):
        metric = TemporalLPIPS(Gap())
        with torch.autocast("cpu", torch.bfloat16):
            metric.update(frames, CLIPS)
        plain = frames.float() / (255 if frames.dtype == torch.uint8 else 1)
        np.testing.assert_allclose(float(metric.compute()), expected(plain, CLIPS), rtol=1e-6)


# ---- along the flow ----------------------------------------------------------------------------------------------


def moving(steps=5, dx=2, dy=-1):
    """A picture larger than the window, which moves over it."""
    scene = pictures(1, n=1, height=40, width=40)
    windows = [scene[..., 12 + dy * t : 28 + dy * t, 12 + dx * t : 28 + dx * t] for t in range(steps)]
    flow = torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(steps, 2, 16, 16)
    return torch.cat(windows), flow


@pytest.mark.parametrize("splits", [(5,), (1, 4), (2, 2, 1)])
def test_a_moving_scene_is_steady_along_its_flow(splits):
    frames, flow = moving()
    metric, plain = FlowWarpedError(), TemporalLPIPS(Gap())
    for part, step in zip(frames.split(splits), flow.split(splits), strict=True):
        clip = torch.zeros(len(part), dtype=torch.int64)
        metric.update(part, clip, step)
        plain.update(part, clip)
    assert float(metric.compute()) == 0
    assert float(plain.compute()) > 0.1


@pytest.mark.parametrize("norm", ["mse", "rmse", "mae"])
def test_error_of_flicker(norm):
    frames, flow = moving()
    flicker = torch.tensor([0.0, 0.25, 0.0, 0.0, 0.0]).view(5, 1, 1, 1)
    metric = FlowWarpedError(norm)
    metric.update(frames / 2 + flicker, torch.zeros(5), flow)
    expected_error = {"mse": 0.0625, "rmse": 0.25, "mae": 0.25}[norm] * 2 / 4
    np.testing.assert_allclose(float(metric.compute()), expected_error, rtol=1e-6)
    assert norm.upper() in metric.convention


def test_occluded_pixels_and_pairs_without_any_do_not_count():
    frames, flow = moving()
    dirty = frames.clone()
    dirty[2, :, 4:8, 4:8] = 0
    hidden = torch.zeros(5, 16, 16)
    hidden[2, 4:8, 4:8] = 1
    hidden[3] = 1
    metric = FlowWarpedError()
    metric.update(dirty, torch.zeros(5), flow, occlusion=hidden)
    assert len(torch.cat(metric.pairs)) == 3
    assert float(metric.compute()) == 0
    metric.reset()
    metric.update(dirty, torch.zeros(5), flow)
    assert float(metric.compute()) > 0


def test_bad_input_is_refused_in_one_sentence():
    frames, flow = moving()
    metric = TemporalLPIPS(Gap())
    for words, inputs in [
        ("5 frames need as many clip numbers", (frames, torch.zeros(4))),
        ("5 frames need as many frame numbers", (frames, torch.zeros(5), torch.zeros(3))),
        (r"must lie in \[0, 1\]", (frames * 255, torch.zeros(5))),
        ("at least 16 pixels", (frames[..., 1:], torch.zeros(5))),
    ]:
        with pytest.raises(ImpastoError, match=words):
            metric.update(*inputs)
    metric.update(frames, torch.zeros(5))
    with pytest.raises(ImpastoError, match="clip 0 differ in size"):
        metric.update(pictures(0, height=17), torch.zeros(7))
    with pytest.raises(ImpastoError, match="need a flow"):
        FlowWarpedError().update(frames, torch.zeros(5), flow[:4])
    with pytest.raises(ImpastoError, match="occlusion mask"):
        FlowWarpedError().update(frames, torch.zeros(5), flow, occlusion=torch.zeros(5, 1, 4, 4))


def test_an_empty_batch_changes_nothing():
    frames = pictures(0)
    metric = TemporalLPIPS(Gap())
    metric.update(frames[:3], torch.zeros(3))
    metric.update(frames[:0], torch.zeros(0))
    metric.update(frames[3:], torch.zeros(4))
    np.testing.assert_allclose(float(metric.compute()), expected(frames, torch.zeros(7)), rtol=1e-6)
