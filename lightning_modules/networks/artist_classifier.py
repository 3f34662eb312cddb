"""Names the artist of a picture; judges deception, so it shares nothing with the networks that losses use."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.frozen import FrozenNetwork


class _Block(nn.Module):
    """Depthwise 7x7, norm, pointwise MLP, with a residual.

    Source: Liu et al. 2022 (ConvNeXt), fig. 4, with expansion 3, without layer scale, and with a batch norm, which
    learns in a third of the steps here.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, 3 * width, 1)
        self.reduce = nn.Conv2d(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.expand(self.norm(self.depthwise(x))))
        out: Tensor = x + self.reduce(hidden)
        return out


class BrushworkNet(nn.Module):
    """A small ConvNeXt whose head sees the mean and the spread of every feature over the picture.

    Brushwork is a statistic: where a stroke lies says nothing, so the head pools mean and standard deviation.

    Args:
        classes: Number of logits.
        widths: Channels after each stage; every stage halves the sides, the stem divides them by four.
        depths: Blocks in each stage.
    """

    def __init__(
        self, classes: int, widths: Sequence[int] = (32, 64, 128, 192), depths: Sequence[int] = (1, 1, 2, 1)
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = [
            nn.Conv2d(3, widths[0] // 2, 3, stride=2, padding=1),
            nn.BatchNorm2d(widths[0] // 2),
            nn.GELU(),
            nn.Conv2d(widths[0] // 2, widths[0], 3, stride=2, padding=1),
            nn.BatchNorm2d(widths[0]),
        ]
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if index:
                stages += [nn.Conv2d(widths[index - 1], width, 2, stride=2), nn.BatchNorm2d(width)]
            stages += [_Block(width) for _ in range(depth)]
        self.body = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(2 * widths[-1])
        self.head = nn.Linear(2 * widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, ``(B, classes)``, of ``(B, 3, H, W)`` in [0, 1]; sides of at least 32 pixels."""
        features = self.body(images.sub(0.5).div(0.25).contiguous(memory_format=torch.channels_last))
        spread = features.var((2, 3), unbiased=False).add(1e-5).sqrt()
        logits: Tensor = self.head(self.norm(torch.cat((features.mean((2, 3)), spread), dim=1)))
        return logits


class ArtistClassifier(FrozenNetwork):
    """A frozen `BrushworkNet` that knows the names of its classes.

    Args:
        network: The trained network.
        artists: The name of every class, in the order of the logits.
        source: Where the weights come from.
    """

    def __init__(self, network: nn.Module, artists: Sequence[str], source: str) -> None:
        super().__init__(source)
        self.network = network
        self.artists = tuple(artists)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits over `artists`, ``(B, A)``.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1]; trained on crops of 96 to 256 pixels, the smaller side at least 32.
        """
        logits: Tensor = self.network(images)
        return logits
