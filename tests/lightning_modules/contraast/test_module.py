from functools import partial

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from lightning_modules import memory
from lightning_modules.errors import ImpastoError
from lightning_modules.internal_external import painting
from lightning_modules.internal_external.settings import LossWeights
from lightning_modules.networks import mirrored_decoder
from lightning_modules.networks.multi_scale_discriminator import MultiScaleDiscriminator
from lightning_modules.networks.projection_head import ProjectionHead


def test_sizes_of_the_papers_networks_and_of_its_heads(monkeypatch):

    from lightning_modules.contraast import ContraAST

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    adam = partial(torch.optim.Adam, lr=1e-4)
    model = ContraAST(adam, adam, weights="random")
    colour = 12  # the 1x1 convolution, folded into conv1_1
    assert count(model.encoder) == 12_944_972 - colour + 3 * (
        512 * 512 * 9 + 512
    )  # to relu5_1, and the three that follow it
    assert count(model.generator.transform) == 4_461_056
    assert count(model.generator.decoder) == 3_505_219
    assert count(model.discriminator) == 8_283_459
    assert [layer.out_features for layer in (model.style_head.mlp[0], model.content_head.mlp[0])] == [128, 256]
    paper = ContraAST(adam, adam, weights="random", variant="paper")
    assert [layer.out_features for layer in (paper.style_head.mlp[0], paper.content_head.mlp[0])] == [256, 128]


def test_a_batch_is_painted_in_one_pass(small, batch):
    model, data = small(), batch(3)
    painted = model.paint_batch(data)
    assert painted.stylized.shape == painted.identity.shape == (6, 3, 64, 64)
    assert all(len(maps) == 6 and not maps.requires_grad for maps in painted.known.values())
    alone = model.generator(
        {name: maps[1:2] for name, maps in painted.known.items()},
        [query[1:2] for query in model.generator.transform.queries(painted.known)],
        model.generator.style_keys({name: maps[3:4] for name, maps in painted.known.items()}),
    )
    assert torch.allclose(painted.stylized[3:4], alone, atol=1e-5)  # content 1 meets style 0 in place 3


class Watch:
    """Notes which gradients are there at each optimiser's step."""

    def __init__(self, model):
        self.seen = []
        model.on_before_optimizer_step = lambda optimizer: self.note(model)

    def note(self, model):
        parts = {"generator": model.generator, "discriminator": model.discriminator}
        self.seen.append({name: _has_gradient(part) for name, part in parts.items()})


def _has_gradient(module):
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def fit(model, batches, **options):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=len(batches),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return trainer


def test_each_step_leaves_the_other_networks_gradients_alone(small, batch):
    model = small()
    watch = Watch(model)
    fit(model, [batch()])
    assert watch.seen == [
        {"generator": False, "discriminator": True},
        {"generator": True, "discriminator": False},
    ]


def test_iterations_are_counted_once_and_everything_moves(small, batch):
    model = small()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer = fit(model, [batch(seed=n) for n in range(3)])
    assert trainer.global_step == 3
    after = dict(model.named_parameters())
    still = {name for name, p in before.items() if torch.equal(p, after[name])}
    assert not {name for name in still if not name.endswith("key.bias")}


@pytest.mark.parametrize("term", ["adversarial", "style_contrast", "content_contrast"])
def test_the_ablations_leave_a_term_out(small, batch, term):
    model, data = small(loss=LossWeights(**{term: 0.0})), batch()
    assert term not in model.generator_terms(data, model.paint_batch(data))
    fit(model, [data])
    assert (model.discriminator is None) == (term == "adversarial")


def test_compiled_networks_learn_the_same_under_the_same_names(small, batch, monkeypatch):
    # Captured but not translated: not every machine that tests has a compiler.
    compile_in_place = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compile_in_place(network, backend="eager"))
    plain, compiled = small(), small(compile=True)
    for model in (plain, compiled):
        model.make_optimizer = model.make_discriminator_optimizer = partial(torch.optim.SGD, lr=1e-4)
        fit(model, [batch(), batch(seed=2)])
    expected, found = plain.state_dict(), compiled.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-5), name


def test_bfloat16_trains(small, batch):
    model = small()
    trainer = fit(model, [batch()], precision="bf16-mixed")
    assert trainer.callback_metrics["train/total"].isfinite()
    assert all(p.isfinite().all() for p in model.parameters())


def test_sums_over_large_maps_do_not_leave_the_range_of_half_precision():
    head, maps = ProjectionHead(4, 8), torch.rand(2, 4, 64, 64) * 100
    expected = head(maps)
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(head(maps), expected)


def test_one_style_for_many_contents_is_encoded_once(small, monkeypatch):
    model = small().eval().double()
    content, style = torch.rand(3, 3, 40, 56, dtype=torch.float64), torch.rand(1, 3, 33, 47, dtype=torch.float64)
    passes = []
    encode = model.encoder.forward
    monkeypatch.setattr(
        model.encoder, "forward", lambda images, layers: passes.append(len(images)) or encode(images, layers)
    )
    first = model.stylize(content, style=style)
    assert passes == [3, 1]
    assert torch.equal(model.stylize(content, style=style), first)
    assert passes == [3, 1, 3]  # the second time from the cache
    model._styles.clear()
    for number in range(3):
        alone = model.stylize(content[number : number + 1], style=style)
        assert torch.allclose(alone, first[number : number + 1], atol=1e-5)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("part", ["key", "value"])
