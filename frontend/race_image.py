"""The race as an SVG to paste into slides: TTFT to scale, what was asked, of what, by which model, when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from client.prompt import Prompt
from config.topology import Engine
from frontend.bars import seconds, title
from frontend.palette import ENGINES
from frontend.race import Pane
from frontend.tab_state import NO_DOCUMENT, TabState

WIDTH, ROW, LEFT, RIGHT = 1200, 84, 310, 320
TOP, LINE = 120, 30  # of the first line below the title, and from one to the next


def race_svg(visit: TabState, now: datetime) -> str:
    """On white, for slides; empty before any TTFT."""
    shown = [(engine, pane) for engine in visit.engines if (pane := visit.race.panes[engine.name]).ttft is not None]
    longest = max((pane.ttft or 0 for _, pane in shown), default=0)
    if not longest:
        return ""
    asked = list(dict.fromkeys(pane.prompt for _, pane in shown if pane.prompt))
    subject = _subject(visit, asked)
    bars = TOP + LINE * len(subject)
    height = bars + ROW * len(shown) + 50
    rows = "".join(_row(bars + ROW * index, engine, pane, longest, asked) for index, (engine, pane) in enumerate(shown))
    facts = ["TTFT Arena", visit.model, f"{now:%Y-%m-%d %H:%M %Z}", "measured, one run"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="40" y="62" font-size="34" font-weight="700" fill="#111827">Time to first token</text>'
        f"{''.join(_line(TOP - 16 + LINE * index, text) for index, text in enumerate(subject))}"
        f'{rows}<text x="40" y="{height - 20}" font-size="15" fill="#6b7280">'
        f"{escape(' · '.join(filter(None, facts)))}</text></svg>"
    )


def _subject(visit: TabState, asked: Sequence[Prompt]) -> Sequence[str]:
    """What the question is about, and the question; where the bars have several, each on a line of its own."""
    names = [visit.context(asked[0]), *(each.name for each in asked[0].media)] if asked else []
    about = " · ".join(_short(name, 60) for name in names[:3] if name != NO_DOCUMENT or len(names) == 1)
    questions = [_short(prompt.question, 96) for prompt in asked]
    if len(questions) == 1:
        return [f"“{questions[0]}” · {about}"]
    return [about, *(f"{number}. “{question}”" for number, question in enumerate(questions, 1))]


def _line(y: int, text: str) -> str:
    return f'<text x="40" y="{y}" font-size="20" fill="#4b5563">{escape(text)}</text>'


def _row(y: int, engine: Engine, pane: Pane, longest: float, asked: Sequence[Prompt]) -> str:
    room, several = WIDTH - LEFT - RIGHT, len(asked) > 1
    width = room * (pane.ttft or 0) / longest
    colour = ENGINES.get(engine.name, ("#374151", ""))[0]
    value = seconds(pane.ttft or 0)
    source = escape(pane.reply.source) if pane.reply else ""
    question = f"question {asked.index(pane.prompt) + 1}" if several and pane.prompt else ""
    return (
        f'<text x="40" y="{y + (33 if several else 38)}" font-size="22" fill="#111827">{title(engine)}</text>'
        f'<text x="40" y="{y + 54}" font-size="15" fill="#4b5563">{question}</text>'
        f'<rect x="{LEFT}" y="{y + 10}" width="{max(2.0, width):.1f}" height="44" rx="6" fill="{colour}"/>'
        f'<text x="{LEFT + width + 14:.1f}" y="{y + 33}" font-size="26" font-weight="700" fill="#111827">{value}</text>'
        f'<text x="{LEFT + width + 14:.1f}" y="{y + 54}" font-size="15" fill="#4b5563">{source}</text>'
    )


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
