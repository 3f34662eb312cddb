"""DINOv2's vision transformer: features of a network that no loss here looks through."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.vgg import IMAGENET_MEAN, IMAGENET_STD

HEAD_WIDTH = 64
EPS = 1e-6  # of the layer norms


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and scaled channel by channel before it is added.

    Args:
        width: Channels of a token.

    Source: Oquab et al. 2023; the scales are LayerScale (Touvron et al. 2021, CaiT, eq. 3).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.scale1 = nn.Parameter(torch.ones(width))
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.expand = nn.Linear(width, 4 * width)
        self.reduce = nn.Linear(4 * width, width)
        self.scale2 = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens ``(B, N, D)`` of tokens alike."""
        tokens = tokens + self.scale1 * self._attend(self.norm1(tokens))
        hidden = F.gelu(self.expand(self.norm2(tokens)))
        out: Tensor = tokens + self.scale2 * self.reduce(hidden)
        return out

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed: Tensor = self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class DINOv2(FrozenNetwork):
    """A frozen DINOv2 on plain pictures, up to the last block that is asked for.

    Args:
        width: D, channels of a token, a multiple of 64; 384 for ViT-S.
        depth: Blocks; 12 for ViT-S.
        patch: Side in pixels of what becomes a token.
        grid: Side in tokens of the pictures that the position embeddings were trained for.
        source: Where the weights come from.

    Source: Oquab et al. 2023 (DINOv2), without the last layer norm, which follows the last block.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int = 384, depth: int = 12, patch: int = 14, grid: int = 37, source: str = "") -> None:
        super().__init__(source)
        self.patch = nn.Conv2d(3, width, patch, stride=patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.cls_position = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, width, grid, grid))
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def forward(self, images: Tensor, blocks: Sequence[int]) -> dict[int, Tensor]:
        """Return the tokens of the picture's patches behind some blocks.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1]; sides are multiples of the patch's.
            blocks: Which, counted from 0.

        Returns:
            Block to ``(B, H / patch * W / patch, D)``, patches row by row.

        Raises:
            ImpastoError: If a side is no multiple, or there is no such block.
        """
        side = self.patch.kernel_size[0]
        if min(images.shape[-2:]) < side or images.shape[-2] % side or images.shape[-1] % side:
            raise ImpastoError(f"DINOv2 needs sides that are multiples of {side} pixels, got {tuple(images.shape)}.")
        if not blocks or not 0 <= min(blocks) <= max(blocks) < len(self.blocks):
            raise ImpastoError(f"There are blocks 0 to {len(self.blocks) - 1}, asked for were {list(blocks)}.")
        tokens, found = self._embed((images - self.mean) / self.std), {}
        for number, block in enumerate(self.blocks[: max(blocks) + 1]):
            tokens = block(tokens)
            if number in blocks:
                found[number] = tokens[:, 1:]
        return found

    def _embed(self, x: Tensor) -> Tensor:
        maps = self.patch(x)
        positions: Tensor = self.positions
        if positions.shape[2:] != maps.shape[2:]:
            positions = F.interpolate(positions, maps.shape[2:], mode="bicubic", align_corners=False)
        patches = (maps + positions).flatten(2).transpose(1, 2)
        first = (self.cls + self.cls_position).expand(len(x), -1, -1)
        return torch.cat((first, patches), 1)
