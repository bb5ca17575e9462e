"""Bars drawn to scale: the TTFT of all panes, and where a prompt's tokens came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from client.reply import Reply, Sources
from config.topology import Engine, KVFolder, ServiceKind
from frontend.race import Race

SERVED_BY = {ServiceKind.PLAIN: "vLLM", ServiceKind.LMCACHE: "vLLM + LMCache"}


def title(engine: Engine) -> str:
    """Returns the engine's name as the page shows it everywhere."""
    offloads = isinstance(engine.store, KVFolder) and engine.store.connector == "offloading"
    return f"{'vLLM + offloading' if offloads else SERVED_BY[engine.kind]} ({engine.side.upper()})"


def seconds(value: float) -> str:
    """Formats seconds: whole milliseconds below 1 s, otherwise three significant digits."""
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} s"


def ttft_bars(race: Race, engines: Sequence[Engine]) -> str:
    """Returns a bar for each engine, on one scale; empty before the first TTFT."""
    longest = max((pane.ttft or 0 for pane in race.panes.values()), default=0)
    if not longest:
        return ""
    rows = "".join(_row(engine, race.panes[engine.name].ttft, longest) for engine in engines)
    return f'<div class="bars" role="group" aria-label="Time to first token, to scale">{rows}</div>'


def _row(engine: Engine, ttft: float | None, longest: float) -> str:
    share = 100 * (ttft or 0) / longest
    value = "–" if ttft is None else seconds(ttft)
    return (
        f'<div class="bar-row {engine.name}"><span class="who">{title(engine)}</span>'
        f'<span class="track"><span class="bar" style="width:{share:.2f}%"></span></span>'
        f'<span class="value">{value}</span></div>'
    )


@dataclass(frozen=True, slots=True)
class TokenPart:
    """The tokens from one source; `style` is the CSS class that sets its colour."""

    style: str
    name: str
    tokens: int


def token_parts(sources: Sources) -> tuple[TokenPart, ...]:
    """Returns the sources that have tokens. Shared tokens whose tier is unknown count as a separate source."""
    parts = (
        TokenPart("computed", "computed", sources.computed),
        TokenPart("own", "own prefix cache", sources.prefix_cache),
        TokenPart("l1", "shared memory (L1)", sources.l1),
        TokenPart("l2", "shared volume (L2)", sources.l2),
        TokenPart("shared", "shared", sources.shared - sources.l1 - sources.l2),
    )
    return tuple(part for part in parts if part.tokens)


def sources_bar(reply: Reply) -> str:
    """Returns a stacked bar with a legend, or a sentence if the sources are unknown."""
    usage = reply.usage
    if reply.sources is None:
        return f'<p class="legend">{usage.cached} of {usage.prompt_tokens:,} prompt tokens cached ({reply.source})</p>'
    parts = token_parts(reply.sources)
    total = max(1, sum(part.tokens for part in parts))
    label = ", ".join(f"{part.tokens:,} {part.name}" for part in parts)
    bar = "".join(
        f'<span class="{part.style}" style="width:{100 * part.tokens / total:.2f}%"></span>' for part in parts
    )
    legend = "".join(f'<li class="{part.style}"><b>{part.tokens:,}</b> {part.name}</li>' for part in parts)
    return (
        f'<div class="sources" role="img" aria-label="{usage.prompt_tokens:,} prompt tokens: {label}">{bar}</div>'
        f'<ul class="legend">{legend}</ul>'
    )
