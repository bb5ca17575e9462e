import asyncio
import itertools
import math

import pytest
from fakes import a_reply, collect

from bench.load_generator import RequestLoad, arrivals, send_all
from client.prompt import Prompt
from config.errors import EngineUnreachable

PROMPTS = [Prompt(f"{n}?") for n in range(6)]


def sent(topology, load, ask):
    return collect(send_all(topology.engines[0], PROMPTS, load, ask))


async def slow(engine, _prompt):
    await asyncio.sleep(0.01)
    return a_reply(engine)


GAMMA = {  # shape to distribution function, of a scale of 1
    0.5: lambda x: math.erf(math.sqrt(x)),
    1.0: lambda x: 1 - math.exp(-x),
    4.0: lambda x: 1 - math.exp(-x) * (1 + x + x**2 / 2 + x**3 / 6),
}


@pytest.mark.parametrize("burstiness", GAMMA)
def test_gaps_between_arrivals_are_gamma_with_the_mean_of_the_rate(burstiness):
    times = arrivals(RequestLoad(request_rate=5, burstiness=burstiness), 2000, seed=1)
    gaps = sorted(later - sooner for sooner, later in itertools.pairwise(times))
    n, expected = len(gaps), [GAMMA[burstiness](gap * 5 * burstiness) for gap in gaps]
    furthest = max(max((place + 1) / n - share, share - place / n) for place, share in enumerate(expected))
    assert furthest < 1.95 / math.sqrt(n), "by Kolmogorov and Smirnov, a chance of under 0.001"


def test_an_infinite_rate_sends_all_at_once():
    assert arrivals(RequestLoad(), 3, seed=0) == (0.0, 0.0, 0.0)


def test_a_closed_loop_never_has_more_in_flight_than_allowed(topology):
    flying, most = 0, 0

    async def ask(engine, _prompt):
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0)
        flying -= 1
        return a_reply(engine)

    assert len(sent(topology, RequestLoad(max_concurrency=2), ask)) == 6
    assert most == 2


def test_an_open_loop_does_not_wait_for_a_slow_engine(topology):
    """All six are in flight before the first one ends: it ends only then."""
    arrived, all_here = 0, asyncio.Event()

    async def ask(engine, _prompt):
        nonlocal arrived
        arrived += 1
        if arrived == 6:
            all_here.set()
        await all_here.wait()
        return a_reply(engine)

    assert len(sent(topology, RequestLoad(request_rate=1000), ask)) == 6


def test_in_an_open_loop_a_request_counts_from_when_it_was_meant_to_be_sent(topology):
    outcome = sent(topology, RequestLoad(request_rate=1000, max_concurrency=1), slow)
    assert max(each.sent - each.intended for each in outcome) > 0.01


def test_in_a_closed_loop_a_request_counts_from_its_turn_and_the_wait_is_the_clients_queue(topology):
    closed = sent(topology, RequestLoad(max_concurrency=1), slow)
    assert {each.sent - each.intended for each in closed} == {0.0}
    queues = sorted(each.queue for each in closed)
    assert queues[0] < 0.05 <= queues[-1]


def test_a_request_that_fails_is_told_and_the_others_go_on(topology):
    async def ask(engine, prompt):
        if prompt.question == "3?":
            raise EngineUnreachable(engine.name, "no answer")
        return a_reply(engine)

    outcome = {each.index: str(each.failure or "") for each in sent(topology, RequestLoad(max_concurrency=2), ask)}
    assert outcome == {0: "", 1: "", 2: "", 3: "plain-a: no answer", 4: "", 5: ""}


def test_leaving_early_cancels_what_is_in_flight(topology):
    cancelled = 0

    async def ask(engine, prompt):
        nonlocal cancelled
        if prompt.question == "0?":
            return a_reply(engine)
        try:
            await asyncio.sleep(math.inf)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    async def first():
        stream = send_all(topology.engines[0], PROMPTS, RequestLoad(), ask)
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(first())
    assert cancelled == 5
