"""The only door through which frozen networks get their weights.

``pretrained`` reads the caches of torchvision (``TORCH_HOME``) and open_clip (``HF_HOME``) and downloads what they
lack; ``hed`` is a full-size VGG-16 for machines without a network; ``embedded`` are the small networks that this repo
trained, in ``assets/embedded``; ``random`` (always the same numbers) is for tests; ``auto`` is pretrained where that is
to be had, else embedded, and says once which. A model of several networks asks `resolve` for one source for all.
"""

from lightning_modules.weights.choice import Need, WeightsSource, resolve
from lightning_modules.weights.clip import load_clip, need_clip
from lightning_modules.weights.diffusion import LatentDiffusion, load_diffusion, need_diffusion, pipeline_of
from lightning_modules.weights.dinov2 import dinov2_installed, load_dinov2
from lightning_modules.weights.files import EMBEDDED
from lightning_modules.weights.judges import (
    InceptionVariant,
    load_artist_classifier,
    load_csd,
    load_inception,
    need_csd,
)
from lightning_modules.weights.lpips import LPIPS, load_lpips, need_lpips
from lightning_modules.weights.vgg import VGGVariant, load_vgg, load_vgg16_state, need_vgg
from lightning_modules.weights.vit import load_aladin, load_vit

__all__ = [
    "EMBEDDED",
    "LPIPS",
    "InceptionVariant",
    "LatentDiffusion",
    "Need",
    "VGGVariant",
    "WeightsSource",
    "dinov2_installed",
    "load_aladin",
    "load_artist_classifier",
    "load_clip",
    "load_csd",
    "load_diffusion",
    "load_dinov2",
    "load_inception",
    "load_lpips",
    "load_vgg",
    "load_vgg16_state",
    "load_vit",
    "need_clip",
    "need_csd",
    "need_diffusion",
    "need_lpips",
    "need_vgg",
    "pipeline_of",
    "resolve",
]
