import asyncio
import socket
import time
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest
from fake_engine import FakeEngine
from fakes import a_reply, collect

from client.prompt import Prompt, Turn
from client.reply import Delta
from config.errors import DocumentError, StackError
from frontend import sessions as desk_module
from frontend.measurement_queue import MeasurementQueue
from frontend.question_options import QuestionOptions
from frontend.race import Pane, PaneStatus
from frontend.sessions import KEPT_S, SessionStore, TabSession, Visitor
from frontend.tab_state import TabState
from media import Media, Modality

PROMPT = Prompt("Why?", "A document.", "n0nce")


@pytest.fixture
def visit(topology):
    return TabState.begin(topology.engines, "a name", "A document.")


def shown(visit, stage, text="", engine="plain-a"):
    return replace(visit, race=visit.race.about(PROMPT).showing(Pane(engine, stage, PROMPT, text)))


async def frames(desk, track, script):
    return [visit async for visit in desk.play(track, script)]


def test_a_run_ends_with_its_last_state_however_fast_it_was(visit):
    async def script(visit):
        for number in range(100):
            yield shown(visit, PaneStatus.ANSWERING, str(number))
        yield shown(visit, PaneStatus.DONE, "all")

    seen = asyncio.run(frames(TabSession(visit, Visitor()), MeasurementQueue(), script))
    assert seen[-1].race.panes["plain-a"].text == "all"
    assert len(seen) < 20


def test_stop_closes_the_request_keeps_the_text_and_writes_a_row(visit):
    closed = []

    async def script(visit):
        try:
            yield shown(visit, PaneStatus.ANSWERING, "half")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def stop():
        desk = TabSession(visit, Visitor())
        seen = []
        async for now in desk.play(MeasurementQueue(), script):
            seen.append(now)
            if now.race.panes["plain-a"].text:
                await desk.stop()
                assert closed == [True]
        return desk, seen[-1]

    desk, last = asyncio.run(stop())
    assert (last.race.panes["plain-a"].text, last.race.panes["plain-a"].stage) == ("half", PaneStatus.STOPPED)
    assert [row.reason for row in desk.person.history.rows] == ["stopped"]


def test_a_tab_has_one_run_at_a_time(visit):
    async def script(visit):
        yield visit
        await asyncio.Event().wait()

    async def twice():
        desk = TabSession(visit, Visitor())
        async with aclosing(desk.play(MeasurementQueue(), script)) as first:
            await anext(first)
            with pytest.raises(StackError, match="press Stop"):
                await anext(desk.play(MeasurementQueue(), script))

    asyncio.run(twice())


def test_what_a_script_raises_reaches_its_caller_and_frees_the_track(visit):
    async def script(_visit):
        raise DocumentError("the question is empty")
        yield

    async def fail():
        desk, track = TabSession(visit, Visitor()), MeasurementQueue()
        with pytest.raises(DocumentError):
            await frames(desk, track, script)
        return track.busy

    assert not asyncio.run(fail())


def test_two_visitors_run_one_after_the_other_and_the_second_sees_the_line(visit):
    async def both():
        track, done, order = MeasurementQueue(), asyncio.Event(), []

        async def first(visit):
            order.append("first")
            yield visit
            await done.wait()

        async def second(visit):
            order.append("second")
            yield visit

        desk = TabSession(visit, Visitor())
        running = asyncio.create_task(frames(TabSession(visit, Visitor()), track, first))
        await asyncio.sleep(0)
        places = []
        async for now in desk.play(track, second):
            places.append(now.before)
            done.set()
        await running
        return order, places

    order, places = asyncio.run(both())
    assert order == ["first", "second"]
    assert (places[0], places[-1]) == (1, 0)


def test_stopping_while_in_the_line_leaves_it(visit):
    async def leave():
        track = MeasurementQueue()

        async def script(visit):
            yield visit
            await asyncio.Event().wait()

        running = asyncio.create_task(frames(TabSession(visit, Visitor()), track, script))
        await asyncio.sleep(0)
        waiting = TabSession(visit, Visitor())
        seen = []
        async for now in waiting.play(track, script):
            seen.append(now.before)
            await waiting.stop()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return seen, track.busy

    seen, busy = asyncio.run(leave())
    assert seen[0] == 1
    assert not busy


