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
from engines.prompt import Prompt
from engines.reply import Reply

UNTOLD = "the source of its tokens could not be told: other requests were in flight, or counters could not be read"

Fault = Callable[[Reply], str]  # why a reply does not count; empty when it does
Variant = Callable[[Prompt], Prompt]  # what an arm sends, of its document's prompt


class Role(StrEnum):
    """What an engine does for one document. Roles of a pair are swapped half-way through a run."""

    PLAIN = "plain"
    OTHER = "other"
    WRITER = "writer"
    READER = "reader"


def as_it_is(prompt: Prompt) -> Prompt:
    """The document's prompt itself."""
    return prompt


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to send a document; `after` names the arm of the same document that must come before it."""

    name: str
    role: Role
    fault: Fault
    after: str = ""
    stores: bool = False
    reads: bool = False  # from the KV volume
    variant: Variant = as_it_is
    modality: str = ""  # what it shows beside text


def nothing_cached(reply: Reply) -> str:
    """Why this reply is not a cold one; empty when it is: by its usage and by the engine's counters alike."""
    return not_warm(reply) if reply.sources else UNTOLD


def not_warm(reply: Reply) -> str:
    """The same where counters may be unknown: what the server does tell has to do, and nothing is believed too."""
    sources, told = reply.sources, reply.usage.cached_tokens or 0
    cached = max(told, sources.prefix_cache + sources.shared) if sources else told
    return f"{cached} tokens were cached, and nothing should be" if cached else ""


def through_the_cache_server(reply: Reply) -> str:
    """Why this reply is not a cross-read; empty when it is."""
    if reply.sources is None:
        return UNTOLD
    if reply.sources.l1:
        return f"{reply.sources.l1} tokens came from the cache server's memory, so it had seen them before"
    if reply.sources.shared and not reply.sources.l2:
        return "whether its tokens came from the volume could not be told"
    return _too_few(reply.sources.l2, reply, "read from the volume")


def from_its_own_cache(reply: Reply) -> str:
    """Why this reply is not an own-warm one; empty when it is."""
    if reply.sources is None:
        return UNTOLD
    return _too_few(reply.sources.prefix_cache, reply, "in its own prefix cache")


def anything(_: Reply) -> str:
    """Every reply counts."""
    return ""


def _too_few(tokens: int, reply: Reply, where: str) -> str:
    """What may be left to compute when a whole prefix is reused is less than one chunk, and the last token."""
    expected = (reply.usage.prompt_tokens - 1) // CHUNK_SIZE * CHUNK_SIZE
    return f"only {tokens} of {reply.usage.prompt_tokens} tokens were {where}" if tokens < expected else ""


COLD = Arm("cold", Role.PLAIN, nothing_cached)
OWN_WARM = Arm("own_warm", Role.PLAIN, from_its_own_cache, after="cold")
OTHER_INSTANCE = Arm("other_instance", Role.OTHER, nothing_cached, after="cold")
FIRST_SIGHT = Arm("first_sight", Role.WRITER, nothing_cached, stores=True)
CROSS_READ = Arm("cross_read", Role.READER, through_the_cache_server, after="first_sight", reads=True)
LMCACHE_OWN_WARM = Arm("lmcache_own_warm", Role.READER, from_its_own_cache, after="cross_read")
LADDER = (COLD, OWN_WARM, OTHER_INSTANCE, FIRST_SIGHT, CROSS_READ, LMCACHE_OWN_WARM)

# Two plain engines, each in its own arm whatever comes first.
PLAIN_A = Arm("plain_a", Role.PLAIN, nothing_cached)
PLAIN_B = Arm("plain_b", Role.OTHER, nothing_cached)
