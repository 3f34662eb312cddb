"""The decoder that makes texture, its critic and its weights, against the equations written out, in float64."""

import math
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from lightning_modules.errors import ImpastoError
from lightning_modules.internal_external.settings import LossWeights
from lightning_modules.networks.mirrored_decoder import Texture
from lightning_modules.networks.noise import place_noise

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SHALLOW, MANNER = LAYERS[:2], LAYERS[:4]
WEIGHTS = LossWeights(
    style=0.9, adversarial=0.8, content=0.7, identity_image=0.6, identity_feature=0.5, style_contrast=0.4,
    content_contrast=0.3, texture=0.2, manner_contrast=0.1,
)  # fmt: skip
RATE = 1e-3
SETTINGS = {
    "texture": Texture(widths=(3, 4, 5), manner=6),
    "skips": 2,
    "loss": WEIGHTS,
    "content_layers": ("relu2_1", "relu4_1"),
    "content_scales": (1, 2),
    "identity_fraction": 0.34,
    "critic_optimizer": partial(torch.optim.SGD, lr=RATE),
}


@pytest.fixture
def textured(small):
    """Return a function that builds a small ContraAST whose layers feel style and noise."""

    def build(**arguments):
        model = small(**(SETTINGS | arguments)).double()
        generator = torch.Generator().manual_seed(1)
        for name, parameter in model.generator.named_parameters():
            if "affine" in name or "strength" in name:
                parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        return model

    return build


@pytest.fixture
def doubled(batch):
    data, other = batch(3), batch(3, seed=2)
    return data._replace(
        content=data.content.double(),
        style=data.style.double(),
        reference=other.style.double(),
        artist=torch.tensor([4, 7, 4]),
    )


# ---- the equations ---------------------------------------------------------------------------------------------------


def spread(maps):
    return (maps.var((2, 3), keepdim=True) + 1e-5).sqrt()


def norm(maps):
    return (maps - maps.mean((2, 3), keepdim=True)) / spread(maps)


def measures(maps):
    parts = []
    for layer in MANNER:
        parts += [maps[layer].mean((2, 3))[0], spread(maps[layer])[0, :, 0, 0]]
    return (torch.cat(parts) + 0.02).log()


def manner_of(model, maps, paintings):
    """The vector of one picture, given the measures of the paintings that were seen."""
    seen = torch.stack(paintings)
    deviation = seen.var(0, correction=0).clamp_min(1e-4).sqrt()
    standard = ((measures(maps) - seen.mean(0)) / deviation).clamp(-3, 3)
    first, _, second = model.generator.manner.mapping
    vector = second.weight @ F.leaky_relu(first.weight @ standard + first.bias, 0.2) + second.bias
    return (vector - vector.mean()) / (vector.var(correction=0) + 1e-5).sqrt()


def styled(layer, maps, manner, seed, number):
    weight, bias = layer.convolution.weight, layer.convolution.bias
    maps = F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), weight, bias)
    maps = (maps - maps.mean((2, 3), keepdim=True)) / (maps.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    scale, shift = (layer.affine.weight @ manner + layer.affine.bias)[:, None, None].chunk(2)
    strength = layer.noise.strength.weight @ manner + layer.noise.strength.bias
    noise = place_noise(torch.tensor([seed + number]), *maps.shape[-2:]).double()
    return (maps * (1 + scale) + shift + strength[:, None, None] * noise).relu()


def double(maps):
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def attend(level, content, style):
    f, g = (part(norm(maps)).flatten(2)[0] for part, maps in ((level.query, content), (level.key, style)))
    h = level.value(style).flatten(2)[0]
    gathered = torch.stack([h @ torch.softmax(f[:, i] @ g, 0) for i in range(f.shape[1])], 1)
    return level.out(gathered.view(content.shape)) + content


def generate(model, content, style, paintings, seed):
    fc, fs = model.encoder(content, LAYERS), model.encoder(style, LAYERS)
    transform, decoder = model.generator.transform, model.generator.decoder
    upper, lower = (
        attend(level, fc[name], fs[name]) for level, name in zip(transform.attentions, LAYERS[3:], strict=True)
    )
    maps = transform.merge(upper + F.interpolate(lower, size=upper.shape[-2:], mode="nearest"))
    manner = manner_of(model, fs, paintings)
    finest, finer = (
        skip.reduce(norm(fc[name]) * spread(fs[name]) + fs[name].mean((2, 3), keepdim=True))
        for skip, name in zip(decoder.skips, SHALLOW, strict=True)
    )
    maps = double(styled(decoder.stage4[0], maps, manner, seed, 0))
    maps = double(styled(decoder.stage3[1], styled(decoder.stage3[0], maps, manner, seed, 1), manner, seed, 2))
    maps = styled(decoder.stage2[0], torch.cat([maps, finer], 1), manner, seed, 3)
    maps = double(styled(decoder.stage2[1], maps, manner, seed, 4))
    maps = styled(decoder.stage1[0], torch.cat([maps, finest], 1), manner, seed, 5)
    last = decoder.to_rgb.convolution
    return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), last.weight, last.bias)


