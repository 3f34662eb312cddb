"""CLAST's loss terms against its equations written out, one picture, patch and pair at a time, in float64.

What the fast code draws at random (sentences, conditions, patches, warps, mixtures) is noted on its way and given to
the slow one; nothing else is shared but the networks.
"""

import itertools
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from kornia.geometry.transform import get_perspective_transform, warp_perspective

from lightning_modules.clast import module
from lightning_modules.clast.prompts import TEMPLATES
from lightning_modules.clast.settings import LossWeights, Patches
from lightning_modules.clast.style_code import PromptEncoder
from lightning_modules.types import StyleBatch

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
JUDGED = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MEAN, STD = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in IMAGENET)
ARTISTS = ("Ada Stipple", "Bob Hatch")
CRITIC_RATE = 2e-3
WEIGHTS = LossWeights(
    content=1.0, style=0.7, clip=0.6, clip_patch=0.5, contrastive=0.4, lpips=0.3, identity=0.2, tv=0.1, texture=0.25
)


class Draws(NamedTuple):
    """What one batch drew."""

    sentences: list[str]
    by_text: list[bool]
    corners: list[list[tuple[int, int]]]  # of patch j of picture i
    warps: torch.Tensor  # start and end points: 2, patches, pictures, 4, 2
    own: list[int]  # pictures that are also reconstructed
    mixed: list[int]  # pictures in two manners
    partner: list[int]
    weight: list[float]
    seeds: list[int]  # of the noise, reconstructions last


# ---- the equations ---------------------------------------------------------------------------------------------------


def unit(vector):
    return vector / vector.square().sum().sqrt()


def spread(maps):
    return (maps.var((2, 3), keepdim=True) + 1e-5).sqrt()


def norm(maps):
    return (maps - maps.mean((2, 3), keepdim=True)) / spread(maps)


def look(model, picture, layers=LAYERS):
    return model.encoder((picture - MEAN) / STD if model.variant == "paper" else picture, layers)


def paint(model, content, code, seed):
    maps = look(model, content)
    fused = model.fusion([maps[layer] for layer in LAYERS[2:]], code[None])
    shallow = [maps[layer] for layer in LAYERS[:2]] if model.decoder.skips is not None else ()
    return model.decoder(fused, code[None], shallow, torch.tensor([seed])) * STD + MEAN


class Given:
    """CLIP's vectors of a batch, the means of both modalities, and the codes that follow."""

    def __init__(self, model, batch, draws):
        self.model, self.artist = model, batch.artist.tolist()
        clip = model.clip_encoder
        self.content, self.style, self.reference = (
            [clip.encode_image(picture[None])[0] for picture in pictures]
            for pictures in (batch.content, batch.style, [] if batch.reference is None else batch.reference)
        )
        self.texts = [clip.encode_text([sentence])[0] for sentence in draws.sentences]
        self.source = clip.encode_text(["a photo"])[0]
        self.image_mean = sum(unit(e) for e in self.style) / len(self.style)  # of the style pictures of all ranks
        self.text_mean = model.style_code.text_mean

    def code(self, vector, mean):
        if self.model.variant == "paper":
            return vector
        return unit(unit(vector) - mean) * len(vector) ** 0.5

    def prototype(self, i):
        known, a = self.model.prototypes, self.artist[i]
        paintings = [unit(e) for e, artist in zip(self.style, self.artist, strict=True) if artist == a]
        n, k = float(known.paintings[a]), known.shrinkage
        name = known.texts[a] + self.image_mean - self.text_mean
        return n / (n + k) * sum(paintings) / len(paintings) + k / (n + k) * name

    def condition(self, i, by_text):
        if not by_text:
            return self.code(self.style[i], self.image_mean)
        if self.model.prototypes is not None:
            return self.code(self.prototype(i), self.image_mean)
        return self.code(self.texts[i], self.text_mean)

    def codes(self, by_text, partner, weight):
        own = [self.condition(i, chosen) for i, chosen in enumerate(by_text)]
        return [w * own[i] + (1 - w) * own[partner[i]] for i, w in enumerate(weight)]


