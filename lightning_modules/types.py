"""What travels between data modules, methods and callbacks. No Lightning in here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict

from torch import Tensor

Condition = Literal["image", "text", "region"]

Watcher = Callable[[int, int, Mapping[str, Tensor]], None]
"""Wants to know how a picture that takes many steps goes: step, number of steps, terms by name where there are such."""


class LabelledBatch(Protocol):
    """What callbacks need of a batch, whatever else a method's own batch carries."""

    @property
    def artist(self) -> Tensor:
        """Index into the data module's ``artists``, ``(B,)``, int64."""

    @property
    def prompt(self) -> Sequence[str]:
        """The prompt of every sample: the artist's name, or a whole sentence."""

    @property
    def index(self) -> Tensor:
        """Position of the sample in its split, ``(B,)``, int64; a padded sampler repeats an index."""


class StyleBatch(NamedTuple):
    """One batch of style-transfer samples; every image is RGB in [0, 1].

    A NamedTuple pins its memory and moves between devices by itself; fields that a data source cannot fill are None.
    A method that needs other fields brings a NamedTuple of its own, with those of `LabelledBatch` among them.

    Attributes:
        content: Photographs, ``(B, 3, H, W)``.
        style: Paintings, ``(B, 3, H, W)``, drawn independently of the contents.
        artist: Index into the data module's ``artists``, ``(B,)``, int64.
        prompt: The artist's name of every sample.
        index: Position of the sample in its split, ``(B,)``, int64; a padded sampler repeats an index.
        reference: Another painting by the same artist, ``(B, 3, H, W)``; training only.
        truth: The content painted by the target artist, ``(B, 3, H, W)``; paired data sets only.
        views: Further crops of the style picture, ``(B, V, 3, H, W)``; training only, where they are asked for.
        mask: Where to paint, ``(B, 1, H, W)`` in [0, 1]; evaluation only, where the contents have regions.
    """

    content: Tensor
    style: Tensor
    artist: Tensor
    prompt: list[str]
    index: Tensor  # type: ignore[assignment]  # nobody searches a batch with tuple.index
    reference: Tensor | None = None
    truth: Tensor | None = None
    views: Tensor | None = None
    mask: Tensor | None = None


class JobBatch(NamedTuple):
    """One batch of jobs of local style transfer, or one iteration of them; every image is RGB in [0, 1].

    A method that fits a network to each job sees the jobs of a batch at the same iteration, from the first to the last;
    then come the next jobs.

    Attributes:
        content: Pictures, ``(B, 3, H, W)``.
        mask: Where to paint, ``(B, 1, H, W)`` in [0, 1]; nowhere empty.
        prompt: The style of every job, such as ``"cubism"`` or a painter's name.
        artist: Index into the data module's ``artists``, which are the styles, ``(B,)``, int64.
        index: Number of the job in its split, ``(B,)``, int64; a padded sampler repeats an index.
        region: What the mask shows, in words; empty for the whole picture.
        iteration: Which iteration of its job this is, from 0, ``(B,)``, int64; training only.
        style: No job has a style picture; here so that the batch is read as `StyleBatch` is.
        truth: The painter's picture inside the mask and the content outside, ``(B, 3, H, W)``; paired data only.
        true_mask: Where the region really is, ``(B, 1, H, W)``, where ``mask`` is what a grounder found instead.
    """

    content: Tensor
    mask: Tensor
    prompt: list[str]
    artist: Tensor
    index: Tensor  # type: ignore[assignment]  # nobody searches a batch with tuple.index
    region: list[str]
    iteration: Tensor | None = None
    style: Tensor | None = None
    truth: Tensor | None = None
    true_mask: Tensor | None = None


