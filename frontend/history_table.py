"""One page of the history as an HTML table."""

from __future__ import annotations

from collections.abc import Sequence

from frontend.bars import seconds
from frontend.history import HistoryRow
from frontend.sanitize import escape_html


def history_table(rows: Sequence[HistoryRow], page: int, pages: int, count: int) -> str:
    """One page of the history, newest first."""
    if not rows:
        return ""
    head = "".join(
        f"<th scope='col'>{name}</th>" for name in ("#", "time", "engine", "question", "TTFT", "cached", "source")
    )
    body = "".join(
        f"<tr><td>{row.number}</td><td>{row.at:%H:%M:%S}</td>"
        f'<td><span class="who {row.engine}">{row.engine}</span></td>'
        f"<td>{escape_html(_said(row))}</td>{_measured(row)}</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Questions"><table class="history">'
        f"<caption>{count:,} rows, page {page + 1} of {pages}; times are UTC</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _said(row: HistoryRow) -> str:
    media = f"[{', '.join(row.media)}] " if row.media else ""
    text = media + " ".join(row.question.split())
    return text if len(text) <= 140 else f"{text[:139]}…"


def _measured(row: HistoryRow) -> str:
    if row.reply is None:
        return f'<td colspan="3" class="fault">{escape_html(row.reason[:160])}</td>'
    usage = row.reply.usage
    cached = f"{usage.cached} of {usage.prompt_tokens:,}"
    return f"<td>{seconds(row.reply.ttft)}</td><td>{cached}</td><td>{row.reply.source}</td>"
