"""The conversation so far as HTML: earlier turns with their answers, and the question that the panes answer."""

from __future__ import annotations

from collections.abc import Sequence

from frontend.sanitize import escape_html, render_markdown
from frontend.tab_state import TabState
from media import Media, Modality

SIGNS = {Modality.IMAGE: "picture", Modality.AUDIO: "sound", Modality.VIDEO: "film"}
SHOWN_BYTES = 2**20  # a larger file is named and not shown again


def conversation_html(visit: TabState) -> str:
    """Empty before the first question."""
    asked = visit.race.prompt
    if asked is None and not visit.turns:
        return ""
    turns = "".join(
        f"<li>{_question(turn.question, turn.media, number)}{_answer(turn.answer, number)}</li>"
        for number, turn in enumerate(visit.turns)
    )
    now = f"<li>{_question(asked.question, asked.media, len(visit.turns))}</li>" if asked else ""
    return f'<ol class="turns" aria-label="Conversation">{turns}{now}</ol>'


def _question(text: str, media: Sequence[Media], number: int) -> str:
    return (
        f'<div class="asked"><div class="words">{media_row(media)}{escape_html(text)}</div><span class="tools">'
        f'<button type="button" data-edit="{number}" aria-label="Edit question {number + 1}">Edit</button>'
        f'<button type="button" data-copy="words" aria-label="Copy question {number + 1}">Copy</button></span></div>'
    )


def _answer(text: str, number: int) -> str:
    return (
        f'<div class="reply"><div class="words">{render_markdown(text)}</div><span class="tools">'
        f'<button type="button" data-copy="reply" aria-label="Copy answer {number + 1}">Copy</button></span></div>'
    )


def media_row(media: Sequence[Media]) -> str:
    """Small pictures and players; what is large, or lies elsewhere, is named."""
    return f'<div class="media">{"".join(map(_shown, media))}</div>' if media else ""


def _shown(media: Media) -> str:
    name = escape_html(media.name)
    if media.url or media.size > SHOWN_BYTES:
        return f'<span class="chip">{SIGNS[media.modality]}: {name}</span>'
    source = f"data:{media.mime};base64,{media.base64}"
    if media.modality is Modality.IMAGE:
        return f'<img src="{escape_html(source)}" alt="{name}" title="{name}">'
    tag = "audio" if media.modality is Modality.AUDIO else "video"
    return f'<{tag} controls preload="metadata" src="{escape_html(source)}" aria-label="{name}" title="{name}"></{tag}>'
