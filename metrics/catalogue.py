"""The metrics by name, each with the convention that this package recommends; the classes have the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.weights import WeightsSource, load_artist_classifier, load_dinov2, load_lpips
from metrics.artfid import ArtFID
from metrics.base import PictureMetric
from metrics.chamfer import ColorChamfer
from metrics.clip_score import CLIPPictureScore, CLIPStyleScore, MaskedCLIPScore
from metrics.cmmd import CMMD
from metrics.csd import CSD
from metrics.deception import DeceptionRate
from metrics.extractors import DINOv2Features, ExtractorName, load_extractor
from metrics.frechet import FrechetDistance
from metrics.functional.checks import one_of
from metrics.gram import GramDistance
from metrics.halo import StyleHalo
from metrics.kid import KID
from metrics.panel import fit_panel
from metrics.perceptual import PerceptualDistance
from metrics.region import BackgroundError, EdgeSeam, MaskIoU, RegionLPIPS, RegionSSIM
from metrics.region_judges import RegionDeception, RegionDirection
from metrics.sifid import SIFID
from metrics.ssim import StructuralSimilarity
from metrics.style_loss import StyleLoss
from metrics.temporal import TemporalLPIPS


class Judges:
    """The frozen networks of the metrics, each loaded when it is first asked for and then shared.

    Args:
        weights: Source of all but the artist classifier; see `lightning_modules.weights`.
        classifier: ``embedded``, ``random``, or the file of an artist classifier, as `make train-artist` exports it.
        paintings: What the panel learns its artists from: artist to files.
        read: Reads such a file, as in `metrics.panel.fit_panel`.
    """

    def __init__(
        self,
        weights: WeightsSource = "auto",
        classifier: str | Path = "embedded",
        paintings: Mapping[str, Sequence[Path]] | None = None,
        read: Callable[[Path], Tensor] | None = None,
    ) -> None:
        self.weights: WeightsSource = one_of(weights, WeightsSource, "source of weights")
        self.classifier = classifier
        self.paintings = paintings
        self.read = read
        self._loaded: dict[str, nn.Module] = {}

    def network(self, name: str) -> nn.Module:
        """Return ``lpips``, ``artist``, ``panel``, or an extractor by its name in `metrics.extractors`.

        Raises:
            ImpastoError: If there is no such network, its weights are not here and cannot be fetched, or the panel has
                no paintings to learn from.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> nn.Module:
        if name == "lpips":
            return load_lpips(self.weights, trunk="alex")
        if name == "artist":
            return load_artist_classifier(self.classifier)
        if name == "panel":
            return self._panel()
        extractor: ExtractorName = name  # type: ignore[assignment]  # load_extractor complains about other names
        return load_extractor(extractor, self.weights)

    def _panel(self) -> nn.Module:
        extractor = DINOv2Features(load_dinov2())
        if self.paintings is None or self.read is None:
            raise ImpastoError("The panel learns its artists from paintings: give a folder of them for each artist.")
        return fit_panel(extractor, self.paintings, self.read)


@dataclass(frozen=True)
class Entry:
    """One metric of the catalogue.

    Attributes:
        build: Takes the networks and returns the metric.
        networks: Names for `Judges.network`.
        needs: What stylised pictures are compared with: the ``content``, ``style``, ``prompt`` or ``artist`` of each,
            the ``clip`` that it is a frame of, or ``styles``, the set of all; in a validation alone also a ``mask`` of
            each, and the ``artists`` of both sets.
        text: What it measures, in a few words.
    """

    build: Callable[..., PictureMetric]
    networks: tuple[str, ...]
    needs: tuple[str, ...]
    text: str


