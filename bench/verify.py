"""Does the fast path give the right answer?

Texts are not the test: at temperature 0 a cold and a cached prefill round differently, near-ties flip, and answers
differ now and then on one plain engine too. The test is the first token's best log-probabilities on the engine that
read another's KV, beside the noise floor: how far the same plain engine differs from itself, cold against own-warm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.ttft import QUESTION, Ask, from_its_own_cache, nothing_cached, through_the_cache_server
from cache.counters import chunks_to_store, stored_chunks, wait_stored
from engines.client import reply_to
from engines.document import HANDBOOK, of_length, read_document
from engines.errors import StackError
from engines.prompt import Prompt, new_nonce
from engines.reply import Reply
from engines.topology import Topology

TOP = 5
ASKED = 20  # candidates to ask for, so that the best five of one reply are found in the other


@dataclass(frozen=True, slots=True)
class Comparison:
    """One document: differences in nats, the largest over the plain reply's five best first tokens."""

    document: int
    noise: float  # plain-a own-warm against plain-a cold
    cross: float  # lmcache-b cross-read against the nearer of plain-a's two
    cached_tokens: int
    prompt_tokens: int
    same_text: bool  # lmcache-b's and plain-a's cold answer
    same_text_plain: bool  # plain-a's two answers


@dataclass(frozen=True, slots=True)
class Verdict:
    """`agrees` when no cross-read is further off than the noise floor of the run."""

    floor: float
    worst: float

    @property
    def agrees(self) -> bool:
        return self.worst <= self.floor


async def run(
    topology: Topology, num_prompts: int, input_len: int, *, ask: Ask = reply_to
) -> AsyncIterator[Comparison]:
    """Yields one comparison for each fresh document. Raises StackError when a reply did not go its way."""
    plain, writer, reader = (topology.engine(name) for name in ("plain-a", "lmcache-a", "lmcache-b"))
    assert writer.cache
    handbook = read_document(HANDBOOK)
    for document in range(num_prompts):
        prompt = Prompt(QUESTION, handbook, new_nonce(), 32, top_logprobs=ASKED)
        prompt = await of_length(plain, prompt, input_len)
        cold, warm = await ask(plain, prompt), await ask(plain, prompt)
        before = await stored_chunks(writer.cache)
        await wait_stored(writer.cache, before, chunks_to_store(await ask(writer, replace(prompt, max_tokens=1))))
        cross = await ask(reader, prompt)
        _check(cold, nothing_cached)
        _check(warm, from_its_own_cache)
        _check(cross, through_the_cache_server)
        yield compare(document, cold, warm, cross)


def _check(reply: Reply, fault: Callable[[Reply], str]) -> None:
    if reason := fault(reply):
        raise StackError(f"{reply.engine}: {reason}; nothing can be said of its answer")


def compare(document: int, cold: Reply, warm: Reply, cross: Reply) -> Comparison:
    """Three replies to one prompt."""
    return Comparison(
        document,
        noise=difference(cold.first_logprobs, warm.first_logprobs),
        cross=min(difference(plain.first_logprobs, cross.first_logprobs) for plain in (cold, warm)),
        cached_tokens=cross.usage.cached_tokens,
        prompt_tokens=cross.usage.prompt_tokens,
        same_text=cross.text == cold.text,
        same_text_plain=warm.text == cold.text,
    )


def difference(reference: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The largest, in nats, over the reference's five best; infinite when one of them is not among the other's."""
    best = sorted(reference, key=lambda token: reference[token], reverse=True)[:TOP]
    if not best:
        return float("inf")
    return max(abs(reference[token] - other.get(token, float("-inf"))) for token in best)


def verdict(comparisons: Sequence[Comparison]) -> Verdict:
    """Over all documents of the run."""
    return Verdict(max(c.noise for c in comparisons), max(c.cross for c in comparisons))
