"""Colours, markers and axes of all plots, and a figure as SVG.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.media_prompts import MODALITIES

COLOURS: Mapping[str, str] = {
    "cold": "#D55E00",
    "own_warm": "#CC79A7",
    "other_instance": "#E69F00",
    "first_sight": "#56B4E9",
    "cross_read": "#0072B2",
    "lmcache_own_warm": "#009E73",
    "other_cold": "#0072B2",
    "plain_a": "#D55E00",
    "plain_b": "#0072B2",
    "computed": "#D55E00",
    "loaded": "#0072B2",
}
MARKERS: Mapping[str, str] = {
    "own_warm": "^",
    "other_instance": "s",
    "first_sight": "D",
    "cross_read": "v",
    "lmcache_own_warm": "P",
    "other_cold": "v",
    "plain_b": "v",
    "loaded": "v",
}
OTHER = "#6b7280"
WIDE_RATIO = 20  # beyond it the small values can be read on a logarithmic axis only
WIDE_TAIL = 5  # the same for single gaps, of which a few may be far longer than all others
WIDTH = 4.6  # inches: a font of 10 points can then be read on a phone
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "ttft-arena",  # so that identifiers are the same every time
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


def drawing(height: float) -> tuple[Figure, Axes]:
    """An empty figure of that height in inches; draw and save it within STYLE."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure) -> bytes:
    """The same bytes for the same figure."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts are used, and not ours
        figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    return buffer.getvalue()


def in_style() -> Any:
    """A context in which figures are drawn and saved."""
    return mpl.rc_context(STYLE)


def colour(arm: str = "") -> str:
    """Grey for an arm that is not known."""
    return COLOURS.get(_without_modality(arm), OTHER)


def marker(arm: str) -> str:
    """For readers who do not see colours."""
    return MARKERS.get(_without_modality(arm), "o")


def label(axes: Axes, height: float, text: str) -> None:
    """A line of text over a row that starts at the left edge, so that it takes no width from the plot."""
    axes.text(0, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=10, in_layout=False)


def scale(axes: Axes, side: str, values: Sequence[float], beyond: float = WIDE_RATIO) -> None:
    """From zero, or logarithmic when the largest is `beyond` times the smallest."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    if values and min(values) > 0 and max(values) / min(values) > beyond:
        axes.set(**{f"{side}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set(**{f"{side}lim": (0, None)})
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _without_modality(arm: str) -> str:
    """Arms of media are named `image_cold` and so on."""
    modality, _, rest = arm.partition("_")
    return rest if modality in MODALITIES else arm