def scores(model, maps, artist):
    code = place_noise(torch.tensor([artist]), 1, 512)[0, 0, 0].double()
    found = []
    for layer, head in model.critic.heads.items():
        hidden = head.body(maps[layer])
        found.append(head.out(hidden) + (hidden * head.project(code)[:, None, None]).sum(1) / len(hidden[0]) ** 0.5)
    return found


PAIRS = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 1), (0, 2)]  # section 3.2: contents and styles of six pictures


def literal(model, batch, seeds):
    """Return what the texture changes: pictures, reconstructions and four terms."""
    contents, styles = ([picture[None] for picture in pictures] for pictures in (batch.content, batch.style))
    paintings = [measures(model.encoder(style, LAYERS)) for style in styles]
    painted = [generate(model, contents[c], styles[s], paintings, seeds[n]) for n, (c, s) in enumerate(PAIRS)]
    own = [contents[0], styles[0]]
    again = [generate(model, x, x, paintings, seeds[6 + n]) for n, x in enumerate(own)]
    content = image = feature = texture = 0
    for picture, (c, s) in zip(painted, PAIRS, strict=True):
        for scale in (1, 2):
            one, other = (model.encoder(F.avg_pool2d(x, scale), LAYERS) for x in (picture, contents[c]))
            content += sum((norm(one[x]) - norm(other[x])).square().mean() for x in ("relu2_1", "relu4_1")) / 12
        found = scores(model, model.encoder(picture, LAYERS), int(batch.artist[s]))
        texture -= sum(score.mean() for score in found) / 4 / 6
    for one, other in zip(again, own, strict=True):
        image += (one - other).square().mean()
        maps, known = model.encoder(one, LAYERS), model.encoder(other, LAYERS)
        feature += sum((maps[x] - known[x]).square().mean() for x in LAYERS)
    known = [model.encoder(picture[None], LAYERS) for picture in (*batch.style, *batch.reference)]
    z = [vector / vector.square().sum().sqrt() for vector in (manner_of(model, maps, paintings) for maps in known)]
    whose, contrast = batch.artist.tolist() * 2, 0
    for i in range(6):
        mates = [j for j in range(6) if j != i and whose[j] == whose[i]]
        below = sum((z[i] @ z[j] / model.temperature).exp() for j in range(6) if j != i)
        contrast -= sum(((z[i] @ z[j] / model.temperature).exp() / below).log() for j in mates) / len(mates) / 6
    contrast *= model.temperature / 0.07  # as supervised_contrastive_loss scales
    terms = {"content": content, "identity_image": image, "identity_feature": feature, "texture": texture}
    return painted, again, terms | {"manner_contrast": contrast}


def paint(model, data):
    torch.manual_seed(5)
    painted = model.paint_batch(data)
    torch.manual_seed(5)
    return painted, torch.randint(2**31, (8,)).tolist()


