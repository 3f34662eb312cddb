"""Style halos as a running mean, and as a profile over the distance from the edges."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from metrics.base import PerSample
from metrics.functional.checks import check_counts, one_of
from metrics.functional.halo import EDGE, LIMITS, HaloForm, HaloProfile, check_edge, compare_profiles, halo_profiles
from metrics.functional.precision import full_precision

_BANDS = len(LIMITS) + 1
_FORMS: dict[HaloForm, str] = {
    "ratio": "ln of the mean energy above 20 px from edges over that up to 12 px",
    "profile": "mean over seven bands of distance of |ln of the mean energy over that of all bands|",
}


class HaloCurves(NamedTuple):
    """Mean profiles of pictures: ln of the energy in each band of distances over that of all flat parts.

    Attributes:
        stylized: ``(7,)``, float64, from the nearest band to the farthest; nan where no picture has enough of it.
        truth: The same of the true paintings; nan where none were given.
        pictures: How many these are, int64.
        left_out: How many others had no value.
    """

    stylized: Tensor
    truth: Tensor
    pictures: Tensor
    left_out: Tensor


class StyleHalo(PerSample):
    """The mean strength of the halos that stylised pictures have around the things of their contents.

    ``ln(E_far / E_near)`` as in `metrics.functional.halo.style_halo`: flat parts of the content alone, E the mean
    energy of fine texture. Above 0 a plainer band lies around things, which is the halo of the paper; below 0 a richer
    one; 0 is one texture everywhere. Given true paintings, the painter's own number is taken off, so that 0 is what he
    does. Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, all sides of equal size, at least 32 pixels a side.
    One whose content has no edges, or no flat parts both near and far from them, is left out; `profile` says how many.

    Args:
        form: ``ratio``, or ``profile`` for the mean absolute difference of the profiles.
        edge: Slope of a content's edge, in [0, 1] a pixel.

    Raises:
        ImpastoError: If there is no such form, or the slope is not above 0.

    Source: NeAT, section 4.2, which describes halos and does not measure them; the measure is ours.

    Examples:
        >>> content = torch.zeros(1, 3, 64, 64)
        >>> content[..., :8] = 1
        >>> metric = StyleHalo()
        >>> metric.update(content, content)
        >>> float(metric.compute())
        0.0
    """

    higher_is_better = False
    total: Tensor
    count: Tensor
    left_out: Tensor
    curves: Tensor
    seen: Tensor

    def __init__(self, form: HaloForm = "ratio", edge: float = EDGE) -> None:
        super().__init__()
        self.form: HaloForm = one_of(form, HaloForm, "form of the halo")
        self.edge = check_edge(edge)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("left_out", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("curves", torch.zeros(2, _BANDS, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros(2, _BANDS, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            f"{_FORMS[self.form]}, less the painter's where true paintings are given; energy of x - Gaussian (9x9, "
            "sigma 2), mean of R, G and B, plus 1/255^2; places with no Sobel slope of the content's luma (Gaussian "
            f"sigma 1) above {self.edge:g} per px within 9x9; px at up to 192 on the shorter side, growing with it "
            "from there; pictures with less than 0.5% of either left out"
        )

    def values(self, preds: Tensor, target: Tensor, truth: Tensor | None = None) -> Tensor:
        """Return the value of every picture, ``(B,)``, float64, nan where it has none; arguments as for `update`."""
        check_counts(preds, target, self.inputs)
        if not len(preds):
            return torch.empty(0, dtype=torch.float64)
        return compare_profiles(*self._profiles(preds, target, truth), self.form)

    def update(self, preds: Tensor, target: Tensor, truth: Tensor | None = None) -> None:
        """Count a batch of pictures.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            target: The contents.
            truth: The true paintings of them; either in every batch or in none.

        Raises:
            ImpastoError: If shape, type, range or number is wrong.
        """
        check_counts(preds, target, self.inputs)
        if not len(preds):
            return
        profiles = self._profiles(preds, target, truth)
        values = compare_profiles(*profiles, self.form)
        known = ~values.isnan()
        self.total += values.nansum().to(self.total.device)
        self.count += known.sum().to(self.count.device)
        self.left_out += (~known).sum().to(self.left_out.device)
        for row, profile in enumerate(profile for profile in profiles if profile is not None):
            curves = profile.curve()[known]
            self.curves[row] += curves.nansum(0).to(self.curves.device)
            self.seen[row] += (~curves.isnan()).sum(0).to(self.seen.device)

    def compute(self) -> Tensor:
        """Return the mean of all pictures so far that have a value, a float64 scalar; nan before the first."""
        return self.total / self.count

    def profile(self) -> HaloCurves:
        """Return the mean profiles of all pictures so far that have a value; all ranks must call it."""
        with self.sync_context():
            stylized, truth = self.curves / self.seen
            return HaloCurves(stylized, truth, self.count.clone(), self.left_out.clone())

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the mean profile, and that of the true paintings beside it; all ranks must call it.

        Args:
            val: Values to draw instead, as `torchmetrics.Metric.plot` does.
            ax: Where to draw; by default a new figure.

        Returns:
            Figure and axes of matplotlib.
        """
        if val is not None:
            return super().plot(val, ax)
        from matplotlib import pyplot

        axes = pyplot.subplots()[1] if ax is None else ax
        bounds = [f"{low}-{high}" for low, high in zip((0, *LIMITS), LIMITS, strict=False)]
        curves = self.profile()
        for name, curve in {"stylized": curves.stylized, "truth": curves.truth}.items():
            if not curve.isnan().all():
                axes.plot(curve.cpu().numpy(), marker="o", label=name)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set_xticks(range(_BANDS), [*bounds, f">{LIMITS[-1]}"])
        axes.set(xlabel="px from the content's nearest edge", ylabel="ln of energy over that of all flat parts")
        axes.legend()
        return axes.figure, axes

    def _profiles(self, preds: Tensor, target: Tensor, truth: Tensor | None) -> tuple[HaloProfile, HaloProfile | None]:
        with full_precision(preds.device):
            return halo_profiles(preds, target, truth, self.edge)