def test_a_benchmark_and_questions_keep_out_of_each_others_way():
    async def both():
        track = MeasurementQueue()
        async with track.reserved("ttft"):
            with pytest.raises(StackError, match="bench ttft"):
                await track.turn(lambda *_: None).__aenter__()
            with pytest.raises(StackError, match="bench ttft"):
                await track.reserved("aa").__aenter__()
        async with track.turn(lambda *_: None):
            with pytest.raises(StackError, match="a question"):
                await track.reserved("aa").__aenter__()

    asyncio.run(both())


def test_nobody_sees_anothers_history_and_a_reload_keeps_ones_own(visit):
    async def visits():
        reception = SessionStore(visit)
        mine, theirs = reception.greet("tab-1", "me"), reception.greet("tab-2", "them")
        mine.person.history.add(Pane("plain-a", PaneStatus.DONE, PROMPT), "a name")
        assert not theirs.person.history.rows
        await reception.leave("tab-1")
        again = reception.greet("tab-3", "me")
        assert len(again.person.history.rows) == 1
        assert again.visit.nonce != mine.visit.nonce

    asyncio.run(visits())


def test_visitors_who_left_leave_nothing(visit):
    async def visits():
        now = [0.0]
        reception = SessionStore(visit, lambda: now[0])
        for number in range(20):
            desk = reception.greet(f"tab-{number}", f"person-{number}")
            desk.person.history.add(Pane("plain-a", PaneStatus.DONE, PROMPT), "a name")
            await reception.leave(f"tab-{number}")
        now[0] = KEPT_S + 1.0
        reception.greet("last", "last")
        await reception.leave("last")
        return reception

    reception = asyncio.run(visits())
    assert (reception._desks, reception._people) == ({}, {})


def test_of_tabs_that_were_closed_only_so_many_are_known(visit, monkeypatch):
    async def come_and_go():
        reception = SessionStore(visit)
        for number in range(3):
            reception.greet(f"tab-{number}", "")
            await reception.leave(f"tab-{number}")
        return reception

    monkeypatch.setattr(desk_module, "MAX_CLOSED", 2)
    reception = asyncio.run(come_and_go())
    assert list(reception._left) == ["tab-1", "tab-2"]
    with pytest.raises(StackError, match="reload"):
        reception.desk("tab-2")


def test_closing_a_tab_frees_its_engine(visit):
    async def close():
        asked, closed, reception, track = asyncio.Event(), asyncio.Event(), SessionStore(visit), MeasurementQueue()

        async def script(visit):
            try:
                yield shown(visit, PaneStatus.ASKED)
                asked.set()
                await asyncio.Event().wait()
            finally:
                closed.set()

        desk = reception.greet("tab", "me")
        running = asyncio.create_task(frames(desk, track, script))
        await asked.wait()
        await reception.leave("tab")
        await running
        return closed.is_set(), track.busy

    assert asyncio.run(close()) == (True, False)


class Talk:
    """A visit whose questions are answered at once."""

    def __init__(self, topology):
        self.visit, self.topology = TabState.begin(topology.engines, "a name", "A document."), topology
        self.sent = []

    def says(self, question, *choices, engine="plain-a", media=(), again=False):
        asked = ((self.topology.engine(engine),),)
        visits = self.visit.asking(asked, question, *choices, media=media, ask=self._answer, again=again)
        self.visit = collect(visits)[-1]
        return [turn.question for turn in self.sent[-1].turns]

    async def _answer(self, engine, prompt, _sent):
        self.sent.append(prompt)
        yield Delta("an answer", 0.5)
        yield a_reply(engine, ttft=0.5)


def test_the_conversation_goes_along_unless_it_is_told_not_to(topology):
    talk = Talk(topology)
    assert [talk.says("One?"), talk.says("Two?"), talk.says("Three?", QuestionOptions(follow=False))] == [
        [],
        ["One?"],
        [],
    ]
    assert [message["role"] for message in talk.sent[1].messages] == ["system", "user", "assistant", "user"]


def test_the_same_words_twice_are_a_follow_up_and_regenerating_is_none(topology):
    talk = Talk(topology)
    assert [talk.says("Go on"), talk.says("Go on")] == [[], ["Go on"]]
    assert talk.says("Go on", again=True) == ["Go on"]
    assert talk.sent[1] == talk.sent[2]