# ---- the tests -------------------------------------------------------------------------------------------------------


def test_pictures_terms_and_gradients_are_those_of_the_equations(textured, doubled):
    model = textured()
    painted, seeds = paint(model, doubled)
    fast = model.generator_terms(doubled, painted)
    assert fast.keys() == vars(WEIGHTS).keys()
    pictures, again, slow = literal(model, doubled, seeds)
    assert torch.allclose(painted.stylized, torch.cat(pictures), atol=1e-9)
    assert torch.allclose(painted.identity, torch.cat(again), atol=1e-9)
    for name, value in slow.items():
        assert float(fast[name]) == pytest.approx(float(value), rel=1e-6), name
    trained = list(model.generator.parameters())
    found, expected = (
        torch.autograd.grad(sum(terms[name] for name in slow), trained, materialize_grads=True)
        for terms in (fast, slow)
    )
    largest = max(float(gradient.norm()) for gradient in expected)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm()) <= 1e-5 * float(other.norm()) + 1e-9 * largest


def test_the_critic_wants_paintings_under_their_painters(textured, doubled):
    model = textured()
    painted, _ = paint(model, doubled)
    model.generator_terms(doubled, painted)
    artist, total = doubled.artist.tolist(), 0
    artist *= 2
    styles = [model.encoder(picture[None], LAYERS) for picture in (*doubled.style, *doubled.reference)]
    made = [model.encoder(picture[None].detach(), LAYERS) for picture in painted.stylized]
    foreign = [(i, j) for i in range(6) for j in range(6) if artist[i] != artist[j]]
    for head in range(4):
        real = [(1 - scores(model, styles[i], artist[i])[head]).relu().mean() for i in range(6)]
        fake = [(1 + scores(model, made[n], artist[s])[head]).relu().mean() for n, (_, s) in enumerate(PAIRS)]
        other = [(1 + scores(model, styles[i], artist[j])[head]).relu().mean() for i, j in foreign]
        total += (sum(real) / 6 + (sum(fake) / 6 + sum(other) / len(other)) / 2) / 4
    assert float(model.critic.loss()) == pytest.approx(float(total), rel=1e-9)


