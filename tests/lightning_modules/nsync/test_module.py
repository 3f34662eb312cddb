"""NSYNC's step: role gradients apart, one pass or three, and nothing else moves."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.errors import ImpastoError
from lightning_modules.nsync.losses import denoising_loss
from lightning_modules.nsync.settings import LoRASettings
from lightning_modules.optim.gradient_projection import ROLES, roles_of
from lightning_modules.weights import pipeline_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path))


@pytest.fixture
def train(quiet_trainer):
    """Return a function that trains and returns the trainer."""

    def call(module, data, steps=1, **settings):
        trainer = quiet_trainer(max_steps=steps, limit_val_batches=0, log_every_n_steps=1, **settings)
        trainer.fit(module, datamodule=data)
        return trainer

    return call


def awaken(module):
    """Take low-rank matrices away from their start, where half of all gradients are exactly zero."""
    generator = torch.Generator().manual_seed(5)
    for weight in module.adapter.weights:
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)


def role_gradients(module, data, train):
    """Return from role to the gradients that a step combines."""
    seen = {}
    combine = module._combine

    def remember(gradients):
        seen.update({role: [gradient.clone() for gradient in found] for role, found in gradients.items()})
        return combine(gradients)

    module._combine = remember
    train(module, data)
    return seen


def away(ours, theirs):
    """Return the largest difference relative to the largest entry, over all tensors together."""
    one, other = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (ours, theirs))
    return float((one - other).abs().max() / other.abs().max())


# ---------------------------------------------------------------------- gradients


@pytest.mark.parametrize(("checkpointing", "prediction"), [(False, "epsilon"), (True, "v_prediction")])
@pytest.mark.parametrize("adapter", ["textual_inversion", "lora"])
def test_one_pass_gives_the_gradients_of_three(nsync, triplets, train, adapter, checkpointing, prediction):
    found = []
    for roles in (3, 1):
        module = nsync(adapter=adapter, checkpointing=checkpointing, roles_per_pass=roles, vectors=2)
        module.diffusion.scheduler.register_to_config(prediction_type=prediction)
        awaken(module)
        found.append(role_gradients(module, triplets(["<mine>"]), train))
    batched, apart = found
    assert tuple(batched) == ROLES
    for role in ROLES:
        assert away(batched[role], apart[role]) < 1e-5
    assert away(batched["positive"], batched["negative"]) > 1e-2  # they are different things


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_role_s_gradient_is_the_row_s_of_a_dense_table(nsync, triplets, train, prediction):
    module = nsync()
    module.diffusion.scheduler.register_to_config(prediction_type=prediction)
    seen = {}
    noisy = module._noisy
    module._noisy = lambda batch: seen.setdefault("noisy", noisy(batch))
    data, start = triplets(["<mine>"]), copy.deepcopy(module.adapter_state())
    batch = data.one(0)
    ours = role_gradients(module, data, train)

    stock = pipeline_of(copy.deepcopy(module.diffusion))
    stock.load_textual_inversion(start["<mine>"])
    table = stock.text_encoder.get_input_embeddings().weight.requires_grad_()
    prompts = {"positive": batch.caption, "anchor": batch.anchor_caption, "negative": batch.negative_caption}
    for number, (role, texts) in enumerate(prompts.items()):
        latents, steps, target, _ = (part[number] for part in seen["noisy"])
        words, _ = stock.encode_prompt(texts, "cpu", 1, do_classifier_free_guidance=False)
        predicted = stock.unet(latents, steps, encoder_hidden_states=words).sample
        (dense,) = torch.autograd.grad(((predicted - target) ** 2).mean(), table)
        assert away(ours[role], [dense[-1]]) < 1e-5


@pytest.mark.parametrize("variant", ["TI", "CTM", "CTMA", "CTO", "CTOA"])
@pytest.mark.parametrize("algorithm", ["paper", "reference"])
def test_every_variant_steps_and_says_how_its_gradients_lie(nsync, triplets, train, variant, algorithm):
    module = nsync(variant=variant, algorithm=algorithm)
    start = module.adapter.weights[0].detach().clone()
    trainer = train(module, triplets(["<mine>"], denied=variant.startswith("CTM")))
    assert not torch.equal(module.adapter.weights[0], start)
    roles = roles_of(variant, algorithm)
    logged = {name.removeprefix("train/") for name in trainer.callback_metrics if name.startswith("train/")}
    cosines = {f"cos_{role}" for role in roles if role != "positive"}
    assert logged == {*roles, "total", *(f"norm_{role}" for role in roles), *cosines}
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())


def test_the_step_follows_what_the_variant_makes_of_the_gradients(nsync, triplets, train):
    module = nsync(variant="CTO", lr=1.0)
    module.make_optimizer = lambda parameters: torch.optim.SGD(parameters, lr=1.0)
    start = module.adapter.weights[0].detach().clone()
    seen = role_gradients(module, triplets(["<mine>"]), train)
    moved = (start - module.adapter.weights[0]).detach().flatten().double()
    p, n = (seen[role][0].flatten().double() for role in ("positive", "negative"))
    assert torch.allclose(moved, p - (p @ n) / (n @ n) * n, atol=1e-6 * float(p.norm()))


def test_micro_batches_are_one_batch(nsync, triplets, train):
    def gradients(batch, accumulate):
        module = nsync(accumulate=accumulate, cache_latents=False)
        data = triplets(["<mine>"], batch=2)
        whole = data.one(0)
        cut = [type(whole)(*(part[i : i + 1] for part in whole)) for i in range(2)]
        data.one = (lambda number: whole) if batch == 2 else (lambda number: cut[number])
        data.steps = 2 // batch
        noise = torch.Generator().manual_seed(0)
        latents = torch.randn(3, 2, module.diffusion.vae.config.latent_channels, 8, 8, generator=noise)
        module._noisy = still(module._noisy, latents, iter([slice(0, 2)] if batch == 2 else [slice(0, 1), slice(1, 2)]))
        return role_gradients(module, data, train)

    whole, cut = gradients(2, 1), gradients(1, 2)
    for role in ROLES:
        assert away(cut[role], whole[role]) < 1e-5


def still(noisy, latents, slices):
    """Return a `_noisy` whose draws are samples of given ones."""

    def call(batch):
        mine = next(slices)
        drawn = noisy(batch)
        chosen = latents[:, mine]
        steps = torch.tensor([[100, 700]]).expand(3, 2)[:, mine]
        return drawn._replace(latents=chosen, timestep=steps, target=chosen.flip(-1))

    return call


# ---------------------------------------------------------------------- draws and losses


def test_roles_are_given_noise_of_their_own_or_the_same(nsync, triplets, train):
    for shared in (False, True):
        module = nsync(shared_noise=shared)
        module.diffusion.scheduler.register_to_config(prediction_type="epsilon")  # whose targets are the noise
        seen = []
        noisy = module._noisy
        module._noisy = lambda batch, seen=seen, noisy=noisy: seen.append(noisy(batch)) or seen[-1]
        train(module, triplets(["<mine>"], batch=4, styles=[0] * 4))
        positive, anchor, _ = seen[0].timestep.tolist()
        assert (positive == anchor) == shared
        assert torch.equal(seen[0].target[0], seen[0].target[1]) == shared
        assert len(set(positive)) > 1  # and every sample


def test_a_cached_posterior_is_the_encoder_s(nsync, triplets, train):
    losses = []
    for cached in (True, False):
        data = triplets(["<mine>"])
        trainer = train(nsync(cache_latents=cached), data)
        assert data.decode != cached
        losses.append(float(trainer.callback_metrics["train/total"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(("prediction", "of_velocity"), [("epsilon", 0), ("v_prediction", 1)])
def test_steps_are_weighed_by_their_signal_where_that_is_asked_for(nsync, triplets, train, prediction, of_velocity):
    module = nsync(min_snr=5.0)
    module.diffusion.scheduler.register_to_config(prediction_type=prediction)
    seen = []
    noisy = module._noisy
    module._noisy = lambda batch: seen.append(noisy(batch)) or seen[-1]
    train(module, triplets(["<mine>"], batch=4, styles=[0] * 4))
    kept = module.diffusion.scheduler.alphas_cumprod[seen[0].timestep]
    ratio = kept / (1 - kept)
    assert torch.allclose(seen[0].weight, ratio.clamp(max=5) / (ratio + of_velocity))
    assert denoising_loss(seen[0].latents[0], seen[0].target[0], seen[0].weight[0]).isfinite()


def test_bfloat16_keeps_the_rows_and_losses_in_single_precision(nsync, triplets, train):
    module = nsync()
    trainer = train(module, triplets(["<mine>"]), precision="bf16-mixed")
    assert module.adapter.weights[0].dtype == torch.float32
    assert trainer.callback_metrics["train/total"].dtype == torch.float32


@pytest.mark.parametrize("adapter", ["textual_inversion", "lora"])
def test_the_loss_of_one_batch_falls(nsync, triplets, train, adapter):
    module = nsync(adapter=adapter, variant="TI", lora=LoRASettings(rank=8))
    data = triplets(["<mine>"], steps=12)
    data.one = lambda number, plain=data.one: plain(0)
    noisy, seen = module._noisy, {}
    module._noisy = lambda batch: seen.setdefault("noisy", noisy(batch))  # the same noise and steps every time
    values = []
    log_terms = module.log_terms
    module.log_terms = lambda terms: (values.append(float(terms["total"])), log_terms(terms))
    train(module, data, steps=12)
    assert len(values) == 12
    assert values[-1] < values[0]
    assert sum(values[-3:]) < sum(values[:3])


# ---------------------------------------------------------------------- what moves


@pytest.mark.parametrize("adapter", ["textual_inversion", "lora"])
def test_only_what_is_trained_moves_and_only_that_is_saved(nsync, triplets, train, adapter, tmp_path):
    module = nsync(adapter=adapter, lora=LoRASettings(rank=2))
    frozen = {id(weight) for weight in module.adapter.weights}
    before = {name: value.clone() for name, value in module.diffusion.state_dict(keep_vars=True).items()}
    trained = {name for name, value in module.diffusion.state_dict(keep_vars=True).items() if id(value) in frozen}
    start = [weight.detach().clone() for weight in module.adapter.weights]
    trainer = train(module, triplets(["<mine>"]), steps=3)
    for name, value in module.diffusion.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in trained), name
    assert all(not torch.equal(one, other) for one, other in zip(start, module.adapter.weights, strict=True))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert len(saved["state_dict"]) == len(start)
    again = nsync(adapter=adapter, lora=LoRASettings(rank=2), seed=1)
    again.load_state_dict(saved["state_dict"])
    for one, other in zip(again.adapter_state().values(), module.adapter_state().values(), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_style_that_is_not_in_the_batch_keeps_its_rows_and_its_momentum(nsync, triplets, train):
    module = nsync("<mine>", "<yours>")
    data = triplets(["<mine>", "<yours>"], styles=[0, 1])
    trainer = train(module, data, steps=1)
    mine, yours = [weight.detach().clone() for weight in module.adapter.weights]
    state = copy.deepcopy(trainer.optimizers[0].state_dict()["state"])
    alone = triplets(["<mine>", "<yours>"], styles=[1, 1], steps=1)
    alone.one = lambda number, plain=alone.one: plain(number + 7)
    optimizer = trainer.optimizers[0]
    module.configure_optimizers = lambda: optimizer
    train(module, alone, steps=1)
    assert torch.equal(module.adapter.weights[0], mine)
    assert not torch.equal(module.adapter.weights[1], yours)
    after = optimizer.state_dict()["state"]
    assert torch.equal(after[0]["exp_avg"], state[0]["exp_avg"])
    assert after[0]["step"] == state[0]["step"] == 1
    assert after[1]["step"] == 2


def test_a_fit_begins_with_a_file_and_its_checkpoint_opens_without(nsync, triplets, train, tmp_path):
    file = tmp_path / "learned_embeds.safetensors"
    save_file({"<other>": torch.ones(1, 96)}, file)
    module = nsync(start=[str(file)], lr=0.0)
    train(module, triplets(["<mine>"]))
    assert module.adapter.weights[0].unique().tolist() == [1]
    file.unlink()
    assert nsync(start=[str(file)]).generate("a sea", size=32, seed=0, controls={"steps": 1}).isfinite().all()


# ---------------------------------------------------------------------- what does not fit


def test_styles_and_prompts_of_the_data_must_be_the_model_s(nsync, triplets, train):
    with pytest.raises(ImpastoError, match="learns <mine> and the data brings <yours>"):
        train(nsync(), triplets(["<yours>"]))
    with pytest.raises(ImpastoError, match="CTM needs negatives whose prompts say 'not in the style of'"):
        train(nsync(variant="CTM"), triplets(["<mine>"]))
    with pytest.raises(ImpastoError, match="CTO needs negatives whose prompts say 'in the style of'"):
        train(nsync(variant="CTO"), triplets(["<mine>"], denied=True))
    train(nsync(variant="TI"), triplets(["<mine>"], denied=True))
