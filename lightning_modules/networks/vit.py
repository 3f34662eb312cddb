"""Plain vision transformers behind one call: the content and the style branch that NeAT's stylistic predictor names."""

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.clip import centre_square
from lightning_modules.networks.frozen import FrozenNetwork

SIDE = 224
"""Of what both transformers see, in pixels."""
STYLE_WIDTH = 256
"""Length of ALADIN's style code."""


class ViTEncoder(FrozenNetwork):
    """A frozen ViT of timm: the class token behind the last layer norm.

    Args:
        network: The transformer, without its classifier.
        source: Where its weights come from.

    Attributes:
        width: Length of the token.

    Source: Dosovitskiy et al. 2021; the mean and deviation of 0.5 are those of the files by Steiner et al. 2022.
    """

    def __init__(self, network: nn.Module, source: str) -> None:
        super().__init__(source)
        self.network = network
        self.width = int(network.num_features)  # type: ignore[arg-type]
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, width)`` of ``(B, 3, H, W)``, RGB in [0, 1], any size: the square in the middle is seen."""
        tokens = self.network.forward_features(centre_square(images, SIDE).clamp(0, 1).sub(0.5).div(0.5))  # type: ignore[operator]
        first: Tensor = tokens[:, 0]
        return first


class ALADINViT(FrozenNetwork):
    """ALADIN-ViT: a ViT-B/16 whose class token becomes a style code of unit length.

    Args:
        encoder: The transformer.
        source: Where the weights come from.

    Attributes:
        width: Length of the code.

    Source: Ruta et al. 2022 (StyleBabel), section 4; github.com/DanRuta/ALADIN, `vit_networks.py`, for the head. That
    code squashes pictures to the square; here their middle is taken.
    """

    width = STYLE_WIDTH

    def __init__(self, encoder: ViTEncoder, source: str) -> None:
        super().__init__(source)
        self.encoder = encoder
        middle = (encoder.width + STYLE_WIDTH) // 2
        self.fc1 = nn.Linear(encoder.width, middle)
        self.fc2 = nn.Linear(middle, STYLE_WIDTH)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return style codes, ``(B, 256)``, of ``(B, 3, H, W)``, RGB in [0, 1], any size."""
        hidden = F.leaky_relu(self.fc1(F.leaky_relu(self.encoder(images))))
        return F.normalize(self.fc2(hidden), dim=1)


def build_vit(name: str = "vit_base_patch16_224") -> nn.Module:
    """Return timm's transformer of that name without a classifier, with random weights."""
    import timm  # costs seconds

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return network
