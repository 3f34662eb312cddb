"""LPIPS from every source; ask for it at `weights`, the door. The package takes seconds to import: functions do it."""

import warnings
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.vgg import PerceptualDistance
from lightning_modules.weights.choice import Need, WeightsSource, resolve
from lightning_modules.weights.files import file_present, read_state, seeded, torchvision_file
from lightning_modules.weights.vgg import VGG16_URL, load_vgg

LPIPSTrunk = Literal["vgg", "alex"]

ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
LPIPS_TRUNKS: dict[LPIPSTrunk, tuple[str, str]] = {"vgg": ("VGG-16", VGG16_URL), "alex": ("AlexNet", ALEXNET_URL)}


class LPIPS(FrozenNetwork):
    """The published LPIPS (version 0.1) on pictures in [0, 1].

    Args:
        network: An ``lpips.LPIPS``.
        source: Where the weights come from.

    Attributes:
        smallest: Side in pixels that the trunk needs.
    """

    def __init__(self, network: nn.Module, source: str) -> None:
        super().__init__(source)
        self.network = network
        self.smallest = 32 if network.pnet_type == "alex" else 16
        self.freeze()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of every pair, ``(B,)``; both ``(B, 3, H, W)`` in [0, 1] and not below `smallest`."""
        distance: Tensor = self.network(a, b, normalize=True)
        return distance.flatten()


def load_lpips(weights: WeightsSource = "auto", *, trunk: LPIPSTrunk = "vgg") -> FrozenNetwork:
    """Return a perceptual distance ``(a, b) -> (B,)`` on pictures in [0, 1].

    Args:
        weights: ``pretrained`` is LPIPS 0.1; ``embedded`` and ``hed`` are `PerceptualDistance` on those encoders, whose
            values compare with nobody else's.
        trunk: Of the published LPIPS: ``vgg`` for losses, ``alex`` for evaluation, as its authors advise.

    Raises:
        ImpastoError: If the weights are not here and cannot be fetched.
    """
    found: dict[str, Callable[[], FrozenNetwork]] = {
        "pretrained": lambda: _pretrained_lpips(trunk),
        "hed": lambda: PerceptualDistance(load_vgg("hed")),
        "embedded": lambda: PerceptualDistance(load_vgg("embedded")),
        "random": lambda: _random_lpips(trunk),
    }
    return found[resolve(weights, need_lpips(trunk))]()


def need_lpips(trunk: LPIPSTrunk = "vgg") -> Need:
    """Return what `load_lpips` needs, for `resolve`."""
    name, address = LPIPS_TRUNKS[trunk]
    return Need(
        f"LPIPS {name}", file_present(address), lambda: read_state(torchvision_file(address), f"{name} weights")
    )


def _pretrained_lpips(trunk: LPIPSTrunk) -> LPIPS:
    name, address = LPIPS_TRUNKS[trunk]
    torchvision_file(address)  # the package would fetch it too, but not fail in one sentence
    return LPIPS(_lpips_network(trunk, trunk_random=False), f"lpips 0.1 {name}")


def _lpips_network(trunk: LPIPSTrunk, *, trunk_random: bool) -> nn.Module:
    import lpips

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it calls torchvision by an old signature
        network: nn.Module = lpips.LPIPS(net=trunk, pnet_rand=trunk_random, verbose=False)
    return network


def _random_lpips(trunk: LPIPSTrunk) -> LPIPS:
    with seeded():
        return LPIPS(_lpips_network(trunk, trunk_random=True), "random")
