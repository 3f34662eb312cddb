"""What the page does when something is clicked: from the values of its inputs to a painting, or to one sentence."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio
from torch import Tensor

from datamodules.images import write_image
from experiments.demo.choices import Offer
from experiments.demo.sessions import Sessions, StoppedError
from experiments.demo.strokes import region_of
from experiments.demo.uploads import Limits, read_photograph, read_region
from experiments.demo.work import Easel, Painting, Wish, check
from experiments.failures import explained
from lightning_modules.controls import Value
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import slug
from lightning_modules.types import Watcher

NOBODY = "nobody"
"""Of the second painter's list: only one paints."""
PROGRESS = gradio.Progress()
PICTURES = {"photograph": "The photograph", "style": "The style picture", "mask": "The mask"}
"""What uploads are called in a sentence."""


class Form(NamedTuple):
    """The inputs of the page, in the order in which they travel; as components, or as values that nothing has read."""

    painter: Any
    second: Any
    photograph: Any
    style: Any
    mask: Any
    prompt: Any
    by: Any
    size: Any
    strokes: Any


class Shown(NamedTuple):
    """What the page shows of a result, in the order of its outputs."""

    slider: Any
    single: Any
    pair: Any
    alone: Any
    caption: Any
    first: Any
    second: Any


class Named(NamedTuple):
    """A painting and who painted it."""

    label: str
    painting: Painting
    file: Path

    @property
    def size(self) -> str:
        """In pixels."""
        height, width = self.painting.after.shape[-2:]
        return f"{width} × {height}"

    @property
    def said(self) -> str:
        """A line about it."""
        return f"`{self.label}`, {self.size} pixels, {self.painting.seconds:.1f} s on {self.painting.device}"


class Desk(NamedTuple):
    """What all open pages share."""

    easel: Easel
    limits: Limits
    sessions: Sessions
    outbox: Path

    def offers(self, form: Form) -> dict[str, Offer]:
        """Return what the chosen painters take, by their labels."""
        labels = [form.painter] if form.second in (NOBODY, None, form.painter) else [form.painter, form.second]
        return {label: self.easel.studio.offer(label) for label in labels}


@contextmanager
def sentences() -> Iterator[None]:
    """Let every failure reach the page as one sentence; ``IMPASTO_TRACEBACK=1`` also prints where it comes from."""
    try:
        yield
    except Exception as error:
        aloud = os.environ.get("IMPASTO_TRACEBACK") == "1"
        text = escape(explained(error), quote=False)  # the page takes it for HTML
        raise gradio.Error(text, print_exception=aloud) from error


def look_at(desk: Desk, what: str, upload: Mapping[str, Any] | None) -> Tensor | None:
    """Read an upload as soon as it is there, so that a bad one is refused at once.

    Args:
        desk: With the limits.
        what: A key of `PICTURES`.
        upload: What gradio knows of the file, which it has put in its own folder.
    """
    with sentences():
        return _read(desk, what, upload)


def paint(
    desk: Desk, values: Sequence[Any], names: Mapping[str, Sequence[str]], editor: Any, session: str, progress: Any
) -> Shown:
    """Paint what a page asks for.

    Args:
        desk: What all pages share.
        values: Of a `Form`, and of the controls after it.
        names: Of the controls, by the labels of the painters.
        editor: The component that the region was drawn in.
        session: Of the page.
        progress: Gets how far it is.
    """
    with sentences(), desk.sessions.running(session) as go_on:
        try:
            return _shown(desk, _painted(desk, values, names, editor, go_on, progress))
        except StoppedError:  # what was asked for, and no failure: all stays as it was
            return Shown(*[gradio.skip()] * len(Shown._fields))


def _painted(
    desk: Desk,
    values: Sequence[Any],
    names: Mapping[str, Sequence[str]],
    editor: Any,
    go_on: Callable[[], None],
    progress: Any,
) -> list[Named]:
    form = Form(*values[: len(Form._fields)])
    offers = desk.offers(form)
    settings = _by_painter(names, values[len(Form._fields) :])
    plain = _wish(desk, form, offers, editor)
    wishes = {label: plain(settings.get(label, {})) for label in offers}
    for label, offer in offers.items():
        check(offer, wishes[label])
    painted = []
    for number, (label, wish) in enumerate(wishes.items()):
        which = f"{number + 1} of {len(wishes)}, " if len(wishes) > 1 else ""
        painting = desk.easel.paint(label, wish, _bar(progress, which + label, go_on), gradio.Info)
        painted.append(_kept(desk, label, painting, wish))
    return painted


def _by_painter(names: Mapping[str, Sequence[str]], values: Sequence[Value]) -> dict[str, dict[str, Value]]:
    left = iter(values)
    return {label: {name: next(left) for name in controls} for label, controls in names.items()}


