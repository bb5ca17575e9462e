"""A matplotlib figure as an inline SVG: the same bytes every time, and nothing in it that a browser would load."""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 4.6  # inches: at a font of 10 points it can be read on a phone
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#6b7280",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "text.color": "#1f2937",
    "axes.labelcolor": "#374151",
    "xtick.color": "#374151",
    "ytick.color": "#374151",
    "legend.frameon": False,
    "legend.fontsize": 9,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
NOT_INLINE = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>"
    r'| xmlns(:xlink)?="[^"]*"|(?<=<svg) |\n\s*(?=\n)',
    re.DOTALL,
)
UNUSED_ID = re.compile(r' id="([^"]*)"')


def drawing(height: float) -> tuple[Figure, Axes]:
    """An empty figure of that height in inches; draw and save it within `style()`."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def style(name: str) -> Any:
    """A context of settings; identifiers in the SVG begin with `name`, so that two plots of a page do not share any."""
    return mpl.rc_context({**STYLE, "svg.hashsalt": name})


def svg(figure: Figure, title: str) -> str:
    """`title` is what a screen reader reads out."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts are used, and not ours
        figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    text = _without_unused_ids(NOT_INLINE.sub("", buffer.getvalue())).replace("xlink:href", "href")
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    opening = f'<svg {box[0]} role="img" stroke-linejoin="round"><title>{escape(title)}</title>'
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1).strip()


def _without_unused_ids(text: str) -> str:
    used = set(re.findall(r"#([\w-]+)", text))
    return UNUSED_ID.sub(lambda match: match[0] if match[1] in used else "", text)
