"""The inputs of the page for what a method lets its user set."""

import math
from typing import Any

import gradio

from lightning_modules.controls import Control


def field(control: Control, key: str) -> Any:
    """Return the input that suits a control.

    Args:
        control: What is set.
        key: Equal for the same control of the same painter: its value then outlives that others come and go.
    """
    named = {"label": control.name.replace("_", " "), "info": control.help, "key": key, "interactive": True}
    if isinstance(control.default, bool):
        return gradio.Checkbox(control.default, **named)
    if isinstance(control.default, str):
        if control.choices:
            return gradio.Dropdown(list(control.choices), value=control.default, **named)
        return gradio.Textbox(control.default, **named)
    whole = isinstance(control.default, int)
    if whole or math.isinf(control.low) or math.isinf(control.high):
        return gradio.Number(control.default, precision=0 if whole else None, **named)
    step = (control.high - control.low) / 100
    return gradio.Slider(control.low, control.high, value=control.default, step=step, **named)
