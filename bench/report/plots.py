"""Plots of a result as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from bench.report.number_format import MS, S, TimeUnit, count, duration, unit_for
from bench.report.plot_style import WIDE_TAIL, colour, label, marker, scale
from bench.report.result_fields import Fields, arms, counted, fields, is_finite, not_counted, number, numbers, rows
from bench.report.svg import drawing, style, svg

Plot = Callable[[Fields], str]


def plots(result: Fields) -> Mapping[str, str]:
    """Caption to SVG, for all that the result has data for."""
    drawn = {caption: plot(result) for caption, plot in PLOTS.items()}
    return {caption: text for caption, text in drawn.items() if text}


def arms_plot(result: Fields) -> str:
    """A row for each arm: every counted sample as a dot, the median with its interval above them."""
    found = [(name, arm) for name, arm in arms(result) if number(arm, "median_ttft_ms") is not None]
    if not found:
        return ""
    single = {name: _ttfts(result, name) for name, _ in found}
    every = [*(ms for values in single.values() for ms in values), *(arm["median_ttft_ms"] for _, arm in found)]
    unit = unit_for(every)
    with style("ladder"):
        figure, axes = drawing(0.66 * len(found) + 0.6)
        for place, (name, arm) in enumerate(found):
            _rung(axes, place, name, arm, single[name], unit)
        axes.set(ylim=(len(found) - 0.45, -0.7), yticks=[], xlabel=f"TTFT, {unit.name}")
        axes.spines["left"].set_visible(False)
        scale(axes, "x", [ms / unit.ms for ms in every])
        medians = ", ".join(f"{name} {duration(arm['median_ttft_ms'])}" for name, arm in found)
        return svg(figure, f"Median time to first token of each arm: {medians}")


def by_length(result: Fields) -> str:
    """TTFT over the prompt's length, computed and loaded, with fits and the break-even."""
    found = rows(result, "lengths")
    series = {"computed": _points(found, "recompute"), "loaded": _points(found, "load")}
    every = [ms for points in series.values() for _, ms, _, _ in points]
    if not every:
        return ""
    unit, even = unit_for(every), fields(result, "break_even")
    with style("length"):
        figure, axes = drawing(3.4)
        for name, points in series.items():
            _series(axes, name, points, unit)
        _fit(axes, "computed", numbers(even, "recompute_fit"), series["computed"], unit)
        _fit(axes, "loaded", numbers(even, "load_fit"), series["loaded"], unit)
        _mark(axes, number(even, "input_len"))
        axes.set(xlabel="prompt tokens", ylabel=f"TTFT, {unit.name}", xlim=(0, None))
        scale(axes, "y", [ms / unit.ms for ms in every])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        figure.legend(loc="outside lower center", ncols=3, columnspacing=1)
        return svg(figure, "Time to first token over prompt length, computed again and loaded")


def gaps(result: Fields) -> str:
    """Gaps between chunks of text for each arm: half of them lie in the box, 98 % within the whiskers."""
    found = {name: _gaps(result, name) for name, _ in arms(result)}
    found = {name: values for name, values in found.items() if values}
    if not found:
        return ""
    with style("gaps"):
        figure, axes = drawing(0.5 * len(found) + 0.7)
        for place, (name, values) in enumerate(found.items()):
            _box(axes, place, name, values)
        axes.set(ylim=(len(found) - 0.5, -0.7), yticks=[], xlabel="ms between chunks")
        axes.spines["left"].set_visible(False)
        scale(axes, "x", [ms for values in found.values() for ms in values if ms > 0], WIDE_TAIL)
        return svg(figure, f"Inter-token latency of {', '.join(found)}")


