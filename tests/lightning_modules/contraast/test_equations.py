"""The fast step against the paper's equations written out, one pair of pictures at a time, nothing shared or cached."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.contenders.contraast import Fast, Literal, PlainGenerator

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def norm(maps):
    return (maps - maps.mean((2, 3), keepdim=True)) / (maps.var((2, 3), keepdim=True) + 1e-5).sqrt()


def attend(level, content, style):
    """SANet at one level, position by position."""
    f = level.query(norm(content)).flatten(2)[0]  # C, N
    g = level.key(norm(style)).flatten(2)[0]
    h = level.value(style).flatten(2)[0]
    gathered = torch.stack([h @ torch.softmax(f[:, i] @ g, 0) for i in range(f.shape[1])], 1)
    return level.out(gathered.view(content.shape)) + content


def generate(model, content, style):
    """Paint one content with one style."""
    layers = ("relu1_1", "relu2_1", "relu4_1", "relu5_1")
    fc, fs = model.encoder(content, layers), model.encoder(style, layers)
    transform, decoder = model.generator.transform, model.generator.decoder
    upper = attend(transform.attentions[0], fc["relu4_1"], fs["relu4_1"])
    lower = attend(transform.attentions[1], fc["relu5_1"], fs["relu5_1"])
    merged = transform.merge(upper + F.interpolate(lower, size=upper.shape[-2:], mode="nearest"))
    statistics = [
        (fs[n].mean((2, 3), keepdim=True), (fs[n].var((2, 3), keepdim=True) + 1e-5).sqrt()) for n in layers[:2]
    ]
    return decoder(merged, *decoder.styled_skips(fc, statistics))


def distance(model, a, b):
    return (a - b).square().sum().sqrt() if model.variant == "paper" else (a - b).square().mean()


def pictures(model, batch):
    """Section 3.2: styles twice, contents and then contents rolled by one."""
    h = len(batch.content)
    pairs = [(i, i) for i in range(h)] + [((i + 1) % h, i) for i in range(h)]
    painted = [generate(model, batch.content[c : c + 1], batch.style[s : s + 1]) for c, s in pairs]
    return pairs, painted


def literal_terms(model, batch):
    pairs, painted = pictures(model, batch)
    b = len(pairs)
    phi = [model.encoder(picture, (*LAYERS, "conv4_2")) for picture in painted]
    phi_c = [model.encoder(batch.content[c : c + 1], (*LAYERS, "conv4_2")) for c, _ in pairs]
    phi_s = [model.encoder(batch.style[s : s + 1], LAYERS) for _, s in pairs]

    style = content = image = feature = 0
    for n, (c, s) in enumerate(pairs):
        for layer in LAYERS:
            a, z = phi[n][layer], phi_s[n][layer]
            style += distance(model, a.mean((2, 3)), z.mean((2, 3))) / b
            deviations = [(maps.var((2, 3)) + 1e-5).sqrt() for maps in (a, z)]
            style += distance(model, *deviations) / b
        if model.variant == "paper":
            content += distance(model, phi[n]["conv4_2"], phi_c[n]["conv4_2"]) / b
        else:
            content += sum(distance(model, norm(phi[n][x]), norm(phi_c[n][x])) for x in ("relu4_1", "relu5_1")) / b
        for known in (batch.content[c : c + 1], batch.style[s : s + 1]):  # over the duplicated batch, as the code does
            again = generate(model, known, known)
            image += distance(model, again, known) / b
            one, other = model.encoder(again, LAYERS), model.encoder(known, LAYERS)
            feature += sum(distance(model, one[layer], other[layer]) for layer in LAYERS) / b

    contrast = []
    heads = ((model.style_head, "relu3_1", 1), (model.content_head, "relu4_1", 0))
    for head, layer, attribute in heads:
        z = [F.normalize(head.mlp(phi[n][layer].sum((2, 3)))[0], dim=0) for n in range(b)]
        losses = []
        for i in range(b):
            mates = [j for j in range(b) if j != i and pairs[j][attribute] == pairs[i][attribute]]
            others = [j for j in range(b) if pairs[j][0] != pairs[i][0] and pairs[j][1] != pairs[i][1]]
            assert len(mates) == 1
            assert len(others) == b - 3
            top = (z[i] @ z[mates[0]] / model.temperature).exp()
            losses.append(-(top / (top + sum((z[i] @ z[j] / model.temperature).exp() for j in others))).log())
        contrast.append(sum(losses) / (b if model.variant == "paper" else 1))

    adversarial = 0
    scores = [torch.cat(parts) for parts in zip(*(model.discriminator(p) for p in painted), strict=True)]
    for score in scores:
        paper = torch.log(1 - torch.sigmoid(score)).mean()
        adversarial += paper if model.variant == "paper" else (score - 1).square().mean()
    return {
        "style": style,
        "content": content,
        "identity_image": image,
        "identity_feature": feature,
        "style_contrast": contrast[0],
        "content_contrast": contrast[1],
        "adversarial": adversarial,
    }


def gradients(model, total):
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("variant", ["reference", "paper"])
@pytest.mark.parametrize(("half", "skips"), [(2, 0), (3, 4)])
def test_losses_and_gradients_are_those_of_the_equations(small, batch, variant, half, skips):
    model, data = small(variant=variant, skips=skips).double(), batch(half)
    # A float64 batch: what differs then is the arithmetic and not the rounding.
    data = data._replace(content=data.content.double(), style=data.style.double())
    painted = model.paint_batch(data)
    fast = model.generator_terms(data, painted)
    slow = literal_terms(model, data)
    assert fast.keys() == slow.keys()
    for name in fast:
        assert float(fast[name]) == pytest.approx(float(slow[name]), rel=1e-5), name
    weights = vars(model.loss)
    fast_gradients = gradients(model, sum(weights[name] * term for name, term in fast.items()))
    slow_gradients = gradients(model, sum(weights[name] * term for name, term in slow.items()))
    assert fast_gradients.keys() == slow_gradients.keys()
    # Some true gradients are 0, such as those of a key's bias, constant along the softmax, and of biases before a norm:
    # what is left there is rounding.
    rounding = 1e-9 * max(float(gradient.norm()) for gradient in slow_gradients.values())
    for name, expected in slow_gradients.items():
        difference = float((fast_gradients[name] - expected).norm())
        assert difference <= 1e-4 * float(expected.norm()) + rounding, name


def test_the_discriminators_loss_is_that_of_equation_2(small, batch):
    data = batch()
    for variant in ("reference", "paper"):
        model = small(variant=variant)
        fake = torch.rand(6, 3, 64, 64)
        loss, accuracy = model.discriminator_loss(data.style, fake)
        expected, right = 0, []
        for real_score, fake_score in zip(model.discriminator(data.style), model.discriminator(fake), strict=True):
            if variant == "paper":
                expected -= torch.sigmoid(real_score).log().mean() + (1 - torch.sigmoid(fake_score)).log().mean()
                right += [(real_score > 0).double().mean(), (fake_score <= 0).double().mean()]
            else:
                expected += (real_score - 1).square().mean() + fake_score.square().mean()
                right += [(real_score > 0.5).double().mean(), (fake_score <= 0.5).double().mean()]
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
        assert float(accuracy) == pytest.approx(float(sum(right) / len(right)), abs=1e-6)


@pytest.fixture
def bare(small):
    """Return a function that builds a model whose encoder, like the full one, takes pictures as they are."""

    def build():
        model = small().double()
        model.encoder.trunk.mean.zero_()
        model.encoder.trunk.std.fill_(1)
        return model

    return build


def test_the_benchmarks_plain_step_learns_what_ours_learns(bare, batch):
    data = batch()
    data = data._replace(content=data.content.double(), style=data.style.double())
    plain, fast = Literal(bare()), Fast(bare())
    expected, found = plain(data), fast(data)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name
    trained = [dict(step.model.generator.named_parameters()) for step in (plain, fast)]
    rounding = 1e-9 * max(float(parameter.grad.norm()) for parameter in trained[0].values())
    for name, parameter in trained[0].items():
        difference = float((trained[1][name].grad - parameter.grad).norm())
        assert difference <= 1e-4 * float(parameter.grad.norm()) + rounding, name


def test_the_benchmarks_plain_layers_paint_what_we_paint(bare):
    model = bare().eval()
    content, style = (torch.rand(1, 3, 64, 48, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        literal = PlainGenerator(model)(content, style).float()
    assert torch.allclose(literal, model.stylize(content, style=style), atol=1e-6)
