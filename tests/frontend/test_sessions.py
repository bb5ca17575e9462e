"""Tabs and visitors: one run for each tab, the line, what is kept, and what is dropped."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from itertools import pairwise

import pytest
from page_builders import PROMPT, RecordingTab, a_picture, a_state, all_of, take_turn

from client.prompt import Prompt, Turn
from config.errors import DocumentError, StackError
from frontend import sessions as sessions_module
from frontend.measurement_queue import MeasurementQueue
from frontend.race import Pane, PaneStatus
from frontend.sessions import KEPT_S, SessionStore
from frontend.tab_state import TabState
from media import Media, Modality

pytestmark = pytest.mark.anyio
ROW = Pane("plain-a", PaneStatus.DONE, PROMPT), "a name"


@pytest.fixture
def state(topology):
    return a_state(topology)


@pytest.fixture
def tab(state):
    return RecordingTab(state)


@pytest.fixture
def store(state):
    return SessionStore(state, MeasurementQueue(), max_tabs=2)


async def test_a_run_ends_with_its_last_state_however_fast_it_was(tab):
    async def work():
        for number in range(100):
            tab.show_pane(PaneStatus.ANSWERING, str(number))
            await asyncio.sleep(0)
        tab.show_pane(PaneStatus.DONE, "all")

    states = await all_of(tab.run(work()))
    assert states[-1].race.panes["plain-a"].text == "all"
    assert len(states) < 20


async def test_a_frame_comes_30_ms_after_the_one_before_or_later(tab):
    shown, times = asyncio.Event(), []

    async def work():
        for number in range(4):
            tab.show_pane(PaneStatus.ANSWERING, str(number))
            await shown.wait()
            shown.clear()

    async for _ in tab.run(work()):
        times.append(asyncio.get_running_loop().time())
        shown.set()
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert len(gaps) == 4
    assert min(gaps) > 0.0299


async def test_a_second_stop_does_not_interrupt_the_closing_of_a_request(tab):
    asked, closing, freed, closed = asyncio.Event(), asyncio.Event(), asyncio.Event(), []

    async def answer():
        try:
            asked.set()
            await asyncio.Event().wait()
        finally:
            closing.set()
            await freed.wait()
            closed.append(True)

    running = asyncio.create_task(all_of(tab.run(take_turn(tab, answer()))))
    for reached in (asked, closing):
        await reached.wait()
        tab.cancel()
    freed.set()
    await running
    assert closed == [True]
    assert not tab.busy


async def test_stop_closes_the_request_keeps_the_text_and_writes_a_row_for_engines_that_were_asked(tab):
    closed = []

    async def answer():
        try:
            tab.show_pane(PaneStatus.QUEUED, engine="plain-b")
            tab.show_pane(PaneStatus.ANSWERING, "half")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async for now in tab.run(take_turn(tab, answer())):
        if now.race.panes["plain-a"].text:
            await tab.stop()
            assert closed == [True]
    asked, queued = (tab.state.race.panes[name] for name in ("plain-a", "plain-b"))
    assert (asked.text, asked.status, queued.status) == ("half", PaneStatus.STOPPED, PaneStatus.IDLE)
    assert [(row.engine, row.reason) for row in tab.visitor.history.rows] == [("plain-a", "stopped")]


async def test_a_tab_has_one_run_at_a_time(tab):
    async with aclosing(tab.run(take_turn(tab))) as first:
        await anext(first)
        with pytest.raises(StackError, match="press Stop"):
            await anext(tab.run(take_turn(tab)))


@pytest.mark.parametrize(
    ("error", "fault"), [(DocumentError("it is too long"), "it is too long"), (ZeroDivisionError(), "its log says why")]
)
async def test_what_a_run_raises_reaches_its_caller_ends_its_clocks_and_frees_the_queue(tab, error, fault):
    async def fail():
        tab.show_pane(PaneStatus.ASKED)
        raise error

    for _ in range(2):
        with pytest.raises(type(error)):
            await all_of(tab.run(take_turn(tab, fail())))
    assert tab.state.race.panes["plain-a"].status is PaneStatus.FAILED
    assert [fault in row.reason for row in tab.visitor.history.rows] == [True, True]  # failing twice is two rows
    assert not tab.queue.busy


async def test_two_visitors_run_one_after_the_other_and_the_second_sees_the_line(tab, state):
    done, second, ahead = asyncio.Event(), RecordingTab(state, queue=tab.queue), []
    running = asyncio.create_task(all_of(tab.run(take_turn(tab, done.wait()))))
    await asyncio.sleep(0.01)
    async for now in second.run(take_turn(second, asyncio.sleep(0))):
        ahead.append((now.visitors_ahead, running.done()))
        done.set()
    assert (ahead[0], ahead[-1]) == ((1, False), (0, True))


async def test_stopping_while_in_the_line_leaves_it(tab, state):
    second, ahead = RecordingTab(state, queue=tab.queue), []
    async with tab.queue.wait_turn(lambda *_: None):
        async for now in second.run(take_turn(second)):
            ahead.append(now.visitors_ahead)
            await second.stop()
    assert ahead[0] == 1
    assert not tab.queue.busy


async def test_a_benchmark_and_questions_keep_out_of_each_others_way():
    queue = MeasurementQueue()

    async def refused(turn, by):
        with pytest.raises(StackError, match=by):
            await turn.__aenter__()

    async with queue.reserve_for_bench("ttft"):
        await refused(queue.wait_turn(lambda *_: None), "bench ttft")
        await refused(queue.reserve_for_bench("aa"), "bench ttft")
    async with queue.wait_turn(lambda *_: None):
        await refused(queue.reserve_for_bench("aa"), "a question")


async def test_nobody_sees_anothers_history_and_a_reload_keeps_ones_own(store):
    mine, theirs = store.attach_visitor("tab-1", "me"), store.attach_visitor("tab-2", "them")
    mine.visitor.history.add(*ROW)
    assert not theirs.visitor.history.rows
    await store.close("tab-1")
    again = store.attach_visitor("tab-3", "me")
    assert len(again.visitor.history.rows) == 1
    assert again.state.nonce != mine.state.nonce


def test_what_a_tab_asked_before_its_visitor_was_known_stays(store):
    store.session("tab").visitor.history.add(*ROW)
    for _ in range(2):
        tab = store.attach_visitor("tab", "me")
    assert len(tab.visitor.history.rows) == 1


async def test_visitors_who_left_leave_nothing_after_an_hour(state):
    now = [0.0]
    store = SessionStore(state, MeasurementQueue(), clock=lambda: now[0])
    for number in range(20):
        store.attach_visitor(f"tab-{number}", f"visitor-{number}").visitor.history.add(*ROW)
        await store.close(f"tab-{number}")
    assert len(store._visitors) == 20
    now[0] = KEPT_S + 1.0
    store.attach_visitor("last", "last")
    await store.close("last")
    assert (store._sessions, store._visitors) == ({}, {})


async def test_a_reload_that_is_faster_than_the_end_of_the_stopped_run_keeps_its_row(store):
    started, freed = asyncio.Event(), asyncio.Event()

    async def work(tab):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await freed.wait()  # a request takes a while to be closed
            tab.visitor.history.add(*ROW)

    before = store.attach_visitor("before", "me")
    run = asyncio.create_task(all_of(before.run(work(before))))
    await started.wait()
    closed = asyncio.create_task(store.close("before"))
    await asyncio.sleep(0)
    after = store.attach_visitor("after", "me")
    freed.set()
    await asyncio.gather(run, closed)
    assert len(after.visitor.history.rows) == 1


async def test_of_too_many_visitors_one_without_a_tab_is_forgotten_first(store, monkeypatch):
    monkeypatch.setattr(sessions_module, "MAX_VISITORS", 2)
    for number, token in enumerate(("here", "left")):
        store.attach_visitor(f"tab-{number}", token).visitor.history.add(*ROW)
    await store.close("tab-1")
    store.attach_visitor("tab-2", "new")
    assert set(store._visitors) == {"here", "new"}


async def test_of_tabs_that_were_closed_only_so_many_are_known(store, monkeypatch):
    monkeypatch.setattr(sessions_module, "MAX_CLOSED", 2)
    for number in range(3):
        store.attach_visitor(f"tab-{number}", "")
        await store.close(f"tab-{number}")
    assert list(store._closed) == ["tab-1", "tab-2"]
    with pytest.raises(StackError, match="reload"):
        store.session("tab-2")


async def test_closing_a_tab_frees_its_engine(store):
    asked, closed, tab = asyncio.Event(), [], store.attach_visitor("tab", "me")

    async def answer():
        try:
            asked.set()
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    running = asyncio.create_task(all_of(tab.run(take_turn(tab, answer()))))
    await asked.wait()
    await store.close("tab")
    await running
    assert closed == [True]
    assert not store._queue.busy


async def test_the_tab_that_is_dropped_is_the_idlest_and_its_run_ends(store):
    async with AsyncExitStack() as runs:

        async def run_in(session):
            tab = store.session(session)
            await anext(await runs.enter_async_context(aclosing(tab.run(take_turn(tab)))))
            return tab

        first = await run_in("first")
        store.session("second")
        third = await run_in("third")  # the second was dropped, which did nothing
        assert [store.session("first"), store.session("third")] == [first, third]
        assert first.state.caption == ""
        store.session("fourth")  # both were busy: the first is dropped
        await first.stop()
        assert first.state.caption == "Stopped."


def test_a_tab_that_was_dropped_is_asked_to_reload_and_never_answered_about_another_document(store, state):
    store.attach_visitor("idlest", "me").state = state.with_document("my.md", "Words of mine.")
    for session in ("second", "third"):
        store.attach_visitor(session, "")
    for _ in range(2):
        with pytest.raises(StackError, match="reload"):
            store.session("idlest")
    assert store.attach_visitor("reloaded", "me").state.name == state.name


def holding(state, size):
    """A conversation about a picture of so many bytes."""
    cat = Media(Modality.IMAGE, "cat", "image/png", "A" * size, size)
    return replace(state, turns=(Turn("What?", "A cat.", (cat,)),))


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        pytest.param([300] * 4, [False, True, True, True], id="the idlest tabs are dropped"),
        pytest.param([100, -11, 5000], [False, True, True], id="not one that holds nothing, or asks"),
    ],
)
def test_documents_and_media_of_all_visitors_have_one_budget(state, sizes, kept):
    store = SessionStore(state, MeasurementQueue(), held_bytes=1000)
    for number, size in enumerate(sizes):
        tab = store.session(f"tab-{number}")
        tab.state = holding(state, size) if size > 0 else state.without_document()
        store.enforce_budget(tab)
    for number, (size, stays) in enumerate(zip(sizes, kept, strict=True)):
        if stays:
            assert store.session(f"tab-{number}").held_bytes == size + len(state.document)
        else:
            with pytest.raises(StackError, match="reload"):
                store.session(f"tab-{number}")


def test_what_all_visitors_share_and_what_a_tab_has_twice_counts_once(topology):
    tab = RecordingTab(TabState.with_handbook(topology.engines))
    assert tab.held_bytes == 0
    cat = a_picture("cat")
    asked = Prompt("Why?", tab.state.document, "n0nce", media=(cat,))
    tab.state = tab.state.with_prompt(asked, topology.engines)
    assert tab.held_bytes == len(cat.base64)