def directional(out, content, text, source):
    di, dt = unit(out) - unit(content), unit(text) - unit(source)
    return 1 - di @ dt / (di.square().sum() * dt.square().sum()).sqrt()


def clip_terms(model, given, draws, pictures):
    b = len(pictures)
    whole = patches = 0
    for i, w in enumerate(draws.weight):
        clauses = [(w, given.texts[i]), (1 - w, given.texts[draws.partner[i]])]
        out = model.clip_encoder.encode_image(pictures[i])[0]
        whole += sum(share * directional(out, given.content[i], text, given.source) for share, text in clauses) / b
        for j, row in enumerate(draws.corners):
            top, left = row[i]
            side = min(model.patches.size, *pictures[i].shape[-2:])
            patch_ = pictures[i][..., top : top + side, left : left + side]
            bent = get_perspective_transform(*draws.warps[:, j, i : i + 1].double())
            patch_ = warp_perspective(patch_, bent, (side, side), align_corners=False)
            out = model.clip_encoder.encode_image(patch_)[0]
            for share, text in clauses:
                value = directional(out, given.content[i], text, given.source)
                patches += share * value / (b * len(draws.corners)) if value >= model.patches.threshold else 0
    return whole, patches


def contrast(model, given, draws, pictures):
    alone = [i for i in range(len(pictures)) if i not in draws.mixed]
    vectors = [(model.clip_encoder.encode_image(pictures[i])[0], given.artist[i]) for i in alone]
    for known in (given.style, given.reference, given.texts):
        vectors += zip(known, given.artist, strict=bool(known))
    if model.prototypes is not None:
        vectors += [(given.prototype(i), artist) for i, artist in enumerate(given.artist)]
    z = [unit(model.proj(vector)) for vector, _ in vectors]
    t, total = model.temperature, 0
    for i, (_, label) in enumerate(vectors):
        positives = [p for p, (_, other) in enumerate(vectors) if other == label and p != i]
        below = sum((z[i] @ z[a] / t).exp() for a in range(len(z)) if a != i)
        total -= sum(((z[i] @ z[p] / t).exp() / below).log() for p in positives) / len(positives)
    return t / 0.07 * total / len(z)


def lpips(model, one, other):
    maps, known = (model.perceptual.encoder(picture, JUDGED) for picture in (one, other))
    distance = 0
    for layer in JUDGED:
        a, b = (m / m.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12) for m in (maps[layer], known[layer]))
        distance += (a - b).square().sum(1).mean() / len(JUDGED)
    return distance


def scores(model, picture, condition):
    """Return the critic's scores of one picture under one condition, a map for every layer."""
    maps, found = look(model, picture), []
    for layer, head in model.critic.heads.items():
        hidden = head.body(maps[layer])
        found.append(
            head.out(hidden) + (hidden * head.project(condition)[:, None, None]).sum(1) / len(hidden[0]) ** 0.5
        )
    return found


def verdict(model, picture, condition):
    return sum(found.mean() for found in scores(model, picture, condition)) / len(model.critic.heads)


def asked_of(given, draws, i):
    named = [given.code(text, given.text_mean) for text in given.texts]
    w = draws.weight[i]
    return w * named[i] + (1 - w) * named[draws.partner[i]]


def literal_critic(model, batch, draws, painted):
    """Return the critic's own loss."""
    with torch.no_grad():
        given = Given(model, batch, draws)
        named = [given.code(text, given.text_mean) for text in given.texts]
        asked = [asked_of(given, draws, i) for i in range(len(painted))]
    b, heads = len(painted), len(model.critic.heads)
    styles = [picture[None] for picture in batch.style]
    foreign = [(i, j) for i in range(b) for j in range(b) if batch.artist[i] != batch.artist[j]]
    total = 0
    for head in range(heads):
        real = [(1 - scores(model, styles[i], named[i])[head]).relu().mean() for i in range(b)]
        fake = [(1 + scores(model, painted[i].detach(), asked[i])[head]).relu().mean() for i in range(b)]
        other = [(1 + scores(model, styles[i], named[j])[head]).relu().mean() for i, j in foreign]
        total += (sum(real) / b + (sum(fake) / b + sum(other) / len(other)) / 2) / heads
    return total


