"""Names the artist of a picture; judges deception, so it shares nothing with the networks that losses use."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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

    Attributes:
        smallest: Side in pixels that the last stage needs.
    """

    def __init__(
        self, classes: int, widths: Sequence[int] = (32, 64, 128, 192), depths: Sequence[int] = (1, 1, 2, 1)
    ) -> None:
        super().__init__()
        self.smallest = 2 ** (len(widths) + 1)
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
        """Return logits, ``(B, classes)``, of ``(B, 3, H, W)`` in [0, 1]; sides of `smallest` on."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return what the last layer sees, ``(B, D)``, of pictures as for `forward`."""
        maps = self.body(images.sub(0.5).div(0.25).contiguous(memory_format=torch.channels_last))
        spread = maps.var((2, 3), unbiased=False).add(1e-5).sqrt()
        pooled: Tensor = self.norm(torch.cat((maps.mean((2, 3)), spread), dim=1))
        return pooled


class ArtistVGG(nn.Module):
    """torchvision's VGG-16 with one logit per artist, on the middle of a picture.

    Args:
        classes: Number of logits.

    Source: Simonyan & Zisserman 2015, configuration D; as the judge of deception Sanakoyeu et al. 2018, section 4.2.
    """

    side = 224
    """Side of what the network sees, in pixels."""
    mean: Tensor
    std: Tensor

    def __init__(self, classes: int) -> None:
        from torchvision.models import vgg16  # costs seconds

        super().__init__()
        self.network = vgg16(num_classes=classes)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def fill(self, imagenet: Mapping[str, Tensor]) -> None:
        """Start from ImageNet: take every tensor of torchvision's state dict but the last layer's."""
        last = f"classifier.{len(self.network.classifier) - 1}."
        kept = {name: value for name, value in self.network.state_dict().items() if name.startswith(last)}
        self.network.load_state_dict({**imagenet, **kept})

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, ``(B, classes)``, of ``(B, 3, H, W)`` in [0, 1].

        Pictures of another size than 224 x 224 are scaled to a short side of 224 pixels, smoothed as they shrink, and
        cropped in the middle: their proportions stay, unlike in Sanakoyeu's evaluation, which squashes them.
        """
        logits: Tensor = self.network.classifier[-1](self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return what the last layer sees, ``(B, 4096)``, of pictures as for `forward`."""
        maps = self.network.features((_central_square(images, self.side) - self.mean) / self.std)
        hidden: Tensor = self.network.classifier[:-1](self.network.avgpool(maps).flatten(1))
        return hidden


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """Build the untrained network that the JSON file of a classifier describes.

    Args:
        config: ``artists``; ``none``, whether a last class stands for none of them (the default is that it does not);
            ``network``, ``brushwork`` (the default) or ``vgg16``; of a brushwork network also ``widths`` and
            ``depths``.

    Raises:
        ImpastoError: If it describes none.

    Examples:
        >>> network = build_network({"artists": ["A", "B"], "widths": [8], "depths": [1]})
        >>> network(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 2])
    """
    kind = config.get("network", "brushwork")
    try:
        classes = len(config["artists"]) + bool(config.get("none"))
        if kind == "brushwork":
            return BrushworkNet(classes, widths=config["widths"], depths=config["depths"])
        if kind == "vgg16":
            return ArtistVGG(classes)
    except KeyError as error:
        raise ImpastoError(
            f"The description of an artist classifier lacks {error}: export the network again."
        ) from error
    raise ImpastoError(f"There is no artist classifier of kind {kind!r}: choose brushwork or vgg16.")


def _central_square(images: Tensor, side: int) -> Tensor:
    height, width = images.shape[-2:]
    if height == width == side:
        return images
    scale = side / min(height, width)
    target = (max(side, round(height * scale)), max(side, round(width * scale)))
    scaled = F.interpolate(images, target, mode="bilinear", antialias=True, align_corners=False)
    top, left = (target[0] - side) // 2, (target[1] - side) // 2
    return scaled[..., top : top + side, left : left + side]


class ArtistClassifier(FrozenNetwork):
    """A frozen network that knows the names of its classes.

    Args:
        network: The trained network, a `BrushworkNet` or an `ArtistVGG`.
        artists: The name of every class, in the order of the logits.
        source: Where the weights come from.
        none: Whether one more logit, the last, stands for none of them: a photograph, or a picture that has the palette
            or the stroke of an artist without the other.

    Attributes:
        smallest: Side in pixels that the network needs.
    """

    def __init__(self, network: nn.Module, artists: Sequence[str], source: str, *, none: bool = False) -> None:
        super().__init__(source)
        self.none = none
        self.network = network
        self.artists = tuple(artists)
        self.smallest = int(getattr(network, "smallest", 1))
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits over `artists`, ``(B, A)``, with `none` ``(B, A + 1)``.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1], sides of `smallest` on. A `BrushworkNet` sees them at
                their own size, having learnt from crops of 80 to 144 pixels.
        """
        logits: Tensor = self.network(images)
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return what the last layer sees, ``(B, D)``, of pictures as for `forward`."""
        features: Tensor = self.network.features(images)  # type: ignore[operator]  # both kinds have it
        return features
