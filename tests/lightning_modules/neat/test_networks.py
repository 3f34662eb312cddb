"""PAMA's blocks against the public code's layers written out in float64, and what the transform makes of them."""

import pytest
import torch
import torch.nn.functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.neat import networks
from lightning_modules.neat.networks import LEVELS, PAMABlock, SpaceAwareInterpolation, Transform
from lightning_modules.networks.attention_generator import Generator

CHANNELS = 6


@pytest.fixture(autouse=True)
def double():
    """Build everything in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def lively(module):
    """Spread the weights, so that rectifiers cut on either side and no softmax is flat."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return module


def maps(height, width, *, batch=2, channels=CHANNELS):
    return 3 * torch.randn(batch, channels, height, width)


def clipped(x):
    return torch.where(x < 0, 0.0, torch.where(x > 6, 6.0, x))


def convolve(layer, x):
    """Apply a convolution, cell by cell of its window, to a picture continued by its mirror image."""
    side = layer.weight.shape[-1]
    rows, columns = (mirrored(size, side // 2) for size in x.shape[-2:])
    x = x[:, :, rows][:, :, :, columns]
    height, width = (size - side + 1 for size in x.shape[-2:])
    total = layer.bias.view(1, -1, 1, 1)
    for row in range(side):
        for column in range(side):
            part = x[:, :, row : row + height, column : column + width]
            total = total + torch.einsum("oi,bihw->bohw", layer.weight[:, :, row, column], part)
    return total


def mirrored(size, by):
    return [abs(n) if n < size else 2 * (size - 1) - n for n in range(-by, size + by)]


def standardised(x):
    mean = x.mean((2, 3), keepdim=True)
    count = x.shape[2] * x.shape[3]
    variance = (x - mean).square().sum((2, 3), keepdim=True) / (count - 1)
    return (x - mean) / (variance + 1e-5).sqrt()


def literal_mask(fusion, content, style):
    joint = convolve(fusion.joint, torch.cat([content, style], 1))
    return sum(1 / (1 + torch.exp(-convolve(window, joint))) for window in fusion.windows) / 3


def literal_block(block, content, style):
    content, style = (clipped(convolve(block.conv_in.convolution, x)) for x in (content, style))
    f = clipped(convolve(block.query, standardised(content)))
    g = clipped(convolve(block.key, standardised(style)))
    h = clipped(convolve(block.value, style))
    b, c, height, width = f.shape
    attention = torch.einsum("bcn,bcm->bnm", f.reshape(b, c, -1), g.reshape(b, c, -1)).softmax(-1)
    gathered = torch.einsum("bcm,bnm->bcn", h.reshape(b, c, -1), attention).view(b, c, height, width)
    aligned = clipped(convolve(block.conv_out.convolution, clipped(convolve(block.out, gathered))))
    mask = literal_mask(block.fusion, content, aligned)
    return mask * convolve(block.fusion.content, content) + (1 - mask) * convolve(block.fusion.style, aligned)


def agree(found, expected, tolerance=1e-10):
    found, expected = found.detach(), expected.detach()
    return float((found - expected).norm()) <= tolerance * float(expected.norm())


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_block_has_as_many_weights_as_the_public_codes():
    with torch.device("meta"):
        assert count(PAMABlock(512)) == 6_313_219
        assert count(Transform(512)) == 4 * 6_313_219
    assert LEVELS == ("relu4_1",) * 4


@pytest.mark.parametrize(("content", "style"), [((5, 7), (4, 6)), ((3, 9), (8, 3)), ((2, 1), (1, 2))])
def test_a_block_is_the_public_codes_and_so_are_its_gradients(content, style):
    block, fc, fs = lively(PAMABlock(CHANNELS)), maps(*content), maps(*style)
    if min(content) > 2:  # the public code has no answer where a window of five has nothing to reflect
        expected, found = literal_block(block, fc, fs), block(fc, block.keys(fs))
        assert agree(found, expected)
        weight = torch.randn_like(expected)
        slopes = [
            torch.autograd.grad((result * weight).sum(), list(block.parameters())) for result in (found, expected)
        ]
        for (name, _), ours, theirs in zip(block.named_parameters(), *slopes, strict=True):
            assert float(theirs.detach().norm()) > 0, name
            assert agree(ours, theirs, 1e-9), name
    else:
        assert block(fc, block.keys(fs)).isfinite().all()


def test_content_and_style_enter_by_one_convolution():
    block, x = lively(PAMABlock(CHANNELS)), maps(4, 5)
    before, keys = block.enter(x).maps, block.keys(x)
    with torch.no_grad():
        block.conv_in.convolution.bias += 1
    assert not torch.equal(block.enter(x).maps, before)
    assert not torch.equal(block.keys(x).keys, keys.keys)
    assert not torch.equal(block.keys(x).values, keys.values)


def test_the_mask_is_the_mean_of_three_windows_and_the_contents_share():
    fusion, content, style = lively(SpaceAwareInterpolation(CHANNELS)), maps(5, 6), maps(5, 6)
    mask = fusion.mask(content, style)
    assert mask.shape == (2, 1, 5, 6)
    assert agree(mask, literal_mask(fusion, content, style))
    assert float(mask.detach().std()) > 0.1
    for bias, goal in ((60.0, fusion.content(content)), (-60.0, fusion.style(style))):
        for window in fusion.windows:
            torch.nn.init.zeros_(window.weight)
            torch.nn.init.constant_(window.bias, bias)
        assert agree(fusion(content, style), goal)


def features(size, *, batch=2):
    height, width = size
    coarse = (-(-height // 2), -(-width // 2))
    return {"relu4_1": maps(*size, batch=batch), "relu5_1": maps(*coarse, batch=batch)}


def painted(transform, content, style):
    return transform(content, transform.queries(content), transform.keys(style))


def test_every_block_takes_what_the_last_returned_and_the_styles_own_features():
    transform, content, style = lively(Transform(CHANNELS)), features((5, 7)), features((4, 3))
    expected = content["relu4_1"]
    for block in transform.blocks:
        expected = literal_block(block, expected, style["relu4_1"])
    assert transform.layers == ("relu4_1",)
    assert agree(painted(transform, content, style), expected)


def test_levels_are_sequences_of_their_own_and_merge():
    levels = ("relu5_1", "relu4_1", "relu4_1", "relu5_1")
    transform, content, style = lively(Transform(CHANNELS, levels)), features((5, 7)), features((6, 8))
    ends = dict(content)
    for block, level in zip(transform.blocks, levels, strict=True):
        ends[level] = literal_block(block, ends[level], style[level])
    rows, columns = (torch.arange(size) * coarse // size for size, coarse in ((5, 3), (7, 4)))
    resized = ends["relu5_1"][:, :, rows][:, :, :, columns]
    expected = convolve(transform.merge.convolution, ends["relu4_1"] + resized)
    assert transform.layers == ("relu4_1", "relu5_1")
    assert agree(painted(transform, content, style), expected)


@pytest.mark.parametrize("levels", [(), ("relu5_1",), ("relu4_1", "relu3_1")])
def test_levels_that_the_decoder_cannot_paint_from_are_one_sentence(levels):
    with pytest.raises(ImpastoError, match=r"model\.levels is .*relu4_1 at least once"):
        Transform(CHANNELS, levels)


def generator(**settings):
    return lively(Generator(Transform(CHANNELS), (3, 4, 5, CHANNELS), **settings))


def test_queries_and_keys_that_were_kept_paint_what_fresh_ones_do():
    model, content, style = generator(), features((3, 4), batch=3), features((4, 3), batch=2)
    queries, keys = model.transform.queries(content), model.style_keys(style)
    of_content, of_style = torch.tensor([2, 0]), torch.tensor([1, 1])
    kept = model(
        {name: part[of_content] for name, part in content.items()},
        [query.index_select(0, of_content) for query in queries],
        keys.take(of_style),
    )
    for row, (c, s) in enumerate(zip(of_content, of_style, strict=True)):
        one, other = ({n: p[i : i + 1] for n, p in part.items()} for part, i in ((content, c), (style, s)))
        fresh = model(one, model.transform.queries(one), model.style_keys(other))
        assert fresh.shape == (1, 3, 24, 32)
        assert agree(kept[row : row + 1], fresh)


def test_keys_change_with_every_weight_that_is_named_and_with_no_other():
    model, style = generator(), features((4, 3))
    named = {id(weight) for weight in model.key_weights()}
    before = model.style_keys(style).levels
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.add_(0.1)
        after = model.style_keys(style).levels
        changed = any(
            not torch.equal(a, b) for old, new in zip(before, after, strict=True) for a, b in zip(old, new, strict=True)
        )
        assert changed == (id(parameter) in named), name
        before = after


def test_strength_mixes_and_exaggerates_what_the_decoder_paints_from():
    model, content, style = generator(), features((4, 4)), features((4, 4))
    queries = model.transform.queries(content)
    own, goal = (model.transform(content, queries, model.style_keys(f).levels) for f in (content, style))
    beyond = torch.lerp(own, goal, 1.5)
    assert agree(beyond - goal, (goal - own) / 2)
    pictures = [model.decode([part], None) for part in (own, goal, beyond)]
    near, far = (float((picture - pictures[0]).detach().norm()) for picture in pictures[1:])
    assert far > near > 0


@pytest.mark.parametrize("loudness", [0.0, 1.5])
def test_large_maps_pass_in_tiles_with_the_statistics_of_the_whole_picture(loudness, monkeypatch):
    block, content, style = lively(PAMABlock(CHANNELS, loudness)), maps(23, 17), maps(12, 18)
    content[..., :9] += 4  # no part has the statistics of the whole
    with torch.no_grad():
        whole = block(content, block.keys(style))
        monkeypatch.setattr(networks, "TILED_ABOVE", 100)
        monkeypatch.setattr(networks, "TILE", 8)
        seen = []
        block.conv_out.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-2:].numel()))
        tiled = block(content, block.keys(style))
    assert len(seen) == 9
    assert max(seen) <= 14 * 14
    assert agree(tiled, whole, 1e-12)


def test_every_picture_enters_as_loud_as_asked_for():
    plain, loud = lively(PAMABlock(CHANNELS)), lively(PAMABlock(CHANNELS, 1.5))
    loud.load_state_dict(plain.state_dict())
    content = torch.cat([maps(5, 7), 9 * maps(5, 7) + 3])
    before = plain.conv_in(content)
    rms = torch.stack([picture.square().mean().sqrt() for picture in before]).view(-1, 1, 1, 1)
    wanted = (1.5 * before / rms).clamp(0, 6)
    assert agree(loud.enter(content).maps, wanted)
    with torch.no_grad():
        assert agree(loud.enter(content).maps, wanted)
    assert not agree(plain.enter(content).maps, wanted)


def test_fresh_blocks_let_the_contents_differences_through():
    transform = Transform(32)
    content, style = ({"relu4_1": maps(12, 12, channels=32).relu()} for _ in range(2))
    before, after = (x.detach().std((2, 3)).mean() for x in (content["relu4_1"], painted(transform, content, style)))
    assert 0.2 < float(after / before) < 2


def test_half_precision_stays_close():
    torch.set_default_dtype(torch.float32)
    block, content, style = lively(PAMABlock(16)), maps(6, 6, channels=16), maps(6, 6, channels=16)
    expected = block(content, block.keys(style))
    with torch.autocast("cpu", torch.bfloat16):
        keys = block.keys(style)
        found = block(content, keys)
    assert keys.keys.dtype == torch.bfloat16
    assert agree(found.float(), expected, 0.1)
    loss = F.mse_loss(found.float(), expected.detach())
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())
