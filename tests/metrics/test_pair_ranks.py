"""Metrics of pairs on two ranks: uneven shares, and one rank with nothing at all."""

import pytest
import torch
from torch import distributed as dist
from torch import nn

from metrics.chamfer import ColorChamfer
from metrics.clip_score import CLIPDirectionalScore, CLIPStyleScore, MaskedCLIPScore
from metrics.gram import GramDistance
from metrics.halo import StyleHalo
from metrics.temporal import FlowWarpedError, TemporalLPIPS

SHARES = {"uneven": ((0, 5), (5, 7)), "empty": ((0, 7), (7, 7))}
TEXTS = ["red", "green", "blue", "red", "red", "green", "blue"]
CLIPS = torch.tensor([0, 0, 0, 1, 1, 2, 2])


class Network(nn.Module):
    """Whatever a metric asks for."""

    source = "embedded"

    def forward(self, a, b):
        return dict.fromkeys(b, a) if isinstance(b, tuple) else (a - b).square().mean((1, 2, 3))

    def encode_image(self, images):
        return images.mean((2, 3))

    def encode_text(self, texts):
        return torch.tensor([[float(len(text)), 1.0, float("e" in text)] for text in texts])


def pictures(seed):
    return torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def measured(start, stop):
    """Return metrics that saw pictures ``start`` to ``stop``, in batches of two."""
    metrics = {
        "chamfer": ColorChamfer(),
        "gram": GramDistance(Network(), layers=["map"]),
        "halo": StyleHalo(),
        "style": CLIPStyleScore(Network()),
        "masked": MaskedCLIPScore(Network()),
        "direction": CLIPDirectionalScore(Network()),
        "temporal": TemporalLPIPS(Network()),
        "macro": TemporalLPIPS(Network(), average="macro"),
        "flow": FlowWarpedError(),
    }
    a, b = pictures(0), pictures(1)
    edges = torch.zeros(7, 3, 32, 32)
    edges[:6, ..., 0] = 1  # and one picture that is left out
    flow, masks = b[:, :2] * 8 - 4, torch.ones(7, 1, 32, 32)
    for first in range(start, stop, 2):
        part = slice(first, min(first + 2, stop))
        inputs = {
            "halo": (edges[part], b[part]),
            "style": (TEXTS[part],),
            "masked": (TEXTS[part], masks[part]),
            "direction": (b[part], TEXTS[part]),
            "temporal": (CLIPS[part],),
            "macro": (CLIPS[part],),
            "flow": (CLIPS[part], flow[part]),
        }
        for name, metric in metrics.items():
            metric.update(a[part], *inputs.get(name, (b[part],)))
    return metrics


def rank_main(rank, store, out):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    results = {}
    for name, shares in SHARES.items():
        metrics = measured(*shares[rank])
        results[name] = {key: metric.compute() for key, metric in metrics.items()}
        curves = metrics["halo"].profile()
        results[name] |= {"curve": curves.truth[0], "left out": curves.left_out}
        for metric in metrics.values():
            metric.reset()
    torch.save(results, f"{out}.{rank}")
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_ranks_give_the_value_of_one(tmp_path, run_ranks):
    run_ranks(rank_main, str(tmp_path / "store"), str(tmp_path / "out"))
    metrics = measured(0, 7)
    expected = {name: float(metric.compute()) for name, metric in metrics.items()}
    expected |= {"curve": float(metrics["halo"].profile().truth[0]), "left out": 1}
    for rank in range(2):
        for values in torch.load(tmp_path / f"out.{rank}").values():
            assert {name: float(value) for name, value in values.items()} == pytest.approx(expected, rel=1e-9, abs=1e-9)
