"""While something is measured, by whomever, the page disturbs neither engines nor cores."""

import asyncio
import re
import threading
from contextlib import aclosing, asynccontextmanager
from types import SimpleNamespace

import pytest
from fake_engine import FakeEngine, Volume, topology_of
from pdfs import a_pdf

from bench.synthetic_media import image
from client.measurement_lock import MeasurementLock
from frontend import document_handlers as reader_module
from frontend import measurement_queue as track_module
from frontend.app_state import AppState
from frontend.bench_tab import BenchHandlers
from frontend.document_handlers import DocumentHandlers
from frontend.measurement_queue import MeasurementQueue
from frontend.race_handlers import RaceHandlers
from frontend.sessions import TabSession, Visitor
from frontend.stack_tab import StackPanel
from frontend.tab_view import status_line

TAB = SimpleNamespace(session_hash="tab")


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
    monkeypatch.setattr(reader_module, "POLL_S", 0.01)
    monkeypatch.setattr(track_module, "POLL_S", 0.01)


@pytest.fixture
def fakes():
    with Counting("plain-a") as plain, Counting("lmcache-a", volume=Volume()) as shared:
        yield plain, shared


@pytest.fixture
def lock(tmp_path):
    return MeasurementLock(tmp_path / "measurement.lock")


@pytest.fixture
def house(fakes, settings, lock):
    return AppState.of(topology_of(fakes), settings, pinned=True, lock=lock)


def asked(fakes):
    return sum(fake.requests + fake.asked for fake in fakes)


@asynccontextmanager
async def by_the_command_line(house):
    hold = MeasurementLock(house.track.lock.path).attempt("bench ttft")
    try:
        yield hold
    finally:
        hold.release()


@asynccontextmanager
async def by_another_visitor(house):
    async with house.track.turn(lambda *_: None):
        yield


@asynccontextmanager
async def by_the_pages_bench(house):
    async with house.track.reserved("ttft"):
        yield


EVERYONE = pytest.mark.parametrize("measured", [by_the_command_line, by_another_visitor, by_the_pages_bench])


@EVERYONE
def test_opening_the_page_its_documents_and_its_stack_ask_the_engines_for_nothing(house, fakes, measured):
    async def look_about():
        reader, sight = DocumentHandlers(house), StackPanel(house)
        async with measured(house):
            house.reception.greet("tab", "me")
            async with aclosing(reader.described(64, True, TAB)) as said:
                first = (await anext(said))[2]
                await reader.pasted("Words of mine.", TAB)
                second = (await anext(said))[2]
                drawn, _ = await sight.drawn()
                await sight.redrawn("")
                assert asked(fakes) == 0
                return first, second, drawn

    first, second, drawn = asyncio.run(look_about())
    assert "has ended" in first
    assert "Pasted text" in second
    assert "has ended" in drawn


@EVERYONE
def test_what_was_known_before_is_shown_with_its_age(house, fakes, measured):
    async def look_twice():
        reader, sight = DocumentHandlers(house), StackPanel(house)
        [counted] = [each async for each in reader.described(64, True, TAB)]
        await sight.drawn()
        before = asked(fakes)
        async with measured(house), aclosing(reader.described(64, True, TAB)) as said:
            known, seen = (await anext(said))[2], (await sight.drawn())[0]
        assert asked(fakes) == before > 0
        return counted[2], known, seen

    counted, known, seen = asyncio.run(look_twice())
    assert known.startswith(counted[:200])
    assert re.search(r"\d s ago", known)
    assert re.search(r"\d s ago", seen)
    assert 'data-service="plain-a"' in seen


def test_when_the_measurement_has_ended_the_document_is_counted(house):
    async def wait():
        said = []
        async with by_the_command_line(house) as hold:
            async for each in DocumentHandlers(house).described(64, True, TAB):
                said.append(each[2])
                hold.release()
        return said

    waiting, counted = asyncio.run(wait())
    assert "has ended" in waiting
    assert "tokens" in counted
    assert "has ended" not in counted


def test_a_question_waits_for_the_command_line_and_says_what_for_and_who_is_before(house, fakes):
    async def line():
        player, places = RaceHandlers(house), [house.desk(f"tab-{number}") for number in range(2)]
        asking = [
            player.ask("plain-a", "Why?", 8, 0, 0, False, True, None, None, None, None, SimpleNamespace(session_hash=s))
            for s in ("tab-0", "tab-1")
        ]

        async def play(frames):
            async for _ in frames:
                pass

        async with by_the_command_line(house) as hold:
            runs = [asyncio.create_task(play(frames)) for frames in asking]
            while not all(desk.visit.elsewhere for desk in places):  # noqa: ASYNC110 - shown, and no event
                await asyncio.sleep(0.01)
            said = [status_line(desk.visit) for desk in places]
            assert asked(fakes) == 0
            hold.release()
            await asyncio.gather(*runs)
        return said, [desk.visit.race.panes["plain-a"].stage for desk in places]

    (first, second), stages = asyncio.run(line())
    assert "bench ttft" in first
    assert "comes next" in first
    assert "1 visitor is before you" in second
    assert stages == ["done", "done"]


