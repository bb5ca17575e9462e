"""What is said of the document: its tokens, its share of the model's context, and the KV it makes on the volume."""

from __future__ import annotations

from contextlib import suppress

from cache.volume import CHUNK_SIZE, bytes_per_token, namespace
from engines.command import dtype
from engines.recipe import find
from engines.settings import Settings
from frontend.prose import plain
from frontend.visitor import Facts, Visit

SHOWN_CHARACTERS = 20_000


def described(facts: Facts, nonce: str, per_token: float | None) -> str:
    """As HTML; `per_token` in bytes, None where nothing has been stored yet."""
    name = f'<p class="document"><b>{plain(facts.name)}</b> <span class="nonce">nonce <code>{nonce}</code></span></p>'
    if facts.tokens is None or facts.limit is None:
        return f"{name}<p>No engine answers yet, so its tokens are not counted.</p>"
    share = 100 * facts.tokens / facts.limit
    over = facts.tokens - facts.limit
    said = f"<b>{facts.tokens:,}</b> tokens, {share:.0f} % of the {facts.limit:,} that the model leaves for a prompt"
    meter = (
        f'<div class="meter{" over" if over > 0 else ""}" role="meter" aria-label="Share of the context" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{min(100, share):.0f}">'
        f'<span style="width:{min(100, share):.1f}%"></span></div>'
    )
    warning = f'<p class="fault">{over:,} tokens too many: tick «Cut to fit», or bring less.</p>' if over > 0 else ""
    return f"{name}<p>{said}{_stored(min(facts.tokens, facts.limit), per_token)}.</p>{meter}{warning}"


def _stored(tokens: int, per_token: float | None) -> str:
    """LMCache stores whole chunks only."""
    if not per_token:
        return ""
    return f"; about {tokens // CHUNK_SIZE * CHUNK_SIZE * per_token / 2**20:,.0f} MiB of KV on the volume"


def kv_bytes_per_token(settings: Settings) -> float | None:
    """Measured on the volume; while that is empty or not visible, by the model's recipe; else None."""
    with suppress(OSError):
        if measured := bytes_per_token(namespace(settings)):
            return measured
    if (recipe := find(settings.model)) is None:
        return None
    chosen = dtype(settings)
    return (recipe.kv if chosen == "auto" else recipe.kv.model_copy(update={"dtype": chosen})).bytes_per_token


def excerpt(visit: Visit) -> str:
    """The document for the eye: its beginning, where it is long."""
    text = visit.document
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}\n… {len(text) - SHOWN_CHARACTERS:,} more characters"
