"""The panel: a classifier in closed form, fitted on files, that knows the painters and shares nothing with a loss."""

import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.deception import DeceptionRate
from metrics.panel import fit_panel


class Means(nn.Module):
    source = "dinov2s_imgfocus"

    def forward(self, images, taps):
        assert taps == ("style",)
        return {"style": images.mean((2, 3))}


def paint(path):
    """A file stands for a picture: its name says artist and number."""
    artist, number = path.stem.split("-")
    generator = torch.Generator().manual_seed(int(number))
    picture = 0.2 * torch.rand(1, 3, 8, 8, generator=generator)
    picture[:, "rgb".index(artist)] += 0.5
    return picture


@pytest.fixture
def files(tmp_path):
    found = {}
    for artist in "bgr":
        found[artist.upper()] = [tmp_path / f"{artist}-{number}.png" for number in range(6)]
        for path in found[artist.upper()]:
            path.write_text(path.stem)
    return found


def test_it_names_the_painters_and_says_how_well(files):
    panel = fit_panel(Means(), files, paint)
    assert panel.artists == ("B", "G", "R")
    assert panel.source == ("dinov2s_imgfocus, ridge on 18 paintings, of which it names 1.000 left out one by one")
    rate = DeceptionRate(panel)
    rate.update(torch.cat([paint(files[name][0]) for name in "RGB"]), ["R", "G", "R"])
    assert float(rate.compute()) == pytest.approx(2 / 3)
    assert "first choice among 3 artists, micro average, classifier dinov2s_imgfocus, ridge on 18" in rate.convention
    torch.testing.assert_close(panel.features(torch.ones(1, 3, 4, 4)), torch.ones(1, 3))


def test_it_takes_so_many_of_each_spread_over_the_list(files):
    seen = []
    fit_panel(Means(), files, lambda path: (seen.append(path.stem), paint(path))[1], each=2)
    assert seen == ["b-0", "b-3", "g-0", "g-3", "r-0", "r-3"]


def test_it_is_frozen_and_needs_two_artists(files):
    panel = fit_panel(Means(), files, paint)
    assert not any(parameter.requires_grad for parameter in panel.parameters())
    with pytest.raises(ImpastoError, match="at least two artists, there are 1"):
        fit_panel(Means(), {"R": files["R"]}, paint)
