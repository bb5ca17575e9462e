"""TTFT of every engine over the time of the visit, as an SVG in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil, floor, log10

from config.topology import Engine
from frontend.bars import title
from frontend.history import HistoryRow

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 1400, 280, 70, 30, 14
SPAN = timedelta(seconds=10)  # at least, from the left to the right
POINTS = 400  # the newest; more would be one on another
SHAPES = ("circle", "square", "diamond", "triangle")


def chart(rows: Sequence[HistoryRow], engines: Sequence[Engine]) -> str:
    """TTFT on a logarithmic scale; empty before the first."""
    found = [row for row in rows if row.reply][-POINTS:]
    if not found:
        return '<p class="quiet">No question yet: ask one, and its times stand here.</p>'
    ttfts = [row.reply.ttft for row in found if row.reply]
    low, high = floor(log10(min(ttfts))), max(ceil(log10(max(ttfts))), floor(log10(min(ttfts))) + 1)
    first, last = min(row.at for row in found), max(row.at for row in found)
    until = max(last, first + SPAN)

    def x(at: datetime) -> float:
        return LEFT + 10 + (WIDTH - LEFT - 40) * ((at - first) / (until - first))

    def y(ttft: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (log10(ttft) - low) / (high - low)

    lines = "".join(_grid(10.0**power, y(10.0**power)) for power in range(low, high + 1))
    marks = []
    for index, engine in enumerate(engines):
        points = [(x(row.at), y(row.reply.ttft)) for row in found if row.reply and row.engine == engine.name]
        marks.append(_series(engine, points, SHAPES[index % 4]))
    legend = "".join(
        f'<li class="{engine.name}"><svg width="14" height="14" aria-hidden="true">'
        f"{_mark(7, 7, SHAPES[index % 4])}</svg> {title(engine)}</li>"
        for index, engine in enumerate(engines)
    )
    return (
        f'<figure class="chart" tabindex="0"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="TTFT of the last {len(found)} answers, over the time of the visit">{lines}{"".join(marks)}'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{first:%H:%M:%S}</text>'
        f'<text x="{WIDTH - 20}" y="{HEIGHT - 8}" text-anchor="end">{until:%H:%M:%S} UTC</text></svg>'
        f"<ul>{legend}</ul></figure>"
    )


def _grid(value: float, y: float) -> str:
    name = f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.0f} s"
    line = f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'


def _series(engine: Engine, points: Sequence[tuple[float, float]], shape: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(_mark(x, y, shape) for x, y in points)
    return f'<g class="{engine.name}"><polyline points="{path}"/>{marks}</g>'


def _mark(x: float, y: float, shape: str) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if shape == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    corners = ((0, -6), (6, 0), (0, 6), (-6, 0)) if shape == "diamond" else ((0, -6), (6, 5), (-6, 5))
    return f'<polygon points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)}"/>'
