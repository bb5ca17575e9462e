"""Does sharing pay off? Fresh documents, each sent through five arms, one request in flight.

| arm | engine | what it must be |
|---|---|---|
| cold | plain-a | nobody has seen the document: nothing cached |
| other_instance | plain-b | plain-a has it, which must not help: nothing cached |
| first_sight | lmcache-a | as cold, plus the cost of storing |
| cross_read | lmcache-b | read through its cache server, which has never seen it: so from the KV volume |
| own_warm | lmcache-b | its own prefix cache |

The arms of one document follow each other, so drift of the machine touches all of them alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from cache.counters import Stored, chunks_to_store, stored_chunks, wait_stored
from cache.volume import CHUNK_SIZE
from engines.client import reply_to
from engines.document import HANDBOOK, of_length, read_document
from engines.errors import EngineError, StackError
from engines.prompt import Prompt, new_nonce
from engines.reply import Reply
from engines.topology import Engine, Topology

QUESTION = "What is this document about? Answer in one sentence."
OUTPUT_TOKENS = 32
UNTOLD = "the source of its tokens could not be told: other requests were in flight"
TAIL_TOKENS = CHUNK_SIZE  # what may be left to compute when a whole prefix is reused: less than one chunk

Ask = Callable[[Engine, Prompt], Awaitable[Reply]]
Sized = Callable[[Engine, Prompt, int], Awaitable[Prompt]]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to send a document, and how its reply proves that it went that way."""

    name: str
    engine: str
    fault: Callable[[Reply], str]  # why the reply does not count; empty when it does
    stores: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of one document in one arm. `reason` says why it is not valid, or why there is no reply."""

    document: int
    arm: str
    reply: Reply | None
    reason: str

    @property
    def valid(self) -> bool:
        return not self.reason


def nothing_cached(reply: Reply) -> str:
    """Why this reply is not a cold one; empty when it is."""
    if reply.usage.cached_tokens:
        return f"{reply.usage.cached_tokens} tokens were cached, and nothing should be"
    return "" if reply.sources else UNTOLD


def through_the_cache_server(reply: Reply) -> str:
    """Why this reply is not a cross-read; empty when it is."""
    if reply.sources is None:
        return UNTOLD
    return _too_few(reply.sources.shared, reply, "read from the cache server")


def from_its_own_cache(reply: Reply) -> str:
    """Why this reply is not an own-warm one; empty when it is."""
    if reply.sources is None:
        return UNTOLD
    return _too_few(reply.sources.prefix_cache, reply, "in its own prefix cache")


def _too_few(tokens: int, reply: Reply, where: str) -> str:
    expected = reply.usage.prompt_tokens - TAIL_TOKENS
    return f"only {tokens} of {reply.usage.prompt_tokens} tokens were {where}" if tokens < expected else ""


ARMS = (
    Arm("cold", "plain-a", nothing_cached),
    Arm("other_instance", "plain-b", nothing_cached),
    Arm("first_sight", "lmcache-a", nothing_cached, stores=True),
    Arm("cross_read", "lmcache-b", through_the_cache_server),
    Arm("own_warm", "lmcache-b", from_its_own_cache),
)


async def run(
    topology: Topology,
    num_prompts: int,
    input_len: int,
    *,
    ask: Ask = reply_to,
    sized: Sized = of_length,
    stored: Stored = stored_chunks,
) -> AsyncIterator[Sample]:
    """Yields each sample as it is measured, documents in order, their arms in the order of ARMS.

    `input_len` counts tokens of the whole prompt. What fails is a sample with the reason.
    """
    handbook = read_document(HANDBOOK)
    for document in range(num_prompts):
        prompt = Prompt(QUESTION, handbook, new_nonce(), OUTPUT_TOKENS, ignore_eos=True)
        prompt = await sized(topology.engines[0], prompt, input_len)
        for arm in ARMS:
            yield await _measure(document, arm, topology.engine(arm.engine), prompt, ask, stored)


async def _measure(document: int, arm: Arm, engine: Engine, prompt: Prompt, ask: Ask, stored: Stored) -> Sample:
    reply: Reply | None = None
    try:
        before = await stored(engine.cache) if arm.stores and engine.cache else 0
        reply = await ask(engine, prompt)
        if arm.stores and engine.cache:
            await wait_stored(engine.cache, before, chunks_to_store(reply), stored=stored)
    except (EngineError, StackError) as exc:
        return Sample(document, arm.name, reply, str(exc))
    return Sample(document, arm.name, reply, arm.fault(reply))


def ttfts_ms(samples: Iterable[Sample], arm: str) -> Mapping[int, float]:
    """Document to TTFT in milliseconds, valid samples only."""
    return {s.document: s.reply.ttft * 1e3 for s in samples if s.arm == arm and s.valid and s.reply}


def speedups(samples: Iterable[Sample], over: str = "cold", of: str = "cross_read") -> tuple[float, ...]:
    """The ratio of TTFTs, document by document: only documents with a valid sample in both arms."""
    samples = tuple(samples)
    slow, fast = ttfts_ms(samples, over), ttfts_ms(samples, of)
    return tuple(slow[document] / fast[document] for document in sorted(slow.keys() & fast.keys()))


def median_or_none(values: Iterable[float]) -> float | None:
    """None of nothing."""
    values = tuple(values)
    return median(values) if values else None
