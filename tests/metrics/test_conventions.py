"""What a convention says is what is computed: words that stand in tables, spelt out here once more."""

import pytest
import torch
from torch import nn

from metrics.artfid import ArtFID
from metrics.chamfer import ColorChamfer
from metrics.clip_score import CLIPDirectionalScore, CLIPPictureScore, CLIPStyleScore, MaskedCLIPScore
from metrics.cmmd import CMMD
from metrics.csd import CSD
from metrics.deception import DeceptionRate
from metrics.frechet import FrechetDistance
from metrics.gram import GramDistance
from metrics.halo import StyleHalo
from metrics.kid import KID
from metrics.perceptual import PerceptualDistance
from metrics.sifid import SIFID
from metrics.ssim import StructuralSimilarity
from metrics.style_loss import StyleLoss
from metrics.temporal import FlowWarpedError, TemporalLPIPS
from metrics.way import WayToTruth


class Anything(nn.Module):
    artists = tuple("abcdefg")
    source = "embedded"
    preprocessing = "8 bits"

    def encode_image(self, images):
        return images.mean((2, 3))

    def encode_text(self, texts):
        return torch.ones(len(texts), 3)


class Open(Anything):
    none = True


ANY = Anything()
OPEN = Open()
FIVE = "relu1_1, relu2_1, relu3_1, relu4_1, relu5_1"
CONVENTIONS = [
    (StructuralSimilarity(), "SSIM, Gaussian window 11x11 sigma 1.5"),
    (PerceptualDistance(ANY), "perceptual distance, Anything with weights embedded"),
    (StyleLoss(ANY), f"sum over {FIVE} of MSE of channel means and of standard deviations (unbiased variance + 1e-5)"),
    (StyleLoss(ANY, form="l2"), f"sum over {FIVE} of L2 norms of the differences of channel means and"),
    (StyleLoss(ANY, form="l2"), "standard deviations (unbiased variance), encoder embedded"),
    (GramDistance(ANY), f"sum over {FIVE} of the mean of squares of differences of F F^T / (C H W), encoder"),
    (GramDistance(ANY, form="hw"), "mean of squares of differences of F F^T / (H W), encoder"),
    (GramDistance(ANY, form="gatys"), "sum of squares of differences of F F^T over 4 (C H W)^2"),
    (GramDistance(ANY, form="frobenius"), "Frobenius norm of the difference of F F^T / (C H W)"),
    (GramDistance(ANY, ["a", "b"], weights=[0.5, 2]), "sum over a, b weighed 0.5, 2 of the"),
    (StyleHalo(), "ln of the mean energy above 20 px from edges over that up to 12 px, less the painter's where true"),
    (StyleHalo(edge=0.1), "luma (Gaussian sigma 1) above 0.1 per px within 9x9"),
    (StyleHalo("profile"), "mean over seven bands of distance of |ln of the mean energy over that of all bands|"),
    (SIFID(ANY), "conv2d_4a (192 channels in Inception-v3, before the second max-pool)"),
    (SIFID(ANY, 64), "conv2d_2b (64 channels in Inception-v3, before the first max-pool)"),
    (
        ColorChamfer(),
        "colour Chamfer, sum of the means over the pixels of both pictures of the squared distance to the",
    ),
    (ColorChamfer(), "RGB 0..255, 8 bits"),
    (
        ColorChamfer(direction="half", squared=False),
        "half the sum of the means over the pixels of both pictures of the d",
    ),
    (ColorChamfer(direction="preds_to_target"), "mean over the pixels of the stylised picture"),
    (ColorChamfer(direction="target_to_preds"), "mean over the pixels of the style of"),
    (ColorChamfer(space="rgb_unit"), "RGB 0..1, 8 bits"),
    (ColorChamfer(space="lab", quantize=False), "CIELAB (sRGB, D65), not quantised"),
    (CLIPStyleScore(ANY), "CLIP score, cos of the centre square of the picture and the text"),
    (CLIPPictureScore(ANY), "CLIP score, cos of the centre square of the picture and that of the style picture"),
    (MaskedCLIPScore(ANY), "CLIP score, 100 max(cos, 0) of the centre square of the masked crop and the text"),
    (MaskedCLIPScore(ANY, square=True), "of the masked crop padded to a square and"),
    (CLIPDirectionalScore(ANY), "cos of the steps from content to picture and from 'a Photo' to the text"),
    (DeceptionRate(ANY), "share of pictures whose target is the first choice among 7 artists, micro average"),
    (DeceptionRate(OPEN), "first choice among 7 artists and none of them, micro average"),
    (DeceptionRate(OPEN, closed=True), "first choice among 7 artists, micro average"),
    (DeceptionRate(OPEN, top=5), "among the first 5 of 7 artists, and above none of them, micro average"),
    (WayToTruth(ANY), "mean share of the way from content (0) to true painting (1), by projection of features of"),
    (DeceptionRate(ANY, average="macro", top=5), "whose target is among the first 5 of 7 artists, macro average"),
    (TemporalLPIPS(ANY), "mean over all pairs"),
    (TemporalLPIPS(ANY, "macro"), "mean over clips of the mean over pairs"),
    (FlowWarpedError("mae", "macro"), "MAE of RGB 0..1 between frames"),
    (FlowWarpedError("rmse"), "RMSE of RGB 0..1 between frames"),
    (FrechetDistance(ANY), "Fréchet distance of two sets, unbiased covariances, features pool3 of embedded"),
    (KID(ANY), "unbiased MMD^2 under (x.y/D + 1)^3 over all pairs, features pool3"),
    (KID(ANY, "jackknife"), "over all pairs, std by the two-sample jackknife"),
    (KID(ANY, "subsets"), "std over 100 subsets of 1000 drawn with seed 0"),
    (KID(ANY, "subsets", subsets=3, subset_size=9, seed=2), "std over 3 subsets of 9 drawn with seed 2"),
    (CMMD(ANY), "biased MMD^2 of unit vectors under a Gaussian kernel of sigma 10, over all pairs, times 1000"),
    (CMMD(ANY, "unbiased"), "unbiased MMD^2 of unit vectors"),
    (CSD(ANY), "mean cosine of generated style vectors to the mean reference vector"),
    (CSD(ANY, "mean_to_mean"), "cosine of the mean generated and the mean reference style vector"),
    (CSD(ANY, "pairwise"), "mean cosine of all pairs of generated and reference style vectors"),
    (CSD(ANY, per_artist=True), "artist by artist, mean over the artists on both sides"),
    (ArtFID(ANY, ANY), "(1 + content distance) (1 + style distance): Anything with weights embedded, mean of pairs"),
]


@pytest.mark.parametrize(("metric", "words"), CONVENTIONS, ids=range(len(CONVENTIONS)))
def test_a_convention_in_words(metric, words):
    assert words in metric.convention
    assert "\n" not in metric.convention


def test_how_the_forms_of_csd_begin():
    """One is the end of the other."""
    starts = {"mean_cosine": "mean cosine of g", "mean_to_mean": "cosine of the m", "pairwise": "mean cosine of all"}
    assert all(CSD(ANY, form).convention.startswith(start) for form, start in starts.items())


def test_few_pictures_are_noted_and_many_are_not():
    few = {FrechetDistance: 2000, KID: 1000, CMMD: 1000, CSD: 0}
    for kind, least in few.items():
        metric = kind(ANY)
        metric.sizes = (least, least)
        assert "few" not in metric.convention
        metric.sizes = (least, least - 1)
        assert ("(few" in metric.convention) == (kind is not CSD)
