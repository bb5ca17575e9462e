"""Plots of a result as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.question_results import LengthSummary
from bench.report.budget_plot import budget_plot
from bench.report.number_format import S, TimeUnit, count, duration, unit_for
from bench.report.plot_style import OTHER, WIDE_TAIL, drawing, in_style, label, look, scale, to_svg
from bench.result import Result
from bench.result_part import ArmSummary, Number

Drawn = tuple[Figure, str] | None  # the figure and its description; None if there is no data for it


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its caption; `description` is the text for screen readers."""

    caption: str
    description: str
    svg: bytes


def plots(result: Result) -> list[Plot]:
    """All plots for which the result has data."""
    found = list[Plot]()
    with in_style():
        for caption, draw in PLOTS.items():
            if drawn := draw(result):
                figure, description = drawn
                found.append(Plot(caption, description, to_svg(figure)))
    return found


def _by_arm(result: Result) -> Drawn:
    """One row for each arm, with every counted sample as a dot, and the median and its interval drawn over the dots."""
    medians = {name: arm.median_ttft_ms for name, arm in result.arms.items() if arm.median_ttft_ms is not None}
    if not medians:
        return None
    single = {name: [ttft for arm, _, ttft in _counted(result) if arm == name] for name in medians}
    every = [*(ms for values in single.values() for ms in values), *medians.values()]
    unit = unit_for(every)
    figure, axes = drawing(0.66 * len(medians) + 0.6)
    for place, name in enumerate(medians):
        _arm_row(axes, place, name, result.arms[name], single[name], unit)
    axes.set(ylim=(len(medians) - 0.45, -0.7), yticks=[], xlabel=f"TTFT, {unit.name}")
    axes.spines["left"].set_visible(False)
    scale(axes, "x", [ms / unit.ms for ms in every])
    texts = ", ".join(f"{name} {duration(ms)}" for name, ms in medians.items())
    return figure, f"Median time to first token of each arm: {texts}"


def _by_length(result: Result) -> Drawn:
    """TTFT over prompt length, computed and loaded, with the fits and the break-even."""
    found = result.break_even
    series = {
        "computed": (_points((row, row.recompute) for row in result.lengths), found.recompute_fit),
        "loaded": (_points((row, row.load) for row in result.lengths), found.load_fit),
    }
    every = [ms for points, _ in series.values() for _, ms, _, _ in points]
    if not every:
        return None
    unit = unit_for(every)
    figure, axes = drawing(3.4)
    for name, (points, fit) in series.items():
        if points:
            _series(axes, name, points, unit)
            _fit(axes, name, fit or (), points, unit)
    if found.input_len is not None:
        even = f"break-even, {count(found.input_len)} tokens"
        axes.axvline(found.input_len, color=OTHER[0], linestyle="--", linewidth=1, label=even)
    axes.set(xlabel="prompt tokens", ylabel=f"TTFT, {unit.name}", xlim=(0, None))
    scale(axes, "y", [ms / unit.ms for ms in every])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    figure.legend(loc="outside lower center", ncols=3, columnspacing=1)
    return figure, "Time to first token over prompt length, computed again and loaded"


def _gaps(result: Result) -> Drawn:
    """Gaps between chunks of text for each arm: the box contains half of them, the whiskers span 98 %."""
    found: dict[str, list[float]] = {name: [] for name in result.arms}
    for row in result.counted:
        if row.arm in found:
            found[row.arm] += [gap * S.ms for gap in row.itls if gap is not None]
    found = {name: gaps for name, gaps in found.items() if gaps}
    if not found:
        return None
    figure, axes = drawing(0.5 * len(found) + 0.7)
    for place, (name, values) in enumerate(found.items()):
        _box(axes, place, name, values)
    axes.set(ylim=(len(found) - 0.5, -0.7), yticks=[], xlabel="ms between chunks")
    axes.spines["left"].set_visible(False)
    scale(axes, "x", [ms for values in found.values() for ms in values if ms > 0], WIDE_TAIL)
    return figure, f"Inter-token latency of {', '.join(found)}"


