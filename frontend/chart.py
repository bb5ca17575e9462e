"""The TTFT of every engine over the visit, as an SVG in the page's colours.

Gradio's plots have no logarithmic axis. An SVG also needs no plot library in the browser, which may share its cores
with the engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from math import ceil, floor, log10

from config.topology import Engine
from frontend.bars import title
from frontend.history import HistoryRow

WIDTH, HEIGHT = 1400, 280  # in SVG units, as are the numbers below
LEFT, RIGHT, TOP, BOTTOM = 70, 1380, 14, 250  # edges of the plot
MARGIN = 10  # between an edge and the first or last point
MIN_SPAN = timedelta(seconds=10)
MAX_POINTS = 400  # the newest; more would overlap
SHAPES = (  # around the origin; one for each engine, so that they differ not only in colour
    '<circle r="4.5"/>',
    '<rect x="-4" y="-4" width="8" height="8"/>',
    '<polygon points="0,-6 6,0 0,6 -6,0"/>',
    '<polygon points="0,-6 6,5 -6,5"/>',
)


def chart(rows: Sequence[HistoryRow], engines: Sequence[Engine]) -> str:
    """Draws the newest rows with a reply, TTFT on a logarithmic scale; returns a sentence if there are none."""
    answered = [(row, row.reply.ttft) for row in rows if row.reply][-MAX_POINTS:]
    if not answered:
        return '<p class="quiet">No question yet: ask one, and its times are drawn here.</p>'
    low = floor(log10(min(ttft for _, ttft in answered)))
    high = max(low + 1, ceil(log10(max(ttft for _, ttft in answered))))
    first = min(row.at for row, _ in answered)
    until = max(first + MIN_SPAN, *(row.at for row, _ in answered))

    def y(ttft: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (log10(ttft) - low) / (high - low)

    points: dict[str, list[tuple[float, float]]] = {engine.name: [] for engine in engines}
    for row, ttft in answered:
        x = LEFT + MARGIN + (RIGHT - LEFT - 2 * MARGIN) * ((row.at - first) / (until - first))
        points[row.engine].append((x, y(ttft)))
    lines = "".join(_grid_line(10.0**power, y(10.0**power)) for power in range(low, high + 1))
    drawn, legend = "", ""
    for engine, shape in zip(engines, SHAPES, strict=False):
        drawn += _series(engine.name, points[engine.name], shape)
        icon = f'<svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">{shape}</svg>'
        legend += f'<li class="{engine.name}">{icon} {title(engine)}</li>'
    return (
        f'<figure class="chart" tabindex="0"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="TTFT of the last {len(answered)} answers, over the time of the visit">{lines}{drawn}'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{first:%H:%M:%S}</text>'
        f'<text x="{RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{until:%H:%M:%S} UTC</text></svg>'
        f"<ul>{legend}</ul></figure>"
    )


def _grid_line(ttft: float, y: float) -> str:
    name = f"{ttft * 1e3:.0f} ms" if ttft < 1 else f"{ttft:.0f} s"
    line = f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'


def _series(name: str, points: Sequence[tuple[float, float]], shape: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(f'<g transform="translate({x:.1f} {y:.1f})">{shape}</g>' for x, y in points)
    return f'<g class="{name}"><polyline points="{path}"/>{marks}</g>'
