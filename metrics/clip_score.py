"""How near a picture comes to a text, or to another picture, in CLIP's eyes.

A method that trained with a CLIP must be judged by another one, or the score measures the loss.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.base import Held, SampleMean, source_of
from metrics.functional.clip_score import clip_score, directional_score, masked, masked_crop
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import as_float64, full_precision

CACHED_TEXTS = 4096


class ClipEyes:
    """A CLIP as the scores use it: whole pictures, or what lies under masks, and texts encoded once.

    Args:
        clip: Has ``encode_image(images)``, or is an extractor with the tap ``projected``; and it, or its attribute
            ``clip``, has ``encode_text(texts)``. Such as `lightning_modules.networks.clip.CLIPEncoder`.
        template: What every text is put into, at ``{}``.

    Raises:
        ImpastoError: If there is no tower for texts, or no place for the text.
    """

    def __init__(self, clip: nn.Module, template: str = "{}") -> None:
        if "{}" not in template:
            raise ImpastoError(f"The template {template!r} has no place for the text: write {{}} where it belongs.")
        reader: Any = clip if hasattr(clip, "encode_text") else getattr(clip, "clip", None)
        if not hasattr(reader, "encode_text"):
            raise ImpastoError(f"{type(clip).__name__} has no encode_text: scores of texts need a whole CLIP.")
        self.template = template
        self.held = Held(clip)
        self._reader: Held[Any] = Held(reader)
        self._texts: dict[str, Tensor] = {}

    @property
    def source(self) -> str:
        """Return where the weights come from."""
        return source_of(self.held.network)

    @property
    def wording(self) -> str:
        """Return what a text is put into, in words."""
        return "the text" if self.template == "{}" else f"the text in {self.template!r}"

    def pictures(self, images: Tensor) -> Tensor:
        """Return the vectors of pictures ``(B, 3, H, W)``, float32 in [0, 1]; ``(B, D)``, float64."""
        network: Any = self.held.on(images.device)
        if hasattr(network, "encode_image"):
            return as_float64(network.encode_image(images))
        return as_float64(network(images, ("projected",))["projected"])

    def under(self, images: Tensor, masks: Tensor, *, square: bool) -> Tensor:
        """Return the vectors of what lies under the masks; see `masked_crop`."""
        return torch.cat([self.pictures(crop[None]) for crop in masked_crop(images, masks, square=square)])

    def texts(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Return the vectors of texts, ``(B, D)``, float64 where the device of the pictures has that."""
        wanted = [self.template.replace("{}", text) for text in texts]
        missing = [text for text in dict.fromkeys(wanted) if text not in self._texts]
        if missing:
            if len(self._texts) + len(missing) > CACHED_TEXTS:
                self._texts, missing = {}, list(dict.fromkeys(wanted))
            found = self._reader.on(device).encode_text(missing).cpu()
            self._texts |= dict(zip(missing, found, strict=True))
        return as_float64(torch.stack([self._texts[text] for text in wanted]).to(device))