def _timeline(result: Result) -> Drawn:
    """TTFT of each sample over the time at which it started; crosses are samples that do not count."""
    valid = _counted(result)
    if not valid:
        return None
    every = [ttft for _, _, ttft in valid]
    unit = unit_for(every)
    clock = TimeUnit("min", 60) if max(started for _, started, _ in valid) > 300 else TimeUnit("s", 1)
    arms = list(dict.fromkeys(arm for arm, _, _ in valid))
    figure, axes = drawing(3.4 + 0.3 * max(0, len(arms) // 3 - 2))  # a line of the legend has three names
    for name in arms:
        colour, marker = look(name)
        own = [(started, ttft) for arm, started, ttft in valid if arm == name]
        _dots(axes, own, clock, unit, color=colour, marker=marker, markersize=4.5, label=name)
    crosses = [(row.started_s, row.ttft_ms or min(every)) for row in result.not_counted if row.started_s is not None]
    if crosses:
        cross: dict[str, Any] = {"color": "#111827", "marker": "x", "markersize": 7, "markeredgewidth": 1.8}
        _dots(axes, crosses, clock, unit, label="does not count", **cross)
    axes.set(xlabel=f"since the run began, {clock.name}", ylabel=f"TTFT, {unit.name}")
    scale(axes, "y", [ms / unit.ms for ms in every])
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0, columnspacing=1)
    return figure, "Time to first token of every sample by the time it was started"


PLOTS: Mapping[str, Callable[[Result], Drawn]] = {
    "Median TTFT with its interval (bar); each dot is a sample that counted.": _by_arm,
    "TTFT by prompt length: medians with intervals, the fits (lines) and the break-even (dashed).": _by_length,
    "Parts of the mean TTFT of each arm; parts beyond 100 % are times that overlap.": budget_plot,
    "Gaps between chunks: half lie in the box, 98 % within the whiskers, the rest are dots.": _gaps,
    "Every sample when it was started; a cross does not count, and is at the bottom without a TTFT.": _timeline,
}


def _counted(result: Result) -> list[tuple[str, float, float]]:
    """Arm, start in seconds and TTFT in ms of each sample that counts and has both times."""
    return [
        (row.arm, row.started_s, row.ttft_ms)
        for row in result.counted
        if row.started_s is not None and row.ttft_ms is not None
    ]


def _arm_row(axes: Axes, place: int, name: str, arm: ArmSummary, single: Sequence[float], unit: TimeUnit) -> None:
    assert arm.median_ttft_ms is not None
    paint, low, high = look(name)[0], arm.ttft_ci_low_ms, arm.ttft_ci_high_ms
    spread = [place + (index % 3 - 1) * 0.07 for index in range(len(single))]
    axes.plot([ms / unit.ms for ms in single], spread, "o", color=paint, alpha=0.45, markersize=4, markeredgewidth=0)
    if low is not None and high is not None:
        axes.plot([low / unit.ms, high / unit.ms], [place, place], color=paint, linewidth=2.5, solid_capstyle="butt")
    axes.plot([arm.median_ttft_ms / unit.ms], [place], "|", color=paint, markersize=15, markeredgewidth=2.5)
    label(axes, place - 0.38, f"{name}: {unit(arm.median_ttft_ms)}")


def _points(found: Iterable[tuple[LengthSummary, ArmSummary]]) -> Sequence[tuple[float, float, float, float]]:
    """Prompt length in tokens; then in ms the median and how far its interval extends below and above it."""
    return [
        (row.input_len, arm.median_ttft_ms, _reach(arm, arm.ttft_ci_low_ms), _reach(arm, arm.ttft_ci_high_ms))
        for row, arm in found
        if row.input_len is not None and arm.median_ttft_ms is not None
    ]


def _reach(arm: ArmSummary, end: Number) -> float:
    return 0 if end is None or arm.median_ttft_ms is None else abs(end - arm.median_ttft_ms)


def _series(axes: Axes, name: str, points: Sequence[tuple[float, ...]], unit: TimeUnit) -> None:
    lengths, medians, below, above = zip(*points, strict=True)
    heights, *reach = ([ms / unit.ms for ms in column] for column in (medians, below, above))
    colour, marker = look(name)
    axes.errorbar(lengths, heights, reach, fmt=marker, color=colour, label=name, markersize=5, capsize=3)


def _fit(axes: Axes, name: str, fit: Sequence[Number], points: Sequence[tuple[float, ...]], unit: TimeUnit) -> None:
    terms = [term for term in fit if term is not None]
    longest = max(point[0] for point in points)
    lengths = [longest * step / 60 for step in range(1, 61)]
    heights = [sum(term * n**power for power, term in enumerate(terms)) / unit.ms for n in lengths]
    shown = [(n, height) for n, height in zip(lengths, heights, strict=True) if height > 0]
    if shown:
        axes.plot(*zip(*shown, strict=True), color=look(name)[0], linewidth=1.2)


def _box(axes: Axes, place: int, name: str, values: Sequence[float]) -> None:
    colour, _ = look(name)
    line: dict[str, Any] = {"color": colour, "linewidth": 1.5}
    dots = {"marker": "o", "markersize": 2.5, "markerfacecolor": colour, "markeredgewidth": 0}
    axes.boxplot(
        [values], positions=[place], orientation="horizontal", whis=(1, 99), widths=0.3, manage_ticks=False,
        boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 2.5}, flierprops=dots,
    )  # fmt: skip
    label(axes, place - 0.35, name)


def _dots(axes: Axes, found: Sequence[tuple[float, float]], clock: TimeUnit, unit: TimeUnit, **look: Any) -> None:
    axes.plot([at / clock.ms for at, _ in found], [ms / unit.ms for _, ms in found], linestyle="", **look)
