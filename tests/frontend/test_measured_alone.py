"""While something is measured, by whomever, the page disturbs neither engines nor cores."""

import asyncio
import re
import threading
import time
from contextlib import aclosing, asynccontextmanager

import pytest
from fake_engine import FakeEngine, Volume, topology_of
from page_builders import a_request, all_of, asking, take_turn
from pdfs import a_pdf

from bench.synthetic_media import image
from client.measurement_lock import MeasurementLock
from frontend import document_handlers, measurement_queue
from frontend.app_state import AppState
from frontend.bench_tab import BenchHandlers
from frontend.document_handlers import DocumentHandlers
from frontend.measurement_queue import MeasurementQueue
from frontend.race_handlers import RaceHandlers
from frontend.stack_tab import StackPanel
from frontend.tab_view import status_line

pytestmark = pytest.mark.anyio
TAB = a_request()


class Counting(FakeEngine):
    """Counts whatever it is asked for."""

    requests = 0

    def metrics(self, path):
        self.requests += 1
        return super().metrics(path)

    def json(self, path, body):
        self.requests += 1
        return super().json(path, body)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    for module in (document_handlers, measurement_queue):
        monkeypatch.setattr(module, "POLL_S", 0.01)


@pytest.fixture
def fakes():
    with Counting("plain-a") as plain, Counting("lmcache-a", volume=Volume()) as shared:
        yield plain, shared


@pytest.fixture
def lock(tmp_path):
    return MeasurementLock(tmp_path / "measurement.lock")


@pytest.fixture
def app(fakes, settings, lock):
    return AppState.of(topology_of(fakes), settings, gpu_per_engine=True, lock=lock)


def asked(fakes):
    return sum(fake.requests + fake.asked for fake in fakes)


