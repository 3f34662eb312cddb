"""NeAT's equations written out in float64, one picture, place, patch and pair at a time.

Where the fast code looks at patches is noted on its way and given to the slow one; nothing else is shared but weights,
and the networks that ContraAST has too.
"""

import math
from itertools import product
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from lightning_modules.neat import patch_pair

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
NAMES = ("patch_simple", "patch_complex")


@pytest.fixture
def drawn(monkeypatch):
    """Return a list that every draw of windows is noted in."""
    noted, draw = [], patch_pair.draw_windows

    def note(*arguments):
        noted.append(draw(*arguments).double())  # so that what differs is the arithmetic and not the rounding
        return noted[-1]

    monkeypatch.setattr(patch_pair, "draw_windows", note)
    return noted


@pytest.fixture
def equations():
    """Return the equations: pictures, generator's terms, both kinds of discriminators' losses."""
    return SimpleNamespace(
        pictures=pictures, terms=terms, show=show, domain_loss=domain_loss, patch_loss=patch_loss, prior=prior
    )


# ---- section 4: the content prior ------------------------------------------------------------------------------------


def root(covariance, power):
    u, s, _ = torch.linalg.svd(covariance)
    return u @ torch.diag(s.clamp(1e-8, 1e8) ** power) @ u.T


def recoloured(content, style):
    """Mean and covariance as in ARF, of one picture each."""
    x, goal = (picture[0].flatten(1).T for picture in (content, style))
    spread, goal_spread = (
        torch.einsum("ni,nj->ij", pixels - pixels.mean(0), pixels - pixels.mean(0)) / len(pixels)
        for pixels in (x, goal)
    )
    matrix = root(goal_spread, 0.5) @ root(spread, -0.5)
    return ((x - x.mean(0)) @ matrix.T + goal.mean(0)).clamp(0, 1).T.reshape(content.shape)


def shifts(picture, reach):
    """Yield an offset, and the picture that is seen so far away from every pixel."""
    height, width = picture.shape[-2:]
    padded = F.pad(picture, (reach,) * 4, mode="reflect")
    for down, right in product(range(-reach, reach + 1), repeat=2):
        rows = slice(reach + down, reach + down + height)
        yield down**2 + right**2, padded[..., rows, reach + right : reach + right + width]


def prior(settings, content, style):
    picture = recoloured(content, style)
    reach = settings.gaussian // 2
    sigma = 0.3 * ((settings.gaussian - 1) * 0.5 - 1) + 0.8
    weighted = [(math.exp(-far / (2 * sigma**2)), seen) for far, seen in shifts(picture, reach)]
    picture = sum(weight * seen for weight, seen in weighted) / sum(weight for weight, _ in weighted)
    reach, spread = settings.bilateral // 2, settings.sigma_color / 255
    total = weights = 0
    for far, seen in shifts(picture, reach):
        if far <= reach**2:
            unlike = (seen - picture).abs().sum(1, keepdim=True)
            weight = (-far / (2 * settings.sigma_space**2) - unlike**2 / (2 * spread**2)).exp()
            total, weights = total + weight * seen, weights + weight
    return total / weights


# ---- section 4.1: PAMA's blocks --------------------------------------------------------------------------------------


def norm(maps):
    return (maps - maps.mean((2, 3), keepdim=True)) / (maps.var((2, 3), keepdim=True) + 1e-5).sqrt()


def convolve(layer, maps):
    reach = layer.weight.shape[-1] // 2
    return F.conv2d(F.pad(maps, (reach,) * 4, mode="reflect"), layer.weight, layer.bias)


def block(pama, content, style):
    """One block, position by position."""
    content, style = (convolve(pama.conv_in.convolution, maps).clamp(0, 6) for maps in (content, style))
    f = pama.query(norm(content)).clamp(0, 6).flatten(2)[0]  # C, N
    g = pama.key(norm(style)).clamp(0, 6).flatten(2)[0]
    h = pama.value(style).clamp(0, 6).flatten(2)[0]
    gathered = torch.stack([h @ torch.softmax(f[:, i] @ g, 0) for i in range(f.shape[1])], 1)
    gathered = pama.out(gathered.view(1, -1, *content.shape[-2:])).clamp(0, 6)
    aligned = convolve(pama.conv_out.convolution, gathered).clamp(0, 6)
    joint = pama.fusion.joint(torch.cat([content, aligned], 1))
    mask = sum(torch.sigmoid(convolve(window, joint)) for window in pama.fusion.windows) / 3
    return mask * pama.fusion.content(content) + (1 - mask) * pama.fusion.style(aligned)


