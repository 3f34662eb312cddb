"""Weights of the networks that only judge pictures; ask for them at `weights`, the door."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch import nn

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet, build_network
from lightning_modules.networks.csd import CSDEncoder, csd_from_state
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.inception import Inception, InceptionForm, InceptionTrunk
from lightning_modules.networks.stand_ins import InceptionStandIn, StyleStandIn
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
from lightning_modules.weights.vgg import load_vgg

InceptionVariant = Literal["fid", "imagenet", "art"]

INCEPTIONS: dict[InceptionVariant, tuple[InceptionForm, str, str]] = {
    "fid": (
        "tensorflow",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "inception-2015-12-05",
    ),
    "imagenet": (
        "torchvision",
        "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        "torchvision Inception_V3_Weights.IMAGENET1K_V1",
    ),
    "art": (
        "torchvision",
        "https://huggingface.co/matthias-wright/art_inception/resolve/main/art_inception.pth",
        "art_inception",
    ),
}
"""Form of the network, address of its state file, and what its weights are called."""
CSD_FILE = "csd_vit_l.pth"


def load_inception(weights: WeightsSource = "auto", *, variant: InceptionVariant = "fid") -> FrozenNetwork:
    """Return a frozen Inception-v3 with the taps of `lightning_modules.networks.inception.Inception`.

    Args:
        weights: Where its weights come from; ``pretrained`` looks in ``TORCH_HOME/hub/checkpoints``. ``embedded`` and
            ``hed`` are `InceptionStandIn` on those encoders, whose features compare with nobody else's.
        variant: ``fid`` is the port of TensorFlow's file of 2015 behind the published FID, ``imagenet`` torchvision's
            network (SIFID), ``art`` the one that ArtFID's authors trained on paintings.

    Raises:
        ImpastoError: If the weights are not here and cannot be fetched.
    """
    form, url, source = INCEPTIONS[variant]
    found: dict[str, Callable[[], FrozenNetwork]] = {
        "pretrained": lambda: _pretrained_inception(form, url, source),
        "hed": lambda: _inception_stand_in("hed"),
        "embedded": lambda: _inception_stand_in("embedded"),
        "random": lambda: _random_inception(form),
    }
    need = Need(
        f"Inception-v3 ({variant})",
        file_present(url),
        lambda: read_state(torchvision_file(url), "Inception-v3 weights"),
    )
    return found[resolve(weights, need)]()


def load_csd(weights: WeightsSource = "auto") -> FrozenNetwork:
    """Return a frozen style descriptor, ``images (B, 3, H, W) in [0, 1] -> (B, D)`` of unit length.

    Args:
        weights: Where its weights come from; ``embedded`` and ``hed`` are `StyleStandIn` on those encoders, whose
            vectors compare with nobody else's; so is ``random``, on a random VGG-19.

    Raises:
        ImpastoError: If the weights are not here.
    """
    found: dict[str, Callable[[], FrozenNetwork]] = {
        "pretrained": _pretrained_csd,
        "hed": lambda: _style_stand_in("hed"),
        "embedded": lambda: _style_stand_in("embedded"),
        "random": lambda: _style_stand_in("random"),
    }
    return found[resolve(weights, need_csd())]()


def need_csd() -> Need:
    """Return what `load_csd` needs, for `resolve`."""
    return Need("CSD", own_file(CSD_FILE).is_file, lambda: read_state(_csd_file(), "CSD weights"))


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
    config = read_config(path)
    network = build_network(config)
    fill(network, path)
    return ArtistClassifier(network, config["artists"], str(weights), none=bool(config.get("none")))


def _pretrained_inception(form: InceptionForm, url: str, source: str) -> Inception:
    path = torchvision_file(url)
    state = read_state(path, "Inception-v3 weights")
    with seeded():  # the first weights are drawn, then overwritten
        trunk = InceptionTrunk(form)
    try:
        trunk.fill(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ImpastoError(
            f"{path} does not hold the Inception-v3 of {url}: delete it and fetch that file again."
        ) from error
    return Inception(trunk, source)


def _random_inception(form: InceptionForm) -> Inception:
    with seeded():
        trunk = InceptionTrunk(form)
        for module in trunk.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return Inception(trunk, "random")


def _csd_file() -> Path:
    path = own_file(CSD_FILE)
    if not path.is_file():
        raise ImpastoError(
            f"The CSD weights are missing: download pytorch_model.bin from huggingface.co/tomg-group-umd/CSD-ViT-L "
            f"(or checkpoint.pth from github.com/learn2phoenix/CSD) and put it at {path}, "
            f"{OTHERWISE}."
        )
    return path


def _pretrained_csd() -> CSDEncoder:
    path = _csd_file()
    state = read_state(path, "CSD weights")
    state = state.get("model_state_dict", state)
    try:
        return csd_from_state({key.removeprefix("module."): value for key, value in state.items()}, "CSD ViT-L")
    except (RuntimeError, KeyError, ValueError, AttributeError) as error:
        raise ImpastoError(
            f"{path} does not hold CSD's weights (missing or misshapen: {error}): delete it and fetch it again."
        ) from error


def _inception_stand_in(weights: WeightsSource) -> InceptionStandIn:
    return InceptionStandIn(load_vgg(weights))


def _style_stand_in(weights: WeightsSource) -> StyleStandIn:
    return StyleStandIn(load_vgg(weights))
