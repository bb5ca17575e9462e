"""One engine's pane as HTML: its clock or TTFT, what it is worth against plain vLLM, what it cost, the answer."""

from __future__ import annotations

from client.reply import Reply
from config.topology import Engine
from frontend.bars import seconds, sources_bar, title
from frontend.race import Pane, PaneStatus, Race
from frontend.sanitize import escape_html, render_markdown

SAME_TTFT = 1.05
WAITS = {
    PaneStatus.IDLE: "not asked yet",
    PaneStatus.QUEUED: "waiting for its turn",
    PaneStatus.STOPPED: "stopped",
    PaneStatus.FAILED: "no answer",
}
NOW = {
    PaneStatus.ASKED: "reading the prompt",
    PaneStatus.ANSWERING: "answering",
    PaneStatus.STORING: "storing on the KV volume",
}


def pane_html(race: Race, engine: Engine) -> str:
    """The whole pane."""
    pane = race.panes[engine.name]
    copy = '<button type="button" data-copy="answer">Copy</button>' if pane.text and not pane.at_work else ""
    return (
        f'<section class="pane {engine.name}" data-engine="{engine.name}" data-stage="{pane.stage}" '
        f'data-first-ms="{pane.first * 1e3:.1f}" '
        f'aria-label="{title(engine)}"><header><h2>{title(engine)}</h2><code>{engine.name}</code></header>'
        f'<p class="ttft" data-ttft-ms="{_ms(pane)}">{_large(pane)}</p>'
        f'<p class="state">{NOW.get(pane.stage, "")}</p>{_against(race, engine, pane)}{_cost(pane)}{_fault(pane)}'
        f'{_reasoning(pane)}<div class="answer" tabindex="0" role="region" aria-label="Answer of {title(engine)}">'
        f"{render_markdown(pane.text)}</div>"
        f"<footer>{copy}</footer></section>"
    )


def _ms(pane: Pane) -> str:
    return "" if pane.ttft is None else f"{pane.ttft * 1e3:.1f}"


def _large(pane: Pane) -> str:
    """The clock runs in the browser from soon after it is first shown (page.js), which costs the server nothing."""
    if pane.ttft is not None:
        return f"{seconds(pane.ttft)} <small>to first token</small>"
    if pane.stage is PaneStatus.ASKED:
        data = f'data-clock="{pane.engine}" data-calm-s="{pane.calm}"'
        return f'<span class="clock" {data} aria-hidden="true">0.0 s</span>'
    return f'<span class="quiet">{WAITS.get(pane.stage, "")}</span>'


def _against(race: Race, engine: Engine, pane: Pane) -> str:
    """Says what the plain engine did, so that a warm one is not taken for a cold one."""
    baseline, reply = race.baseline(engine), pane.reply
    base = baseline.reply if baseline else None
    if base is None or reply is None:
        return f'<p class="against quiet">{escape_html(reply.source) if reply else ""}</p>'
    said = f"<strong>{_times(base.ttft / reply.ttft)}</strong> {base.engine}: {reply.source} against {base.source}"
    return f'<p class="against">{said}{_sameness(reply, base)}</p>'


def _times(ratio: float) -> str:
    """Up to ALIKE is what one engine differs from itself by."""
    if 1 / SAME_TTFT <= ratio <= SAME_TTFT:
        return "as fast as"
    return f"{ratio:.1f}× faster than" if ratio > 1 else f"{1 / ratio:.1f}× slower than"


def _sameness(reply: Reply, other: Reply) -> str:
    word = first_difference(reply.text, other.text)
    if word is None:
        return ' · <span class="same">same answer</span>'
    return f' · <span class="differs">differs at word {word}</span>'


def first_difference(one: str, other: str) -> int | None:
    """The number, from 1, of the first word in which two texts differ; None when they are alike."""
    left, right = one.split(), other.split()
    if left == right:
        return None
    alike = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return alike + 1


def _reasoning(pane: Pane) -> str:
    """Seen while there is no answer yet, folded once there is."""
    if not pane.reasoning:
        return ""
    opened = "" if pane.text else " open"
    words = f"<summary>Reasoning</summary>{render_markdown(pane.reasoning)}"
    return f'<details class="reasoning note"{opened}>{words}</details>'


def _cost(pane: Pane) -> str:
    if pane.reply is None:
        return ""
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in numbers(pane.reply))
    return f'{sources_bar(pane.reply)}<dl class="cost">{facts}</dl>'


def numbers(reply: Reply) -> tuple[tuple[str, str], ...]:
    """What stands under the bar: inter-token latency, speed, and how many tokens."""
    itl = "–" if reply.mean_itl is None else f"{reply.mean_itl * 1e3:.0f} ms"
    speed = "–" if not reply.tpot else f"{1 / reply.tpot:.1f}"
    usage = reply.usage
    return (
        ("ITL", itl),
        ("tokens/s", speed),
        ("prompt tokens", f"{usage.prompt_tokens:,}"),
        ("cached", usage.cached),
    )


def _fault(pane: Pane) -> str:
    """A question that failed, and what went wrong after one that did not."""
    if pane.stage is PaneStatus.STOPPED:
        return '<p class="note">stopped</p>' if pane.ttft is not None else ""
    if pane.fault:
        return f'<p class="fault" role="alert">{escape_html(pane.fault)}</p>'
    return f'<p class="note">{escape_html(pane.note)}</p>' if pane.note else ""
