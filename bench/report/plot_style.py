"""Colours, markers and axes of all plots, and a figure as SVG.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
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

LOOKS: Mapping[str, tuple[str, str]] = {  # an arm's colour, and its marker for readers who do not see colours
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
WIDE_RATIO = 20  # beyond it the small values can only be read on a logarithmic axis
WIDE_TAIL = 5  # the same for single gaps, of which a few may be far longer than all others
WIDTH = 4.6  # inches: a font of 10 points can then be read on a phone
STYLE = Path(__file__).with_name("plots.mplstyle")
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def drawing(height: float) -> tuple[Figure, Axes]:
    """An empty figure of that height in inches; draw and save it `in_style`."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure) -> bytes:
    """The same bytes for the same figure."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts are used, and not ours
        figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    return buffer.getvalue()


def in_style() -> AbstractContextManager[None]:
    """In which figures are drawn and saved."""
    return mpl.rc_context(fname=STYLE)


def look(arm: str) -> tuple[str, str]:
    """Colour and marker; grey for an arm that is not known. Arms of media are named `image_cold` and so on."""
    modality, _, rest = arm.partition("_")
    return LOOKS.get(rest if modality in MODALITIES else arm, OTHER)


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
