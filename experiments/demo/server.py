"""The server behind the page: on this machine only, with a folder of its own that goes when it ends."""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.demo.choices import Choice, Studio
from experiments.demo.sessions import Sessions
from experiments.demo.uploads import Limits
from lightning_modules.errors import ImpastoError

HOST = "127.0.0.1"
READABLE = {
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_label_text_color": "*neutral_700",
    "block_title_text_color": "*neutral_800",
    "input_placeholder_color": "*neutral_500",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
}
"""The theme's own greys are too pale to be read on white."""


def check_port(port: int) -> None:
    """Refuse a port that cannot be had, before seconds are spent on a page.

    Raises:
        ImpastoError: If it is none, or somebody has it.
    """
    if not 0 < port < 2**16:
        raise ImpastoError(f"A port is a number from 1 to 65535, not {port}.")
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except OSError as error:
        raise ImpastoError(f"Port {port} cannot be had ({error.strerror}): choose another one with --port.") from error


@contextmanager
def serving(choices: list[Choice], device: str, port: int, limits: Limits) -> Iterator[str]:
    """Serve the page.

    Args:
        choices: Who can be chosen.
        device: Where models run.
        port: Of 127.0.0.1.
        limits: Of uploads and pictures.

    Yields:
        The page's address.

    Raises:
        ImpastoError: If gradio is missing, or the port cannot be had.
    """
    check_port(port)
    with tempfile.TemporaryDirectory(prefix="impasto-demo-", ignore_cleanup_errors=True) as name:
        page = _page(choices, device, limits, Path(name))
        try:
            yield _launch(page, port, limits)
        finally:
            page.close(verbose=False)


def wait() -> None:
    """Do nothing until Ctrl-C, which is how a server ends."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("The page is closed.", file=sys.stderr)


def _page(choices: list[Choice], device: str, limits: Limits, folder: Path) -> Any:
    cache = folder / "cache"
    cache.mkdir()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # nothing leaves this machine
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImpastoError("The demo needs gradio: pip install 'impasto[demo]', or pip install gradio.") from error
    from experiments.demo.examples import write_examples
    from experiments.demo.handlers import Desk
    from experiments.demo.page import build
    from experiments.demo.work import Easel

    desk = Desk(Easel(Studio(choices, device), limits.side), limits, Sessions(), cache)
    return build(desk, write_examples(folder / "examples"))


def _launch(page: Any, port: int, limits: Limits) -> str:
    import gradio

    from experiments.demo.page import STYLE

    _stay_inside()
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # what a machine has
    plain = gradio.themes.Default(primary_hue="blue", **fonts).set(**READABLE)
    page.queue(max_size=limits.waiting, default_concurrency_limit=2, api_open=False)
    _, address, _ = page.launch(
        server_name=HOST, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
        max_file_size=f"{limits.megabytes}mb", allowed_paths=[], show_error=False, enable_monitoring=False,
        run_history=False, footer_links=[], ssr_mode=False, pwa=False, theme=plain, css=STYLE,
    )  # fmt: skip
    return str(address)


def _stay_inside() -> None:
    """Fetch nothing for a request that names an address instead of a file: gradio would, from anywhere."""
    from fastapi import HTTPException
    from gradio import processing_utils, routes

    async def refuse(*_: Any, **__: Any) -> Any:
        raise HTTPException(403, "This page fetches nothing: upload the file.")

    processing_utils.async_ssrf_protected_download = refuse
    routes.secure_url_stream_response = refuse