class TripletBatch(NamedTuple):
    """One batch of positives with their anchors and negatives, for methods that learn a style in words from them.

    Roles are always in the order positive, anchor, negative. A positive and its negative show the same thing; the
    anchor shows another picture of the positive's style.

    Attributes:
        picture: Numbers of positive, anchor and negative in the data module's ``pictures``, ``(B, 3)``, int64.
        flip: Which of them are mirrored left and right, ``(B, 3)``, bool.
        caption: The positive's prompt, with the style's placeholder.
        anchor_caption: The anchor's prompt.
        negative_caption: The negative's: the same as ``caption``, or one that denies the style.
        artist: Index into the data module's ``artists``, which are the styles to learn, ``(B,)``, int64.
        prompt: The same as ``caption``.
        index: Number of the sample in the stream of all batches, ``(B,)``, int64.
        images: ``(B, 3, 3, S, S)``, RGB in [0, 1], mirrored as ``flip`` says, roles first; None where the data module's
            ``decode`` is off.
    """

    picture: Tensor
    flip: Tensor
    caption: list[str]
    anchor_caption: list[str]
    negative_caption: list[str]
    artist: Tensor
    prompt: list[str]
    index: Tensor  # type: ignore[assignment]  # nobody searches a batch with tuple.index
    images: Tensor | None = None


class PromptBatch(NamedTuple):
    """One batch of prompts to draw, beside real pictures of their styles.

    Attributes:
        prompt: What to draw, with the style's placeholder.
        artist: Index into the data module's ``artists``, ``(B,)``, int64.
        index: Position of the sample in its split, ``(B,)``, int64; a padded sampler repeats an index.
        style: The held-out picture that the prompt describes, ``(B, 3, S, S)``, RGB in [0, 1]: what is drawn has its
            style, not its layout.
    """

    prompt: list[str]
    artist: Tensor
    index: Tensor  # type: ignore[assignment]  # nobody searches a batch with tuple.index
    style: Tensor


class AnnotatedBatch(NamedTuple):
    """One batch of annotated pictures, for a classifier that keeps their features.

    Attributes:
        picture: Numbers in the data module's ``pictures``, ``(B,)``, int64.
        label: 1 for what is stylistic, 0 for what is not, nan where nobody has said, ``(B,)``, float32.
        artist: Index into the data module's ``artists``, the groups that a split keeps whole, ``(B,)``, int64.
        prompt: The group's name of every sample.
        index: Position of the sample in its split, ``(B,)``, int64; a padded sampler repeats an index.
    """

    picture: Tensor
    label: Tensor
    artist: Tensor
    prompt: list[str]
    index: Tensor  # type: ignore[assignment]  # nobody searches a batch with tuple.index


class Judgement(TypedDict):
    """What a classifier of two kinds thinks of a batch; every tensor is ``(B,)``.

    ``logits`` is high for the first kind, nan for a picture that cannot be read; ``label`` is 1 for the first kind, 0
    for the second, nan where nobody has said; ``group`` is as `AnnotatedBatch.artist`, -1 where there is none; and
    ``index`` is the position of the sample in its split.
    """

    logits: Tensor
    label: Tensor
    group: Tensor
    index: Tensor


class Stylization(TypedDict):
    """What a validation step hands to the callbacks; images ``(B, 3, H, W)``, RGB in [0, 1].

    ``content`` and ``style`` are missing where a method paints without them; callbacks show and measure what is there.
    ``mask``, where to paint, and ``true_mask``, where the region is that a grounder looked for, are ``(B, 1, H, W)``.
    """

    stylized: Tensor
    artist: Tensor
    prompt: Sequence[str]
    index: Tensor
    content: NotRequired[Tensor]
    style: NotRequired[Tensor]
    mask: NotRequired[Tensor]
    truth: NotRequired[Tensor]
    true_mask: NotRequired[Tensor]


@dataclass(frozen=True)
class Manner:
    """How a picture is to be painted: checked, on the content's device, one entry a sample.

    Attributes:
        style: ``(B, 3, h, w)``, RGB in [0, 1].
        prompt: B prompts.
        mask: ``(B, 1, H, W)`` in [0, 1], padded as the content is.
        alpha: Strength; 1 is the trained one.
        controls: A value for every inference control that the method declares.
    """

    style: Tensor | None = None
    prompt: list[str] | None = None
    mask: Tensor | None = None
    alpha: float = 1.0
    controls: Mapping[str, Any] = field(default_factory=dict)