def test_new_weights_and_new_styles_empty_the_cache(small, level, part):
    model = small().eval()
    content, style = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    first = model.stylize(content, style=style)
    assert not torch.equal(model.stylize(content, style=style.flip(-1)), first)
    model.stylize(content, style=style)
    weight = getattr(model.generator.transform.attentions[level], part).weight
    weight.data.copy_(weight.data * 2)  # as DDP and moving averages write: autograd's versions do not notice
    changed = model.stylize(content, style=style)
    model._styles.clear()
    assert torch.equal(model.stylize(content, style=style), changed)
    assert not torch.equal(changed, first)


def test_keys_of_half_precision_do_not_serve_full_precision(small):
    model = small().eval()
    content, style = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    first = model.stylize(content, style=style)
    model._styles.clear()
    with torch.autocast("cpu", torch.bfloat16):
        model.stylize(content, style=style)
    assert torch.equal(model.stylize(content, style=style), first)


@pytest.mark.parametrize("skips", [0, 4])
def test_alpha_leads_from_the_contents_own_look_to_the_style_and_beyond(small, skips):
    model = small(skips=skips).eval().double()
    content, style = torch.rand(2, 3, 32, 48, dtype=torch.float64), torch.rand(2, 3, 40, 40, dtype=torch.float64)
    at = {alpha: model.stylize(content, style=style, alpha=alpha) for alpha in (0.0, 0.5, 1.0, 1.5)}
    assert torch.equal(at[1.0], model.stylize(content, style=style))
    assert torch.allclose(at[0.0], model.stylize(content, style=content), atol=1e-5)
    assert torch.isfinite(at[1.5]).all()
    assert not torch.equal(at[0.5], at[1.0])


@pytest.mark.parametrize("size", [(17, 31), (16, 16), (250, 333), (5, 90), (1, 1)])
@pytest.mark.parametrize("style", [(51, 23), (1, 1), (16, 300)])
def test_any_size_in_is_the_same_size_out(small, size, style):
    model = small(skips=4).eval()
    painted = model.stylize(torch.rand(1, 3, *size), style=torch.rand(1, 3, *style))
    assert painted.shape == (1, 3, *size)
    assert painted.isfinite().all()


def test_a_style_that_its_owner_overwrites_is_seen_anew(small):
    model = small().eval()
    content, style = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    first = model.stylize(content, style=style)
    style.copy_(style.flip(-1))
    assert not torch.equal(model.stylize(content, style=style), first)


@pytest.mark.parametrize(
    ("scales", "size"), [(3, (96, 96)), (3, (128, 48)), (3, (63, 128)), (2, (31, 64)), (1, (31, 31))]
)
def test_pictures_too_small_for_the_discriminators_are_one_sentence(scales, size):
    network = MultiScaleDiscriminator(scales, width=4)
    short = 16 * 2 ** (scales - 1)
    words = f"{scales} discriminators, which need a shorter side of at least {short} and a longer one of {2 * short}"
    with pytest.raises(ImpastoError, match=words):
        network(torch.rand(2, 3, *size))
    scores = network(torch.rand(2, 3, short, 2 * short))
    assert all(score.isfinite().all() for score in scores)


@pytest.mark.parametrize(("skips", "alpha"), [(0, 1.0), (4, 1.0), (4, 1.5)])
def test_tiles_paint_what_one_pass_paints(small, monkeypatch, skips, alpha):
    # In float64, for a softmax over unscaled logits magnifies rounding.
    model, generator = small(skips=skips).eval().double(), torch.Generator().manual_seed(0)
    content = torch.rand(2, 3, 336, 272, generator=generator, dtype=torch.float64)
    style = torch.rand(2, 3, 200, 210, generator=generator, dtype=torch.float64)
    whole = model.stylize(content, style=style, alpha=alpha)
    monkeypatch.setattr(memory, "free_memory", lambda _: 2**20)
    monkeypatch.setattr(memory, "SMALLEST_TILE", 64)
    model._styles.clear()
    asked = []
    monkeypatch.setattr(model.generator.decoder, "in_tiles", noted(model.generator.decoder.in_tiles, asked))
    by_memory = model.stylize(content, style=style[..., :192, :208], alpha=alpha)  # whole cells, as tiles need them
    model.tile = 0
    assert torch.allclose(by_memory, model.stylize(content, style=style[..., :192, :208], alpha=alpha), atol=1e-9)
    model.tile = 144
    monkeypatch.setattr(memory, "free_memory", lambda _: 2**40)
    assert torch.allclose(model.stylize(content, style=style, alpha=alpha), whole, atol=1e-9)
    assert asked == [64, 144]
    # A halo that is too small shows: the test can fail.
    monkeypatch.setattr(mirrored_decoder, "DECODER_HALO", 1)
    assert not torch.allclose(model.stylize(content, style=style, alpha=alpha), whole, atol=1e-5)


def noted(paint, asked):
    def paint_and_note(*inputs, tile, **how):
        asked.append(tile)
        return paint(*inputs, tile=tile, **how)

    return paint_and_note


def test_a_large_content_is_its_own_style_at_a_bounded_size(small, monkeypatch):
    model, content = small().eval(), torch.rand(1, 3, 96, 128)
    monkeypatch.setattr(painting, "OWN_SIDE", 64)
    seen = []
    keys = model.generator.style_keys
    model.generator.style_keys = lambda features: seen.append(features["relu4_1"].shape) or keys(features)
    model.stylize(content, style=torch.rand(1, 3, 40, 48), alpha=0.5)
    assert [tuple(shape[-2:]) for shape in seen] == [(5, 6), (6, 8)]
