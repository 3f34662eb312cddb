"""What the embedded pipeline draws, and how well judges name it."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from experiments.embedded.diffusion_autoencoder import psnr, reconstruct
from experiments.embedded.diffusion_denoiser import denoising_error
from experiments.embedded.diffusion_pictures import HELD_OUT, SEEN, make_studies
from experiments.embedded.gallery import PHOTOGRAPH
from lightning_modules.files import write_atomically
from lightning_modules.networks.latent_diffusion import LatentDiffusion, pipeline_of
from lightning_modules.weights import load_artist_classifier, load_clip

STEPS, GUIDANCE = 25, 4.0
SCENES = (
    "mountains under a sunset sky", "the sea under a blue sky", "a city at night", "an autumn forest",
    "a field of poppies under a grey sky", "the portrait of a person", "apples on a table",
    "stars in the night sky over hills",
)  # fmt: skip
JUDGED_AT = 80
"""Side in pixels at which judges see the pictures: the smallest that the classifier was trained on."""


@torch.no_grad()
def draw(parts: LatentDiffusion, prompts: Sequence[str], *, seed: int, guidance: float = GUIDANCE) -> Tensor:
    """Return one picture a prompt, ``(N, 3, S, S)``, float32 in [0, 1], by `STEPS` steps of DDIM."""
    pipeline = pipeline_of(parts)
    pipeline.set_progress_bar_config(disable=True)
    found = []
    for start in range(0, len(prompts), 16):
        some = list(prompts[start : start + 16])
        generators = [torch.Generator().manual_seed(seed + start + number) for number in range(len(some))]
        drawn = pipeline(
            some, num_inference_steps=STEPS, guidance_scale=guidance, generator=generators, output_type="pt"
        )
        found.append(drawn.images)
    return torch.cat(found)


def prompts_of(names: Sequence[str | None]) -> list[str]:
    """Return a prompt for every scene by everybody; None is a photograph."""
    return [
        f"a photo of {scene}" if name is None else f"a painting of {scene} in the style of {name}"
        for name in names
        for scene in SCENES
    ]


def write_grid(pictures: Tensor, path: Path, *, columns: int = len(SCENES)) -> None:
    """Write pictures side by side into a PNG file, every pixel as two by two."""
    grid = make_grid(F.interpolate(pictures, scale_factor=2, mode="nearest"), nrow=columns, padding=4, pad_value=1.0)
    buffer = BytesIO()
    Image.fromarray((grid.permute(1, 2, 0) * 255).round().byte().numpy()).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


@torch.no_grad()
def measure(parts: LatentDiffusion, *, seed: int) -> tuple[dict[str, float], Tensor]:
    """Return figures on contents of the test split, and what the pipeline draws of `SCENES`, a row a painter.

    - ``psnr``: of reconstructed photographs and paintings, and ``psnr_held_out`` of the painters never seen.
    - ``denoising_error``: of the predicted noise, squared, where its variance is one.
    - ``named``: of the drawn paintings, how many the classifier gives to their painter, among the painters alone.
    - ``named_true``: the same of true paintings, small as they are.
    - ``scene``: of the drawn pictures, how many CLIP finds nearest to their own scene among `SCENES`.
    """
    true, unseen = make_studies("test", 24, seed=seed), make_studies("test", 8, seed=seed, artists=HELD_OUT)
    strange = unseen.images[unseen.artist != PHOTOGRAPH]
    drawn = draw(parts, prompts_of((*SEEN, None)), seed=seed)
    painters = torch.arange(len(SEEN)).repeat_interleave(len(SCENES))
    of_painters = true.artist != PHOTOGRAPH
    return {
        "psnr": psnr(reconstruct(parts.vae, true.images), true.images / 255),
        "psnr_held_out": psnr(reconstruct(parts.vae, strange), strange / 255),
        "denoising_error": denoising_error(parts, true, seed=seed),
        "named": _named(drawn[: len(painters)], painters),
        "named_true": _named(true.images[of_painters] / 255, true.artist[of_painters]),
        "scene": _scenes(drawn),
    }, drawn


def _named(pictures: Tensor, wanted: Tensor) -> float:
    judge = load_artist_classifier()
    places = torch.tensor([judge.artists.index(name) for name in SEEN])
    shown = F.interpolate(pictures, (JUDGED_AT, JUDGED_AT), mode="bicubic", antialias=True).clamp(0, 1)
    answers = torch.cat([judge(batch)[:, : len(judge.artists)] for batch in shown.split(32)])
    return round(float((answers.argmax(1) == places[wanted]).float().mean()), 4)


def _scenes(pictures: Tensor) -> float:
    clip = load_clip("embedded")
    texts = F.normalize(clip.encode_text(list(SCENES)), dim=1)
    images = F.normalize(torch.cat([clip.encode_image(batch) for batch in pictures.split(32)]), dim=1)
    wanted = torch.arange(len(SCENES)).repeat(len(pictures) // len(SCENES))
    return round(float(((images @ texts.T).argmax(1) == wanted).float().mean()), 4)
