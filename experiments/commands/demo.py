"""Open a page on this machine: upload a photograph, choose a trained run or a painter that ships, and paint."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lightning_modules.controls import Control, Value
    from lightning_modules.generation import GenerativeModule

MAX_SIDE = 1024
SIZES = (0, 1024, 64)  # least, greatest and step of the shorter side, in pixels
PICTURE = 240  # height of an upload on the page, in pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto demo`."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs live (default: runs)")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")


def main(args: argparse.Namespace) -> None:
    """Serve the page on localhost until Ctrl-C.

    Raises:
        ImpastoError: If gradio is missing, or nothing has been trained and nothing ships.
    """
    build(args.runs, args.device).launch(server_name="127.0.0.1", server_port=args.port, share=False)


def build(runs: Path, device: str) -> Any:
    """Build the page.

    Args:
        runs: Folder that is searched for ``<method>/<name>/checkpoints/*.ckpt``; painters that ship come after these.
        device: Where the models run.

    Returns:
        A ``gradio.Blocks``.
    """
    from lightning_modules.errors import ImpastoError
    from lightning_modules.shipped import PREFIX, painters

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # nothing leaves this machine
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise ImpastoError("The demo needs gradio: pip install 'impasto[demo]', or pip install gradio.") from error
    checkpoints = [*find_checkpoints(runs), *(PREFIX + name for name in painters())]
    if not checkpoints:
        raise ImpastoError(f"There is no checkpoint under {runs}: train a method first, e.g. `make train-clast`.")
    return _page(gradio, checkpoints, device)


def _page(gradio: Any, checkpoints: list[str], device: str) -> Any:
    result = gradio.Image(label="painting", format="png", interactive=False, render=False)
    with gradio.Blocks(title="Impasto", analytics_enabled=False) as page, gradio.Row():
        with gradio.Column(scale=3):
            gradio.Markdown(
                "# Impasto\nGive a prompt **or** a style image; a mask, where only a part is to be painted. Methods "
                "that draw from words need a prompt alone; a photograph, if there is one, is where they start."
            )
            checkpoint = gradio.Dropdown(checkpoints, value=checkpoints[0], label="checkpoint")
            with gradio.Row():
                labels = ("photograph", "style image", "mask: bright where to paint")
                content, style, mask = (gradio.Image(label=label, type="numpy", height=PICTURE) for label in labels)
            prompt = gradio.Textbox(label="prompt", placeholder="a painter's name")
            low, high, step = SIZES
            size = gradio.Slider(
                low, high, value=0, step=step, label="size",
                info="Shorter side at which to paint, in pixels; 0: as uploaded, or as trained where nothing is. The "
                "smaller, the wider the strokes.",
            )  # fmt: skip
            _offer_controls(gradio, [checkpoint, content, prompt, style, mask, size], result, device)
        with gradio.Column(scale=2):
            result.render()
    return page


def _offer_controls(gradio: Any, inputs: Sequence[Any], result: Any, device: str) -> None:
    """Add the controls of the chosen checkpoint's method and the button, anew whenever another is chosen."""
    from lightning_modules.errors import ImpastoError

    @gradio.render(inputs=inputs[0])  # type: ignore[untyped-decorator]
    def offer(chosen: str) -> None:
        try:
            offered = _offered(_model(chosen, device))
        except ImpastoError as error:
            gradio.Markdown(str(error))
            return
        fields = [_field(gradio, control) for control in offered]
        names = [control.name for control in offered]
        button = gradio.Button("paint", variant="primary")

        def paint_or_explain(*values: Any) -> NDArray[Any]:
            plain, settings = values[: len(inputs)], dict(zip(names, values[len(inputs) :], strict=True))
            try:
                return stylize(*plain, settings, device=device)  # type: ignore[misc, arg-type]
            except ImpastoError as error:
                raise gradio.Error(str(error)) from error

        button.click(paint_or_explain, [*inputs, *fields], result)


def _offered(model: Any) -> tuple[Control, ...]:
    """Return what a user may set: the method's controls, and before them what every drawing from words has."""
    from experiments.painting.inference import REDRAWN
    from lightning_modules.controls import Control
    from lightning_modules.generation import GenerativeModule

    if not isinstance(model, GenerativeModule):
        return tuple(model.offered)
    seed = Control("seed", 0, "Another seed is another picture.", low=0)
    strength = Control("strength", REDRAWN, "How much of a photograph is redrawn: 0 nothing, 1 all.", low=0.0, high=1.0)
    return (seed, strength, *model.offered)


def _field(gradio: Any, control: Control) -> Any:
    """Return the input that suits a control."""
    if isinstance(control.default, bool):
        return gradio.Checkbox(control.default, label=control.name, info=control.help)
    if isinstance(control.default, str):
        if control.choices:
            return gradio.Dropdown(list(control.choices), value=control.default, label=control.name, info=control.help)
        return gradio.Textbox(control.default, label=control.name, info=control.help)
    if math.isinf(control.low) or math.isinf(control.high):
        return gradio.Number(control.default, label=control.name, info=f"{control.help} {control.takes()}.")
    step = 1 if isinstance(control.default, int) else (control.high - control.low) / 100
    return gradio.Slider(
        control.low, control.high, value=control.default, step=step, label=control.name, info=control.help
    )


def find_checkpoints(runs: Path) -> list[str]:
    """List the checkpoints of all runs, the newest first; ``latest`` only repeats one of them."""
    found = [path for path in runs.glob("*/*/checkpoints/*.ckpt") if path.parts[-3] != "latest"]
    return [str(path) for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def stylize(
    checkpoint: str,
    content: NDArray[Any] | None,
    prompt: str,
    style: NDArray[Any] | None,
    mask: NDArray[Any] | None,
    size: int,
    controls: Mapping[str, Value],
    *,
    device: str,
) -> NDArray[Any]:
    """Paint one upload, or draw from words.

    Args:
        checkpoint: Path of a checkpoint, or ``embedded:NAME``.
        content: ``(H, W, 3)``, uint8, RGB; None where a method draws from words alone.
        prompt: Text; empty where a style image is given.
        style: ``(h, w, 3)``, uint8, RGB, or None.
        mask: ``(h, w, 3)``, uint8, bright where to paint, or None for everywhere.
        size: Pixels of the shorter side at which to paint; 0 for those of ``content``, without one for those that the
            method validates with.
        controls: Values of the method's inference controls; of drawings also ``seed`` and ``strength``.
        device: Where to compute.

    Returns:
        ``(H, W, 3)``, uint8, of the size of ``content`` unless another is asked for; sides above 1024 pixels are
        shrunk first.

    Raises:
        ImpastoError: If an input is missing or does not fit the method.
    """
    import torch

    from datamodules.masks import fit_mask
    from experiments.painting.inference import paint
    from experiments.painting.sizing import Sizing
    from lightning_modules.errors import ImpastoError
    from lightning_modules.generation import GenerativeModule

    model = _model(checkpoint, device)

    def tensor(pixels: NDArray[Any], shorter: int = 0) -> torch.Tensor:
        return Sizing(shorter or None, MAX_SIDE).fit(torch.tensor(pixels).permute(2, 0, 1).float() / 255)

    photograph = None if content is None else tensor(content, int(size))
    if isinstance(model, GenerativeModule):
        if style is not None or mask is not None:
            raise ImpastoError(f"{type(model).__name__} draws from words: take style image and mask away.")
        return _pixels(_drawn(model, prompt, photograph, int(size), controls))
    if photograph is None:
        raise ImpastoError("Upload a photograph first.")
    height, width = photograph.shape[-2:]
    painted = paint(
        model,
        photograph,
        style=None if style is None else tensor(style),
        prompt=prompt.strip() or None,
        mask=None if mask is None else fit_mask(tensor(mask).mean(0, keepdim=True), height, width),
        controls=controls,
    )
    return _pixels(painted)


def _drawn(
    model: GenerativeModule, prompt: str, photograph: Tensor | None, size: int, controls: Mapping[str, Value]
) -> Tensor:
    """Return a drawing, ``(3, H, W)``; a photograph has its size already."""
    from experiments.painting.inference import draw
    from lightning_modules.controls import resolve_controls

    values = resolve_controls(_offered(model), controls, type(model).__name__)
    seed, strength = int(values.pop("seed")), float(values.pop("strength"))
    asked = (size, size) if photograph is None and size else None
    return draw(model, prompt, seeds=[seed], size=asked, content=photograph, strength=strength, controls=values)[0]


def _pixels(painted: Tensor) -> NDArray[Any]:
    pixels: NDArray[Any] = (painted * 255 + 0.5).byte().permute(1, 2, 0).numpy()
    return pixels


@lru_cache(maxsize=2)
def _model(checkpoint: str, device: str) -> Any:
    from experiments.painting.inference import open_model

    return open_model(Path(checkpoint), device)
