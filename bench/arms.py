"""The arms for text: ways to send a document, and checks that a reply's tokens came from the right place.

These are the arms of `./arena bench ttft` (TTFT_ARMS); `bench/questions/ttft.py` has those for two external servers.

| arm | engine | what is required |
|---|---|---|
| cold | plain | a new document: nothing cached |
| own_warm | the same plain engine | from its own prefix cache: the lowest possible TTFT |
| other_instance | the other plain engine | only the first engine has read the document: nothing cached |
| first_sight | lmcache writer | like cold, plus the cost of storing |
| cross_read | lmcache reader | from the KV volume, because its own cache server has not had the document |
| lmcache_own_warm | lmcache reader | from its own prefix cache |
| plain_a, plain_b | the two plain engines | a new document: nothing cached (`./arena bench aa`) |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from client.prompt import Prompt
from client.reply import Reply

SOURCE_UNKNOWN = "the source of its tokens is unknown: other requests were in flight, or counters could not be read"

DIGITS, OTHER_DIGITS = "0123456789", "5678901234"

InvalidReason = Callable[[Reply], str]  # why a reply does not count; empty if it does
PromptTransform = Callable[[Prompt], Prompt]  # from the document's prompt to the arm's prompt


class EngineRole(StrEnum):
    """An engine's task for one document. The engines of a pair swap roles half-way through a run."""

    PLAIN = "plain"
    OTHER = "other"
    WRITER = "writer"
    READER = "reader"


def unchanged(prompt: Prompt) -> Prompt:
    """Sends the document's prompt unchanged."""
    return prompt


def under_another_nonce(transform: PromptTransform = unchanged) -> PromptTransform:
    """Sends a prompt of the same length for which no KV can be reused.

    Only digits are replaced, because the number of tokens for letters depends on the letters beside them.
    """
    digits = str.maketrans(DIGITS, OTHER_DIGITS)
    return lambda prompt: replace(transform(prompt), nonce=prompt.nonce.translate(digits))


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to send a document."""

    name: str
    role: EngineRole
    invalid_reason: InvalidReason
    after_arm: str = ""  # the arm of the same document that must come first
    stores: bool = False  # the run waits until its KV is on the volume
    reads: bool = False  # whether it reads from the KV volume: --prepare runs before it
    transform: PromptTransform = unchanged
    modality: str = ""  # of the media that the arm sends


def nothing_cached(reply: Reply) -> str:
    """Requires that nothing was cached, by the reply's usage and by the engine's counters, which must be known."""
    return not_cached_if_reported(reply) if reply.sources else SOURCE_UNKNOWN


def not_cached_if_reported(reply: Reply) -> str:
    """Like `nothing_cached`, but uses whatever the server reports, and accepts the reply if it reports nothing."""
    sources, reported = reply.sources, reply.usage.cached_tokens or 0
    cached = max(reported, sources.prefix_cache + sources.shared) if sources else reported
    return f"{cached} tokens were cached, and nothing should be" if cached else ""


def loaded_from_volume(reply: Reply) -> str:
    """Requires that all whole chunks came from the KV volume, and none from the cache server's memory.

    Without a cache server, tiers are not counted. The reading engine has not had the document, so what its connector
    loads can only come from the volume.
    """
    if reply.sources is None:
        return SOURCE_UNKNOWN
    if reply.sources.l1:
        return f"{reply.sources.l1} tokens came from the cache server's memory, so it already had them"
    if not reply.sources.tiers:
        return _too_few(reply.sources.shared, reply, "loaded by the connector")
    if reply.sources.shared and not reply.sources.l2:
        return "whether its tokens came from the volume is unknown"
    return _too_few(reply.sources.l2, reply, "read from the volume")


def from_prefix_cache(reply: Reply) -> str:
    """Requires that all whole chunks came from the engine's own prefix cache."""
    if reply.sources is None:
        return SOURCE_UNKNOWN
    return _too_few(reply.sources.prefix_cache, reply, "in its own prefix cache")


def always_valid(_: Reply) -> str:
    """Accepts every reply."""
    return ""


def _too_few(tokens: int, reply: Reply, where: str) -> str:
    """The reason if fewer tokens were reused than all whole chunks before the last token; otherwise empty."""
    expected = reply.whole_chunks(reply.usage.prompt_tokens - 1)
    return f"only {tokens} of {reply.usage.prompt_tokens} tokens were {where}" if tokens < expected else ""


COLD = Arm("cold", EngineRole.PLAIN, nothing_cached)
OWN_WARM = Arm("own_warm", EngineRole.PLAIN, from_prefix_cache, after_arm="cold")
OTHER_INSTANCE = Arm("other_instance", EngineRole.OTHER, nothing_cached, after_arm="cold")
FIRST_SIGHT = Arm("first_sight", EngineRole.WRITER, nothing_cached, stores=True)
CROSS_READ = Arm("cross_read", EngineRole.READER, loaded_from_volume, after_arm="first_sight", reads=True)
LMCACHE_OWN_WARM = Arm("lmcache_own_warm", EngineRole.READER, from_prefix_cache, after_arm="cross_read")
TTFT_ARMS = (COLD, OWN_WARM, OTHER_INSTANCE, FIRST_SIGHT, CROSS_READ, LMCACHE_OWN_WARM)

# For `bench aa`: one arm for each plain engine, in random order.
PLAIN_A = Arm("plain_a", EngineRole.PLAIN, nothing_cached)
PLAIN_B = Arm("plain_b", EngineRole.OTHER, nothing_cached)
