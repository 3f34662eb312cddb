"""The page itself: its inputs, its results, and which of them are seen."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gradio
import numpy as np
from numpy.typing import NDArray

from experiments.demo import handlers
from experiments.demo.examples import Example
from experiments.demo.fields import field
from experiments.demo.handlers import NOBODY, PROGRESS, Desk, Form, Shown

HEIGHT = 300  # of an upload on the page, in pixels
BRUSH = ("#e5484d", 0.55)
TURN = {"concurrency_limit": 1, "concurrency_id": "easel"}
"""All paintings share one place in the queue: the device has no room for two."""
LOOK = {"concurrency_limit": 2, "concurrency_id": "look", "show_progress": "hidden"}
PRIVATE = {"api_visibility": "private"}
STYLE = """
footer { display: none !important; }
.gradio-container { max-width: 1500px !important; overflow: clip !important; } /* or nothing inside would stick */
.results { align-self: flex-start; }
@media (min-width: 800px) { .results { position: sticky; top: 12px; } }
.caption { min-height: 3em; }
"""


def build(desk: Desk, examples: Sequence[Example]) -> Any:
    """Return the page, a ``gradio.Blocks``.

    Args:
        desk: What all who open it share.
        examples: Rows that fill photograph, style picture and prompt when they are clicked.
    """
    with gradio.Blocks(title="Impasto", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gradio.Markdown("# Impasto\nArtistic style transfer on this machine: nothing that you upload leaves it.")
        with gradio.Row():
            with gradio.Column(scale=5, min_width=360):
                form, groups = _inputs(desk)
                buttons = gradio.Column()
            with gradio.Column(scale=6, min_width=360, elem_classes="results"):
                shown = _results()
                _offer_examples(form, examples)
        _watch_uploads(desk, form)
        _choose_sections(page, desk, form, groups)
        with buttons:
            _offer_controls(desk, form, shown)
        page.unload(_stopping(desk))
    return page


def _inputs(desk: Desk) -> tuple[Form, dict[str, Any]]:
    """Return the inputs, and those parts of the page that some painters have no use for."""
    labels = desk.easel.studio.labels
    groups: dict[str, Any] = {}
    with gradio.Row():
        painter = gradio.Dropdown(labels, value=labels[0], label="painter", scale=3, interactive=True)
        second = gradio.Dropdown([NOBODY, *labels], value=NOBODY, label="compare with", scale=3, interactive=True)
    groups["note"] = gradio.Markdown()
    photograph = _picture("photograph", HEIGHT)
    by = gradio.Radio(
        [("words", "text"), ("a style picture", "image")],
        value="text",
        label="style by",
        visible=False,
        interactive=True,
    )
    groups["by"] = by
    with gradio.Column(visible=False) as groups["text"]:
        prompt = gradio.Textbox(
            label="prompt", placeholder="a painter's name, such as Juno Maelstrom", max_length=500, interactive=True
        )
    with gradio.Column(visible=False) as groups["image"]:
        style = _picture("style picture", HEIGHT)
    with (
        gradio.Column(visible=False) as groups["region"],
        gradio.Accordion("region: only a part is painted", open=False),
    ):
        strokes, mask = _region()
    size = gradio.Slider(
        0, desk.limits.side, value=0, step=64, label="size", interactive=True,
        info="Shorter side at which to paint, in pixels; 0: as uploaded, or as trained where nothing is. The smaller, "
        "the wider the strokes.",
    )  # fmt: skip
    return Form(painter, second, photograph, style, mask, prompt, by, size, strokes), groups


def _picture(label: str, height: int) -> Any:
    return gradio.Image(
        label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=height,
        buttons=["fullscreen"], interactive=True,
    )  # fmt: skip


def _region() -> tuple[Any, Any]:
    gradio.Markdown("Draw over what is to be painted, or upload a mask that is bright there. Both count.")
    with gradio.Tabs():
        with gradio.Tab("draw"):
            strokes = gradio.ImageEditor(
                label="region", interactive=True, sources=[], transforms=[], layers=False, format="jpeg", height=420,
                buttons=[],
                brush=gradio.Brush(default_size=40, colors=[BRUSH], default_color=BRUSH, color_mode="fixed"),
            )  # fmt: skip
        with gradio.Tab("upload a mask"):
            mask = _picture("mask", HEIGHT)
    return strokes, mask


def _results() -> Shown:
    with gradio.Column(visible=True) as pair:
        slider = gradio.ImageSlider(
            label="before and after", interactive=False, format="png", max_height=720, buttons=["fullscreen"]
        )
    with gradio.Column(visible=False) as alone:
        single = gradio.Image(label="drawing", interactive=False, format="png", height=720, buttons=["fullscreen"])
    caption = gradio.Markdown(elem_classes="caption")
    with gradio.Row():
        first = gradio.DownloadButton("Download", visible=False, size="md")
        second = gradio.DownloadButton("Download", visible=False, size="md")
    return Shown(slider, single, pair, alone, caption, first, second)


def _offer_examples(form: Form, examples: Sequence[Example]) -> None:
    if examples:
        rows = [[str(each.photograph), str(each.style), each.prompt] for each in examples]
        inputs = [form.photograph, form.style, form.prompt]
        gradio.Examples(rows, inputs, label="examples", cache_examples=False, api_visibility="private")


def _watch_uploads(desk: Desk, form: Form) -> None:
    """Refuse a bad upload at once, and take it off the page; show a good photograph where the region is drawn."""

    def on_photograph(upload: Mapping[str, Any] | None) -> NDArray[Any] | None:
        picture = handlers.look_at(desk, "photograph", upload)
        if picture is None:
            return None
        return np.asarray((picture * 255 + 0.5).byte().permute(1, 2, 0))

    def on_other(what: str, upload: Mapping[str, Any] | None) -> None:
        handlers.look_at(desk, what, upload)

    looks = [
        (
            form.photograph,
            form.photograph.change(on_photograph, form.photograph, form.strokes, preprocess=False, **LOOK, **PRIVATE),
        ),
        *(
            (each, each.change(partial(on_other, what), each, None, preprocess=False, **LOOK, **PRIVATE))
            for what, each in (("style", form.style), ("mask", form.mask))
        ),
    ]
    for each, look in looks:
        look.failure(lambda: None, None, each, queue=False, **PRIVATE)


def _choose_sections(page: Any, desk: Desk, form: Form, groups: Mapping[str, Any]) -> None:
    """Show the inputs that the chosen painters use, and hide the others."""

    def sections(*values: Any) -> list[Any]:
        chosen = Form(*values, *[None] * (len(Form._fields) - len(values)))
        offers, note = handlers.offers_or_sentence(desk, chosen)
        by = values[-1]
        uses = frozenset().union(*(offer.uses(by) for offer in offers.values()))
        either = any(offer.either for offer in offers.values())
        shows = {"note": gradio.Markdown(note), "by": gradio.Radio(visible=either)}
        shows |= {name: gradio.Column(visible=name in uses) for name in ("text", "image", "region")}
        return [shows[name] for name in groups]

    inputs = [form.painter, form.second, form.by]
    triggers = [page.load, *(each.change for each in inputs)]
    gradio.on(
        triggers, lambda painter, second, by: sections(painter, second, *[None] * 4, by), inputs, list(groups.values()),
        queue=False, show_progress="hidden", trigger_mode="always_last", **PRIVATE,
    )  # fmt: skip


def _offer_controls(desk: Desk, form: Form, shown: Shown) -> None:
    """Add the controls of the chosen painters and the buttons, anew whenever others are chosen."""

    @gradio.render(inputs=[form.painter, form.second], queue=False, show_progress="hidden")  # type: ignore[untyped-decorator]
    def offer(painter: str, second: str) -> None:
        offers, _ = handlers.offers_or_sentence(desk, Form(painter, second, *[None] * (len(Form._fields) - 2)))
        if not offers:
            return
        with gradio.Row():
            start = gradio.Button("Paint", variant="primary", scale=4)
            end = gradio.Button("Stop", scale=1, min_width=90)
        fields, names = [], {}
        for number, (label, offered) in enumerate(offers.items()):
            with gradio.Accordion(f"settings of {label}", open=number == 0, key=f"settings {label}"):
                fields += [field(control, f"{label}/{control.name}") for control in offered.controls]
            names[label] = [control.name for control in offered.controls]
        going = _on_start(desk, start, [*form, *fields], shown, names, form.strokes)
        end.click(_stopping(desk), None, None, cancels=[going], queue=False, **PRIVATE)


def _on_start(
    desk: Desk, start: Any, inputs: Sequence[Any], shown: Shown, names: Mapping[str, list[str]], editor: Any
) -> Any:
    def paint(request: gradio.Request, progress: gradio.Progress = PROGRESS, *values: Any) -> list[Any]:
        return list(handlers.paint(desk, values, names, editor, str(request.session_hash), progress))

    return start.click(
        paint, inputs, list(shown), preprocess=False, scroll_to_output=True,
        show_progress_on=[shown.slider, shown.single], **TURN, **PRIVATE,
    )  # fmt: skip


def _stopping(desk: Desk) -> Callable[[gradio.Request], None]:
    """Return what ends the painting of a tab: its user wants it no more, or has closed it, and others wait."""

    def stop(request: gradio.Request) -> None:
        desk.sessions.stop(str(request.session_hash))

    return stop