class CLIPStyleScore(SampleMean):
    """The mean cosine between pictures and texts in CLIP's space, such as the prompt or the name of the style.

    ``scale * cos(E(picture), E(text))``, or ``scale * max(cos, 0)`` with ``clamp``. Pictures ``(B, 3, H, W)``, RGB,
    float in [0, 1] or uint8, any size: CLIP resizes the short side and sees the centre square. In [-scale, scale],
    higher is better.

    Args:
        clip: See `ClipEyes`.
        scale: 1 for the plain cosine, 100 as torchmetrics and most tables have it, 2.5 as Hessel has it.
        clamp: Count a negative cosine as 0, pair by pair.
        template: What every text is put into, at ``{}``; some tools write "A photo depicts {}".

    Source: CLAST, table of style scores (0.402); Hessel et al. 2021, eq. 1, for scale 2.5 with ``clamp``.

    Examples:
        >>> class Colours(nn.Module):
        ...     def encode_image(self, images):
        ...         return images.mean((2, 3))
        ...     def encode_text(self, texts):
        ...         return torch.tensor([[float(text == name) for name in ("red", "green", "blue")] for text in texts])
        >>> metric = CLIPStyleScore(Colours())
        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 8, 8)
        >>> metric.update(red, ["red", "blue"])
        >>> float(metric.compute())
        0.5
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    inputs: ClassVar[tuple[str, ...]] = ("stylized", "prompt")

    def __init__(self, clip: nn.Module, *, scale: float = 1.0, clamp: bool = False, template: str = "{}") -> None:
        super().__init__()
        self.scale, self.clamp, self.square = scale, clamp, False
        self._eyes = ClipEyes(clip, template)
        self._clip = self._eyes.held  # where a metric's networks are looked for

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        factor = "" if self.scale == 1 else f"{self.scale:g} "
        cosine = "max(cos, 0)" if self.clamp else "cos"
        return f"CLIP score, {factor}{cosine} of {self._seen()} and {self._goal()}, CLIP {self._eyes.source}"

    def _seen(self) -> str:
        return "the centre square of the picture"

    def _goal(self) -> str:
        return self._eyes.wording

    def _values(self, preds: Tensor, target: Sequence[str] | Tensor, mask: Tensor | None = None) -> Tensor:
        pictures = as_pictures(preds, "stylized")
        ours = self._eyes.pictures(pictures) if mask is None else self._eyes.under(pictures, mask, square=self.square)
        if isinstance(target, Tensor):
            goals = self._eyes.pictures(as_pictures(target, self.inputs[1]))
        else:
            goals = self._eyes.texts(target, preds.device)
        return clip_score(ours, goals, scale=self.scale, clamp=self.clamp)

    def values(self, preds: Tensor, target: Sequence[str] | Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the value of every pair, ``(B,)``, without counting it; arguments as for ``update``."""
        _check_count(target, len(preds), self.inputs[1])
        if not len(preds):
            return torch.empty(0, dtype=torch.float64)
        with full_precision(preds.device):
            return self._values(preds, target, mask)

    def update(self, preds: Tensor, target: Sequence[str] | Tensor, mask: Tensor | None = None) -> None:
        """Count a batch of pictures.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            target: The text of every picture; or pictures to compare them with, of any size.
            mask: ``(B, 1, H, W)`` or ``(B, H, W)``: score what lies under it alone, see
                `metrics.functional.clip_score.masked_crop`.

        Raises:
            ImpastoError: If shape, type, range or number is wrong, a mask is empty, or an embedding is not finite.
        """
        self._add(self.values(preds, target, mask))


class CLIPPictureScore(CLIPStyleScore):
    """The mean cosine between pictures and their style pictures in CLIP's space; see `CLIPStyleScore`.

    In [-scale, scale], higher is better, exactly ``scale`` for equal pictures. CLIP sees what is depicted at least as
    much as how: a method that copies the style picture's subject scores high.

    Source: Radford et al. 2021 for the space.
    """

    inputs: ClassVar[tuple[str, ...]] = ("stylized", "style")

    def _goal(self) -> str:
        return "that of the style picture"


