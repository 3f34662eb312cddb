"""Frozen networks behind one small interface: ``extractor(images, taps) -> {tap: features}``."""

from collections.abc import Callable
from typing import Literal
from weakref import WeakValueDictionary

import torch
from torch import nn

from lightning_modules.networks.stand_ins import InceptionStandIn
from lightning_modules.weights import InceptionVariant, WeightsSource, load_clip, load_csd, load_inception, load_vgg
from metrics.extractors.base import FeatureExtractor, fingerprint
from metrics.extractors.clip import ClipFeatures, CSDFeatures, Preprocess
from metrics.extractors.dinov2 import DINOv2Features
from metrics.extractors.front_ends import FrontEnd
from metrics.extractors.inception import InceptionFeatures
from metrics.functional.checks import one_of

__all__ = [
    "CSDFeatures",
    "ClipFeatures",
    "DINOv2Features",
    "ExtractorName",
    "FeatureExtractor",
    "FrontEnd",
    "InceptionFeatures",
    "Preprocess",
    "fingerprint",
    "load_extractor",
]

ExtractorName = Literal["inception-fid", "inception-imagenet", "inception-art", "clip-l-336", "clip", "csd", "vgg19"]
_loaded: WeakValueDictionary[tuple[str, ...], nn.Module] = WeakValueDictionary()


def load_extractor(
    name: ExtractorName, weights: WeightsSource = "auto", *, front_end: FrontEnd | None = None
) -> nn.Module:
    """Return a frozen extractor; the same one as long as anybody uses it, so that metrics can share its passes.

    Args:
        name: ``inception-fid`` for FID and KID, ``inception-imagenet`` for SIFID, ``inception-art`` for ArtFID,
            ``clip-l-336`` for CMMD, ``clip`` (ViT-B/32) and ``csd`` for scores of style, ``vgg19`` for maps by layer.
        weights: Where the weights come from; see `lightning_modules.weights`. ``embedded`` has a stand-in for all.
        front_end: How pictures reach an Inception; by default ``clean`` for FID, ``native`` for SIFID and ``unit`` for
            ArtFID. Stand-ins take pictures at their native size whatever it says.

    Raises:
        ImpastoError: If there is no such extractor, source or front end, or its weights are not here and cannot be
            fetched.
    """
    one_of(name, ExtractorName, "extractor")
    one_of(weights, WeightsSource, "source of weights")
    if front_end is not None:  # stand-ins would not notice
        one_of(front_end, FrontEnd, "front end")
    found: dict[str, Callable[[], nn.Module]] = {
        "inception-fid": lambda: _inception("fid", weights, front_end or "clean"),
        "inception-imagenet": lambda: _inception("imagenet", weights, front_end or "native"),
        "inception-art": lambda: _inception("art", weights, front_end or "unit"),
        "clip-l-336": lambda: ClipFeatures(load_clip(weights, model="ViT-L-14-336"), "cmmd"),
        "clip": lambda: ClipFeatures(load_clip(weights), "clip"),
        "csd": lambda: CSDFeatures(load_csd(weights)),
        "vgg19": lambda: load_vgg(weights),
    }
    key = (name, weights, front_end or "")
    extractor = _loaded.get(key)
    if extractor is None:
        with torch.random.fork_rng(devices=[]):  # building a network draws its first weights
            extractor = _loaded[key] = found[name]()
    return extractor


def _inception(variant: InceptionVariant, weights: WeightsSource, front_end: FrontEnd) -> InceptionFeatures:
    network = load_inception(weights, variant=variant)
    # A stand-in is no Inception: what a tool does before one says nothing about it, and small pictures stay small.
    return InceptionFeatures(network, "native" if isinstance(network, InceptionStandIn) else front_end)
