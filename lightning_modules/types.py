"""What travels between data modules, methods and callbacks. No Lightning in here."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, NotRequired, TypedDict

from torch import Tensor

Condition = Literal["image", "text", "region"]


class StyleBatch(NamedTuple):
    """One batch of style-transfer samples; every image is RGB in [0, 1].

    A NamedTuple pins its memory and moves between devices by itself; fields that a data source cannot fill are None.

    Attributes:
        content: Photographs, ``(B, 3, H, W)``.
        style: Paintings, ``(B, 3, H, W)``, drawn independently of the contents.
        artist: Index into the data module's ``artists``, ``(B,)``, int64.
        prompt: The artist's name of every sample.
        index: Position of the sample in its split, ``(B,)``, int64; a padded sampler repeats an index.
        reference: Another painting by the same artist, ``(B, 3, H, W)``; training only.
        truth: The content painted by the target artist, ``(B, 3, H, W)``; paired data sets only.
    """

    content: Tensor
    style: Tensor
    artist: Tensor
    prompt: list[str]
    index: Tensor  # type: ignore[assignment]  # nobody searches a batch with tuple.index
    reference: Tensor | None = None
    truth: Tensor | None = None


class Stylization(TypedDict):
    """What a validation step hands to the callbacks; images ``(B, 3, H, W)``, RGB in [0, 1]."""

    content: Tensor
    style: Tensor
    stylized: Tensor
    artist: Tensor
    prompt: Sequence[str]
    index: Tensor
    mask: NotRequired[Tensor]
    truth: NotRequired[Tensor]