def test_a_question_holds_the_lock_and_frees_it(house, lock):
    async def ask():
        track, seen = house.track, []

        async def script(visit):
            seen.append(lock.holder())
            yield visit

        desk = TabSession(house.desk("tab").visit, Visitor())
        _ = [visit async for visit in desk.play(track, script)]
        return seen

    [holder] = asyncio.run(ask())
    assert holder.what == "a question on the page"
    assert lock.holder() is None


def test_stopping_while_the_command_line_is_waited_for_leaves_the_line(house):
    async def leave():
        desk = TabSession(house.desk("tab").visit, Visitor())

        async def never(visit):
            raise AssertionError
            yield visit

        async with by_the_command_line(house):
            async for visit in desk.play(house.track, never):
                if visit.elsewhere:
                    await desk.stop()
        return desk.visit.elsewhere, house.track.busy, house.track.measuring

    assert asyncio.run(leave()) == ("", False, "")


def test_a_command_that_waits_comes_before_the_second_visitor(lock):
    async def both():
        track, order = MeasurementQueue(lock), []

        async def visitor(name):
            async with track.turn(lambda *_: None):
                order.append(name)
                if name == "first":
                    await asyncio.to_thread(waiting.wait)

        def command():
            with MeasurementLock(lock.path).held("ask", lambda _: waiting.set()):
                order.append("command")

        waiting = threading.Event()
        first = asyncio.create_task(visitor("first"))
        while not order:  # noqa: ASYNC110 - it has the lock then
            await asyncio.sleep(0)
        second, other = asyncio.create_task(visitor("second")), asyncio.to_thread(command)
        await asyncio.gather(first, second, other)
        return order

    assert asyncio.run(both()) == ["first", "command", "second"]


@EVERYONE
def test_no_report_is_made_meanwhile(house, tmp_path, measured):
    async def report():
        async with measured(house):
            (tmp_path / "ttft-1").mkdir()
            (tmp_path / "ttft-1" / "result.json").write_text('{"kind": "ttft", "date": "2026"}')
            house.studies.results = tmp_path
            return await BenchHandlers(house.studies).report("ttft-1")

    assert "when it has ended" in asyncio.run(report())


def test_a_pdf_is_read_and_a_film_decoded_when_the_measurement_has_ended(house, tmp_path):
    path, picture = a_pdf(tmp_path / "a.pdf"), tmp_path / "a.png"
    picture.write_bytes(image(1, 8, 8).content)

    async def bring():
        house.desk("tab").visit = house.desk("tab").visit.without_document()
        other, order = SimpleNamespace(session_hash="other"), []
        house.desk("other").visit = house.desk("other").visit.without_document()

        async def read():
            await DocumentHandlers(house).uploaded(str(path), TAB)
            order.append("pdf")

        async def ask():
            asking = RaceHandlers(house).ask(
                "plain-a", "What?", 8, 0, 0, False, True, [str(picture)], None, None, None, other
            )
            async for _ in asking:
                pass
            order.append("picture")

        async with by_the_command_line(house) as hold:
            both = [asyncio.create_task(read()), asyncio.create_task(ask())]
            while house.desk("other").visit.elsewhere == "":  # noqa: ASYNC110 - shown, and no event
                await asyncio.sleep(0.01)
            assert order == []
            order.append("measured")
            hold.release()
            await asyncio.gather(*both)
        return order

    assert asyncio.run(bring())[0] == "measured"
    assert house.desk("tab").visit.name == "a.pdf"
    assert house.desk("other").visit.media


def test_slow_pdfs_are_read_one_at_a_time_and_leave_threads_to_the_others(house, tmp_path):
    path = a_pdf(tmp_path / "a.pdf")

    async def crowd():
        at_once, most, all_read = 0, 0, threading.Event()
        lock = threading.Lock()

        def slow(visit, _):
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
            all_read.wait(0.02)
            with lock:
                at_once -= 1
            return visit

        uploaded = DocumentHandlers(house).replaced(slow)
        reading = [
            asyncio.create_task(uploaded(str(path), SimpleNamespace(session_hash=f"tab-{number}")))
            for number in range(8)
        ]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
        await asyncio.gather(*reading)
        return most

    assert asyncio.run(crowd()) == 1
