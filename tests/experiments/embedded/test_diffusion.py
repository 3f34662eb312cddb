"""The embedded pipeline's training on a handful of pictures: what it sees, what it learns from, what it writes."""

import json
import random

import pytest
import torch

from datamodules.procedural import PAINTERS
from experiments.cli import execute
from experiments.embedded import diffusion, diffusion_figures
from experiments.embedded.diffusion_autoencoder import encode, reconstruct, set_encoder, train_decoder
from experiments.embedded.diffusion_denoiser import Average, Lessons, denoising_error, train_denoiser
from experiments.embedded.diffusion_pictures import (
    CATEGORIES,
    DARK,
    HELD_OUT,
    SEEN,
    describe,
    in_two_colours,
    make_studies,
)
from experiments.embedded.gallery import PHOTOGRAPH
from lightning_modules import weights
from lightning_modules.networks.latent_diffusion import TINY, build_diffusion

SMALL = {
    **TINY,
    "vae": {**TINY["vae"], "block_out_channels": [16, 32, 48]},
    "unet": {**TINY["unet"], "block_out_channels": [32, 32], "cross_attention_dim": 16},
    "text_encoder": {**TINY["text_encoder"], "hidden_size": 16, "num_hidden_layers": 1, "projection_dim": 16},
}


@pytest.fixture(scope="module")
def studies():
    return make_studies("train", 6, seed=5, artists=SEEN[:2])


@pytest.fixture
def parts():
    torch.manual_seed(0)
    return build_diffusion(SMALL, "small")


def test_two_painters_are_held_out_pictures_and_names(studies):
    assert len(HELD_OUT) == 2
    assert set(HELD_OUT) | set(SEEN) == set(PAINTERS)
    assert not set(HELD_OUT) & {name for painters in CATEGORIES.values() for name in painters}
    rng = random.Random(0)
    said = " ".join(describe("the sea", artist, rng) for artist in (PHOTOGRAPH, *range(len(SEEN))) for _ in range(40))
    assert not any(name in said for name in HELD_OUT)
    assert all(name in said for name in (*SEEN, *CATEGORIES, "a photo of"))


def test_studies_are_small_pictures_of_every_content_by_everybody(studies):
    assert studies.images.shape == (len(studies), 3, 64, 64)
    assert studies.images.dtype == torch.uint8
    assert studies.artist.tolist() == [PHOTOGRAPH, 0, 1] * (len(studies) // 3)
    assert not any("photo" in words for words in studies.shown)
    assert len(studies) == 3 * 5  # of six contents three are photographs, and of those the second is left out


def test_studies_are_the_same_whoever_paints_them():
    one, many = (make_studies("test", 5, seed=3, artists=SEEN[:1], recoloured=0.5, workers=count) for count in (1, 2))
    assert torch.equal(one.images, many.images)
    assert (one.shown, one.artist.tolist()) == (many.shown, many.artist.tolist())


def test_words_about_a_photograph_name_no_painter():
    rng = random.Random(0)
    said = {describe("a city skyline under a dusk sky", PHOTOGRAPH, rng) for _ in range(60)}
    assert {"a photo of a city at night", "a photo of a city skyline under a dusk sky"} <= said
    assert not any("style" in text or "painting" in text for text in said)


def blocks_of(images):
    """Return every block of 4 x 4 pixels as a row of numbers in [-1, 1], by loops."""
    values = images.double() / 127.5 - 1
    side = images.shape[-1]
    return torch.stack(
        [
            values[number, :, y : y + 4, x : x + 4].flatten()
            for number in range(len(images))
            for y in range(0, side, 4)
            for x in range(0, side, 4)
        ]
    )


def test_latents_are_the_principal_components_of_blocks(parts, studies):
    vae, images = parts.vae, studies.images
    set_encoder(vae, images)
    mean, std = encode(vae, images)
    blocks = blocks_of(images)
    centred = blocks - blocks.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / (len(blocks) - 1))
    wanted = centred @ vectors[:, -8:].flip(1)
    found = mean.permute(0, 2, 3, 1).flatten(0, 2).double()
    for number in range(8):
        pair = torch.stack([wanted[:, number], found[:, number]])
        assert abs(float(pair.corrcoef()[0, 1])) > 0.999
    deviations = found.std(0) * vae.config.scaling_factor
    assert float(deviations.square().mean()) == pytest.approx(1, rel=0.02)
    roots = values[-8:].flip(0).sqrt().sqrt()
    assert torch.allclose(deviations / deviations[0], roots / roots[0], rtol=0.03)
    assert torch.allclose(std / std[:1, :, :1, :1], torch.ones_like(std))
    assert float((std.mean((0, 2, 3)).double() / found.std(0)).max()) < 0.05


