"""The style descriptor CSD: a vision tower of CLIP with a projection that was trained on style."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.clip import OPENAI_MEAN, OPENAI_STD, centre_square
from lightning_modules.networks.frozen import FrozenNetwork

HEAD_WIDTH = 64  # of every ViT that OpenAI trained


class CSDEncoder(FrozenNetwork):
    """A frozen CSD on plain pictures.

    Args:
        tower: The ViT without its own projection, ``images (B, 3, S, S), normalised -> (B, W)``.
        head: The style projection, ``(W, D)``.
        image_size: Side S in pixels of the square that the tower sees.
        source: Where the weights come from.

    Attributes:
        embed_dim: Length D of a style vector; 768 for ViT-L.

    Source: Somepalli et al. 2024, section 4; ``CSD/model.py`` of the authors. They preprocess 8-bit pictures with PIL;
    here nothing is rounded.
    """

    mean: Tensor
    std: Tensor
    head: Tensor

    def __init__(self, tower: nn.Module, head: Tensor, image_size: int, source: str) -> None:
        super().__init__(source)
        self.tower = tower
        self.image_size = image_size
        self.embed_dim = head.shape[1]
        self.register_buffer("head", head)
        self.register_buffer("mean", torch.tensor(OPENAI_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(OPENAI_STD).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return style vectors of unit length, ``(B, D)``, of pictures ``(B, 3, H, W)``, RGB in [0, 1], any size."""
        features = self.tower((centre_square(images, self.image_size) - self.mean) / self.std)
        return F.normalize(features @ self.head, dim=1)


def csd_from_state(state: Mapping[str, Tensor], source: str) -> CSDEncoder:
    """Build the encoder that a state file describes; the size of the tower is read off its tensors.

    Args:
        state: The authors' names without ``module.``: ``backbone.*`` is OpenAI's vision tower, ``last_layer_style``
            the projection; the rest (``last_layer_content``) is not needed.
        source: Where the weights come from.

    Raises:
        KeyError: If a tensor is missing.
        RuntimeError: If a name or a shape does not fit.
    """
    from open_clip.transformer import QuickGELU, VisionTransformer  # costs seconds

    backbone = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    width, _, patch, _ = backbone["conv1.weight"].shape
    side = patch * isqrt(len(backbone["positional_embedding"]) - 1)
    layers = sum(key.endswith("attn.in_proj_weight") for key in backbone)
    tower: Any = VisionTransformer(
        image_size=side,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=width // HEAD_WIDTH,
        mlp_ratio=4.0,
        act_layer=QuickGELU,
    )
    tower.proj = None
    tower.load_state_dict({key: value.float() for key, value in backbone.items()})
    return CSDEncoder(tower, state["last_layer_style"].float(), side, source)
