"""Trains the tiny latent diffusion pipeline: the autoencoder first, then what takes the noise off its latents."""

from pathlib import Path

import torch

from experiments.embedded.diffusion_autoencoder import standardise, train_autoencoder, train_decoder
from experiments.embedded.diffusion_denoiser import train_denoiser
from experiments.embedded.diffusion_figures import GUIDANCE, STEPS, measure, write_grid
from experiments.embedded.diffusion_pictures import HELD_OUT, RECOLOURED, make_studies
from lightning_modules.networks.export import export, half_precision
from lightning_modules.networks.latent_diffusion import TINY, build_diffusion

CONTENTS = 2000
AUTOENCODER_STEPS, DECODER_STEPS, DENOISER_STEPS = 1200, 1000, 2600


def train(
    folder: Path,
    scratch: Path,
    *,
    seed: int,
    contents: int = CONTENTS,
    steps: int = DENOISER_STEPS,
    autoencoder_steps: int = AUTOENCODER_STEPS,
    decoder_steps: int = DECODER_STEPS,
) -> dict[str, float]:
    """Train the pipeline, write it to ``folder`` and return the figures measured on held-out contents.

    Args:
        folder: Where ``diffusion.safetensors`` and its JSON file go.
        scratch: Keeps what is unfinished, and ``diffusion.png``, a row a painter and a column a scene: an interrupted
            training goes on from there when it is started again with the same arguments.
        seed: Draws the pictures and every number of the training.
        contents: Of ProceduralArt, painted by all painters but the two held out.
        steps: Of the denoiser.
        autoencoder_steps: Of the autoencoder.
        decoder_steps: Of its decoder alone, after that.
    """
    torch.manual_seed(seed)
    parts = build_diffusion(TINY, "embedded")
    # Not the seed of the data set that methods train on, as for the other embedded networks.
    studies = make_studies("train", contents, seed=seed + 1, recoloured=RECOLOURED)
    unfinished = scratch / f"seed{seed}-contents{contents}-autoencoder{autoencoder_steps}"
    cpu = train_autoencoder(parts.vae, studies, unfinished / "autoencoder.pt", seed=seed, steps=autoencoder_steps)
    standardise(parts.vae, studies.images[torch.randperm(len(studies))[:1024]])
    half_precision(parts.vae)  # the latents are then those of the file
    decoder = unfinished / f"decoder{decoder_steps}.pt"
    cpu += train_decoder(parts.vae, studies, decoder, seed=seed, steps=decoder_steps)
    error, more = train_denoiser(parts, studies, unfinished / f"denoiser{steps}.pt", seed=seed, steps=steps)
    half_precision(parts)
    found, drawn = measure(parts, seed=seed + 1)
    write_grid(drawn, scratch / "diffusion.png")
    numbers = {"seed": seed, "contents": contents, "cpu_seconds": cpu + more}
    taken = {"autoencoder_steps": autoencoder_steps, "decoder_steps": decoder_steps, "denoiser_steps": steps}
    figures = {**found, "denoiser_error": error, **taken, **numbers}
    sampling = {"sampler": "ddim", "steps": STEPS, "guidance": GUIDANCE}
    about = {"held_out": list(HELD_OUT), "sampling": sampling, "measured": figures}
    export(parts, {**TINY, "words": list(TINY["words"]), **about}, folder / "diffusion.safetensors")
    return figures
