"""An engine's pane as HTML: its timer or TTFT, the comparison with plain vLLM, its cost and its answer."""

from __future__ import annotations

from client.reply import Reply
from config.topology import Engine
from frontend.bars import seconds, sources_bar, title
from frontend.race import Pane, PaneStatus, Race
from frontend.sanitize import escape_html, render_markdown

SAME_TTFT = 1.05  # an engine's own times vary by up to this ratio
WITHOUT_TTFT = {
    PaneStatus.IDLE: "not asked yet",
    PaneStatus.QUEUED: "waiting for its turn",
    PaneStatus.STOPPED: "stopped",
    PaneStatus.FAILED: "no answer",
}
DOING = {
    PaneStatus.ASKED: "reading the prompt",
    PaneStatus.ANSWERING: "answering",
    PaneStatus.STORING: "storing on the KV volume",
}


def pane_html(race: Race, engine: Engine) -> str:
    """Returns the engine's pane as HTML."""
    pane, name = race.panes[engine.name], title(engine)
    ttft_ms = "" if pane.ttft is None else f"{pane.ttft * 1e3:.1f}"
    copy = '<button type="button" data-copy="answer">Copy</button>' if pane.text and not pane.at_work else ""
    return (
        f'<section class="pane {engine.name}" data-engine="{engine.name}" data-stage="{pane.status}" '
        f'data-first-ms="{pane.first * 1e3:.1f}" '
        f'aria-label="{name}"><header><h2>{name}</h2><code>{engine.name}</code></header>'
        f'<p class="ttft" data-ttft-ms="{ttft_ms}">{_headline(pane)}</p>'
        f'<p class="state">{DOING.get(pane.status, "")}</p>{_comparison(race, engine, pane)}{_cost(pane)}{_fault(pane)}'
        f'{_reasoning(pane)}<div class="answer" tabindex="0" role="region" aria-label="Answer of {name}">'
        f"{render_markdown(pane.text)}</div>"
        f"<footer>{copy}</footer></section>"
    )


def _headline(pane: Pane) -> str:
    """Returns the TTFT, a timer or the status. The timer runs in the browser (page.js), at no cost to the server."""
    if pane.ttft is not None:
        return f"{seconds(pane.ttft)} <small>to first token</small>"
    if pane.status is PaneStatus.ASKED:
        data = f'data-clock="{pane.engine}" data-calm-s="{pane.pause_s}"'
        return f'<span class="clock" {data} aria-hidden="true">0.0 s</span>'
    return f'<span class="quiet">{WITHOUT_TTFT.get(pane.status, "")}</span>'


def _comparison(race: Race, engine: Engine, pane: Pane) -> str:
    """Compares with the plain engine; its source is shown so that a warm engine is not mistaken for a cold one."""
    baseline, reply = race.baseline(engine), pane.reply
    base = baseline.reply if baseline else None
    if base is None or reply is None:
        return f'<p class="against quiet">{escape_html(reply.source) if reply else ""}</p>'
    ratio = base.ttft / reply.ttft
    if 1 / SAME_TTFT <= ratio <= SAME_TTFT:
        speed = "as fast as"
    else:
        speed = f"{ratio:.1f}× faster than" if ratio > 1 else f"{1 / ratio:.1f}× slower than"
    word = first_difference(reply.text, base.text)
    same = f'<span class="differs">differs at word {word}</span>' if word else '<span class="same">same answer</span>'
    said = f"<strong>{speed}</strong> {base.engine}: {reply.source} against {base.source}"
    return f'<p class="against">{said} · {same}</p>'


def first_difference(one: str, other: str) -> int | None:
    """Returns the position, from 1, of the first word in which two texts differ; None if they have the same words."""
    left, right = one.split(), other.split()
    if left == right:
        return None
    same = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return same + 1


def _reasoning(pane: Pane) -> str:
    """Returns the reasoning, expanded until the answer starts."""
    if not pane.reasoning:
        return ""
    opened = "" if pane.text else " open"
    words = f"<summary>Reasoning</summary>{render_markdown(pane.reasoning)}"
    return f'<details class="reasoning note"{opened}>{words}</details>'


def _cost(pane: Pane) -> str:
    if pane.reply is None:
        return ""
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _cost_numbers(pane.reply))
    return f'{sources_bar(pane.reply)}<dl class="cost">{facts}</dl>'


def _cost_numbers(reply: Reply) -> tuple[tuple[str, str], ...]:
    return (
        ("ITL", "–" if reply.mean_itl is None else f"{reply.mean_itl * 1e3:.0f} ms"),
        ("tokens/s", f"{1 / reply.tpot:.1f}" if reply.tpot else "–"),
        ("prompt tokens", f"{reply.usage.prompt_tokens:,}"),
        ("cached", reply.usage.cached),
    )


def _fault(pane: Pane) -> str:
    """Returns why a question failed, or what went wrong after its answer."""
    if pane.status is PaneStatus.STOPPED:
        return '<p class="note">stopped</p>' if pane.ttft is not None else ""
    if pane.fault:
        return f'<p class="fault" role="alert">{escape_html(pane.fault)}</p>'
    return f'<p class="note">{escape_html(pane.note)}</p>' if pane.note else ""