def timeline(result: Fields) -> str:
    """TTFT by the time a sample was started; a cross is one that does not count."""
    valid = [row for row in counted(result) if is_finite(row.get("started_s")) and is_finite(row.get("ttft_ms"))]
    if not valid:
        return ""
    every = [row["ttft_ms"] for row in valid]
    unit, clock = unit_for(every), _clock(valid)
    names = dict.fromkeys(str(row.get("arm")) for row in valid)
    with style("timeline"):
        figure, axes = drawing(3.4 + 0.3 * max(0, len(names) // 3 - 2))  # three names of the legend take a line
        for name in names:
            own = [row for row in valid if str(row.get("arm")) == name]
            look: dict[str, Any] = {"color": colour(name), "marker": marker(name)}
            axes.plot(*_course(own, clock, unit), linestyle="", markersize=4.5, label=name, **look)
        _crosses(axes, result, clock, unit, min(every))
        axes.set(xlabel=f"since the run began, {clock.name}", ylabel=f"TTFT, {unit.name}")
        scale(axes, "y", [ms / unit.ms for ms in every])
        figure.legend(loc="outside lower center", ncols=3, handletextpad=0, columnspacing=1)
        return svg(figure, "Time to first token of every sample by the time it was started")


PLOTS: Mapping[str, Plot] = {
    "Median TTFT with its interval (bar); each dot is a sample that counted.": arms_plot,
    "TTFT by prompt length: medians with intervals, the fits (lines) and the break-even (dashed).": by_length,
    "Gaps between chunks: half lie in the box, 98 % within the whiskers, the rest are dots.": gaps,
    "Every sample when it was started; a cross does not count, and stands at the bottom without a TTFT.": timeline,
}


def _rung(axes: Axes, place: int, name: str, arm: Fields, single: Sequence[float], unit: TimeUnit) -> None:
    median, paint = arm["median_ttft_ms"] / unit.ms, colour(name)
    spread = [place + (index % 3 - 1) * 0.07 for index in range(len(single))]
    axes.plot([ms / unit.ms for ms in single], spread, "o", color=paint, alpha=0.45, markersize=4, markeredgewidth=0)
    low, high = number(arm, "ttft_ci_low_ms"), number(arm, "ttft_ci_high_ms")
    if low is not None and high is not None:
        axes.plot([low / unit.ms, high / unit.ms], [place, place], color=paint, linewidth=2.5, solid_capstyle="butt")
    axes.plot([median], [place], "|", color=paint, markersize=15, markeredgewidth=2.5)
    label(axes, place - 0.38, f"{name}: {unit(arm['median_ttft_ms'])}")


def _points(found: Iterable[Fields], side: str) -> Sequence[tuple[float, float, float, float]]:
    """Length, median, and how far the interval reaches below and above, in ms."""
    points = []
    for row in found:
        length, arm = number(row, "input_len"), fields(row, side)
        median, low, high = (number(arm, f"{name}_ms") for name in ("median_ttft", "ttft_ci_low", "ttft_ci_high"))
        if length is not None and median is not None:
            below, above = (0 if end is None else abs(end - median) for end in (low, high))
            points.append((length, median, below, above))
    return points


def _series(axes: Axes, name: str, points: Sequence[tuple[float, ...]], unit: TimeUnit) -> None:
    if points:
        lengths, medians, below, above = zip(*points, strict=True)
        heights, *reach = ([ms / unit.ms for ms in column] for column in (medians, below, above))
        axes.errorbar(
            lengths, heights, reach, fmt=marker(name), color=colour(name), label=name, markersize=5, capsize=3
        )


def _fit(axes: Axes, name: str, terms: Sequence[float], points: Sequence[tuple[float, ...]], unit: TimeUnit) -> None:
    if terms and points:
        longest = max(point[0] for point in points)
        lengths = [longest * step / 60 for step in range(1, 61)]
        heights = [sum(term * n**power for power, term in enumerate(terms)) / unit.ms for n in lengths]
        shown = [(n, height) for n, height in zip(lengths, heights, strict=True) if height > 0]
        axes.plot(*zip(*shown, strict=True), color=colour(name), linewidth=1.2)


def _mark(axes: Axes, tokens: float | None) -> None:
    if tokens is not None:
        said = f"break-even, {count(tokens)} tokens"
        axes.axvline(tokens, color=colour(), linestyle="--", linewidth=1, label=said)


def _box(axes: Axes, place: int, name: str, values: Sequence[float]) -> None:
    line: dict[str, Any] = {"color": colour(name), "linewidth": 1.5}
    dots = {"marker": "o", "markersize": 2.5, "markerfacecolor": colour(name), "markeredgewidth": 0}
    axes.boxplot(
        [values], positions=[place], orientation="horizontal", whis=(1, 99), widths=0.3, manage_ticks=False,
        boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 2.5}, flierprops=dots,
    )  # fmt: skip
    label(axes, place - 0.35, name)


def _clock(valid: Iterable[Fields]) -> TimeUnit:
    return TimeUnit("min", 60) if max(row["started_s"] for row in valid) > 300 else TimeUnit("s", 1)


def _course(found: Iterable[Fields], clock: TimeUnit, unit: TimeUnit) -> tuple[list[float], list[float]]:
    found = list(found)
    return [row["started_s"] / clock.ms for row in found], [row["ttft_ms"] / unit.ms for row in found]


def _crosses(axes: Axes, result: Fields, clock: TimeUnit, unit: TimeUnit, floor: float) -> None:
    """One without a TTFT stands at the fastest sample's."""
    found = [row for row in not_counted(result) if is_finite(row.get("started_s"))]
    placed = [{**row, "ttft_ms": number(row, "ttft_ms") or floor} for row in found]
    if placed:
        look: dict[str, Any] = {"color": "#111827", "markersize": 7, "markeredgewidth": 1.8, "label": "does not count"}
        axes.plot(*_course(placed, clock, unit), "x", **look)


def _ttfts(result: Fields, arm: str) -> Sequence[float]:
    return [row["ttft_ms"] for row in counted(result) if row.get("arm") == arm and is_finite(row.get("ttft_ms"))]


def _gaps(result: Fields, arm: str) -> Sequence[float]:
    own = [row for row in counted(result) if row.get("arm") == arm]
    return [seconds * S.ms / MS.ms for row in own for seconds in numbers(row, "itls")]