def literal_terms(model, batch, draws):
    """Return the terms, the painted pictures and the reconstructions."""
    with torch.no_grad():
        given = Given(model, batch, draws)
    contents, styles = ([picture[None] for picture in pictures] for pictures in (batch.content, batch.style))
    codes = given.codes(draws.by_text, draws.partner, draws.weight)
    b = len(contents)
    painted = [paint(model, contents[i], codes[i], draws.seeds[i]) for i in range(b)]
    own = [given.code(given.content[i], given.image_mean) for i in draws.own]
    again = [paint(model, contents[i], own[n], draws.seeds[b + n]) for n, i in enumerate(draws.own)]

    content = style = smooth = perceptual = 0
    for i, picture in enumerate(painted):
        for scale in model.content_scales:
            small, known = (look(model, F.avg_pool2d(x, scale), model.content_layers) for x in (picture, contents[i]))
            share = b * len(model.content_scales)
            share *= 1 if model.variant == "paper" else len(model.content_layers)  # the public code sums over layers
            content += sum((norm(small[x]) - norm(known[x])).square().mean() / share for x in model.content_layers)
        maps, goals = look(model, picture), [look(model, styles[n]) for n in (i, draws.partner[i])]
        w = draws.weight[i]
        for layer in LAYERS:
            for statistic in (partial(torch.mean, dim=(2, 3), keepdim=True), spread):
                goal = w * statistic(goals[0][layer]) + (1 - w) * statistic(goals[1][layer])
                style += (statistic(maps[layer]) - goal).square().mean() / b
        perceptual += lpips(model, picture, contents[i]) / b
        rows, columns = picture[..., 1:, :] - picture[..., :-1, :], picture[..., 1:] - picture[..., :-1]
        smooth += (rows.square().mean() + columns.square().mean()) / b
    whole, patches = clip_terms(model, given, draws, painted)
    terms = {
        "content": content,
        "style": style,
        "clip": whole,
        "clip_patch": patches,
        "contrastive": contrast(model, given, draws, painted),
        "lpips": perceptual,
        "identity": sum((x - contents[i]).abs().mean() for x, i in zip(again, draws.own, strict=True)) / len(again),
        "tv": smooth,
        "texture": -sum(verdict(model, picture, asked_of(given, draws, i)) for i, picture in enumerate(painted)) / b,
    }
    return terms, painted, again


# ---- what the fast code draws ----------------------------------------------------------------------------------------


@contextmanager
def noting(model):
    """Note what passes by while the fast code runs; `drawn` reads it."""
    notes, loss_terms, ask = {}, model.loss_terms, PromptEncoder.__call__
    draw = module.draw_mixture

    def note_texts(prompts, texts):
        notes.setdefault("texts", []).append(list(texts))
        return ask(prompts, texts)

    def note_patches(warp, inputs, _):
        notes["patches"] = inputs[0].detach()
        notes["warps"] = torch.stack([warp._params[f"{end}_points"] for end in ("start", "end")])

    def note_mixture(*arguments):
        notes["mixture"] = draw(*arguments)
        return notes["mixture"]

    def note_result(batch):
        notes["terms"], notes["pictures"] = loss_terms(batch)
        return notes["terms"], notes["pictures"]

    with ExitStack() as stack:
        stack.enter_context(patch.object(PromptEncoder, "__call__", note_texts))
        stack.enter_context(patch.object(module, "draw_mixture", note_mixture))
        stack.enter_context(patch.object(model, "loss_terms", note_result))
        hooks = [
            model.fusion.register_forward_pre_hook(lambda _, inputs: notes.update(codes=inputs[1].detach())),
            model.perspective.register_forward_hook(note_patches),
            model.decoder.register_forward_pre_hook(lambda _, inputs: notes.update(seeds=inputs[3])),
        ]
        yield notes
        for hook in hooks:
            hook.remove()


