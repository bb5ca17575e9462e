"""Numbers drawn to scale: TTFT of all panes, and where one prompt's tokens came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from client.reply import Reply, Sources
from config.topology import Engine, ServiceKind
from frontend.race import Race

SERVED_BY = {ServiceKind.PLAIN: "vLLM", ServiceKind.LMCACHE: "vLLM + LMCache"}


def title(engine: Engine) -> str:
    """As the panes, the charts and the choice of engine name it."""
    return f"{SERVED_BY[engine.kind]} ({engine.side.upper()})"


def seconds(value: float) -> str:
    """Three digits that count, or whole milliseconds."""
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} s"


def ttft_bars(race: Race, engines: Sequence[Engine]) -> str:
    """One bar for each engine that has a TTFT, to one scale; empty before the first."""
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
    """Tokens of one source; `style` names its colour."""

    style: str
    name: str
    tokens: int


def parts(sources: Sources) -> tuple[TokenPart, ...]:
    """Those with tokens; shared ones whose tier is not told stand apart."""
    untold = sources.shared - sources.l1 - sources.l2
    every = (
        TokenPart("computed", "computed", sources.computed),
        TokenPart("own", "own prefix cache", sources.prefix_cache),
        TokenPart("l1", "shared memory (L1)", sources.l1),
        TokenPart("l2", "shared volume (L2)", sources.l2),
        TokenPart("shared", "shared", untold),
    )
    return tuple(part for part in every if part.tokens)


def sources_bar(reply: Reply) -> str:
    """A stacked bar with its legend; where the sources are not told, a sentence."""
    usage = reply.usage
    if reply.sources is None:
        return f'<p class="legend">{usage.cached} of {usage.prompt_tokens:,} prompt tokens cached ({reply.source})</p>'
    found = parts(reply.sources)
    whole = max(1, sum(part.tokens for part in found))
    said = ", ".join(f"{part.tokens:,} {part.name}" for part in found)
    bar = "".join(
        f'<span class="{part.style}" style="width:{100 * part.tokens / whole:.2f}%"></span>' for part in found
    )
    legend = "".join(f'<li class="{part.style}"><b>{part.tokens:,}</b> {part.name}</li>' for part in found)
    return (
        f'<div class="sources" role="img" aria-label="{usage.prompt_tokens:,} prompt tokens: {said}">{bar}</div>'
        f'<ul class="legend">{legend}</ul>'
    )
