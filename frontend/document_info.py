"""Describes the document: its tokens, its share of the model's context, and the size of its KV on the volume."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from cache.volume import bytes_per_token, current_namespace
from config.recipe import find_recipe
from config.settings import Settings
from engines.vllm_command import served_dtype
from frontend.sanitize import escape_html
from frontend.tab_state import DocumentSize, TabState

SHOWN_CHARACTERS = 20_000


def uncounted_html(name: str, nonce: str, measured: str) -> str:
    """Describes a document whose tokens were not counted before the measurement `measured` started."""
    return f"{_head(name, nonce)}<p>Its tokens are counted when {escape_html(measured)} has ended.</p>"


def document_html(size: DocumentSize, nonce: str, kv_bytes_per_token: float | None, chunk_size: int) -> str:
    """Describes a document; `kv_bytes_per_token` is None if unknown. Of its KV, whole chunks are stored."""
    head = _head(size.name, nonce)
    if size.tokens is None or size.limit is None:
        return f"{head}<p>No engine answers yet, so its tokens are not counted.</p>"
    share = 100 * size.tokens / size.limit
    over = size.tokens - size.limit
    talk = " with the conversation so far" if size.turns else ""
    meter = (
        f'<div class="meter{" over" if over > 0 else ""}" role="meter" aria-label="Share of the context" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{min(100, share):.0f}">'
        f'<span style="width:{min(100, share):.1f}%"></span></div>'
    )
    warning = f'<p class="fault">{over:,} tokens too many: tick «Cut to fit», or bring less.</p>' if over > 0 else ""
    if size.cut > 0:
        warning += f'<p class="note">Cut to fit: the last {size.cut:,} characters of it were not sent.</p>'
    return (
        f"{head}<p><b>{size.tokens:,}</b> tokens{talk}, {share:.0f} % of the {size.limit:,} that the model leaves for "
        f"a prompt{_stored(min(size.tokens, size.limit), kv_bytes_per_token, chunk_size)}.</p>{meter}{warning}"
    )


def _head(name: str, nonce: str) -> str:
    return f'<p class="document"><b>{escape_html(name)}</b> <span class="nonce">nonce <code>{nonce}</code></span></p>'


def _stored(tokens: int, kv_bytes_per_token: float | None, chunk_size: int) -> str:
    """Estimates the size of the stored KV; LMCache stores whole chunks only."""
    if not kv_bytes_per_token:
        return ""
    return f"; about {tokens // chunk_size * chunk_size * kv_bytes_per_token / 2**20:,.0f} MiB of KV on the volume"


class KvBytesPerToken:
    """The bytes of KV per token: measured once on the volume, or taken from the model's recipe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._measured: float | None = None

    async def get(self, *, look: bool = True) -> float | None:
        """Returns the measured value. Without `look`, or if the volume is empty or not visible from here, returns the
        recipe's; None without a recipe."""
        if look and self._measured is None:
            with suppress(OSError):  # in a thread, since a network file system can be slow
                self._measured = await asyncio.to_thread(self._measure)
        return self._measured or self._by_recipe()

    def _measure(self) -> float | None:
        return bytes_per_token(current_namespace(self._settings), self._settings.chunk_size)

    def _by_recipe(self) -> float | None:
        if (recipe := find_recipe(self._settings.model)) is None:
            return None
        dtype = served_dtype(self._settings)
        return (recipe.kv if dtype == "auto" else recipe.kv.model_copy(update={"dtype": dtype})).bytes_per_token


def excerpt(state: TabState) -> str:
    """Returns the document as it is sent, shortened to SHOWN_CHARACTERS."""
    text = state.sent_document
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}\n… {len(text) - SHOWN_CHARACTERS:,} more characters"