@pytest.mark.parametrize("balance_every", [0, 1])
def test_a_step_descends_the_weighted_sum_and_the_critics_own_loss(
    textured, doubled, quiet_trainer, monkeypatch, balance_every
):
    monkeypatch.setattr(torch, "randint", lambda high, shape, device: torch.arange(*shape))  # of the noise
    model = textured(balance_every=balance_every)
    model.make_optimizer = model.make_discriminator_optimizer = partial(torch.optim.SGD, lr=RATE)
    twin = deepcopy(model)
    twin.discriminator.requires_grad_(False)
    trainer = quiet_trainer(max_steps=1, precision="64-true")
    trainer.fit(model, DataLoader([doubled], batch_size=None))
    twin.discriminator.load_state_dict(model.discriminator.state_dict())  # it steps first; test_step.py says how
    painted = twin.paint_batch(doubled)
    terms = twin.generator_terms(doubled, painted)
    weights = dict(vars(WEIGHTS))
    if balance_every:
        free = [name for name in terms if not name.startswith(("identity", "manner"))]
        norms = {n: torch.autograd.grad(terms[n], painted.stylized, retain_graph=True)[0].norm() for n in free}
        weights |= {name: weights[name] * float(norms["content"] / norms[name]) for name in free}
    total = sum(weights[name] * term for name, term in terms.items())
    expected = [(twin.generator, total), (twin.critic, twin.critic.loss())]
    for part, loss in expected:
        parameters = list(part.parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        moved = model.generator if part is twin.generator else model.critic
        for one, other, gradient in zip(moved.parameters(), parameters, gradients, strict=True):
            tolerance = 1e-6 if balance_every else 1e-10  # gradients are measured in single precision
            assert torch.allclose(one, other - RATE * gradient, rtol=tolerance, atol=tolerance)
    assert float(trainer.callback_metrics["train/total"]) == pytest.approx(float(total.detach()), rel=1e-5)


def test_vectors_contrast_only_where_there_are_some(small):
    with pytest.raises(ImpastoError, match=r"give model\.texture"):
        small(loss=LossWeights(manner_contrast=1.0))


def test_a_critic_needs_an_optimiser(textured):
    with pytest.raises(ImpastoError, match=r"critic_optimizer, as in contraast/tiny\.yaml"):
        textured(critic_optimizer=None)


def test_the_manner_is_standardised_by_the_first_paintings_and_no_more(textured, doubled):
    model = textured()
    manner = model.generator.manner
    manner.limit = 5
    batches = [doubled, doubled._replace(style=doubled.reference), doubled._replace(style=doubled.content)]
    for data in batches:
        paint(model, data)
    assert manner.settled
    assert manner.paintings == 6
    seen = torch.stack([measures(model.encoder(x[None], MANNER)) for data in batches[:2] for x in data.style])
    assert torch.allclose(manner.mean, seen.mean(0))
    assert torch.allclose(manner.variance, seen.var(0, correction=0))
    other = textured()
    other.load_state_dict(model.state_dict())
    assert other.generator.manner.paintings == 6
    maps = model.encoder(doubled.style, MANNER)
    assert torch.equal(manner(maps), other.generator.manner(maps))
    flat = {name: torch.full_like(maps_, 1e6) for name, maps_ in maps.items()}
    assert manner(flat).isfinite().all()


def test_pictures_depend_on_seed_and_place_alone(textured):
    model = textured().eval()
    content, style = torch.rand(2, 3, 48, 48).double(), torch.rand(1, 3, 40, 56).double()
    together = model.stylize(content, style=style)
    assert torch.allclose(model.stylize(content[1:], style=style), together[1:], atol=1e-6)
    assert torch.equal(model.stylize(content, style=style), together)


def test_alpha_leads_from_the_contents_own_manner(textured):
    model = textured().eval()
    content, style = torch.rand(1, 3, 32, 48).double(), torch.rand(1, 3, 40, 40).double()
    at = {alpha: model.stylize(content, style=style, alpha=alpha) for alpha in (0.0, 0.5, 1.5)}
    assert torch.allclose(at[0.0], model.stylize(content, style=content), atol=1e-5)
    assert at[1.5].isfinite().all()
    assert not torch.equal(at[0.5], model.stylize(content, style=style))


def test_new_weights_of_the_manner_empty_the_cache(textured):
    model = textured().eval()
    content, style = torch.rand(1, 3, 32, 32).double(), torch.rand(1, 3, 32, 32).double()
    first = model.stylize(content, style=style)
    model.generator.manner.mapping[0].weight.data.mul_(-2)
    changed = model.stylize(content, style=style)
    assert not torch.equal(changed, first)
    model.generator.manner.mean += 1
    assert not torch.equal(model.stylize(content, style=style), changed)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_norms_see_the_whole_of_a_picture_in_tiles(textured, alpha):
    model, generator = textured().eval(), torch.Generator().manual_seed(0)
    content = torch.rand(1, 3, 336, 272, generator=generator, dtype=torch.float64)
    style = torch.rand(1, 3, 200, 210, generator=generator, dtype=torch.float64)
    whole = model.stylize(content, style=style, alpha=alpha)
    for model.tile in (64, 144):
        assert torch.allclose(model.stylize(content, style=style, alpha=alpha), whole, atol=1e-7)


def test_codes_of_painters_are_theirs_alone():
    from lightning_modules.networks.texture_critic import painter_codes

    codes = painter_codes(torch.tensor([3, 8, 3, 1118]), 64)
    assert torch.equal(codes[0], codes[2])
    similar = F.cosine_similarity(codes[0], codes[[1, 3]])
    assert float(similar.abs().max()) < 4 / math.sqrt(64)
    assert abs(float(painter_codes(torch.arange(200), 64).std()) - 1) < 0.02
