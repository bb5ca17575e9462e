"""A stacked bar for each arm and prompt length: the shares of its TTFT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.question_results import TimeBudget
from bench.report.budget_tables import PARTS
from bench.report.number_format import count, duration
from bench.report.plot_style import drawing, label
from bench.result import Result

COLOURS: Mapping[str, str] = {  # from the palette of plot_style.py, and greys
    "http": "#9ca3af",
    "rendering": "#F0E442",
    "outside": "#9ca3af",
    "queue": "#374151",
    "lookup": "#56B4E9",
    "loading": "#56B4E9",
    "read": "#0072B2",
    "decryption": "#D55E00",
    "copy": "#CC79A7",
    "prefill": "#009E73",
}
UNKNOWN: Mapping[str, Any] = {"facecolor": "white", "edgecolor": "#6b7280", "hatch": "////", "linewidth": 0}


def budget_plot(result: Result) -> tuple[Figure, str] | None:
    """The figure and its description; None for other kinds and without budgets. Overlapping parts exceed 100 %."""
    rows = [row for row in result.budgets if row.mean_ttft_ms] if result.kind == "budget" else []
    if not rows:
        return None
    figure, axes = drawing(0.5 * len(rows) + 1.5)
    for place, row in enumerate(rows):
        _bar(axes, place, row)
    axes.set(ylim=(len(rows) - 0.5, -0.8), yticks=[], xlim=(0, None), xlabel="share of the TTFT, %")
    axes.spines["left"].set_visible(False)
    names = [name for name in PARTS if any(name in row.parts_ms for row in rows)]
    patches = [Patch(facecolor=COLOURS[name], label=PARTS[name][0]) for name in names]
    patches.append(Patch(label="not attributed", **UNKNOWN))
    figure.legend(handles=patches, loc="outside lower center", ncols=3, columnspacing=1)
    texts = ", ".join(f"{row.arm} of {count(row.input_len)} tokens {duration(row.mean_ttft_ms)}" for row in rows)
    return figure, f"Parts of the mean time to first token: {texts}"


def _bar(axes: Axes, place: int, row: TimeBudget) -> None:
    share, left = 100 / (row.mean_ttft_ms or 1), 0.0
    for name in PARTS:
        width = (row.parts_ms.get(name) or 0) * share
        axes.barh(place, width, 0.36, left, color=COLOURS[name])
        left += width
    axes.barh(place, (row.not_attributed_ms or 0) * share, 0.36, left, **UNKNOWN)
    label(axes, place - 0.36, f"{row.arm}, {count(row.input_len)} tokens: {duration(row.mean_ttft_ms)}")
