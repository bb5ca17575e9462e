"""The page's look: colours, theme, styles, script and head. Nothing is loaded from other hosts."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent
HEAD = """<div class="top"><h1>TTFT Arena</h1>
<p>The same question to vLLM engines, two of them with LMCache on one shared KV volume: what (A) has read, (B) loads
instead of computing it again. <b>TTFT</b>: from just before the request is sent to the first text.</p>
<button type="button" data-theme>Light / dark</button></div>"""

# For light and dark mode. All nine can be told apart with every kind of colour blindness, and from the background
# (tests/frontend/test_theme.py). Sources also have patterns (page.css), and all are labelled with their names.
ENGINE_COLOURS = {
    "plain-a": ("#af3300", "#ee863b"),
    "plain-b": ("#ac518a", "#cd9fc0"),
    "lmcache-a": ("#258ec6", "#4398cd"),
    "lmcache-b": ("#157655", "#48c99a"),
}
SOURCE_COLOURS = {
    "computed": ("#504657", "#e1ddeb"),
    "own": ("#b38b10", "#ebc32f"),
    "l1": ("#2e4e9e", "#6d778e"),
    "l2": ("#1d4922", "#b4e58d"),
    "shared": ("#7357d8", "#9397ff"),
}


def theme() -> gr.themes.Base:
    """Returns a theme with system fonts and with darker grey and blue than Gradio's, which are hard to read."""
    base = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return base.set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
    )


def page_css() -> str:
    """Returns the stylesheet; `--engine` is the colour of an engine's elements, `--source` that of a source's."""
    rules = [
        f".{key} {{ {variable}: {light}; }} .dark .{key} {{ {variable}: {dark}; }}"
        for variable, colours in (("--engine", ENGINE_COLOURS), ("--source", SOURCE_COLOURS))
        for key, (light, dark) in colours.items()
    ]
    return "\n".join([*rules, (HERE / "page.css").read_text()])


def head_html() -> str:
    """Returns the page's only script, inline."""
    return f"<script>{(HERE / 'page.js').read_text()}</script>"
