"""A frozen CLIP that takes plain pictures and plain strings."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
AT_ONCE = 16
"""Pictures that a CPU sees at once: what lies between the layers of more does not stay in its caches."""


class Tokenizer(Protocol):
    """What `CLIPEncoder` asks of a tokenizer, such as ``open_clip.SimpleTokenizer``.

    Attributes:
        context_length: Tokens that the text tower reads, the marks of start and end among them.
    """

    context_length: int

    def __call__(self, texts: list[str]) -> Tensor:
        """Return token numbers, ``(B, context_length)``."""

    def encode(self, text: str) -> list[int]:
        """Return all tokens of a text, without the marks of start and end."""


class CLIPEncoder(FrozenNetwork):
    """A frozen ``open_clip.CLIP`` with its tokenizer and its picture preprocessing, differentiable in the picture.

    Args:
        model: The ``open_clip.CLIP``.
        tokenizer: Turns strings into token numbers.
        source: Where the weights come from.
        mean: Subtracted from the channels, in [0, 1] units.
        std: Divides what is left.

    Attributes:
        embed_dim: Length D of the shared vectors.
        image_size: Side in pixels of the square that the picture tower sees.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        source: str,
        *,
        mean: Sequence[float] = OPENAI_MEAN,
        std: Sequence[float] = OPENAI_STD,
    ) -> None:
        super().__init__(source)
        self.model = model
        self.tokenizer = tokenizer
        size = model.visual.image_size
        self.image_size = int(size if isinstance(size, int) else size[0])
        self.embed_dim = int(model.visual.output_dim)
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1), persistent=False)
        _spare(model.visual)
        self.freeze()

    def encode_image(self, images: Tensor) -> Tensor:
        """Return projected vectors, not normalised.

        The short side is resized to `image_size` (bicubic, antialiased) and the centre square is kept; a picture that
        has that size already is taken as it is.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1], any size.

        Returns:
            ``(B, D)``.
        """
        x = (centre_square(images, self.image_size) - self.mean) / self.std
        if x.device.type != "cpu" or not len(x):
            return cast(Tensor, self.model.encode_image(x))
        x = x.contiguous(memory_format=torch.channels_last)  # 1.5 times faster there
        parts = x.chunk(-(-len(x) // AT_ONCE))
        return torch.cat([self.model.encode_image(part) for part in parts])

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return projected vectors, not normalised, ``(B, D)``, one for each string.

        Raises:
            ImpastoError: If a text is longer than what this CLIP reads, whose end would be left out without a word.
        """
        for text in texts:
            self._check_length(text)
        tokens = self.tokenizer(list(texts)).to(self.mean.device)
        features: Tensor = self.model.encode_text(tokens)
        return features

    def _check_length(self, text: str) -> None:
        room = self.tokenizer.context_length - 2
        length = len(self.tokenizer.encode(text))
        if length <= room:
            return
        words = text.split()
        kept = bisect_right(range(len(words)), room, key=lambda n: len(self.tokenizer.encode(" ".join(words[: n + 1]))))
        raise ImpastoError(
            f"The text '{_shortened(text)}' has {length} tokens, but this CLIP ({self.source}) reads {room}: shorten "
            f"it, for everything from '{_shortened(' '.join(words[kept:]))}' on would be left out."
        )


class VisionBlock(nn.Module):
    """A block of a picture tower, whose attention keeps its tensors in one order.

    ``x + W softmax(q k' / sqrt(d)) v`` and then ``x + MLP(x)``, each of normalised x, as in the block of open_clip that
    it takes over. `nn.MultiheadAttention` exchanges batch and tokens before and after.

    Args:
        block: A plain ``open_clip`` block, whose layers it takes over under their names.
        first_only: Whether the first token alone goes on, because nobody reads the others: a sixth of the work.
    """

    attn: nn.MultiheadAttention
    ln_1: nn.Module
    ls_1: nn.Module
    ln_2: nn.Module
    ls_2: nn.Module
    mlp: nn.Module

    def __init__(self, block: nn.Module, *, first_only: bool) -> None:
        super().__init__()
        for name, layer in block.named_children():
            self.add_module(name, layer)
        self.first_only = first_only

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return ``(B, L, D)``, or ``(B, 1, D)``, of ``(B, L, D)``."""
        seen = self.ln_1(x)
        asking = seen
        if self.first_only:
            x, asking = x[:, :1], seen[:, :1].contiguous()
        x = x + self.ls_1(self._attend(asking, seen))
        return cast(Tensor, x + self.ls_2(self.mlp(self.ln_2(x))))

    def _attend(self, asking: Tensor, seen: Tensor) -> Tensor:
        layer, width = self.attn, self.attn.embed_dim
        weight, bias = cast(Tensor, layer.in_proj_weight), cast(Tensor, layer.in_proj_bias)
        query = F.linear(asking, weight[:width], bias[:width])
        key, value = F.linear(seen, weight[width:], bias[width:]).chunk(2, -1)
        heads = [part.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for part in (query, key, value)]
        return cast(Tensor, layer.out_proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)))


def _spare(tower: Any) -> None:
    """Let a picture tower compute nothing twice, and no tokens that its pool drops; other kinds stay as they are."""
    transformer: Any = getattr(tower, "transformer", None)
    if not getattr(transformer, "batch_first", False):
        return
    dropping = tower.pool_type == "tok" and tower.attn_pool is None and not tower.output_tokens
    blocks = transformer.resblocks
    for number, block in enumerate(blocks):
        if type(block).__name__ == "ResidualAttentionBlock":
            blocks[number] = VisionBlock(block, first_only=dropping and number == len(blocks) - 1)


def centre_square(images: Tensor, side: int) -> Tensor:
    """Resize the short side (bicubic, antialiased) and keep the square in the middle, as CLIP does.

    Args:
        images: ``(B, 3, H, W)``, RGB in [0, 1], any size.
        side: Of the square, in pixels.

    Returns:
        ``(B, 3, side, side)``; the pictures as they are where they have that size already.
    """
    if torch.compiler.is_exporting():
        return _square_by_products(images, side)
    height, width = images.shape[-2:]
    if (height, width) == (side, side):
        return images
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    resized = F.interpolate(images, size=size, mode="bicubic", antialias=True)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return resized[..., top : top + side, left : left + side]


def _square_by_products(images: Tensor, side: int) -> Tensor:
    """Do what `centre_square` does by two matrix products: a graph's sizes are not known, and its resizing is another.

    Source: Keys 1981, eq. 4 with a = -1/2, the kernel as wide as the pixels that it joins, as in torch and Pillow.
    """
    height, width = (torch.arange(length, dtype=torch.float64, device=images.device) for length in images.shape[-2:])
    scale = side / (torch.minimum(height[-1], width[-1]) + 1)
    rows, columns = (_cubic_weights(places, scale, side).to(images) for places in (height, width))
    return rows @ images @ columns.mT


def _cubic_weights(places: Tensor, scale: Tensor, side: int) -> Tensor:
    """Return how much of every pixel of an axis is in each of the ``side`` pixels in the middle of the resized one."""
    length = places[-1] + 1
    size = (length * scale).round().clamp(min=side)
    step = length / size
    targets = places.new_tensor(range(side)) + ((size - side) / 2).floor()
    away = ((places + 0.5 - (targets.unsqueeze(1) + 0.5) * step) / step.clamp(min=1)).abs()
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    weights = torch.where(away < 1, near, torch.where(away < 2, far, torch.zeros_like(away)))
    return weights / weights.sum(1, keepdim=True)


def _shortened(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else f"{text[:limit].rstrip()}..."
