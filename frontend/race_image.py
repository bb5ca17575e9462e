"""The race as an SVG for slides: TTFT to scale, the questions and their subject, the model and the date.

The page's own bars (bars.py) depend on its stylesheet, which a saved picture does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from client.prompt import Prompt
from frontend.bars import seconds, title
from frontend.sanitize import one_line
from frontend.tab_state import NO_DOCUMENT, TabState
from frontend.theme import ENGINE_COLOURS

WIDTH, BAR_WIDTH, BAR_LEFT = 1200, 570, 310
FIRST_LINE, LINE, ROW = 104, 30, 84  # first baseline of the text, and the distances between lines and rows, in px
DARK, GREY, LIGHT = "#111827", "#4b5563", "#6b7280"


def race_svg(state: TabState, now: datetime) -> str:
    """Returns the picture, on a white background; empty before any TTFT."""
    shown = [(engine, pane) for engine in state.engines if (pane := state.race.panes[engine.name]).ttft]
    if not shown:
        return ""
    longest = max(pane.ttft or 0 for _, pane in shown)
    asked = list(dict.fromkeys(pane.prompt for _, pane in shown if pane.prompt))
    subject = _subject(state, asked)
    drawn = _text(40, 62, 34, DARK, "Time to first token", bold=True)
    for index, line in enumerate(subject):
        drawn += _text(40, FIRST_LINE + LINE * index, 20, GREY, line)
    y = FIRST_LINE + 16 + LINE * len(subject)
    for engine, pane in shown:
        ttft = pane.ttft or 0
        width = max(2.0, BAR_WIDTH * ttft / longest)
        colour = ENGINE_COLOURS.get(engine.name, ("#374151", ""))[0]
        drawn += _text(40, y + 33, 22, DARK, title(engine))
        if len(asked) > 1 and pane.prompt:
            drawn += _text(40, y + 54, 15, GREY, f"question {asked.index(pane.prompt) + 1}")
        drawn += f'<rect x="{BAR_LEFT}" y="{y + 10}" width="{width:.1f}" height="44" rx="6" fill="{colour}"/>'
        drawn += _text(BAR_LEFT + width + 14, y + 33, 26, DARK, seconds(ttft), bold=True)
        drawn += _text(BAR_LEFT + width + 14, y + 54, 15, GREY, pane.reply.source if pane.reply else "")
        y += ROW
    facts = ("TTFT Arena", state.model, f"{now:%Y-%m-%d %H:%M %Z}", "measured, one run")
    drawn += _text(40, y + 30, 15, LIGHT, " · ".join(filter(None, facts)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 50}" viewBox="0 0 {WIDTH} {y + 50}" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#fff"/>{drawn}</svg>'
    )


def _subject(state: TabState, asked: Sequence[Prompt]) -> Sequence[str]:
    """Returns a line with the subject and one for each question; a single question shares a line with its subject."""
    names = [state.context(asked[0]), *(each.name for each in asked[0].media)] if asked else []
    about = " · ".join(one_line(name, 60) for name in names[:3] if name != NO_DOCUMENT or len(names) == 1)
    questions = [one_line(prompt.question, 96) for prompt in asked]
    if len(questions) == 1:
        return [f"“{questions[0]}” · {about}"]
    return [about, *(f"{number}. “{question}”" for number, question in enumerate(questions, 1))]


def _text(x: float, y: float, size: int, colour: str, words: str, *, bold: bool = False) -> str:
    weight = ' font-weight="700"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" font-size="{size}"{weight} fill="{colour}">{escape(words)}</text>'
