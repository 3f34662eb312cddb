"""Two patch discriminators, one for places where little goes on and one for places where much does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.losses.adversarial import log_likelihood
from lightning_modules.losses.precision import without_autocast
from lightning_modules.neat.gradient_penalty import r1_penalty
from lightning_modules.neat.patch_discriminator import CoOccurrenceDiscriminator
from lightning_modules.neat.windows import crop_windows, draw_windows, split_by_complexity, window_scores
from lightning_modules.networks.edges import sobel_magnitude

LEAST_WINDOW = 4.0
"""Pixels of the shortest side that a window may have: less is no texture."""


@dataclass(frozen=True)
class PatchSettings:
    """Patches and their discriminators.

    Attributes:
        size: Side of a patch, in pixels, to which windows are resampled.
        windows: Drawn in each picture.
        each: How many of them go to either discriminator, up to half.
        scales: Least and largest side of a window as a share of the picture's.
        guide: Whose Sobel magnitude tells simple from complex windows of a stylised picture: its content's (the paper's
            text and Fig. 4) or its own (the letter of eq. 7 and 9). ``none`` sorts nothing, the paper's vanilla: both
            discriminators see windows at random.
        width: See `CoOccurrenceDiscriminator`, as the next two.
        max_channels: See `CoOccurrenceDiscriminator`.
        hidden: See `CoOccurrenceDiscriminator`.
        r1: gamma of the gradient penalty; 0 for none.
        r1_every: Iterations from one penalty to the next, which then counts so many times as much.
    """

    size: int = 64
    windows: int = 16
    each: int = 8
    scales: tuple[float, float] = (0.125, 0.25)
    guide: Literal["content", "stylized", "none"] = "content"
    width: int = 64
    max_channels: int = 384
    hidden: int = 2048
    r1: float = 1.0
    r1_every: int = 16


class Patches(NamedTuple):
    """What one discriminator is shown: n patches of every picture, from simple to complex.

    Attributes:
        reference: Of the styles, ``(h, n, 3, size, size)``.
        real: Other patches of the same styles, the same shape.
        fake: Of the stylised pictures, ``(b, n, 3, size, size)``.
        style: Number of every stylised picture's style, ``(b,)``.
    """

    reference: Tensor
    real: Tensor
    fake: Tensor
    style: Tensor


class PatchPair(nn.Module):
    """Two patch co-occurrence discriminators, guided by Sobel maps.

    In a training step `draw` comes first; `generator_terms` and `loss` look at the same patches.

    Args:
        settings: Of patches and discriminators.

    Raises:
        ImpastoError: If the settings contradict themselves.

    Source: NeAT section 4.2; Park et al. 2020 (Swapping Autoencoder), section 3.2.
    """

    def __init__(self, settings: PatchSettings) -> None:
        super().__init__()
        _check(settings)
        self.settings = settings
        self.discriminators = nn.ModuleDict(
            {
                name: CoOccurrenceDiscriminator(settings.size, settings.width, settings.max_channels, settings.hidden)
                for name in ("patch_simple", "patch_complex")
            }
        )

    def draw(self, stylized: Tensor, content: Tensor, style: Tensor, which_style: Tensor) -> dict[str, Patches]:
        """Cut patches out of pictures, at places from torch's global generator.

        Args:
            stylized: ``(b, 3, H, W)``; the only one that gradients reach.
            content: The content of each, ``(b, 3, ...)`` of any size.
            style: Unique styles, ``(h, 3, ...)`` of any size.
            which_style: Number of the style of each stylised picture, ``(b,)``, int64.

        Returns:
            What each discriminator is shown, ``patch_simple`` and ``patch_complex``.

        Raises:
            ImpastoError: If a window could be smaller than 4 pixels.
        """
        guides = {"content": content, "stylized": stylized, "none": None}
        style = style.detach()
        fake = self._cut(stylized, guides[self.settings.guide])
        reference, real = (self._cut(style, None if self.settings.guide == "none" else style) for _ in range(2))
        groups = zip(self.discriminators, reference, real, fake, strict=True)
        return {name: Patches(known, true, made, which_style) for name, known, true, made in groups}

    def generator_terms(self, patches: Mapping[str, Patches]) -> dict[str, Tensor]:
        """Return the generator's loss against each discriminator, ``patch_simple`` and ``patch_complex``.

        ``-mean(log sigmoid(D(reference, fake)))``; at least 0, and log 2 where the discriminator knows nothing.

        Source: NeAT eq. 7 and 9.
        """
        return {name: self._against(name, shown) for name, shown in patches.items()}

    def loss(self, patches: Mapping[str, Patches], step: int) -> Tensor:
        """Return the discriminators' own loss on the same patches, the penalty included where it is due.

        ``-mean(log sigmoid(D(reference, real))) - mean(log(1 - sigmoid(D(reference, fake))))``, summed over both.

        Args:
            patches: From `draw`.
            step: Number of the iteration: the same in every micro-batch of a window.

        Source: Park et al. 2020 (Swapping Autoencoder), eq. 5; Karras et al. 2020 (StyleGAN2), appendix B, for the lazy
            penalty.
        """
        due = self.settings.r1 > 0 and step % self.settings.r1_every == 0
        terms = [self._own_loss(name, shown) for name, shown in patches.items()]
        if due:
            terms += [self.settings.r1_every * self._penalty(name, shown) for name, shown in patches.items()]
        return torch.stack(terms).sum()

    def _cut(self, images: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return simple and complex patches of pictures, ``(B, each, 3, size, size)`` each."""
        self._check_windows(images)
        settings = self.settings
        windows = draw_windows(len(images), settings.windows, settings.scales, images.device)
        scores = windows.new_zeros(windows.shape[:2])
        if guide is not None:
            scores = window_scores(sobel_magnitude(guide), windows)
        groups = split_by_complexity(windows, scores, settings.each)
        simple, rich = crop_windows(images, torch.cat(groups, 1), settings.size).split(settings.each, 1)
        return simple, rich

    def _against(self, name: str, shown: Patches) -> Tensor:
        with torch.no_grad():
            reference = self._features(name, shown.reference)[0].mean(1)
        (fake,) = self._features(name, shown.fake)
        scores = self._discriminator(name).score(reference.index_select(0, shown.style), fake)
        return log_likelihood([scores], True)

    def _own_loss(self, name: str, shown: Patches) -> Tensor:
        reference, real, fake = self._features(name, shown.reference, shown.real, shown.fake.detach())
        mean, score = reference.mean(1), self._discriminator(name).score
        fake_scores = score(mean.index_select(0, shown.style), fake)
        return log_likelihood([score(mean, real)], True) + log_likelihood([fake_scores], False)

    def _penalty(self, name: str, shown: Patches) -> Tensor:
        inputs = [patches.detach().requires_grad_() for patches in (shown.reference, shown.real)]
        with without_autocast(shown.real):  # squares of small gradients
            reference, real = self._features(name, *inputs)
            scores = self._discriminator(name).score(reference.mean(1), real)
        return r1_penalty(scores, inputs, self.settings.r1)

    def _features(self, name: str, *groups: Tensor) -> tuple[Tensor, ...]:
        """Return the features ``(B, n, D)`` of several groups of patches ``(B, n, 3, size, size)``, in one pass."""
        patches = torch.cat(groups)
        features = self._discriminator(name).features(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        parts: tuple[Tensor, ...] = features.split([len(group) for group in groups])
        return parts

    def _discriminator(self, name: str) -> CoOccurrenceDiscriminator:
        discriminator = self.discriminators[name]
        assert isinstance(discriminator, CoOccurrenceDiscriminator)  # noqa: S101 - nn.ModuleDict forgets it
        return discriminator

    def _check_windows(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        shortest = min(height, width) * self.settings.scales[0]
        if shortest < LEAST_WINDOW:
            raise ImpastoError(
                f"Pictures of {width}x{height} pixels have windows of {shortest:.1f} pixels for the patch "
                f"discriminators, which need {LEAST_WINDOW:g}: raise data.size, or model.patches.scales."
            )


def _check(settings: PatchSettings) -> None:
    least, most = settings.scales
    if not 0 < least <= most <= 1:
        raise ImpastoError(
            f"Windows of {least:g} to {most:g} times the picture's side cannot be drawn: set model.patches.scales to "
            "two shares above 0 and up to 1, in ascending order."
        )
    if not 0 < 2 * settings.each <= settings.windows:
        raise ImpastoError(
            f"{settings.windows} windows do not hold {settings.each} simple and {settings.each} complex ones: set "
            "model.patches.windows to at least twice model.patches.each."
        )
    if settings.r1_every < 1:
        raise ImpastoError(f"A penalty every {settings.r1_every} iterations: set model.patches.r1_every to at least 1.")