def corner(picture, patch_):
    """Find a patch in its picture."""
    side = patch_.shape[-1]
    windows = picture.unfold(-2, side, 1).unfold(-2, side, 1)  # 3, rows, columns, side, side, transposed twice
    places = (windows == patch_[:, None, None]).all(-1).all(-1).all(0).nonzero().tolist()
    assert len(places) == 1, "not one place in the right picture"
    return tuple(places[0])


def drawn(model, batch, notes):
    """Work out from what passed by what was drawn, but for the conditions; see `conditioned`."""
    size = len(batch.content)
    sentences = next(texts for texts in notes["texts"] if len(texts) == size)
    for sentence, name in zip(sentences, batch.prompt, strict=True):
        assert sentence in [template.format(name) for template in TEMPLATES]
    mixture = notes.get("mixture")
    partner, weight = (range(size), [1.0] * size) if mixture is None else (mixture.partner, mixture.weight.flatten())
    return Draws(
        sentences,
        [],
        [[corner(notes["pictures"][i], p) for i, p in enumerate(row)] for row in notes["patches"].split(size)],
        notes["warps"].view(2, -1, size, 4, 2),
        list(range(len(notes["pictures"]) - size)),
        [] if mixture is None else list(range(mixture.mixed)),
        [int(i) for i in partner],
        [float(w) for w in weight],
        [0] * len(notes["pictures"]) if notes["seeds"] is None else notes["seeds"].tolist(),
    )


@torch.no_grad()
def conditioned(model, batch, draws, used):
    """Find out who was painted after a text and who after a picture; ``used`` are the codes ``(B, D)``."""
    given = Given(model, batch, draws)
    for by_text in itertools.product((True, False), repeat=len(used)):
        if torch.allclose(torch.stack(given.codes(by_text, draws.partner, draws.weight)), used, atol=1e-9):
            return draws._replace(by_text=list(by_text))
    raise AssertionError("the codes are those of no text and no style picture")


# ---- what the tests share --------------------------------------------------------------------------------------------


def batch(artists=(0, 0, 1, 1), side=32, reference=True, seed=1):
    size, generator = len(artists), torch.Generator().manual_seed(seed)
    pictures = torch.rand(3, size, 3, side, side, generator=generator, dtype=torch.float64)
    names = [ARTISTS[artist] for artist in artists]
    further = pictures[2] if reference else None
    return StyleBatch(*pictures[:2], torch.tensor(artists), names, torch.arange(size), further)


def trained(model):
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def gradients(model, total):
    names = trained(model)
    found = torch.autograd.grad(total, list(names.values()), retain_graph=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def check_equal(fast, slow, what, rel=1e-7):
    # What is truly 0, such as the gradient of a bias before a norm, is rounding.
    rounding = rel / 1e4 * max(float(tensor.norm()) for tensor in slow.values())
    assert fast.keys() == slow.keys()
    for name, expected in slow.items():
        assert float((fast[name] - expected).norm()) <= rel * float(expected.norm()) + rounding, f"{what}: {name}"


@pytest.fixture
def build(small_clast):
    """Return a function that builds a CLAST in float64, with nothing left at zero."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)

    def make(**settings):
        patches = Patches(count=3, size=20, distortion=0.3, threshold=1.2)
        settings = {"loss": WEIGHTS, "patches": patches, "temperature": 0.2, "identity_fraction": 0.5} | settings
        settings["critic_optimizer"] = partial(torch.optim.SGD, lr=CRITIC_RATE)
        clast = small_clast(**settings).double()
        for parameter in clast.parameters():
            if parameter.requires_grad:
                parameter.data += 0.05 * torch.randn_like(parameter)
        names = [clast.prompts.ensemble(name) for name in ARTISTS]
        clast.style_code.set_text_mean(torch.stack(names))
        if clast.prototypes is not None:
            clast.prototypes.start(ARTISTS, torch.stack(names), [3, 8])
        return clast

    yield make
    torch.set_default_dtype(before)


@pytest.fixture
def equations():
    """Return the functions of this file."""
    functions = (batch, literal_terms, literal_critic, noting, drawn, conditioned, trained, gradients, check_equal)
    return SimpleNamespace(
        weights=WEIGHTS, critic_rate=CRITIC_RATE, Draws=Draws, **{function.__name__: function for function in functions}
    )
