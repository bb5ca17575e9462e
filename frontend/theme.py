"""How the page looks before anything is on it: theme, styles, script and head. Nothing comes from another host."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from frontend.palette import variables

HERE = Path(__file__).parent
HEAD = """<div class="top"><h1>TTFT Arena</h1>
<p>The same question to vLLM engines, two of them with LMCache on one shared KV volume: what (A) has read, (B) loads
instead of computing it again. <b>TTFT</b>: from just before the request is sent to the first text.</p>
<button type="button" data-theme>Light / dark</button></div>"""


def theme() -> gr.themes.Base:
    """The system's own fonts."""
    base = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    # Gradio's own lighter blue and grey are hard to read
    return base.set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
    )


def page_css() -> str:
    return f"{variables()}\n{(HERE / 'page.css').read_text()}"


def head_html() -> str:
    """The page's one script, inside the document."""
    return f"<script>{(HERE / 'page.js').read_text()}</script>"