def test_an_engine_that_lacks_only_the_last_question_joins_its_race(topology):
    talk = Talk(topology)
    talk.says("One?")
    assert talk.says("One?", engine="lmcache-a") == []
    assert talk.visit.race.baseline(topology.engine("lmcache-a")).engine == "plain-a"


def test_a_picture_that_the_conversation_has_does_not_go_twice(topology):
    talk, cat, dog = Talk(topology), a_picture("cat"), a_picture("dog")
    talk.says("What is it?", media=(cat,))
    talk.says("What colour?", media=(a_picture("cat"),))
    talk.says("And this?", media=(cat, dog))
    talk.says("And this?", media=talk.sent[-1].media, again=True)
    assert [prompt.media for prompt in talk.sent] == [(cat,), (), (dog,), (dog,)]
    assert sum(str(prompt.messages).count(cat.base64) for prompt in talk.sent[1:2]) == 1


def a_picture(name):
    return Media.of(Modality.IMAGE, f"{name}.png", "image/png", name.encode())


def test_editing_a_question_takes_what_came_after_it_away(topology):
    race = TabState.begin(topology.engines, "a", "b").race.about(PROMPT)
    visit = TabState(topology.engines, "a", "b", "n", race.showing(Pane("plain-a", PaneStatus.DONE, PROMPT, "so")), ())
    follow = replace(visit, turns=visit.following("And?", topology.engines))
    edited, question = follow.edited(0)
    assert (edited.turns, question) == ((), "Why?")
    assert follow.edited(9)[1] == ""


def test_a_question_that_was_never_answered_can_be_edited(topology):
    race = TabState.begin(topology.engines, "a", "b").race.about(PROMPT)
    visit = TabState(
        topology.engines, "a", "b", "n", race.showing(Pane("plain-a", PaneStatus.FAILED, PROMPT, fault="gone"))
    )
    edited, question = visit.edited(0)
    assert (question, edited.race.prompt) == ("Why?", None)


def test_the_same_failure_twice_is_two_rows(visit):
    async def script(visit):
        yield shown(visit, PaneStatus.QUEUED)
        yield replace(
            visit, race=visit.race.about(PROMPT).showing(Pane("plain-a", PaneStatus.FAILED, PROMPT, fault="gone"))
        )

    async def twice():
        desk = TabSession(visit, Visitor())
        for _ in range(2):
            await frames(desk, MeasurementQueue(), script)
        return [row.reason for row in desk.person.history.rows]

    assert asyncio.run(twice()) == ["gone", "gone"]


def test_stopping_a_race_writes_no_row_for_engines_that_were_not_asked(visit):
    async def script(visit):
        race = visit.race.about(PROMPT).showing(Pane("plain-a", PaneStatus.ASKED, PROMPT))
        yield replace(visit, race=race.showing(Pane("plain-b", PaneStatus.QUEUED, PROMPT)))
        await asyncio.Event().wait()

    async def stop():
        desk = TabSession(visit, Visitor())
        async for _ in desk.play(MeasurementQueue(), script):
            await desk.stop()
        return desk

    desk = asyncio.run(stop())
    assert [row.engine for row in desk.person.history.rows] == ["plain-a"]
    assert desk.visit.race.panes["plain-b"].stage is PaneStatus.IDLE


def test_an_engine_that_is_asked_in_a_moment_has_not_been_asked():
    pane = Pane("plain-a", PaneStatus.ASKED, PROMPT, calm=60, sent=time.time() + 60)
    assert pane.stopped() == Pane("plain-a")


def test_a_tour_that_fails_says_no_more_what_it_does(visit):
    touring = replace(visit, caption="2 of 4. lmcache-a is restarted.")
    assert touring.broken("the restart failed").caption == "the restart failed"
    assert visit.broken("gone").caption == ""


def test_a_run_that_breaks_ends_its_clocks(visit):
    async def script(visit):
        yield shown(visit, PaneStatus.ASKED)
        raise ZeroDivisionError

    async def fail():
        desk = TabSession(visit, Visitor())
        with pytest.raises(ZeroDivisionError):
            await frames(desk, MeasurementQueue(), script)
        return desk.visit.race.panes["plain-a"]

    pane = asyncio.run(fail())
    assert pane.stage is PaneStatus.FAILED
    assert "its log says why" in pane.fault


