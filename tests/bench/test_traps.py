"""Each test sets one trap that a benchmark of caches can fall into, over real HTTP, and shows that ours does not."""

import asyncio
import ssl
import time
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp
import httpx
import pytest
from fake_engine import Behaviour, FakeEngine, Volume, topology_of
from fakes import collect

from bench.arms import (
    COLD,
    CROSS_READ,
    FIRST_SIGHT,
    LMCACHE_OWN_WARM,
    OWN_WARM,
    PLAIN_A,
    PLAIN_B,
    TTFT_ARMS,
    EngineRole,
)
from bench.measure import MeasureContext, run_trials
from bench.plan import assign_plain_pair, assign_roles, plan, warmups
from bench.preflight import preflight
from cache import wait_for_store
from cache.wait_for_store import POLL_S
from client.ask import ask, ask_whole
from client.prompt import Prompt
from client.tokenizer import fill_to_length
from config.errors import EmptyReply, EngineRefused, StreamBroken

TOKENS = 800  # three whole chunks and a bit
HELD = 0.2  # seconds that the engine holds its text back, in the tests of what must not count before it
SAME = "0123456789abcdef"
DOCUMENT = "A codec turns frames into packets and packets into frames again. " * 40


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch, tmp_path):
    """Nothing here is HTTPS, and reading the machine's certificates for every request would take most of the time."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture
def start():
    """Starts a fake engine that lasts as long as the test."""
    with ExitStack() as running:
        yield lambda *args, **kwargs: running.enter_context(FakeEngine(*args, **kwargs))


@pytest.fixture
def lmcache_pair(start):
    """A writer and a reader of one volume."""

    def pair(**behaviour):
        volume = Volume()
        return tuple(start(name, Behaviour(**behaviour), volume) for name in ("lmcache-a", "lmcache-b"))

    return pair


def about(nonce):
    return Prompt("What is a codec?", DOCUMENT, nonce, max_tokens=8)


def long(nonce):
    """The same of three chunks and more, for tests that send it themselves."""
    return about(nonce).about(DOCUMENT * 2)


async def unread(_engine):
    return None


def answer(fake, prompt=None):
    return asyncio.run(ask_whole(fake.engine, prompt or about(SAME)))


def measure(trials, **bench):
    return collect(run_trials(trials, about, MeasureContext(**bench), 0.0))


def on_plain(arms, first, second=None, *, documents=1, **bench):
    """The arms on one plain engine or two, roles unswapped."""
    both = assign_plain_pair(first.engine, (second or first).engine)
    unswapped = {role: (engines[0],) * 2 for role, engines in both.items()}
    return measure(plan(arms, unswapped, [TOKENS] * documents, seed=0), **bench)


def on_lmcache(arms, writer, reader, **bench):
    pair = {EngineRole.WRITER: (writer.engine,) * 2, EngineRole.READER: (reader.engine,) * 2}
    return measure(plan(arms, pair, [TOKENS], seed=0), **bench)


def lines(fake):
    """What the engine sends, as a client sees that measures whatever comes first."""
    body = {"messages": about(SAME).messages, "stream": True}
    text = httpx.post(f"{fake.engine.url}/v1/chat/completions", json=body).text
    return [line for line in text.splitlines() if line]


def reset(fake):
    return httpx.post(f"{fake.engine.url}/reset_prefix_cache").json()


# The whole ladder, without a trap


def test_a_ladder_on_four_engines_is_valid_throughout_and_each_arm_has_its_own_source(start):
    volume = Volume()
    plain, lmcache = ("plain-a", "plain-b"), ("lmcache-a", "lmcache-b")
    topology = topology_of([*map(start, plain), *(start(name, volume=volume) for name in lmcache)])
    assert not asyncio.run(preflight(topology.engines)).mismatches
    lengths, roles = [TOKENS, 1500, TOKENS, 1025], assign_roles(topology)
    trials = [*warmups(TTFT_ARMS, roles, [TOKENS], 1), *plan(TTFT_ARMS, roles, lengths, seed=1)]
    samples = measure(trials)
    assert [sample.reason for sample in samples] == [""] * 6 * len(TTFT_ARMS)
    assert {(sample.arm, sample.source) for sample in samples} == {
        ("cold", "computed"),
        ("own_warm", "own prefix cache"),
        ("other_instance", "computed"),
        ("first_sight", "computed"),
        ("cross_read", "shared volume"),
        ("lmcache_own_warm", "own prefix cache"),
    }


# What is no first token


@pytest.mark.parametrize(
    ("behaviour", "first_line"), [({"early_role": True}, '"role"'), ({"keep_alives": 3}, ": ping")]
)
def test_a_role_or_a_keep_alive_that_is_sent_at_once_is_no_first_token(start, behaviour, first_line):
    fake = start(behaviour=Behaviour(**behaviour, until_text=HELD))
    assert first_line in lines(fake)[0]
    assert answer(fake).ttft >= HELD


def test_reasoning_is_the_first_token_though_the_answer_comes_later(start):
    fake = start(behaviour=Behaviour(reasoning="Let me see.", between=0.01))
    *deltas, reply = collect(ask(fake.engine, about(SAME)))
    assert [delta.reasoning for delta in deltas] == [True, False, False, False, False]
    assert reply.ttft == deltas[0].at < deltas[1].at
    assert reply.text == "it copies frames around "


# What is no answer


@pytest.mark.parametrize(
    ("behaviour", "error", "said"),
    [
        ({"answer": ()}, EmptyReply, "before any text"),
        ({"usage": False}, StreamBroken, "no usage"),
        ({"breaks_after": 2}, StreamBroken, "broke off"),
        ({"status": 500}, EngineRefused, "HTTP 500: the engine is dead"),
    ],
)
def test_what_is_no_whole_answer_is_a_failed_sample_without_a_retry_and_the_run_goes_on(start, behaviour, error, said):
    failing, sound = start(behaviour=Behaviour(**behaviour)), start("plain-b")
    with pytest.raises(error):
        answer(failing)
    assert failing.asked == 1
    first, second = sorted(on_plain([PLAIN_A, PLAIN_B], failing, sound), key=lambda sample: sample.arm)
    assert (first.valid, first.ttft_ms, first.text) == (False, None, None)
    assert (said in first.reason, second.valid) == (True, True)


@pytest.mark.parametrize("line", ['data: {"choices": [', "data: 7", 'data: {"error": {"message": "out of memory"}}'])
def test_an_error_or_nonsense_in_the_middle_is_a_broken_stream(start, line):
    with pytest.raises(StreamBroken):
        answer(start(behaviour=Behaviour(between_chunks=line)))


@pytest.mark.parametrize("line", ["data:", ":", "event: message", "id: 7", 'data:{"choices":[]}'])
def test_lines_that_carry_no_text_change_nothing(start, line):
    assert answer(start(behaviour=Behaviour(between_chunks=line))).text == "it copies frames around "


# Clocks and counts


def test_the_making_of_a_client_is_not_in_the_ttft(start, monkeypatch):
    order = []
    making = aiohttp.ClientSession.__init__
    load = ssl.SSLContext.load_verify_locations  # what takes its time in a new client: tens of milliseconds
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", lambda *a, **k: order.append("client") or making(*a, **k))
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *args: order.append("client") or load(*args))

    def clock():
        order.append("clock")
        return time.perf_counter()

    collect(ask(start().engine, about(SAME), counters=unread, clock=clock))
    assert "client" not in order[order.index("clock") :]


def test_a_wall_clock_that_steps_back_changes_nothing(start, monkeypatch):
    fake = start(behaviour=Behaviour(until_text=HELD, between=0.01))
    noon = time.time()
    steps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: noon - 3600 * next(steps))
    [sample] = on_plain([COLD], fake)
    assert sample.valid
    assert HELD * 1e3 <= sample.ttft_ms < sample.e2el_ms < 3600e3
    assert min(sample.itls) > 0


def test_two_tokens_in_a_chunk_are_two_output_tokens(start):
    fake = start(behaviour=Behaviour(answer=("a",) * 8, tokens_per_chunk=2, between=0.02))
    reply = answer(fake)
    assert (reply.usage.completion_tokens, len(reply.itl)) == (8, 3)
    assert reply.tpot == pytest.approx((reply.e2el - reply.ttft) / 7)
    assert reply.tpot < reply.mean_itl / 2


def test_a_prompt_is_as_long_as_was_asked_however_short_its_document(start):
    short = asyncio.run(fill_to_length(start().engine, about(SAME).about("A codec turns frames into packets."), TOKENS))
    assert 0.9 * TOKENS <= answer(start(), short).usage.prompt_tokens <= TOKENS


# What is not cold


@pytest.mark.parametrize(("lies", "valid"), [(True, False), (False, True)])
def test_a_reset_is_believed_only_when_nothing_was_cached_afterwards(start, lies, valid):
    fake = start(behaviour=Behaviour(lying_reset=lies))
    [first] = on_plain([COLD], fake, nonce=lambda: SAME)
    assert reset(fake) == {"success": True}
    [second] = on_plain([COLD], fake, nonce=lambda: SAME)
    assert (first.valid, second.valid) == (True, valid)
    assert ("768 tokens were cached" in second.reason) is lies


def test_an_honest_reset_of_the_engine_makes_nothing_cold_while_its_cache_server_remembers(lmcache_pair):
    writer, _ = lmcache_pair()
    answer(writer, long(SAME))
    reset(writer)
    again = answer(writer, long(SAME))
    assert again.source == "shared memory"
    assert "tokens were cached" in FIRST_SIGHT.invalid_reason(again)


def test_a_cache_that_is_blind_to_the_nonce_makes_cold_samples_invalid(start):
    fake = start(behaviour=Behaviour(nonce_blind=True))
    first, *others = on_plain([COLD], fake, documents=3)
    assert first.valid
    assert len({sample.nonce for sample in (first, *others)}) == 3
    assert all("tokens were cached, and nothing should be" in sample.reason for sample in others)


@dataclass(frozen=True, slots=True)
class WithImage(Prompt):
    """A question about an image."""

    image: str = ""

    @property
    def messages(self):
        parts = [{"type": "image_url", "image_url": {"url": self.image}}, {"type": "text", "text": self.question}]
        return [{"role": "user", "content": parts}]


@pytest.mark.parametrize("blind", [True, False])
def test_two_images_that_share_a_key_are_found_out_by_the_tokens_that_were_cached(start, blind):
    fake = start(behaviour=Behaviour(media_blind=blind))
    first, second = (answer(fake, WithImage("What is this?", image=f"data:image/png;base64,{n}")) for n in "ab")
    assert not COLD.invalid_reason(first)
    assert bool(COLD.invalid_reason(second)) is blind


# What is no read from the volume


def test_a_store_that_is_late_is_awaited_before_the_cross_read(lmcache_pair):
    written, read = on_lmcache([FIRST_SIGHT, CROSS_READ], *lmcache_pair(late_looks=5))
    assert (written.reason, read.reason) == ("", "")
    assert written.stored_s > 3 * POLL_S
    assert read.source == "shared volume"


def test_without_a_cache_server_the_engines_counters_prove_the_cross_read(start, tmp_path, monkeypatch):
    monkeypatch.setattr(wait_for_store, "QUIET_S", 0.1)
    volume = Volume(folder=tmp_path)
    pair = [start(name, volume=volume) for name in ("lmcache-a", "lmcache-b")]
    facts = asyncio.run(preflight([fake.engine for fake in pair])).engines
    assert [of["kv_connector"] for of in facts.values()] == ["offloading"] * 2
    written, read, again = on_lmcache([FIRST_SIGHT, CROSS_READ, LMCACHE_OWN_WARM], *pair)
    assert [sample.reason for sample in (written, read, again)] == [""] * 3
    assert (written.stored_s > 0.1, read.source, again.source) == (True, "shared", "own prefix cache")
    assert "only 0 of" in CROSS_READ.invalid_reason(answer(pair[1], long("never stored")))


def test_without_waiting_the_late_store_would_have_been_missed_and_the_sample_says_so(lmcache_pair):
    writer, reader = lmcache_pair(late_looks=5)
    answer(writer, long(SAME))
    assert "only 0 of" in CROSS_READ.invalid_reason(answer(reader, long(SAME)))


def test_what_the_readers_cache_server_has_in_memory_is_no_read_from_the_volume(lmcache_pair):
    writer, reader = lmcache_pair()
    _, first = on_lmcache([FIRST_SIGHT, CROSS_READ], writer, reader, nonce=lambda: SAME)
    reset(reader)
    _, again = on_lmcache([FIRST_SIGHT, CROSS_READ], writer, reader, nonce=lambda: SAME)
    assert (first.valid, first.source) == (True, "shared volume")
    assert "from the cache server's memory" in again.reason


def test_what_the_reader_has_in_its_own_prefix_cache_is_no_read_from_the_volume(lmcache_pair):
    writer, reader = lmcache_pair()
    answer(writer, long(SAME))
    first, again = answer(reader, long(SAME)), answer(reader, long(SAME))
    assert first.usage == again.usage  # the number of cached tokens alone does not tell
    assert not CROSS_READ.invalid_reason(first)
    assert "only 0 of" in CROSS_READ.invalid_reason(again)


# What cannot be told


def test_another_request_in_flight_makes_a_sample_invalid(start):
    fake = start(behaviour=Behaviour(bystander=100))
    samples = on_plain([COLD, OWN_WARM], fake)
    assert all("is unknown" in sample.reason for sample in samples)
    assert all(sample.cached_tokens_details is None and sample.ttft_ms for sample in samples)
