import asyncio
from contextlib import ExitStack

from fake_engine import Behaviour, FakeEngine, Volume, topology_of

from cache.preheat import preheat

NAMES = ("plain-a", "plain-b", "lmcache-a", "lmcache-b")


def test_every_engine_answers_and_each_of_the_pair_loads_even_without_a_system_role():
    told, volume = [], Volume()
    with ExitStack() as running:
        fakes = [
            running.enter_context(FakeEngine(name, Behaviour(user_only=True), volume if "lm" in name else None))
            for name in NAMES
        ]
        asyncio.run(preheat(topology_of(fakes), lambda what, _: told.append(what)))
    assert told == [
        *(f"{name} has answered" for name in NAMES),
        "lmcache-b has loaded what lmcache-a stored",
        "lmcache-a has loaded what lmcache-b stored",
    ]
    assert all(fake.by_source.labels("external_kv_transfer")._value.get() for fake in fakes[2:])


def test_an_engine_that_says_nothing_is_told_of_and_the_stack_starts():
    """As after damage to a volume that nothing authenticates: the same texts are read at every start."""
    told = []
    with ExitStack() as running:
        silent = Behaviour(answer=())
        volume = Volume()
        fakes = [running.enter_context(FakeEngine(n, silent, volume if "lm" in n else None)) for n in NAMES]
        asyncio.run(preheat(topology_of(fakes), lambda what, _: told.append(what)))
    assert len(told) == 6
    assert all("no TTFT" in what and "bench verify" in what for what in told)
