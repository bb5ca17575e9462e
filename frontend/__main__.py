"""`python -m frontend`: serves the page until it is told to stop."""

from __future__ import annotations

import os

import gradio as gr

from engines.document import LIMIT_BYTES
from engines.door import settings_of_the_caller
from engines.settings import Settings
from engines.topology import Topology
from frontend.app import build
from frontend.view import CSS


def main() -> None:
    """On UI_PORT of BIND_HOST; asks nobody outside."""
    settings = settings_of_the_caller()
    page = build(Topology.of(settings), pinned=_pinned(settings)).queue()
    page._queue.sleep_when_free = 0.05  # it looks for work 1,000 times a second else, and takes 6 % of a shared core
    page.launch(
        server_name=settings.bind_host,
        server_port=settings.ui_port,
        max_file_size=LIMIT_BYTES,
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
        footer_links=[],
        quiet=True,
        share=False,
        ssr_mode=False,
    )


def _pinned(settings: Settings) -> bool:
    """Whether each engine has a GPU of its own; GPUS lists them where Compose pins them."""
    cards = os.environ.get("GPUS", "").split()
    return settings.device == "cuda" and len(set(cards)) == len(Topology.of(settings).engines)


if __name__ == "__main__":
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    main()
