"""The race as an SVG to paste into slides: TTFT to scale, what was asked, of what, when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from engines.topology import Engine
from frontend.bars import seconds, title
from frontend.palette import ENGINES
from frontend.race import Pane, Race

WIDTH, ROW, TOP, LEFT, RIGHT = 1200, 84, 150, 310, 320


def picture(race: Race, engines: Sequence[Engine], document: str, now: datetime) -> str:
    """On white, for slides; empty before any TTFT."""
    longest = max((pane.ttft or 0 for pane in race.panes.values()), default=0)
    if not longest:
        return ""
    shown = [engine for engine in engines if race.panes[engine.name].ttft is not None]
    height = TOP + ROW * len(shown) + 50
    rows = "".join(_row(index, engine, race.panes[engine.name], longest) for index, engine in enumerate(shown))
    question = _short(race.prompt.question if race.prompt else "", 96)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="40" y="62" font-size="34" font-weight="700" fill="#111827">Time to first token</text>'
        f'<text x="40" y="104" font-size="20" fill="#4b5563">“{escape(question)}” · '
        f"{escape(_short(document, 60))}</text>"
        f'{rows}<text x="40" y="{height - 20}" font-size="15" fill="#6b7280">TTFT Arena · '
        f"{now:%Y-%m-%d %H:%M %Z} · measured, one run</text></svg>"
    )


def _row(index: int, engine: Engine, pane: Pane, longest: float) -> str:
    y, room = TOP + index * ROW, WIDTH - LEFT - RIGHT
    width = room * (pane.ttft or 0) / longest
    colour = ENGINES.get(engine.name, ("#374151", ""))[0]
    value = seconds(pane.ttft or 0)
    source = escape(pane.reply.source) if pane.reply else ""
    return (
        f'<text x="40" y="{y + 38}" font-size="22" fill="#111827">{title(engine)}</text>'
        f'<rect x="{LEFT}" y="{y + 10}" width="{max(2.0, width):.1f}" height="44" rx="6" fill="{colour}"/>'
        f'<text x="{LEFT + width + 14:.1f}" y="{y + 33}" font-size="26" font-weight="700" fill="#111827">{value}</text>'
        f'<text x="{LEFT + width + 14:.1f}" y="{y + 54}" font-size="15" fill="#4b5563">{source}</text>'
    )


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
