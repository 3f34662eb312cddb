"""Trains UNet and text encoder of the embedded pipeline together, on latents that are encoded once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded.diffusion_autoencoder import encode
from experiments.embedded.diffusion_pictures import Studies, describe
from experiments.embedded.gallery import batches
from experiments.embedded.unfinished import Unfinished
from lightning_modules.networks.latent_diffusion import LatentDiffusion

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
BATCH, RATE = 128, 1e-3
WORDINGS = 8  # ways in which every picture is described in the course of the training
WORDLESS = 0.1  # share of the captions left out, for classifier-free guidance
SLOWEST = 0.999  # of the average of the weights


class Denoiser(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, parts: LatentDiffusion) -> None:
        super().__init__()
        self.unet = parts.unet
        self.text_encoder = parts.text_encoder

    def forward(self, noisy: Tensor, steps: Tensor, tokens: Tensor) -> Tensor:
        """Return the predicted velocity of latents ``(B, C, H, W)`` at steps ``(B,)``, for tokens ``(B, L)``."""
        words = self.text_encoder(tokens).last_hidden_state
        predicted: Tensor = self.unet(noisy, steps, words).sample
        return predicted


class Average:
    """An exponential average of a network's weights that forgets its beginning soon."""

    def __init__(self, network: nn.Module) -> None:
        self.steps = 0
        self._followed = {name: value.detach() for name, value in network.named_parameters()}
        self.weights = {name: value.clone() for name, value in self._followed.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's weights in."""
        self.steps += 1
        kept = min(SLOWEST, self.steps / (self.steps + 9))
        torch._foreach_lerp_(list(self.weights.values()), list(self._followed.values()), 1 - kept)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the average into the network."""
        for name, value in self._followed.items():
            value.copy_(self.weights[name])

    def state_dict(self) -> dict[str, object]:
        """Return what `load_state_dict` takes."""
        return {"steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up what was saved."""
        self.steps = state["steps"]  # type: ignore[assignment]
        for name, value in self.weights.items():
            value.copy_(state["weights"][name])  # type: ignore[index]


class Lessons:
    """Draws noisy latents and the words that describe them, all on the device of the networks.

    Args:
        parts: Whose scheduler and tokenizer to use, and whose trained autoencoder.
        studies: Pictures.
        seed: Draws everything.

    Attributes:
        mean: Of the scaled latents, ``(N, C, H, W)``; `std` their deviation.
        tokens: Of every text that is ever said, ``(U, L)``; the first is empty.
        said: `WORDINGS` texts for each picture, by their places in `tokens`, ``(N, WORDINGS)``.
    """

    def __init__(self, parts: LatentDiffusion, studies: Studies, *, seed: int) -> None:
        device = parts.vae.device
        self.generator = torch.Generator(device).manual_seed(seed)
        mean, std = encode(parts.vae, studies.images)
        self.mean, self.std = (value * parts.vae.config.scaling_factor for value in (mean, std))
        self.kept = parts.scheduler.alphas_cumprod.to(device)
        texts, said = _wordings(studies, random.Random(seed))
        found = parts.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        self.tokens, self.said = found.input_ids.to(device), said.to(device)

    def draw(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return noisy latents, steps, tokens, and the velocity: sqrt(a) noise - sqrt(1 - a) latents.

        Steps are spread evenly over the schedule, one random one in each of as many parts as there are pictures.
        """
        count, batch = len(batch), batch.to(self.mean.device)
        parts = torch.randperm(count, **self._drawing) + torch.rand(count, **self._drawing)
        steps = (parts / count * len(self.kept)).long()
        latents = self.mean[batch] + self.std[batch] * self._noise(count)
        noise = self._noise(count)
        kept = self.kept[steps].view(-1, 1, 1, 1)
        signal, spread = kept.sqrt(), (1 - kept).sqrt()
        return signal * latents + spread * noise, steps, self._words(batch), signal * noise - spread * latents

    @property
    def _drawing(self) -> dict[str, Any]:
        return {"generator": self.generator, "device": self.mean.device}

    def _noise(self, count: int) -> Tensor:
        return torch.randn(count, *self.mean.shape[1:], **self._drawing)

    def _words(self, batch: Tensor) -> Tensor:
        chosen = torch.randint(self.said.shape[1], (len(batch),), **self._drawing)
        silent = torch.rand(len(batch), **self._drawing) < WORDLESS
        tokens: Tensor = self.tokens[self.said[batch, chosen].masked_fill(silent, 0)]
        return tokens


def _wordings(studies: Studies, rng: random.Random) -> tuple[list[str], Tensor]:
    """Return all texts, the empty one first, and which of them say what each picture is."""
    places = {"": 0}
    said = [
        [places.setdefault(describe(shown, artist, rng), len(places)) for _ in range(WORDINGS)]
        for shown, artist in zip(studies.shown, studies.artist.tolist(), strict=True)
    ]
    return list(places), torch.tensor(said)


def train_denoiser(
    parts: LatentDiffusion,
    studies: Studies,
    state: Path,
    *,
    seed: int,
    steps: int,
    batch: int = BATCH,
) -> float:
    """Train UNet and text encoder in place, or go on with them, and return the seconds of CPU time that it took.

    What stays is the average of the weights.

    The loss is |v - v_theta(x_t, t, words)|^2, t uniform. With noise instead of velocity as the target, a network of
    this size had after 9900 steps of 128 latents the errors that this one has after 500 steps of 16: what a picture
    shows is decided where noise hides nearly all, and there errors of the noise are small.

    Args:
        parts: With a trained autoencoder.
        studies: Pictures.
        state: Where to keep what is unfinished.
        seed: Draws everything.
        steps: Of ``batch`` pictures.
        batch: Latents a step.

    Source: Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", for the velocity.
    """
    lessons = Lessons(parts, studies, seed=seed)
    network = Denoiser(parts)
    network.requires_grad_(True)
    network.unet.to(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    average = Average(network)
    order = batches(torch.arange(len(studies)), batch, steps, torch.Generator().manual_seed(seed))
    kept = {"network": network, "optimizer": optimizer, "schedule": schedule, "average": average}
    progress = Unfinished(state, kept, lessons.generator)
    predict = recorded(network, lessons, order[0]) if network.unet.device.type == "cuda" else network
    total = torch.zeros((), device=network.unet.device)
    for chosen in order[progress.step :]:
        noisy, time, tokens, velocity = lessons.draw(chosen)
        loss = F.mse_loss(predict(noisy, time, tokens), velocity)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        average.update()
        total += loss.detach()
        progress.done()
        if progress.step % 100 == 0:
            print(f"denoiser {progress.step:5d}/{steps} error {float(total) / 100:.4f}", flush=True)
            total.zero_()
    progress.write()
    average.apply()
    network.requires_grad_(False)
    return round(progress.cpu_seconds, 1)


def recorded(network: Denoiser, lessons: Lessons, batch: Tensor) -> Predict:
    """Return the network as CUDA graphs of both its passes: launching layers this small takes longer than they do.

    Args:
        network: On a GPU.
        lessons: Where inputs like the training's come from; what they draw next does not change.
        batch: As large as all that follow.
    """
    before = lessons.generator.get_state()
    noisy, time, tokens, _ = lessons.draw(batch)
    lessons.generator.set_state(before)
    return cast("Predict", torch.cuda.make_graphed_callables(network, (noisy, time, tokens)))


@torch.no_grad()
def denoising_error(parts: LatentDiffusion, studies: Studies, *, seed: int) -> float:
    """Return the mean of |v - v_theta|^2 over a split, every picture at one step."""
    lessons = Lessons(parts, studies, seed=seed)
    network = Denoiser(parts)
    errors = []
    for batch in torch.arange(len(studies)).split(BATCH):
        noisy, time, tokens, velocity = lessons.draw(batch)
        errors.append((network(noisy, time, tokens) - velocity).square().mean((1, 2, 3)))
    return round(float(torch.cat(errors).mean()), 4)
