import asyncio
from contextlib import ExitStack

from fake_engine import Behaviour, FakeEngine, Volume, topology_of

from cache.preheat import preheat

NAMES = ("plain-a", "plain-b", "lmcache-a", "lmcache-b")


def preheated(behaviour):
    """The steps that were reported, and the engines."""
    steps, volume = [], Volume()
    with ExitStack() as running:
        engines = [FakeEngine(name, behaviour, volume if "lm" in name else None) for name in NAMES]
        for engine in engines:
            running.enter_context(engine)
        asyncio.run(preheat(topology_of(engines), lambda what, _: steps.append(what)))
    return steps, engines


def test_every_engine_answers_and_each_of_the_pair_loads_even_without_a_system_role():
    steps, engines = preheated(Behaviour(user_only=True))
    assert steps == [
        *(f"{name} has answered" for name in NAMES),
        "lmcache-b has loaded what lmcache-a stored",
        "lmcache-a has loaded what lmcache-b stored",
    ]
    assert all(fake.by_source.labels("external_kv_transfer")._value.get() for fake in engines[2:])


def test_an_engine_whose_answer_is_empty_is_named_and_the_stack_starts():
    """As after damage to a volume that is not authenticated: the same texts are read at every start."""
    steps, _ = preheated(Behaviour(answer=()))
    assert len(steps) == 6
    assert all("no TTFT" in step and "bench verify" in step for step in steps)
