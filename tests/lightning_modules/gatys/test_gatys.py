"""Gatys et al.: the loss against its equations, written out in float64, and what a fit does."""

import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.gatys import Gatys
from lightning_modules.gatys.settings import LossWeights

STYLE = ("relu1_1", "relu3_1")
SETTINGS = {"weights": "random", "style_layers": STYLE, "content_layer": "relu2_2"}


@pytest.fixture
def build(monkeypatch):
    from lightning_modules.gatys import module
    from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk

    def small(source):
        torch.manual_seed(0)
        return VGGEncoder(VGGTrunk(VGGConfig(convs=(2, 2, 1, 2, 1), widths=(4, 5, 6, 7, 8))), source)

    monkeypatch.setattr(module, "load_vgg", small)
    return lambda **given: Gatys(**(SETTINGS | given)).double().eval()


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    content = torch.rand(1, 3, 32, 48, dtype=torch.float64, generator=generator)
    style = torch.rand(1, 3, 40, 32, dtype=torch.float64, generator=generator)
    return content, style


def literal(model, pixels, content, style):
    wanted = model.encoder(content, ["relu2_2"])["relu2_2"][0]
    found = model.encoder(pixels, ["relu2_2"])["relu2_2"][0]
    structure = sum((found[i] - wanted[i]).pow(2).sum() for i in range(len(found))) / wanted.pow(2).sum()
    layers = []
    for name in STYLE:
        grams = []
        for picture in (pixels, style):
            maps = model.encoder(picture, [name])[name][0]
            rows = [[(a * b).mean() for b in maps] for a in maps]
            grams.append(torch.stack([torch.stack(row) for row in rows]))
        layers.append((grams[0] - grams[1]).pow(2).sum() / grams[1].pow(2).sum())
    return structure, sum(layers) / len(layers)


def test_the_terms_are_the_papers(build, pair):
    model, (content, style) = build(), pair
    pixels = torch.rand(content.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    terms = model.terms(pixels[0], *model._targets(content[0], style[0]))
    structure, manner = literal(model, pixels, content, style)
    assert float(terms["content"]) == pytest.approx(float(structure), rel=1e-9)
    assert float(terms["style"]) == pytest.approx(float(manner), rel=1e-9)


@pytest.mark.parametrize("weights", [LossWeights(content=0.0, style=1.0), LossWeights(content=1.0, style=0.5)])
def test_a_fit_lowers_what_it_is_told_to(build, pair, weights):
    model, (content, style) = build(loss=weights), pair

    def total(pixels):
        structure, manner = literal(model, pixels.double(), content, style)
        return float(weights.content * structure + weights.style * manner)

    few, many = (model.stylize(content, style=style, controls={"iterations": n}) for n in (2, 30))
    assert total(many) < total(few) < total(content)
    assert total(many) < 0.5 * total(content)


def test_the_strength_is_that_of_the_style(build, pair):
    model, (content, style) = build(controls={"iterations": 20}), pair
    assert torch.allclose(model.stylize(content, style=style, alpha=0.0), content.float(), atol=1e-6)
    weak, strong = (model.stylize(content, style=style, alpha=alpha).double() for alpha in (0.1, 1.0))
    assert literal(model, strong, content, style)[1] < literal(model, weak, content, style)[1]


def test_a_fit_can_begin_with_noise_and_tells_how_it_goes(build, pair):
    model, (content, style) = build(begin="noise", controls={"iterations": 3}), pair
    seen = []
    model.on_iteration = lambda *how: seen.append(how)
    torch.manual_seed(0)
    first = model.stylize(content, style=style)
    assert [at for at, _, _ in seen][:3] == [0, 1, 2]
    assert {count for _, count, _ in seen} == {3}
    assert max(at for at, _, _ in seen) == 2
    assert float(seen[0][2]["content"]) > float(seen[-1][2]["content"])
    torch.manual_seed(1)
    assert not torch.equal(model.stylize(content, style=style), first)


def test_a_tiny_style_picture_is_enlarged(build, pair):
    assert (
        build(style_layers=("relu5_1",), controls={"iterations": 2})
        .stylize(pair[0], style=pair[1][..., :5, :7])
        .isfinite()
        .all()
    )


def test_what_cannot_be_is_one_sentence(build):
    with pytest.raises(ImpastoError, match="no layer relu9_9"):
        build(content_layer="relu9_9")
