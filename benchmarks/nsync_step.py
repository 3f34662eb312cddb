"""Time NSYNC's step, full-size Stable Diffusion 1.5 with random weights, against three passes and the plain form.

OMP_NUM_THREADS=1 python -m benchmarks.nsync_step --size 128 --batch 2 --pairs 3
OMP_NUM_THREADS=1 python -m benchmarks.nsync_step --tiny --size 64 --pairs 5     # the embedded pipeline's architecture

`three` and `batched` compute the gradients of all roles from cached latents, in three passes and in one: the same
numbers, whose largest relative difference is printed. `whole` is the step of training, `batched` with the latents read
from disk, the projection and AdamW over the new rows; `frugal` is the same in three passes. `plain` is the same step as
one writes it down: three passes, each of which encodes its pictures and leaves a gradient of the whole table of 49,408
words, with AdamW's moments for all of them. Each takes part in every round, so that whatever else the machine does hits
all alike: a ratio is the median of the rounds'. The first call of each, whose memory is measured (the optimiser's state
included), does not count in time. On a CPU the time is that of all threads.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast
from unittest import mock

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# isort: split
import torch
from torch import Tensor

from benchmarks.contenders.nsync import Plain
from benchmarks.meter import Meter
from benchmarks.results import write_json
from lightning_modules.networks.latent_diffusion import WORDS, LatentDiffusion
from lightning_modules.networks.word_tokenizer import word_tokenizer
from lightning_modules.nsync import NSYNC
from lightning_modules.nsync.latents import cached_posteriors
from lightning_modules.nsync.module import Example
from lightning_modules.optim.gradient_projection import ROLES
from lightning_modules.optim.roles import RoleGradients
from lightning_modules.types import TripletBatch
from lightning_modules.weights import load_diffusion

LR = 1e-3
VOCABULARY = 49408
Gradients = dict[str, list[Tensor | None]]


def full_size() -> LatentDiffusion:
    """Return Stable Diffusion 1.5's architecture with random weights; its tokenizer knows fewer words."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[128, 256, 512, 512],
        layers_per_block=2,
        sample_size=512,
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    text = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDPMScheduler(**schedule)
    return LatentDiffusion(vae, unet, CLIPTextModel(text), word_tokenizer(WORDS), scheduler, "random")


class Pictures:
    """Noise, as a data module has its pictures."""

    def __init__(self, count: int, size: int) -> None:
        self.pictures = list(torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)))
        self.fingerprint = f"noise {count} {size}"

    def batch(self, samples: int, placeholder: str) -> TripletBatch:
        """Return triplets of it."""
        picture = torch.arange(3 * samples).view(samples, 3)
        prompts = [f"a photo of the sea in the style of {placeholder}"] * samples
        images = torch.stack([torch.stack([self.pictures[i] for i in row]) for row in picture.tolist()])
        numbers = torch.arange(samples)
        flip = torch.zeros(samples, 3, dtype=torch.bool)
        return TripletBatch(picture, flip, prompts, prompts, prompts, numbers * 0, prompts, numbers, images)


class Ours:
    """NSYNC's step without a Trainer."""

    def __init__(self, parts: LatentDiffusion, options: argparse.Namespace) -> None:
        adam = partial(torch.optim.AdamW, lr=LR, weight_decay=0.0)
        with mock.patch("lightning_modules.nsync.module.load_diffusion", return_value=parts):
            self.module = NSYNC(
                adam,
                weights="random",
                placeholders=["<mine>"],
                adapter=options.adapter,
                checkpointing=options.checkpointing,
            ).to(options.device)
        self.optimizer: Any = self.module.configure_optimizers()

    def example(self, batch: TripletBatch) -> Example:
        """Return a batch on the device, its latents read from disk."""
        example = self.module.example_of(batch)
        device = self.module.device
        posteriors = cast(Tensor, example.posteriors).to(device)
        return example._replace(tokens=example.tokens.each(lambda part: part.to(device)), posteriors=posteriors)

    def gradients(self, example: Example, roles_per_pass: Literal[1, 3]) -> Gradients:
        """Return every role's gradients."""
        torch.manual_seed(0)
        self.module.roles_per_pass = roles_per_pass
        found: Gradients = {}
        self.module.differentiate(example, found.__setitem__, Tensor.backward)
        return found

    def __call__(self, batch: TripletBatch, roles_per_pass: Literal[1, 3] = 3) -> dict[str, Tensor]:
        """Step, and return the losses."""
        self.module.roles_per_pass = roles_per_pass
        kept = RoleGradients(list(self.module.adapter.weights), ROLES, Tensor.backward, 1)
        losses = self.module.differentiate(self.example(batch), kept.add, Tensor.backward)
        kept.write(self.module.combination)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {str(role): loss for role, loss in losses.items()}