async def until(true):
    """Nothing tells when it is true: it is shown, or a lock is held."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@asynccontextmanager
async def by_the_command_line(app):
    held = MeasurementLock(app.queue.lock.path).attempt("bench ttft")
    try:
        yield held
    finally:
        held.release()


def by_another_visitor(app):
    return app.queue.wait_turn(lambda *_: None)


def by_the_pages_bench(app):
    return app.queue.reserve_for_bench("ttft")


BY_ANYONE = pytest.mark.parametrize("measured", [by_the_command_line, by_another_visitor, by_the_pages_bench])


@BY_ANYONE
async def test_opening_the_page_its_documents_and_its_stack_asks_the_engines_for_nothing(app, fakes, measured):
    documents, stack = DocumentHandlers(app), StackPanel(app)
    async with measured(app):
        app.sessions.attach_visitor("tab", "me")
        async with aclosing(documents.described(64, True, TAB)) as described:
            assert "has ended" in (await anext(described))[2]
            await documents.pasted("Words of mine.", TAB)
            assert "Pasted text" in (await anext(described))[2]
        assert "has ended" in (await stack.drawn())[0]
        await stack.redrawn("")
    assert asked(fakes) == 0


@BY_ANYONE
async def test_what_was_known_before_is_shown_with_its_age(app, fakes, measured):
    documents, stack = DocumentHandlers(app), StackPanel(app)
    [counted] = await all_of(documents.described(64, True, TAB))
    await stack.drawn()
    before = asked(fakes)
    async with measured(app), aclosing(documents.described(64, True, TAB)) as described:
        known, seen = (await anext(described))[2], (await stack.drawn())[0]
    assert asked(fakes) == before > 0
    assert known.startswith(counted[2][:200])
    assert all(re.search(r"\d s ago", html) for html in (known, seen))
    assert 'data-service="plain-a"' in seen


async def test_when_the_measurement_has_ended_the_document_is_counted(app):
    sizes = []
    async with by_the_command_line(app) as held:
        async for *_, size in DocumentHandlers(app).described(64, True, TAB):
            sizes.append(size)
            held.release()
    assert ["has ended" in size for size in sizes] == [True, False]
    assert "tokens" in sizes[-1]


async def test_a_question_waits_for_the_command_line_and_says_what_for_and_who_is_before(app, fakes):
    handlers, tabs = RaceHandlers(app), [app.session(session) for session in ("first", "second")]
    async with by_the_command_line(app) as held:
        runs = asyncio.gather(*(all_of(asking(handlers, session=session)) for session in ("first", "second")))
        await until(lambda: all(tab.state.measured_elsewhere for tab in tabs))
        first, second = (status_line(tab.state) for tab in tabs)
        assert asked(fakes) == 0
        held.release()
        await runs
    assert "bench ttft" in first
    assert "comes next" in first
    assert "1 visitor is before you" in second
    assert [tab.state.race.panes["plain-a"].status for tab in tabs] == ["done", "done"]


async def test_a_question_holds_the_lock_and_frees_it(app, lock):
    tab, holders = app.session("tab"), []

    async def look():
        holders.append(lock.holder().what)

    await all_of(tab.run(take_turn(tab, look())))
    assert holders == ["a question on the page"]
    assert lock.holder() is None


async def test_stopping_while_the_command_line_is_waited_for_leaves_the_line(app):
    tab = app.session("tab")
    async with by_the_command_line(app):
        async for state in tab.run(take_turn(tab)):
            if state.measured_elsewhere:
                await tab.stop()
    assert (tab.state.measured_elsewhere, app.queue.busy, app.queue.current) == ("", False, "")


async def test_a_command_that_waits_comes_before_the_second_visitor(lock):
    queue, order, waiting = MeasurementQueue(lock), [], threading.Event()

    async def visitor(name):
        async with queue.wait_turn(lambda *_: None):
            order.append(name)
            if name == "first":
                await asyncio.to_thread(waiting.wait)

    def command():
        with MeasurementLock(lock.path).held("ask", lambda _: waiting.set()):
            order.append("command")

    first = asyncio.create_task(visitor("first"))
    await until(lambda: order)  # it has the lock then
    await asyncio.gather(first, visitor("second"), asyncio.to_thread(command))
    assert order == ["first", "command", "second"]


@BY_ANYONE
async def test_no_report_is_made_meanwhile(app, tmp_path, measured):
    (tmp_path / "ttft-1").mkdir()
    (tmp_path / "ttft-1" / "result.json").write_text('{"kind": "ttft", "date": "2026"}')
    app.bench_runner.results = tmp_path
    async with measured(app):
        assert "when it has ended" in await BenchHandlers(app.bench_runner).report("ttft-1")


async def test_a_pdf_is_read_and_a_film_decoded_when_the_measurement_has_ended(app, tmp_path):
    path, picture = a_pdf(tmp_path / "a.pdf"), tmp_path / "a.png"
    picture.write_bytes(image(1, 8, 8).content)
    reads, asks = app.session("reads"), app.session("asks")
    for tab in (reads, asks):
        tab.state = tab.state.without_document()
    async with by_the_command_line(app) as held:
        both = asyncio.gather(
            DocumentHandlers(app).uploaded(str(path), a_request("reads")),
            all_of(asking(RaceHandlers(app), files=[str(picture)], session="asks")),
        )
        await until(lambda: asks.state.measured_elsewhere)
        assert (reads.state.name, asks.state.media) == ("No document", ())
        held.release()
        await both
    assert reads.state.name == "a.pdf"
    assert asks.state.media


async def test_slow_pdfs_are_read_one_at_a_time_and_leave_threads_to_the_others(app, tmp_path):
    path, reading, most = a_pdf(tmp_path / "a.pdf"), [], []

    def slow(state, _):
        reading.append(1)
        most.append(len(reading))
        time.sleep(0.02)
        reading.pop()
        return state

    uploaded = DocumentHandlers(app).replaces(slow)
    uploads = asyncio.gather(*(uploaded(str(path), a_request(f"tab-{number}")) for number in range(8)))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    await uploads
    assert most == [1] * 8
