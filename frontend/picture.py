"""The race as an SVG to paste into slides: TTFT to scale, what was asked, of what, by which model, when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from engines.prompt import Prompt
from engines.topology import Engine
from frontend.bars import seconds, title
from frontend.palette import ENGINES
from frontend.race import Pane
from frontend.visitor import Visit

WIDTH, ROW, TOP, LEFT, RIGHT = 1200, 84, 150, 310, 320


def picture(visit: Visit, now: datetime) -> str:
    """On white, for slides; empty before any TTFT."""
    shown = [(engine, pane) for engine in visit.engines if (pane := visit.race.panes[engine.name]).ttft is not None]
    longest = max((pane.ttft or 0 for _, pane in shown), default=0)
    if not longest:
        return ""
    asked = list(dict.fromkeys(pane.prompt for _, pane in shown if pane.prompt))
    height = TOP + ROW * len(shown) + 50
    rows = "".join(_row(index, engine, pane, longest, len(asked) > 1) for index, (engine, pane) in enumerate(shown))
    facts = ["TTFT Arena", visit.model, f"{now:%Y-%m-%d %H:%M %Z}", "measured, one run"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="40" y="62" font-size="34" font-weight="700" fill="#111827">Time to first token</text>'
        f'<text x="40" y="104" font-size="20" fill="#4b5563">{escape(_subject(visit, asked))}</text>'
        f'{rows}<text x="40" y="{height - 20}" font-size="15" fill="#6b7280">'
        f"{escape(' · '.join(filter(None, facts)))}</text></svg>"
    )


def _subject(visit: Visit, asked: Sequence[Prompt]) -> str:
    """The question, where the bars share one, and what it is about."""
    about = visit.context(asked[0]) if asked else visit.name
    question = f"“{_short(asked[0].question, 96)}” · " if len(asked) == 1 else ""
    media = "".join(f" · {_short(each.name, 30)}" for each in (asked[0].media[:2] if asked else ()))
    return f"{question}{_short(about, 60)}{media}"


def _row(index: int, engine: Engine, pane: Pane, longest: float, several: bool) -> str:
    y, room = TOP + index * ROW, WIDTH - LEFT - RIGHT
    width = room * (pane.ttft or 0) / longest
    colour = ENGINES.get(engine.name, ("#374151", ""))[0]
    value = seconds(pane.ttft or 0)
    source = escape(pane.reply.source) if pane.reply else ""
    question = f"“{escape(_short(pane.prompt.question, 34))}”" if several and pane.prompt else ""
    return (
        f'<text x="40" y="{y + (33 if several else 38)}" font-size="22" fill="#111827">{title(engine)}</text>'
        f'<text x="40" y="{y + 54}" font-size="14" fill="#4b5563">{question}</text>'
        f'<rect x="{LEFT}" y="{y + 10}" width="{max(2.0, width):.1f}" height="44" rx="6" fill="{colour}"/>'
        f'<text x="{LEFT + width + 14:.1f}" y="{y + 33}" font-size="26" font-weight="700" fill="#111827">{value}</text>'
        f'<text x="{LEFT + width + 14:.1f}" y="{y + 54}" font-size="15" fill="#4b5563">{source}</text>'
    )


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