def generate(model, content, style):
    """Paint one content with one style."""
    fc, fs = model.encoder(content, LAYERS), model.encoder(style, LAYERS)
    transform, at = model.generator.transform, {}
    for pama, level in zip(transform.blocks, transform.levels, strict=True):
        at[level] = block(pama, at.get(level, fc[level]), fs[level])
    maps = at["relu4_1"]
    if "relu5_1" in at:
        lower = F.interpolate(at["relu5_1"], size=maps.shape[-2:], mode="nearest")
        maps = convolve(transform.merge.convolution, maps + lower)
    return model.prior_weight * prior(model.prior, content, style) + model.generator.decoder(maps)


def pictures(model, batch):
    """ContraAST, section 3.2: styles twice, contents and then contents rolled by one."""
    h = len(batch.content)
    pairs = [(i, i) for i in range(h)] + [((i + 1) % h, i) for i in range(h)]
    return pairs, [generate(model, batch.content[c : c + 1], batch.style[s : s + 1]) for c, s in pairs]


# ---- section 4.2: patches --------------------------------------------------------------------------------------------


def edges(picture):
    light = 0.299 * picture[:, :1] + 0.587 * picture[:, 1:2] + 0.114 * picture[:, 2:]
    light = F.pad(light, (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=light.dtype)
    across, down = (F.conv2d(light, k[None, None])[0, 0] for k in (kernel, kernel.T))
    return (across**2 + down**2).sqrt()


def complexity(guide, window):
    """Mean edge over a window, every pixel by the part that is inside."""
    shares = []
    for side, centre, half in zip(guide.shape, window[:2], window[2:], strict=True):
        low, high = ((1 + centre - abs(half)) * side / 2, (1 + centre + abs(half)) * side / 2)
        shares.append([max(0.0, min(high, n + 1) - max(low, n)) for n in range(side)])
    rows, columns = (torch.tensor(part, dtype=guide.dtype) for part in shares)
    return float(rows @ guide @ columns / (rows.sum() * columns.sum()))


def seen(picture, window, size):
    """Bilinear samples at the middles of ``size`` times ``size`` cells of a window, ``(1, 3, size, size)``."""
    hats = []
    for side, centre, half in zip(picture.shape[-2:], window[:2], window[2:], strict=True):
        rows = []
        for n in range(size):
            place = ((1 + centre + half * ((2 * n + 1) / size - 1)) * side - 1) / 2
            place = min(max(place, 0), side - 1)
            rows.append([max(0.0, 1 - abs(place - k)) for k in range(side)])
        hats.append(torch.tensor(rows, dtype=picture.dtype))
    return hats[0] @ picture @ hats[1].T


def sorted_patches(settings, picture, guide, windows):
    """Simple patches and complex ones of one picture."""
    windows = windows.tolist()
    if settings.guide != "none":
        found = edges(guide)
        windows = sorted(windows, key=lambda window: complexity(found, window))
    parts = windows[: settings.each], windows[-settings.each :]
    return [[seen(picture, window, settings.size) for window in part] for part in parts]


def show(model, batch, pairs, painted, windows):
    """All patches of a batch: of the stylised pictures, and twice of the styles."""
    settings, contents, styles = model.patches.settings, batch.content, batch.style
    guides = [picture.detach() for picture in painted]
    if settings.guide == "content":
        guides = [contents[c : c + 1] for c, _ in pairs]
    triples = zip(painted, guides, windows[0], strict=True)
    fake = [sorted_patches(settings, *triple) for triple in triples]
    reference, real = (
        [sorted_patches(settings, styles[[s]], styles[[s]], places[s]) for s in range(len(styles))]
        for places in windows[1:]
    )
    return SimpleNamespace(fake=fake, reference=reference, real=real, style=[s for _, s in pairs])


def equal(layer):
    """Weights of variance 1, over the root of how many inputs they add up."""
    return layer.weight / layer.weight[0].numel() ** 0.5


def rectify(x):
    return 2**0.5 * F.leaky_relu(x, 0.2)


def low_pass(maps, padding):
    taps = torch.tensor([1.0, 3, 3, 1], dtype=maps.dtype) / 8
    return F.conv2d(maps.transpose(0, 1), torch.outer(taps, taps)[None, None], padding=padding).transpose(0, 1)


def residual(part, maps):
    hidden, kept = rectify(F.conv2d(maps, equal(part.first), part.first.bias, padding=1)), maps
    halved = maps.shape[-1] >= 8
    if halved:
        hidden, kept = low_pass(hidden, 2), low_pass(maps, 1)
    stride = 1 + halved
    hidden = rectify(F.conv2d(hidden, equal(part.second), part.second.bias, stride, padding=1 - halved))
    return (hidden + F.conv2d(kept, equal(part.skip), None, stride)) / 2**0.5


def features(judge, patch):
    first, last = judge.trunk[0], judge.trunk[-2]
    maps = rectify(F.conv2d(2 * patch - 1, equal(first), first.bias, padding=1))
    for part in judge.trunk:
        if hasattr(part, "skip"):
            maps = residual(part, maps)
    return rectify(F.conv2d(maps, equal(last), last.bias)).flatten()


def judged(judge, known, patch):
    x = torch.cat([known, features(judge, patch)])
    for layer in (judge.pair, judge.judge[1], judge.judge[3]):
        x = rectify(equal(layer) @ x + layer.bias)
    return (equal(judge.judge[5]) @ x + judge.judge[5].bias)[0]


def known_of(judge, patches):
    return sum(features(judge, patch) for patch in patches) / len(patches)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def unsure(score):
    """-log D"""
    return -torch.sigmoid(score).log()


def patch_terms(model, shown):
    """Eq. 7 for either discriminator."""
    found = {}
    for part, name in enumerate(NAMES):
        judge = model.patches.discriminators[name]
        known = [known_of(judge, groups[part]).detach() for groups in shown.reference]
        pairs = [(s, patch) for s, groups in zip(shown.style, shown.fake, strict=True) for patch in groups[part]]
        found[name] = mean(unsure(judged(judge, known[s], patch)) for s, patch in pairs)
    return found


def patch_loss(model, shown, *, penalised):
    """What both discriminators learn from: Swapping Autoencoder, eq. 5, with R1 on true patches."""
    settings, total = model.patches.settings, 0
    for part, name in enumerate(NAMES):
        judge = model.patches.discriminators[name]
        known = [known_of(judge, groups[part]) for groups in shown.reference]
        real = [(known[s], patch) for s, groups in enumerate(shown.real) for patch in groups[part]]
        fake = [
            (known[s], patch.detach())
            for s, groups in zip(shown.style, shown.fake, strict=True)
            for patch in groups[part]
        ]
        total += mean(unsure(judged(judge, *pair)) for pair in real)
        total += mean(unsure(-judged(judge, *pair)) for pair in fake)
        if penalised:
            total += settings.r1_every * settings.r1 / 4 * mean(slopes(judge, part, shown))
    return total


def slopes(judge, part, shown):
    """Squared gradients at all patches of each style, of what the discriminator says of them."""
    for reference, real in zip(shown.reference, shown.real, strict=True):
        inputs = [[patch.detach().requires_grad_() for patch in groups[part]] for groups in (reference, real)]
        known = known_of(judge, inputs[0])
        said = sum(judged(judge, known, patch) for patch in inputs[1])
        gradients = torch.autograd.grad(said, inputs[0] + inputs[1], create_graph=True)
        yield sum(gradient.square().sum() for gradient in gradients)


# ---- eq. 1 to 6 ------------------------------------------------------------------------------------------------------


def distance(model, a, b):
    return (a - b).square().sum().sqrt() if model.variant == "paper" else (a - b).square().mean()


def style_term(model, maps, goal):
    total = 0
    for layer in LAYERS:
        a, z = maps[layer], goal[layer]
        total += distance(model, a.mean((2, 3)), z.mean((2, 3)))
        total += distance(model, (a.var((2, 3)) + 1e-5).sqrt(), (z.var((2, 3)) + 1e-5).sqrt())
    return total


def content_term(model, maps, goal):
    if model.variant == "paper":
        return distance(model, maps["conv4_2"], goal["conv4_2"])
    return sum(distance(model, norm(maps[x]), norm(goal[x])) for x in ("relu4_1", "relu5_1"))


def contrast(model, head, layer, attribute, pairs, phi, crops):
    """Eq. 5 or 6; an anchor has one such loss for each of its positives, and the mean counts."""

    def embed(maps):
        return F.normalize(head.mlp(maps[layer].sum((2, 3)))[0], dim=0)

    z, losses = [embed(maps) for maps in phi], []
    crops = [(embed(maps), s) for maps, s in crops]

    def alike(i, other):
        return (z[i] @ other / model.temperature).exp()

    for i, pair in enumerate(pairs):
        mates = [j for j in range(len(pairs)) if j != i and pairs[j][attribute] == pair[attribute]]
        others = [j for j in range(len(pairs)) if pairs[j][0] != pair[0] and pairs[j][1] != pair[1]]
        assert len(mates) == 1
        assert len(others) == len(pairs) - 3
        positives = [alike(i, z[mates[0]])] + [alike(i, crop) for crop, s in crops if s == pair[1]]
        negatives = sum(alike(i, z[j]) for j in others) + sum(alike(i, crop) for crop, s in crops if s != pair[1])
        losses.append(mean(-(top / (top + negatives)).log() for top in positives))
    return sum(losses) / (len(pairs) if model.variant == "paper" else 1)


def terms(model, batch, pairs, painted, windows):
    """Everything in eq. 8, unweighted."""
    wanted = (*LAYERS, "conv4_2")
    phi = [model.encoder(picture, wanted) for picture in painted]
    known = [[model.encoder(picture[None], wanted) for picture in part] for part in (batch.content, batch.style)]
    found = {
        "style": mean(style_term(model, maps, known[1][s]) for maps, (_, s) in zip(phi, pairs, strict=True)),
        "content": mean(content_term(model, maps, known[0][c]) for maps, (c, _) in zip(phi, pairs, strict=True)),
        "identity_image": 0,
        "identity_feature": 0,
    }
    for c, s in pairs:  # over the duplicated batch, as the code does
        for picture, maps in ((batch.content[[c]], known[0][c]), (batch.style[[s]], known[1][s])):
            again = generate(model, picture, picture)
            found["identity_image"] += distance(model, again, picture) / len(pairs)
            one = model.encoder(again, LAYERS)
            found["identity_feature"] += sum(distance(model, one[x], maps[x]) for x in LAYERS) / len(pairs)
    crops = [(model.encoder(crop[None], LAYERS), s) for s, views in enumerate(batch.views) for crop in views]
    found["style_contrast"] = contrast(model, model.style_head, "relu3_1", 1, pairs, phi, crops)
    found["content_contrast"] = contrast(model, model.content_head, "relu4_1", 0, pairs, phi, [])
    scores = [torch.cat(parts) for parts in zip(*(model.discriminator(p) for p in painted), strict=True)]
    found["adversarial"] = sum(
        torch.log(1 - torch.sigmoid(score)).mean() if model.variant == "paper" else (score - 1).square().mean()
        for score in scores
    )
    return found | patch_terms(model, show(model, batch, pairs, painted, windows))


def domain_loss(model, batch, painted):
    """The discriminator's side of eq. 2, by least squares."""
    real = [model.discriminator(picture[None]) for picture in batch.style]
    fake = [model.discriminator(picture.detach()) for picture in painted]
    total = 0
    for scores, target in ((real, 1), (fake, 0)):
        total += sum((torch.cat(parts) - target).square().mean() for parts in zip(*scores, strict=True))
    return total
