"""The metrics of a validation whose samples have masks: what was done inside, outside, and along the edge."""

from torch import nn

from metrics.base import PictureMetric
from metrics.clip_score import MaskedCLIPScore
from metrics.region import BackgroundError, EdgeSeam, MaskIoU, RegionLPIPS, RegionSSIM
from metrics.region_judges import RegionDeception, RegionDirection

REGION_BASELINES = {
    "region_deception_ceiling": "of true paintings",
    "region_deception_floor": "of untouched contents",
}
REGION_INPUTS: dict[str, tuple[str, ...]] = {
    "region_deception_ceiling": ("paintings", "prompt", "mask"),
    "region_deception_floor": ("untouched", "prompt", "mask"),
    "region_ssim_truth": ("stylized", "truth", "mask"),
    "region_lpips_truth": ("stylized", "truth", "mask"),
}


def region_metrics(classifier: nn.Module, perceptual: nn.Module, clip: nn.Module) -> dict[str, PictureMetric]:
    """Return the metrics of regions by the names that they are logged under.

    Args:
        classifier: Names artists; see `metrics.region_judges.RegionDeception`.
        perceptual: ``(a, b) -> (B,)`` on pictures in [0, 1].
        clip: See `metrics.clip_score.ClipEyes`.
    """
    return {
        "region_deception": RegionDeception(classifier),
        **{name: RegionDeception(classifier) for name in REGION_BASELINES},
        "region_ssim_content": RegionSSIM(),
        "region_lpips_content": RegionLPIPS(perceptual),
        "region_ssim_truth": RegionSSIM(),
        "region_lpips_truth": RegionLPIPS(perceptual),
        "region_direction": RegionDirection(clip),
        "region_clip": MaskedCLIPScore(clip),
        "edge_seam": EdgeSeam(),
        "background_error": BackgroundError(),
        "mask_iou": MaskIoU(),
    }