class MaskedCLIPScore(CLIPStyleScore):
    """The mean CLIP score of what lies under a mask and the text that describes it, by LEAST's recipe.

    ``100 max(cos(E(crop_B(I * M)), E(text)), 0)``, B the compact box of M. Pictures ``(B, 3, H, W)``, RGB, float in
    [0, 1] or uint8, masks ``(B, 1, H, W)``. In [0, 100], higher is better; published values lie within 0.2 of each
    other (21.47 to 21.64) and rank the method that people prefer last.

    Args:
        clip: See `ClipEyes`; the paper does not name its own.
        scale: Factor.
        clamp: Count a negative cosine as 0, pair by pair.
        template: What every text is put into, at ``{}``.
        square: Pad the crop to a square with black; CLIP cuts the ends of a long crop off otherwise.

    Source: LEAST, section 4, "Evaluation", and table 1; factor and clamping as in torchmetrics' CLIPScore.
    """

    plot_lower_bound = 0.0
    plot_upper_bound = 100.0
    inputs: ClassVar[tuple[str, ...]] = ("stylized", "prompt", "mask")

    def __init__(
        self,
        clip: nn.Module,
        *,
        scale: float = 100.0,
        clamp: bool = True,
        template: str = "{}",
        square: bool = False,
    ) -> None:
        super().__init__(clip, scale=scale, clamp=clamp, template=template)
        self.square = square

    def _seen(self) -> str:
        return "the masked crop padded to a square" if self.square else "the centre square of the masked crop"

    def _values(self, preds: Tensor, target: Sequence[str] | Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            raise ImpastoError("The masked CLIP score needs a mask for every picture.")
        return super()._values(preds, target, mask)


class CLIPDirectionalScore(SampleMean):
    """The mean cosine between the step from content to picture and the step from a plain to a styled text.

    ``cos(E(picture) - E(content), E(text) - E(origin))``, of vectors of unit length, of what lies under the mask where
    there is one (the rest black, not cropped). Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8. In [-1, 1],
    higher is better, 0 for a picture that is its content.

    Args:
        clip: See `ClipEyes`.
        origin: The text that describes the content.
        template: What every text but the origin is put into, at ``{}``.

    Source: Gal et al. 2022, eq. 3; LEAST, eq. 1, whose loss is 1 minus this.
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    inputs: ClassVar[tuple[str, ...]] = ("stylized", "content", "prompt")

    def __init__(self, clip: nn.Module, *, origin: str = "a Photo", template: str = "{}") -> None:
        super().__init__()
        self.origin = origin
        self._eyes = ClipEyes(clip, template)
        self._clip = self._eyes.held
        self._origin = ClipEyes(clip)

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            f"directional CLIP score, cos of the steps from content to picture and from {self.origin!r} to "
            f"{self._eyes.wording}, CLIP {self._eyes.source}"
        )

    def _values(  # type: ignore[override]  # a step has two ends: texts come besides pictures
        self, preds: Tensor, content: Tensor, target: Sequence[str], mask: Tensor | None
    ) -> Tensor:
        sides = [as_pictures(preds, "stylized"), as_pictures(content, "content")]
        ends = [self._eyes.pictures(side if mask is None else masked(side, mask)) for side in sides]
        start = self._origin.texts([self.origin], preds.device)
        return directional_score(ends[0], ends[1], self._eyes.texts(target, preds.device), start)

    def values(  # type: ignore[override]  # as for `_values`
        self, preds: Tensor, content: Tensor, target: Sequence[str], mask: Tensor | None = None
    ) -> Tensor:
        """Return the value of every pair, ``(B,)``, without counting it; arguments as for ``update``."""
        _check_count(content, len(preds), "content")
        _check_count(target, len(preds), "prompt")
        if not len(preds):
            return torch.empty(0, dtype=torch.float64)
        with full_precision(preds.device):
            return self._values(preds, content, target, mask)

    def update(  # type: ignore[override]  # as for `_values`
        self, preds: Tensor, content: Tensor, target: Sequence[str], mask: Tensor | None = None
    ) -> None:
        """Count a batch of pictures.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            content: What they were made from, of any size; of the mask's size where there is one.
            target: The text of every picture.
            mask: ``(B, 1, H, W)`` or ``(B, H, W)``: compare what lies under it alone.

        Raises:
            ImpastoError: If shape, type, range or number is wrong.
        """
        self._add(self.values(preds, content, target, mask))


def _check_count(values: Sequence[str] | Tensor, count: int, name: str) -> None:
    if isinstance(values, str):
        raise ImpastoError(f"Give a list with the {name} of every picture, not one string.")
    if len(values) != count:
        raise ImpastoError(f"There are {count} stylized pictures and {len(values)} of {name}.")
