"""Colours, markers and axes of all plots. The colours are those of Okabe and Ito: the colour-blind tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.report.result_fields import base

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
WIDE_RATIO = 20  # beyond it the small ones are seen on a logarithmic axis only
WIDE_TAIL = 5  # the same for single gaps, of which a few may be far longer than all others


def colour(arm: str = "") -> str:
    """Grey for what is no arm that we know."""
    return COLOURS.get(base(arm), OTHER)


def marker(arm: str) -> str:
    """For those who see no colours."""
    return MARKERS.get(base(arm), "o")


def label(axes: Axes, height: float, text: str) -> None:
    """A line of text over a row that starts at the left edge, so that it takes no width from the plot."""
    axes.text(0, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=10)


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
