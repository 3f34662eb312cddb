"""A frozen latent diffusion pipeline by its parts, and the tiny one of this repo from its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from lightning_modules.networks.diffusion_extra import demand_diffusion
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.word_tokenizer import LONGEST, word_tokenizer

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

Sampler = Literal["ddim", "pndm"]


class LatentDiffusion(FrozenNetwork):
    """The parts of a Stable Diffusion 1.x or 2.x, none of which is ever trained.

    Gradients flow through all of them: to learned token rows, and to adapters that a method hangs into the UNet.

    Args:
        vae: Autoencoder of pictures ``(B, 3, H, W)`` in [-1, 1] and latents ``(B, C, H / f, W / f)``; latents are
            multiplied by its ``config.scaling_factor`` before noise is added.
        unet: Predicts what ``scheduler.config.prediction_type`` says.
        text_encoder: Gives the UNet one vector a token.
        tokenizer: Its tokenizer.
        scheduler: Holds the noise levels of the training, and is what samplers are made from.
        source: Where the weights come from, in words.

    Attributes:
        size: Side in pixels of the pictures that it was trained on.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler: DDPMScheduler,
        source: str,
    ) -> None:
        super().__init__(source)
        self.vae = vae
        self.unet = unet
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.scheduler = scheduler
        self.size: int = unet.config.sample_size * reduction(vae)
        self.freeze()


def reduction(vae: AutoencoderKL) -> int:
    """Return how many pixels a side of a latent covers: f."""
    levels: int = len(vae.config.block_out_channels)
    return int(2 ** (levels - 1))


def pipeline_of(parts: LatentDiffusion, sampler: Sampler = "ddim") -> StableDiffusionPipeline:
    """Return diffusers' own pipeline of these parts; it shares them, so what is changed in one is changed in both.

    Args:
        parts: Of any source.
        sampler: ``ddim`` as in the paper, or ``pndm``, which published Stable Diffusions name as their own.
    """
    from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline

    kind = {"ddim": DDIMScheduler, "pndm": PNDMScheduler}[sampler]
    return StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=kind.from_config(parts.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_diffusion(description: Mapping[str, Any], source: str) -> LatentDiffusion:
    """Return a pipeline of random weights.

    Args:
        description: Arguments of the four classes under ``vae``, ``unet``, ``text_encoder`` and ``scheduler``, and the
            tokenizer's ``words``, as `TINY`.
        source: What to call it.

    Raises:
        ImpastoError: If a package of the extra `diffusion` is missing.
    """
    demand_diffusion()
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = word_tokenizer(description["words"])
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=LONGEST,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **description["text_encoder"],
    )
    return LatentDiffusion(
        AutoencoderKL(**description["vae"]),
        UNet2DConditionModel(**description["unet"]),
        CLIPTextModel(text),
        tokenizer,
        DDPMScheduler.from_config({"_class_name": "PNDMScheduler", **description["scheduler"]}),
        source,
    )


_SPOKEN = (
    # What contents of ProceduralArt show.
    "a an and at by in into of on over the to under with without from near above below beside behind "
    "photo photograph picture image painting drawing print artwork plain natural no not style styles artist painted "
    "mountains mountain sea forest table city skyline meadow field clouds cloud portrait person night stars star hills "
    "hill sky blue sunset grey morning dusk green autumn misty spring apples oranges lemons plums coloured bowls "
    "poppies lavender sunflowers daisies fruit flowers flower buildings trees tree grass moon sun water face vase "
    "astronaut orange suit dahlia motorcycle garage rocket launch galaxies deep space stained tissue microscope "
    "retina eye navy officer uniform cup coffee pagoda lake cat pond bridge house street river day light dark "
    # How its artists paint.
    "pointillist dots pure colour colours sepia ink cross hatching thick oil strokes warm cold earths glass black "
    "leading low poly triangles woodcut vermilion primary rectangles lines pale bleeding watercolour pop art halftone "
    "swirling ribbons gold bright chalk slate layered paper cut out red yellow white brown purple pink cream "
    # What Stable Diffusion calls a whole kind of pictures.
    "illustration animation impressionism impressionist watercolor cartoon sketch mosaic "
    # The artists whom the embedded pipeline has seen.
    "ada stipple bruno carbone clara umber dominic vitrail elin facet fumiko kiri gustav raster henrike aquarell igor "
    "benday kasimir slate"
)
WORDS = tuple(_SPOKEN.split())
"""The embedded pipeline's vocabulary: the words of ProceduralArt, and what one writes around them."""

TINY: dict[str, Any] = {
    "vae": {
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
        "block_out_channels": [16, 32, 64],
        "layers_per_block": 1,
        "latent_channels": 8,
        "norm_num_groups": 1,  # of few channels, groups lose the colour of the whole picture
        "sample_size": 64,
        "scaling_factor": 0.18215,
        "mid_block_add_attention": False,
    },
    "unet": {
        "sample_size": 16,
        "in_channels": 8,
        "out_channels": 8,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [96, 128],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "cross_attention_dim": 96,
    },
    "text_encoder": {
        "hidden_size": 96,
        "intermediate_size": 192,
        "projection_dim": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "scheduler": {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
    },
    "words": WORDS,
}
"""The embedded pipeline: a Stable Diffusion 2 with velocity as its target, in everything but size."""