def _bar(progress: Any, title: str, go_on: Callable[[], None]) -> Watcher:
    """Return what is told of every iteration; the title is there before the first one."""
    go_on()
    progress(0, desc=title)

    def told(iteration: int, count: int, _terms: Mapping[str, Tensor]) -> None:
        go_on()
        progress((iteration + 1, count), desc=title, unit="steps")

    return told


def _wish(desk: Desk, form: Form, offers: Mapping[str, Offer], editor: Any) -> Callable[[Mapping[str, Value]], Wish]:
    """Return what is asked for, but for the controls; what no painter uses is not read."""
    uses = frozenset().union(*(offer.uses(form.by) for offer in offers.values()))
    photograph = _read(desk, "photograph", form.photograph)
    region = None
    if "region" in uses and photograph is not None:
        uploaded = _read(desk, "mask", form.mask)
        region = region_of(_layers(editor, form.strokes), uploaded, (photograph.shape[-2], photograph.shape[-1]))
    common = {
        "photograph": photograph,
        "style": _read(desk, "style", form.style) if "image" in uses else None,
        "prompt": str(form.prompt or ""),
        "region": region,
        "by": form.by,
        "size": int(form.size or 0),
    }
    return lambda controls: Wish(**common, controls=controls)


def _read(desk: Desk, what: str, upload: Mapping[str, Any] | None) -> Tensor | None:
    if not upload or not upload.get("path"):
        return None
    path = Path(upload["path"]).resolve()
    if not path.is_relative_to(desk.outbox.resolve()):  # gradio asks that only of what has its mark
        raise ImpastoError(f"{PICTURES[what]} was not uploaded here: upload it.")
    reader = read_region if what == "mask" else read_photograph
    return reader(path, PICTURES[what], desk.limits)


def _layers(editor: Any, strokes: Any) -> list[Any]:
    """Return what was drawn, ``(h, w, 4)`` each."""
    if not strokes:
        return []
    drawn = editor.preprocess(editor.data_model(**strokes))
    return [] if drawn is None else list(drawn["layers"])


def _kept(desk: Desk, label: str, painting: Painting, wish: Wish) -> Named:
    """Write a painting where the page may fetch it; the file says what it was made of."""
    height, width = painting.after.shape[-2:]
    place = desk.outbox / secrets.token_hex(8) / f"{slug(label)}-{width}x{height}.png"
    controls = {name: str(value) for name, value in wish.controls.items()}
    write_image(painting.after, place, {"Software": "Impasto", "painter": label, "prompt": wish.prompt, **controls})
    return Named(label, painting, place)


def _shown(desk: Desk, painted: Sequence[Named]) -> Shown:
    first, last = painted[0], painted[-1]
    before = first.painting.before
    if len(painted) > 1:
        left, words = first.file, f"Left: {first.said}. Right: {last.said}."
    elif before is not None:
        left = desk.outbox / secrets.token_hex(8) / "photograph.png"
        write_image(before, left)
        words = f"Left: the photograph. Right: {first.said}."
    else:
        left, words = None, f"{first.said}."
    pair = left is not None
    return Shown(
        slider=(str(left), str(last.file)) if pair else None,
        single=None if pair else str(first.file),
        pair=gradio.Column(visible=pair),
        alone=gradio.Column(visible=not pair),
        caption=words,
        first=_button(first, "the left PNG" if len(painted) > 1 else "PNG"),
        second=_button(last, "the right PNG") if len(painted) > 1 else gradio.DownloadButton(visible=False),
    )


def _button(named: Named, what: str) -> Any:
    return gradio.DownloadButton(f"Download {what}, {named.size}", value=str(named.file), visible=True)


def describe(offers: Mapping[str, Offer]) -> str:
    """Return what a user should know of the chosen painters."""
    lines = []
    for offer in offers.values():
        if offer.draws:
            says = "draws what the prompt says; a photograph is where it starts, and may be left away."
        elif offer.either:
            says = "paints the photograph in a style that words name, or that a picture shows."
        else:
            says = (
                f"paints the photograph in a style that {'words name' if 'text' in offer.takes else 'a picture shows'}."
            )
        fits = " It fits every picture anew, step by step, which takes a while." if offer.optimises else ""
        lines.append(f"**{offer.name}** {says}{fits}")
    return "  \n".join(dict.fromkeys(lines))


def offers_or_sentence(desk: Desk, form: Form) -> tuple[dict[str, Offer], str]:
    """Return what the chosen painters take, and a note about it, or why they cannot be read."""
    try:
        offers = desk.offers(form)
    except Exception as error:
        return {}, escape(explained(error), quote=False)
    return offers, describe(offers)
