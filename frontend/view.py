"""Panes as HTML. Everything that comes from an engine, a person or a file is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from engines.reply import Reply
from engines.topology import Engine, Kind
from frontend.race import Pane, Race

TITLES = {Kind.PLAIN: "vLLM", Kind.LMCACHE: "vLLM + LMCache"}


def title(engine: Engine) -> str:
    """As the panes and the choice of engine name it."""
    return f"{TITLES[engine.kind]} ({engine.side.upper()})"


def board(race: Race, engines: Sequence[Engine]) -> str:
    """All panes."""
    return f'<div class="grid">{"".join(card(race, engine) for engine in engines)}</div>'


def card(race: Race, engine: Engine) -> str:
    """One pane: who, its TTFT large, a bar to scale, where the tokens came from, the answer."""
    pane = race.panes[engine.name]
    return (
        f'<section class="pane {engine.kind}" data-engine="{engine.name}" aria-label="{title(engine)}">'
        f"<h3>{escape(title(engine))} <code>{engine.name}</code></h3>"
        f'<p class="ttft" data-ttft-ms="{_ms(pane)}">{_ttft(pane)}</p>{_bar(race, pane)}'
        f'<p class="cost">{_cost(race, engine, pane)}</p>'
        f'<div class="answer" aria-live="polite">{escape(pane.text)}</div></section>'
    )


def _ms(pane: Pane) -> str:
    return "" if pane.ttft is None else f"{pane.ttft * 1e3:.1f}"


def _ttft(pane: Pane) -> str:
    if pane.fault:
        return '<span class="quiet">no answer</span>'
    if pane.ttft is None:
        return f'<span class="quiet">{escape(pane.note) or "not asked yet"}</span>'
    return f"{pane.ttft:.2f} s <small>to first token</small>"


def _bar(race: Race, pane: Pane) -> str:
    """Its length is this TTFT's share of the longest one on the page."""
    longest = max((p.ttft or 0 for p in race.panes.values()), default=0)
    share = 100 * (pane.ttft or 0) / longest if longest else 0
    return f'<div class="track"><div class="bar" style="width:{share:.1f}%"></div></div>'


def _cost(race: Race, engine: Engine, pane: Pane) -> str:
    if pane.fault:
        return f'<span class="fault">{escape(pane.fault)}</span>'
    if pane.reply is None:
        return escape(pane.note) if pane.text else ""
    parts = [_tokens(pane.reply)]
    if pane.reply.mean_itl is not None:
        parts.append(f"ITL {pane.reply.mean_itl * 1e3:.0f} ms")
    if baseline := race.baseline(engine):
        parts.insert(0, f"<strong>{_ratio(pane.reply, baseline)}</strong>")
    if pane.note:
        parts.append(escape(pane.note))
    return " · ".join(parts)


def _tokens(reply: Reply) -> str:
    usage = reply.usage
    cached, prompt = f"{usage.cached_tokens:,}", f"{usage.prompt_tokens:,}"
    return f"{cached} of {prompt} prompt tokens cached ({escape(reply.source)})"


def _ratio(reply: Reply, baseline: Reply) -> str:
    """Says what the plain engine did, so that a warm one is not taken for a cold one."""
    ratio = baseline.ttft / reply.ttft
    how = f"than {baseline.engine} ({escape(baseline.source)})"
    return f"{ratio:.1f}× faster {how}" if ratio >= 1 else f"{1 / ratio:.1f}× slower {how}"


CSS = """
.pane { border: 1px solid rgb(127 127 127 / .35); border-top: 4px solid var(--engine); border-radius: 8px;
  padding: 12px 14px; min-height: 190px; }
.pane.plain { --engine: #b45309; } .pane.lmcache { --engine: #0369a1; }
.pane h3 { margin: 0; font-size: 1rem; } .pane h3 code { float: right; opacity: .7; font-size: .8rem; }
.pane .ttft { font-size: 2rem; font-weight: 700; margin: 4px 0; font-variant-numeric: tabular-nums; }
.pane .ttft small, .pane .quiet { font-size: 1rem; font-weight: 400; opacity: .75; }
.pane .track { height: 8px; background: rgb(127 127 127 / .15); border-radius: 4px; }
.pane .bar { height: 8px; background: var(--engine); border-radius: 4px; }
.pane .cost { margin: 6px 0; font-size: .88rem; } .pane .fault { color: #b91c1c; }
.dark .pane .fault { color: #fca5a5; }
.dark .pane.plain { --engine: #f59e0b; } .dark .pane.lmcache { --engine: #38bdf8; }
.pane .answer { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 180px; overflow-y: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 12px; }
"""