def contenders(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Return the steps, on the parts of one pipeline."""
    torch.manual_seed(0)
    parts = (load_diffusion("random") if options.tiny else full_size()).to(options.device)
    data = Pictures(3 * options.batch, options.size)
    ours = Ours(parts, options)
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"IMPASTO_CACHE": folder}):
        ours.module.cache = cached_posteriors(parts, data, torch.device(options.device))  # unlinked, but still open
    batch = data.batch(options.batch, "<mine>")
    example = ours.example(batch)
    runs: dict[str, Callable[[], Any]] = {
        "three": lambda: ours.gradients(example, 1),
        "batched": lambda: ours.gradients(example, 3),
        "whole": lambda: ours(batch),
        "frugal": lambda: ours(batch, roles_per_pass=1),
    }
    if options.adapter == "textual_inversion":
        ids = ours.module.words.tokens([*batch.caption, *batch.anchor_caption, *batch.negative_caption])
        plain = Plain(parts, initializer=1, lr=LR)
        read = ids.ids.masked_fill(ids.style >= 0, plain.token).unflatten(0, (3, -1)).to(options.device)
        images = cast(Tensor, batch.images).to(options.device)
        runs["plain"] = lambda: plain(images, read)
    return runs


def difference(one: Gradients, other: Gradients) -> float:
    """Return the largest difference relative to the largest entry, over roles and tensors."""
    joined = [
        torch.cat([gradient.flatten() for found in each.values() for gradient in found if gradient is not None])
        for each in (one, other)
    ]
    return float((joined[0] - joined[1]).abs().max() / joined[1].abs().max())


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels, a multiple of 64")
    parser.add_argument("--batch", type=int, default=2, help="samples, each of three pictures")
    parser.add_argument("--adapter", choices=("textual_inversion", "lora"), default="textual_inversion")
    parser.add_argument("--checkpointing", action="store_true", help="compute the UNet's activations twice, in all")
    parser.add_argument("--tiny", action="store_true", help="the embedded pipeline's architecture")
    parser.add_argument("--pairs", type=int, default=3, help="rounds, after one that does not count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    runs, meter = contenders(options), Meter(torch.device(options.device), 0)
    found: dict[str, Any] = {}
    mib = {name: meter.first(lambda n=name, r=run: found.update({n: r()}))[1] for name, run in runs.items()}
    error = difference(found["batched"], found["three"])
    print(f"gradients of one pass and of three differ by {error:.1e} of the largest entry", flush=True)
    rows = []
    for number in range(1, options.pairs + 1):
        rows.append({name: meter.seconds(run) for name, run in runs.items()})
        print(f"round {number}: " + "   ".join(f"{name} {spent:.3f} s" for name, spent in rows[-1].items()), flush=True)
    ratios = {"batched": statistics.median(row["three"] / row["batched"] for row in rows)}
    if "plain" in runs:
        ratios |= {n: statistics.median(row["plain"] / row[n] for row in rows) for n in ("whole", "frugal")}
    pipeline = "tiny" if options.tiny else "Stable Diffusion 1.5"
    print(f"{pipeline}, {options.adapter}, {options.size} px, b {options.batch}, {options.device}:")
    print(f"  one pass against three: {ratios['batched']:.2f}x, {mib['three']:.0f} -> {mib['batched']:.0f} MiB")
    if "plain" in runs:
        for name in ("whole", "frugal"):
            memory = f"{mib['plain']:.0f} -> {mib[name]:.0f} MiB"
            print(f"  the step of training, {name}, against the plain form: {ratios[name]:.2f}x, {memory}")
    if options.out:
        write_json(
            {"rounds": rows, "ratios": ratios, "mib": mib, "error": error, "settings": vars(options)}, options.out
        )


if __name__ == "__main__":
    main()
