"""Sends each engine one small request of each kind, so that first questions do not include first-time set-up.

The shared texts are the same at every start and share no prefix with any other prompt, so the volume keeps one copy.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from cache.wait_for_store import chunks_to_store, count_stored, wait_until_stored
from client.ask import ask_whole
from client.prompt import Prompt, new_nonce
from client.tokenizer import fit_to_context
from config.errors import EmptyReply
from config.topology import Engine, Topology

WORDS = "The quick engine starts before anyone asks it a question, and then it waits for the first one. "
# Sentences: SMALL fills three chunks of 256 tokens, LARGE more than half of the stand-in model's context
SMALL, LARGE = 40, 200

OnStepDone = Callable[[str, float], None]  # the step, and seconds since preheating began


async def preheat(topology: Topology, done: OnStepDone) -> None:
    """Makes every engine compute, one after the other, and makes the lmcache engines load from the volume.

    The first load of a long prompt takes seconds longer than the next, so one is done here: engine a stores, engine b
    loads. (At later starts, engine a also loads this text instead of computing it.)
    """
    began = time.monotonic()

    async def step(what: str, request: Awaitable[object]) -> None:
        try:
            await request
        except EmptyReply as exc:  # possibly caused by damaged, unauthenticated KV; the stack starts anyway
            what = f"{exc} (./arena bench verify tells whether stored KV is sound)"
        done(what, time.monotonic() - began)

    for engine in topology.engines:
        small = await fit_to_context(engine, _prompt(new_nonce()[:4], sentences=8), cut=True)
        await step(f"{engine.name} has answered", ask_whole(engine, small))
    if not topology.caches:  # loads could not be told from computing: this container does not see the volume
        return
    a, b = (engine for engine in topology.engines if engine.cache)
    for writer, reader, sentences in ((a, b, LARGE), (b, a, SMALL)):
        prompt = await fit_to_context(writer, _prompt("preheat", sentences), cut=True)
        await step(f"{reader.name} has loaded what {writer.name} stored", _cross_read(writer, reader, prompt))


async def _cross_read(writer: Engine, reader: Engine, prompt: Prompt) -> None:
    assert writer.cache
    before = await count_stored(writer.cache)
    reply = await ask_whole(writer, prompt)
    await wait_until_stored(writer.cache, before, chunks_to_store(reply))
    await ask_whole(reader, prompt)


def _prompt(nonce: str, sentences: int) -> Prompt:
    return Prompt("Are you ready?", WORDS * sentences, f"{nonce} {sentences}", max_tokens=2, ignore_eos=True)