def test_the_decoder_starts_from_the_mean_colour_of_every_block(parts, studies):
    set_encoder(parts.vae, studies.images)
    again = torch.nn.functional.avg_pool2d(reconstruct(parts.vae, studies.images), 4)
    means = torch.nn.functional.avg_pool2d(studies.images / 255, 4)
    away = again - means
    assert float((away - away.mean()).abs().mean()) < 0.02  # but for what the last activation takes from all of them
    assert abs(float(away.mean())) < 0.06


def test_lessons_hide_latents_as_the_schedule_says_and_ask_for_the_velocity(parts, studies):
    set_encoder(parts.vae, studies.images)  # else latents are next to nothing
    lessons = Lessons(parts, studies, seed=0)
    batch = torch.arange(8) % len(studies)
    noisy, steps, tokens, velocity = lessons.draw(batch)
    assert (noisy.shape, tokens.shape) == ((8, 8, 16, 16), (8, 77))
    assert sorted((steps // 125).tolist()) == list(range(8))  # one in each eighth of the schedule
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = (1 - betas).cumprod(0)[steps]
    scale, spread = (value.double().view(-1, 1, 1, 1) for value in (kept.sqrt(), (1 - kept).sqrt()))
    # Of x = scale latents + spread noise and v = scale noise - spread latents, the latents are scale x - spread v.
    latents, noise = scale * noisy - spread * velocity, spread * noisy + scale * velocity
    assert float((latents - lessons.mean[batch]).abs().mean()) < 3 * float(lessons.std.mean())
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert abs(float(torch.stack([noise.flatten(), latents.flatten()]).corrcoef()[0, 1])) < 0.03
    wanted = parts.scheduler.get_velocity(latents.float(), noise.float(), steps)
    assert torch.allclose(velocity, wanted, atol=1e-4)


def test_a_tenth_of_the_words_is_left_out(parts, studies):
    lessons = Lessons(parts, studies, seed=0)
    empty = parts.tokenizer("", padding="max_length", return_tensors="pt").input_ids[0]
    tokens = torch.cat([lessons.draw(torch.arange(10))[2] for _ in range(60)])
    share = float((tokens == empty).all(1).float().mean())
    assert 0.06 < share < 0.14


def test_the_average_follows_the_weights_and_replaces_them():
    network = torch.nn.Linear(1, 1, bias=False)
    average = Average(network)
    expected = network.weight.item()
    for step in range(1, 20):
        with torch.no_grad():
            network.weight.fill_(step)
        average.update()
        kept = min(0.999, step / (step + 9))
        expected = kept * expected + (1 - kept) * step
    average.apply()
    assert network.weight.item() == pytest.approx(expected, rel=1e-5)


def test_an_interrupted_training_ends_where_it_would_have_ended(studies, tmp_path, monkeypatch):
    def run(folder, stop_at=None):
        torch.manual_seed(0)
        parts = build_diffusion(SMALL, "small")
        if stop_at is not None:
            with monkeypatch.context() as patch:
                interrupt(patch, stop_at)
                with pytest.raises(KeyboardInterrupt):
                    train_denoiser(parts, studies, folder / "state.pt", seed=0, steps=4, batch=4)
            torch.manual_seed(0)
            parts = build_diffusion(SMALL, "small")
        train_denoiser(parts, studies, folder / "state.pt", seed=0, steps=4, batch=4)
        return parts.state_dict()

    def interrupt(patch, stop_at):
        draw = Lessons.draw

        def counted(self, batch):
            counted.calls += 1
            if counted.calls > stop_at:
                raise KeyboardInterrupt
            return draw(self, batch)

        counted.calls = 0
        patch.setattr(Lessons, "draw", counted)

    monkeypatch.setattr("experiments.embedded.unfinished.EVERY", 0.0)
    whole, resumed = run(tmp_path / "a"), run(tmp_path / "b", stop_at=2)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_the_denoiser_learns_velocities(parts, studies, tmp_path):
    set_encoder(parts.vae, studies.images)
    before = denoising_error(parts, studies, seed=1)
    train_denoiser(parts, studies, tmp_path / "state.pt", seed=0, steps=60, batch=8)
    assert denoising_error(parts, studies, seed=1) < 0.85 * before


def test_the_decoder_learns_and_the_encoder_stays(parts, studies, tmp_path):
    set_encoder(parts.vae, studies.images)
    before = float((reconstruct(parts.vae, studies.images) - studies.images / 255).abs().mean())
    latents = encode(parts.vae, studies.images)[0]
    train_decoder(parts.vae, studies, tmp_path / "state.pt", seed=0, steps=25)
    after = float((reconstruct(parts.vae, studies.images) - studies.images / 255).abs().mean())
    assert after < 0.9 * before
    assert torch.equal(latents, encode(parts.vae, studies.images)[0])


def test_two_colours_replace_a_pictures_own(studies):
    image = studies.images[0]
    printed = in_two_colours(image, "101010", "f0c040", 1.0).double()
    tone = (image.double() * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)).sum(0)
    tone = (tone - tone.min()) / (tone.max() - tone.min())
    for channel, (dark, light) in enumerate(((16, 240), (16, 192), (16, 64))):
        assert float((printed[channel] - (dark + (light - dark) * tone)).abs().max()) < 1
    assert torch.equal(in_two_colours(image, "101010", "f0c040", 0.0), image)


def test_recoloured_pictures_say_so():
    plain = make_studies("train", 4, seed=5, artists=SEEN[:1])
    some = make_studies("train", 4, seed=5, artists=SEEN[:1], recoloured=0.5)
    changed = (plain.images != some.images).flatten(1).any(1).tolist()
    assert 0 < sum(changed) < len(changed)
    assert [words.rsplit(" in ", 1)[-1].split(" and ")[0] in DARK for words in some.shown] == changed


def test_what_is_trained_is_what_the_door_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(diffusion, "TINY", SMALL)
    monkeypatch.setattr(diffusion_figures, "STEPS", 1)
    monkeypatch.setattr(diffusion_figures, "SCENES", diffusion_figures.SCENES[:1])
    made = make_studies
    monkeypatch.setattr(diffusion, "make_studies", lambda *a, **k: made(*a, **k, artists=SEEN[:2]))
    figures = diffusion.train(tmp_path, tmp_path / "scratch", seed=0, contents=3, steps=2, decoder_steps=2)
    assert (tmp_path / "scratch" / "diffusion.png").is_file()
    described = json.loads((tmp_path / "diffusion.json").read_text())
    assert described["measured"] == figures
    assert described["held_out"] == list(HELD_OUT)
    assert {"denoising_error", "cpu_seconds", "named", "named_true", "scene", "psnr", "psnr_held_out"} < set(figures)
    monkeypatch.setattr("lightning_modules.weights.diffusion.EMBEDDED", tmp_path)
    found = weights.load_diffusion("embedded")
    assert found.unet.config.block_out_channels == [32, 32]
    assert found.digest


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_one_sentence(device, tmp_path, capsys):
    assert execute(["embedded-weights", "diffusion", "--device", device, "--out", str(tmp_path)]) == 1
    assert f"There is no device '{device}' here" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
