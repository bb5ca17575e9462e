"""Colours, markers and axes of all plots, and the conversion of a figure to SVG.

The colours are from the palette of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.media_prompts import MODALITIES

LOOKS: Mapping[str, tuple[str, str]] = {  # an arm's colour, and its marker for readers who cannot see the colours
    "cold": ("#D55E00", "o"),
    "own_warm": ("#CC79A7", "^"),
    "other_instance": ("#E69F00", "s"),
    "first_sight": ("#56B4E9", "D"),
    "cross_read": ("#0072B2", "v"),
    "lmcache_own_warm": ("#009E73", "P"),
    "other_cold": ("#0072B2", "v"),
    "plain_a": ("#D55E00", "o"),
    "plain_b": ("#0072B2", "v"),
    "computed": ("#D55E00", "o"),
    "loaded": ("#0072B2", "v"),
}
OTHER = ("#6b7280", "o")
WIDE_RATIO = 20  # above this ratio, small values are legible only on a logarithmic axis
WIDE_TAIL = 5  # the same limit for gaps, a few of which may be far longer than the others
WIDTH = 4.6  # inches; at this width, a font of 10 points is legible on a phone
STYLE = Path(__file__).with_name("plots.mplstyle")
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def drawing(height: float) -> tuple[Figure, Axes]:
    """An empty figure of the given height in inches, to be drawn and saved within `in_style`."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG; the same figure always gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the fonts are the reader's, not those of this machine
        figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    return buffer.getvalue()


def in_style() -> AbstractContextManager[None]:
    """The context in which figures are drawn and saved."""
    return mpl.rc_context(fname=STYLE)


def look(arm: str) -> tuple[str, str]:
    """An arm's colour and marker; grey if it is unknown. Media arms, such as `image_cold`, look like those for text."""
    modality, _, rest = arm.partition("_")
    return LOOKS.get(rest if modality in MODALITIES else arm, OTHER)


def label(axes: Axes, height: float, text: str) -> None:
    """Writes a line of text above a row, starting at the left edge, so that it does not narrow the plot."""
    axes.text(0, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=10, in_layout=False)


def scale(axes: Axes, side: str, values: Sequence[float], beyond: float = WIDE_RATIO) -> None:
    """Starts an axis at zero, or makes it logarithmic if the largest value is over `beyond` times the smallest."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    if values and min(values) > 0 and max(values) / min(values) > beyond:
        axes.set(**{f"{side}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set(**{f"{side}lim": (0, None)})
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
