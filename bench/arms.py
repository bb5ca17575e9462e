"""The ways in which a document is sent, and how each reply proves that it went its way.

| arm | engine | what it must be |
|---|---|---|
| cold | plain | nobody has seen the document: nothing cached |
| own_warm | the same plain engine | its own prefix cache: the floor |
| other_instance | the other plain engine | the first has it, which must not help: nothing cached |
| first_sight | lmcache writer | as cold, plus the cost of storing |
| cross_read | lmcache reader | read through its cache server, which has never seen it: so from the KV volume |
| lmcache_own_warm | lmcache reader | its own prefix cache |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cache.volume import CHUNK_SIZE
from client.prompt import Prompt
from client.reply import Reply

SOURCE_UNKNOWN = (
    "the source of its tokens could not be told: other requests were in flight, or counters could not be read"
)

InvalidReason = Callable[[Reply], str]  # why a reply does not count; empty when it does
PromptTransform = Callable[[Prompt], Prompt]  # what an arm sends, of its document's prompt


class EngineRole(StrEnum):
    """What an engine does for one document. Roles of a pair are swapped half-way through a run."""

    PLAIN = "plain"
    OTHER = "other"
    WRITER = "writer"
    READER = "reader"


def unchanged(prompt: Prompt) -> Prompt:
    """The document's prompt itself."""
    return prompt


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to send a document; `after` names the arm of the same document that must come before it."""

    name: str
    role: EngineRole
    fault: InvalidReason
    after: str = ""
    stores: bool = False
    reads: bool = False  # from the KV volume
    variant: PromptTransform = unchanged
    modality: str = ""  # what it shows beside text


def nothing_cached(reply: Reply) -> str:
    """Why this reply is not a cold one; empty when it is: by its usage and by the engine's counters alike."""
    return not_cached_if_reported(reply) if reply.sources else SOURCE_UNKNOWN


def not_cached_if_reported(reply: Reply) -> str:
    """The same where counters may be unknown: what the server does tell has to do, and nothing is believed too."""
    sources, told = reply.sources, reply.usage.cached_tokens or 0
    cached = max(told, sources.prefix_cache + sources.shared) if sources else told
    return f"{cached} tokens were cached, and nothing should be" if cached else ""


def loaded_from_volume(reply: Reply) -> str:
    """Why this reply is not a cross-read; empty when it is."""
    if reply.sources is None:
        return SOURCE_UNKNOWN
    if reply.sources.l1:
        return f"{reply.sources.l1} tokens came from the cache server's memory, so it had seen them before"
    if reply.sources.shared and not reply.sources.l2:
        return "whether its tokens came from the volume could not be told"
    return _too_few(reply.sources.l2, reply, "read from the volume")


def from_prefix_cache(reply: Reply) -> str:
    """Why this reply is not an own-warm one; empty when it is."""
    if reply.sources is None:
        return SOURCE_UNKNOWN
    return _too_few(reply.sources.prefix_cache, reply, "in its own prefix cache")


def always_valid(_: Reply) -> str:
    """Every reply counts."""
    return ""


def _too_few(tokens: int, reply: Reply, where: str) -> str:
    """What may be left to compute when a whole prefix is reused is less than one chunk, and the last token."""
    expected = (reply.usage.prompt_tokens - 1) // CHUNK_SIZE * CHUNK_SIZE
    return f"only {tokens} of {reply.usage.prompt_tokens} tokens were {where}" if tokens < expected else ""


COLD = Arm("cold", EngineRole.PLAIN, nothing_cached)
OWN_WARM = Arm("own_warm", EngineRole.PLAIN, from_prefix_cache, after="cold")
OTHER_INSTANCE = Arm("other_instance", EngineRole.OTHER, nothing_cached, after="cold")
FIRST_SIGHT = Arm("first_sight", EngineRole.WRITER, nothing_cached, stores=True)
CROSS_READ = Arm("cross_read", EngineRole.READER, loaded_from_volume, after="first_sight", reads=True)
LMCACHE_OWN_WARM = Arm("lmcache_own_warm", EngineRole.READER, from_prefix_cache, after="cross_read")
TEXT_ARMS = (COLD, OWN_WARM, OTHER_INSTANCE, FIRST_SIGHT, CROSS_READ, LMCACHE_OWN_WARM)

# Two plain engines, each in its own arm whatever comes first.
PLAIN_A = Arm("plain_a", EngineRole.PLAIN, nothing_cached)
PLAIN_B = Arm("plain_b", EngineRole.OTHER, nothing_cached)
