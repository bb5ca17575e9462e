"""The stack panel as HTML."""

from __future__ import annotations

from collections.abc import Mapping

from frontend.bars import title
from frontend.sanitize import escape_html
from frontend.stack_status import CacheState, EngineState, StackState, VolumeState


def panel(state: StackState, commands: Mapping[str, str]) -> str:
    """Cards of engines, cache servers and the volume, and below them the command lines."""
    cards = "".join([*map(_engine, state.engines), *map(_cache, state.caches), _volume(state.volume)])
    lines = "".join(_command(name, line) for name, line in commands.items())
    return f'<div class="cards">{cards}</div><h2>Command lines</h2>{lines}'


def _engine(state: EngineState) -> str:
    engine = state.engine
    facts = [
        ("model", escape_html(state.model) or "–"),
        ("context", "–" if state.context is None else f"{state.context:,} tokens"),
        ("KV in use", _percent(state.kv_use)),
        ("running", _count(state.running)),
        ("waiting", _count(state.waiting)),
        ("own prefix cache hits", _percent(state.hit_rate)),
    ]
    return _card(engine.name, title(engine), str(engine.kind), state.healthy, facts)


def _cache(state: CacheState) -> str:
    facts = [
        ("L1 in use", _size(state.l1_used)),
        ("hits in memory", _percent(state.l1_rate)),
        ("hits on the volume", _percent(state.l2_rate)),
    ]
    return _card(state.cache.name, f"Cache server ({state.cache.side.upper()})", "lmcache server", state.healthy, facts)


def _volume(state: VolumeState) -> str:
    facts = [
        ("namespace", f'<code class="path">{escape_html(state.folder.name)}</code>'),
        ("size", _size(state.used)),
        ("files", _count(state.files)),
        ("free", _size(state.free)),
    ]
    seen = "" if state.files is not None else "<p>Not visible from the page.</p>"
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<section class="card" aria-label="KV volume"><h2>KV volume</h2>{seen}<dl>{rows}</dl></section>'


def _card(name: str, heading: str, kind: str, healthy: bool, facts: list[tuple[str, str]]) -> str:
    health = '<span class="up">● healthy</span>' if healthy else '<span class="down">○ no answer</span>'
    rows = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts)
    return (
        f'<section class="card {name}" data-service="{name}" aria-label="{heading}">'
        f"<h2>{heading} <code>{name}</code></h2><p>{kind} · {health}</p><dl>{rows}</dl></section>"
    )


def _command(name: str, line: str) -> str:
    return (
        f'<figure class="code"><figcaption>{name}<button type="button" data-copy="code" '
        f'aria-label="Copy the command of {name}">Copy</button></figcaption>'
        f'<pre tabindex="0"><code>{escape_html(line)}</code></pre></figure>'
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _size(size: float | None) -> str:
    if size is None:
        return "–"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