CATALOGUE: dict[str, Entry] = {
    "ssim": Entry(StructuralSimilarity, (), ("content",), "structure kept of the content"),
    "lpips": Entry(PerceptualDistance, ("lpips",), ("content",), "perceptual distance from the content"),
    "halo": Entry(StyleHalo, (), ("content",), "plainer texture in bands around the content's things"),
    "style_loss": Entry(StyleLoss, ("vgg19",), ("style",), "VGG means and deviations against the style"),
    "style_l2": Entry(
        partial(StyleLoss, form="l2"), ("vgg19",), ("style",), "the same as L2 norms, ContraAST's equation 1"
    ),
    "gram": Entry(GramDistance, ("vgg19",), ("style",), "VGG Gram matrices against the style"),
    "sifid": Entry(SIFID, ("inception-imagenet",), ("style",), "Fréchet distance within a pair, 192 channels"),
    "sifid_64": Entry(
        partial(SIFID, channels=64), ("inception-imagenet",), ("style",), "the same on 64 channels, as before 2021"
    ),
    "chamfer": Entry(ColorChamfer, (), ("style",), "distance of the colours from the style's"),
    "clip_style": Entry(CLIPStyleScore, ("clip",), ("prompt",), "CLIP cosine with the style in words"),
    "clip_picture": Entry(CLIPPictureScore, ("clip",), ("style",), "CLIP cosine with the style picture"),
    "deception": Entry(
        DeceptionRate, ("artist",), ("artist",), "share taken for the artist's own, with ceiling and floor"
    ),
    "deception_top5": Entry(
        partial(DeceptionRate, top=5), ("artist",), ("artist",), "share with the artist among the first five"
    ),
    "deception_closed": Entry(
        partial(DeceptionRate, closed=True), ("artist",), ("artist",), "the same, chosen among artists alone"
    ),
    "temporal_lpips": Entry(TemporalLPIPS, ("lpips",), ("clip",), "perceptual distance of adjacent frames"),
    "fid": Entry(FrechetDistance, ("inception-fid",), ("styles",), "Fréchet distance of the sets"),
    "kid": Entry(KID, ("inception-fid",), ("styles",), "unbiased MMD of the sets on Inception"),
    "cmmd": Entry(CMMD, ("clip-l-336",), ("styles",), "MMD of the sets on CLIP, biased as published"),
    "cmmd_unbiased": Entry(
        partial(CMMD, estimator="unbiased"), ("clip-l-336",), ("styles",), "the same without bias, for small sets"
    ),
    "csd": Entry(CSD, ("csd",), ("styles",), "style vectors against the mean of the set"),
    "csd_pairwise": Entry(partial(CSD, form="pairwise"), ("csd",), ("styles",), "style vectors, mean over all pairs"),
    "artfid": Entry(
        ArtFID, ("inception-art", "lpips"), ("content", "styles"), "distance from content times that of the sets"
    ),
}

REGIONS: dict[str, Entry] = {
    "region_ssim": Entry(RegionSSIM, (), ("content", "mask"), "structure kept of the content inside the mask"),
    "region_lpips": Entry(RegionLPIPS, ("lpips",), ("content", "mask"), "perceptual distance inside the mask"),
    "region_direction": Entry(
        RegionDirection, ("clip",), ("content", "prompt", "mask"), "CLIP step from a plain to the styled text"
    ),
    "region_clip": Entry(MaskedCLIPScore, ("clip",), ("prompt", "mask"), "CLIP score of the masked crop, LEAST's"),
    "region_deception": Entry(
        RegionDeception, ("artist",), ("artist", "mask"), "share whose region is taken for the artist's own"
    ),
    "edge_seam": Entry(EdgeSeam, (), ("content", "mask"), "steps across the mask's edge above the content's"),
    "background_error": Entry(BackgroundError, (), ("content", "mask"), "largest change outside the mask, to be 0"),
    "mask_iou": Entry(MaskIoU, (), ("true_mask", "mask"), "overlap of the grounded mask with the true one"),
}
"""Metrics of regions, which a validation with masks can have; folders of pictures have no masks."""

EXTRAS: dict[str, Entry] = {
    "panel_named": Entry(DeceptionRate, ("panel",), ("artist",), "share whose artist an independent panel names"),
    "csd_per_artist": Entry(
        partial(CSD, per_artist=True), ("csd",), ("styles", "artists"), "the same, artist by artist, mean over them"
    ),
}
"""Metrics that need more than everybody has; `find` knows them and those of `REGIONS`, too."""


def find(name: str) -> Entry:
    """Return the entry of a metric.

    Raises:
        ImpastoError: If there is none of that name.

    Examples:
        >>> find("sifid").needs
        ('style',)
    """
    known = CATALOGUE | EXTRAS | REGIONS
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise ImpastoError(f"There is no metric '{name}'{hint}; there are {', '.join(sorted(known))}.")
    return known[name]


def make_metrics(names: Sequence[str], judges: Judges | None = None) -> dict[str, PictureMetric]:
    """Build metrics that share their frozen networks.

    Args:
        names: Keys of `CATALOGUE`, `EXTRAS` and `REGIONS`; repetitions do not matter.
        judges: Where the networks come from; by default `Judges` as it is.

    Returns:
        Name to metric, in the order of the names.

    Raises:
        ImpastoError: If a name is unknown, or weights are not here and cannot be fetched.

    Examples:
        >>> [type(metric).__name__ for metric in make_metrics(["ssim", "chamfer"]).values()]
        ['StructuralSimilarity', 'ColorChamfer']
    """
    entries = {name: find(name) for name in names}  # complain about a name before a network is loaded
    judges = judges or Judges()
    return {name: entry.build(*map(judges.network, entry.networks)) for name, entry in entries.items()}
