"""Trains the tiny latent diffusion pipeline: the autoencoder first, then what takes the noise off its latents."""

from pathlib import Path

import torch

from experiments.embedded.diffusion_autoencoder import set_encoder, train_decoder
from experiments.embedded.diffusion_denoiser import BATCH, train_denoiser
from experiments.embedded.diffusion_figures import GUIDANCE, STEPS, measure, write_grid
from experiments.embedded.diffusion_pictures import HELD_OUT, RECOLOURED, make_studies
from lightning_modules.networks.export import export, half_precision
from lightning_modules.networks.latent_diffusion import TINY, build_diffusion

CONTENTS = 6000
DECODER_STEPS, DENOISER_STEPS = 1500, 19500


def train(
    folder: Path,
    scratch: Path,
    *,
    seed: int,
    contents: int = CONTENTS,
    steps: int = DENOISER_STEPS,
    decoder_steps: int = DECODER_STEPS,
    batch: int = BATCH,
    device: str = "cpu",
    workers: int = 1,
) -> dict[str, float]:
    """Train the pipeline, write it to ``folder`` and return the figures measured on held-out contents.

    Args:
        folder: Where ``diffusion.safetensors`` and its JSON file go.
        scratch: Keeps what is unfinished, and ``diffusion.png``, a row a painter and a column a scene: an interrupted
            training goes on from there when it is started again with the same arguments.
        seed: Draws the pictures and every number of the training.
        contents: Of ProceduralArt, painted by all painters but the two held out.
        steps: Of the denoiser.
        decoder_steps: Of the autoencoder's decoder.
        batch: Latents in a step of the denoiser's; the decoder's steps take a quarter as many pictures.
        device: Where both are trained.
        workers: Processes that paint.
    """
    torch.manual_seed(seed)
    parts = build_diffusion(TINY, "embedded")
    # Not the seed of the data set that methods train on, as for the other embedded networks.
    studies = make_studies("train", contents, seed=seed + 1, recoloured=RECOLOURED, workers=workers)
    set_encoder(parts.vae, studies.images[torch.randperm(len(studies))[:2048]])
    half_precision(parts.vae)  # the latents are then those of the file
    unfinished = scratch / f"seed{seed}-contents{contents}-batch{batch}"
    parts.to(device)
    cpu = train_decoder(
        parts.vae, studies, unfinished / f"decoder{decoder_steps}.pt", seed=seed, steps=decoder_steps, batch=batch // 4
    )
    cpu += train_denoiser(parts, studies, unfinished / f"denoiser{steps}.pt", seed=seed, steps=steps, batch=batch)
    parts.to("cpu")
    half_precision(parts)
    figures, drawn = measure(parts, seed=seed + 1)
    write_grid(drawn, scratch / "diffusion.png")
    figures |= {"decoder_steps": decoder_steps, "denoiser_steps": steps, "contents": contents, "seed": seed}
    figures["batch"] = batch
    figures["cpu_seconds"] = round(cpu)
    sampling = {"sampler": "ddim", "steps": STEPS, "guidance": GUIDANCE}
    about = {"held_out": list(HELD_OUT), "sampling": sampling, "device": device, "measured": figures}
    export(parts, {**TINY, "words": list(TINY["words"]), **about}, folder / "diffusion.safetensors")
    return figures