def test_what_a_tab_asked_before_it_said_who_it_is_stays(visit):
    reception = SessionStore(visit)
    reception.desk("tab").person.history.add(Pane("plain-a", PaneStatus.DONE, PROMPT), "a name")
    for _ in range(2):
        desk = reception.greet("tab", "me")
    assert (len(desk.person.history.rows), desk.person.tabs) == (1, 1)


def test_the_desk_that_goes_is_the_idlest_and_a_run_on_it_ends(visit):
    async def crowd():
        reception, runs, ended = SessionStore(visit, desks=2), [], []

        async def script(visit):
            try:
                yield visit
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        async def runs_at(session):
            desk = reception.desk(session)
            runs.append(run := desk.play(MeasurementQueue(), script))
            await anext(run)
            return desk

        first = await runs_at("first")
        reception.desk("second")
        third = await runs_at("third")  # the second went, who did nothing
        assert [reception.desk("first"), reception.desk("third")] == [first, third]
        assert not ended
        reception.desk("fourth")  # both were busy: the first goes
        await first.stop()
        assert ended == [True]
        for run in runs:
            await run.aclose()

    asyncio.run(crowd())


def test_with_media_of_the_conversation_the_document_is_counted_without_them():
    with FakeEngine("plain-a") as fake:
        visit = TabState.begin((fake.engine,), "a name", "three small words")
        alone = asyncio.run(visit.facts())
        longer = replace(visit, turns=(Turn("What is it?", "A cat.", (a_picture("cat"),)),))
        followed = asyncio.run(longer.facts(QuestionOptions(max_tokens=100)))
    assert (alone.turns, followed.turns) == (0, 1)
    assert alone.tokens < followed.tokens < alone.tokens + 20
    assert alone.limit - followed.limit == 100 - 64


def test_an_engine_that_hangs_keeps_nobody_from_counting(topology):
    with socket.create_server(("127.0.0.1", 0)) as silent, FakeEngine("plain-b") as fake:
        hung = replace(topology.engine("plain-a"), url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        visit = TabState.begin((hung, fake.engine), "a name", "three small words")
        assert asyncio.run(visit.facts(within=0.5)).tokens


def test_whoever_was_dropped_is_told_to_reload_and_answered_about_nothing_else(visit):
    reception = SessionStore(visit, desks=2)
    reception.greet("idlest", "me").visit = visit.reading("my.md", "Words of mine.")
    for session in ("second", "third"):
        reception.greet(session, "")
    for _ in range(2):
        with pytest.raises(StackError, match="reload"):
            reception.desk("idlest")
    assert reception.greet("reloaded", "me").visit.name == visit.name


def holding(visit, size, name="cat"):
    return replace(
        visit, turns=(Turn("What?", "A cat.", (Media(Modality.IMAGE, name, "image/png", "A" * size, size),)),)
    )


def test_media_of_all_visitors_have_one_budget_and_the_idlest_go_and_are_told(visit):
    reception = SessionStore(visit, held_bytes=1000)
    for number in range(4):
        desk = reception.desk(f"tab-{number}")
        desk.visit = holding(desk.visit, 300)
        reception.make_room(desk)
    with pytest.raises(StackError, match="reload"):
        reception.desk("tab-0")
    assert [reception.desk(f"tab-{number}").held_bytes for number in (1, 2, 3)] == [311] * 3


def test_whoever_alone_is_over_the_budget_keeps_what_it_has(visit):
    reception = SessionStore(visit, held_bytes=1000)
    reception.desk("small").visit = holding(visit, 100)
    reception.desk("empty").visit = visit.without_document()
    desk = reception.desk("large")
    desk.visit = holding(desk.visit, 5000)
    reception.make_room(desk)
    assert reception.desk("large") is desk
    assert reception.desk("empty").held_bytes == 0
    with pytest.raises(StackError):
        reception.desk("small")


def test_what_all_visitors_share_and_what_one_has_twice_counts_once(topology):
    visit = TabState.of_the_handbook(topology.engines)
    assert TabSession(visit, Visitor()).held_bytes == 0
    cat = a_picture("cat")
    asked = Prompt("Why?", visit.document, "n0nce", media=(cat,))
    race = visit.race.about(asked).showing(Pane("plain-a", PaneStatus.DONE, asked, "so"))
    twice = replace(visit, race=race.showing(Pane("plain-b", PaneStatus.DONE, asked, "so")))
    assert TabSession(twice, Visitor()).held_bytes == len(cat.base64)
