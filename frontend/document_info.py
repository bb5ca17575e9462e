"""What is said of the document: its tokens, its share of the model's context, and the KV it makes on the volume."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from cache.volume import CHUNK_SIZE, bytes_per_token, current_namespace
from config.recipe import find_recipe
from config.settings import Settings
from engines.vllm_command import served_dtype
from frontend.sanitize import escape_html
from frontend.tab_state import DocumentSize, TabState

SHOWN_CHARACTERS = 20_000


def uncounted_html(name: str, nonce: str, measured: str) -> str:
    """Of a document that nobody has counted yet, while something is measured."""
    return f"{_head(name, nonce)}<p>Its tokens are counted when {escape_html(measured)} has ended.</p>"


def _head(name: str, nonce: str) -> str:
    return f'<p class="document"><b>{escape_html(name)}</b> <span class="nonce">nonce <code>{nonce}</code></span></p>'


def document_html(facts: DocumentSize, nonce: str, per_token: float | None) -> str:
    """As HTML; `per_token` in bytes, None where nothing has been stored yet."""
    name = _head(facts.name, nonce)
    if facts.tokens is None or facts.limit is None:
        return f"{name}<p>No engine answers yet, so its tokens are not counted.</p>"
    share = 100 * facts.tokens / facts.limit
    over = facts.tokens - facts.limit
    talk = " with the conversation so far" if facts.turns else ""
    said = (
        f"<b>{facts.tokens:,}</b> tokens{talk}, {share:.0f} % of the {facts.limit:,} that the model leaves for a prompt"
    )
    meter = (
        f'<div class="meter{" over" if over > 0 else ""}" role="meter" aria-label="Share of the context" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{min(100, share):.0f}">'
        f'<span style="width:{min(100, share):.1f}%"></span></div>'
    )
    warning = f'<p class="fault">{over:,} tokens too many: tick «Cut to fit», or bring less.</p>' if over > 0 else ""
    if facts.cut > 0:
        warning += f'<p class="note">Cut to fit: the last {facts.cut:,} characters of it were not sent.</p>'
    return f"{name}<p>{said}{_stored(min(facts.tokens, facts.limit), per_token)}.</p>{meter}{warning}"


def _stored(tokens: int, per_token: float | None) -> str:
    """LMCache stores whole chunks only."""
    if not per_token:
        return ""
    return f"; about {tokens // CHUNK_SIZE * CHUNK_SIZE * per_token / 2**20:,.0f} MiB of KV on the volume"


class KvBytesPerToken:
    """Bytes of KV that a token makes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._measured: float | None = None

    async def get(self, *, look: bool = True) -> float | None:
        """Measured on the volume; while that is empty or not visible, or without `look`, by the model's recipe.

        None where there is no recipe. Measured once, and elsewhere than in the loop: a volume has many thousand files.
        """
        if look and self._measured is None:
            with suppress(OSError):
                self._measured = await asyncio.to_thread(_on_the_volume, self._settings)
        return self._measured or _by_recipe(self._settings)


def _on_the_volume(settings: Settings) -> float | None:
    return bytes_per_token(current_namespace(settings))


def _by_recipe(settings: Settings) -> float | None:
    if (recipe := find_recipe(settings.model)) is None:
        return None
    chosen = served_dtype(settings)
    return (recipe.kv if chosen == "auto" else recipe.kv.model_copy(update={"dtype": chosen})).bytes_per_token


def excerpt(visit: TabState) -> str:
    """The document as it is sent, for the eye: its beginning, where it is long."""
    text = visit.sent
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}\n… {len(text) - SHOWN_CHARACTERS:,} more characters"
