import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest
from fakes import a_reply

from engines.errors import DocumentError, StackError
from engines.prompt import Prompt
from engines.reply import Delta
from frontend.desk import KEPT_S, Desk, Person, Reception
from frontend.race import Pane, Stage
from frontend.track import Track
from frontend.visitor import Choices, Visit

PROMPT = Prompt("Why?", "A document.", "n0nce")


@pytest.fixture
def visit(topology):
    return Visit.begin(topology.engines, "a name", "A document.")


def shown(visit, stage, text="", engine="plain-a"):
    return replace(visit, race=visit.race.about(PROMPT).showing(Pane(engine, stage, PROMPT, text)))


async def frames(desk, track, script):
    return [visit async for visit in desk.play(track, script)]


def test_a_run_ends_with_its_last_state_however_fast_it_was(visit):
    async def script(visit):
        for number in range(100):
            yield shown(visit, Stage.ANSWERING, str(number))
        yield shown(visit, Stage.DONE, "all")

    seen = asyncio.run(frames(Desk(visit, Person()), Track(), script))
    assert seen[-1].race.panes["plain-a"].text == "all"
    assert len(seen) < 20


def test_stop_closes_the_request_keeps_the_text_and_writes_a_row(visit):
    closed = []

    async def script(visit):
        try:
            yield shown(visit, Stage.ANSWERING, "half")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def stop():
        desk = Desk(visit, Person())
        seen = []
        async for now in desk.play(Track(), script):
            seen.append(now)
            if now.race.panes["plain-a"].text:
                await desk.stop()
                assert closed == [True]
        return desk, seen[-1]

    desk, last = asyncio.run(stop())
    assert (last.race.panes["plain-a"].text, last.race.panes["plain-a"].stage) == ("half", Stage.STOPPED)
    assert [row.reason for row in desk.person.history.rows] == ["stopped"]


def test_a_tab_has_one_run_at_a_time(visit):
    async def script(visit):
        yield visit
        await asyncio.Event().wait()

    async def twice():
        desk = Desk(visit, Person())
        async with aclosing(desk.play(Track(), script)) as first:
            await anext(first)
            with pytest.raises(StackError, match="press Stop"):
                await anext(desk.play(Track(), script))

    asyncio.run(twice())


def test_what_a_script_raises_reaches_its_caller_and_frees_the_track(visit):
    async def script(_visit):
        raise DocumentError("the question is empty")
        yield

    async def fail():
        desk, track = Desk(visit, Person()), Track()
        with pytest.raises(DocumentError):
            await frames(desk, track, script)
        return track.busy

    assert not asyncio.run(fail())


def test_two_visitors_run_one_after_the_other_and_the_second_sees_the_line(visit):
    async def both():
        track, done, order = Track(), asyncio.Event(), []

        async def first(visit):
            order.append("first")
            yield visit
            await done.wait()

        async def second(visit):
            order.append("second")
            yield visit

        desk = Desk(visit, Person())
        running = asyncio.create_task(frames(Desk(visit, Person()), track, first))
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
        track = Track()

        async def script(visit):
            yield visit
            await asyncio.Event().wait()

        running = asyncio.create_task(frames(Desk(visit, Person()), track, script))
        await asyncio.sleep(0)
        waiting = Desk(visit, Person())
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
        track = Track()
        async with track.reserved("ttft"):
            with pytest.raises(StackError, match="bench ttft"):
                await track.turn(lambda _: None).__aenter__()
            with pytest.raises(StackError, match="bench ttft"):
                await track.reserved("aa").__aenter__()
        async with track.turn(lambda _: None):
            with pytest.raises(StackError, match="a question"):
                await track.reserved("aa").__aenter__()

    asyncio.run(both())


def test_nobody_sees_anothers_history_and_a_reload_keeps_ones_own(visit):
    async def visits():
        reception = Reception(visit)
        mine, theirs = reception.greet("tab-1", "me"), reception.greet("tab-2", "them")
        mine.person.history.add(Pane("plain-a", Stage.DONE, PROMPT), "a name")
        assert not theirs.person.history.rows
        await reception.leave("tab-1")
        again = reception.greet("tab-3", "me")
        assert len(again.person.history.rows) == 1
        assert again.visit.nonce != mine.visit.nonce

    asyncio.run(visits())


def test_visitors_who_left_leave_nothing(visit):
    async def visits():
        now = [0.0]
        reception = Reception(visit, lambda: now[0])
        for number in range(20):
            desk = reception.greet(f"tab-{number}", f"person-{number}")
            desk.person.history.add(Pane("plain-a", Stage.DONE, PROMPT), "a name")
            await reception.leave(f"tab-{number}")
        now[0] = KEPT_S + 1.0
        reception.greet("last", "last")
        await reception.leave("last")
        return reception._desks, reception._people

    assert asyncio.run(visits()) == ({}, {})


def test_closing_a_tab_frees_its_engine(visit):
    async def close():
        asked, closed, reception, track = asyncio.Event(), asyncio.Event(), Reception(visit), Track()

        async def script(visit):
            try:
                yield shown(visit, Stage.ASKED)
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


def test_the_conversation_goes_along_and_the_same_question_again_does_not_follow_itself(topology):
    engine = topology.engine("plain-a")
    sent = []

    async def ask(engine, prompt, _sent):
        sent.append(prompt)
        yield Delta("an answer", 0.5)
        yield a_reply(engine, ttft=0.5)

    async def talk():
        visit = Visit.begin(topology.engines, "a name", "A document.")
        for question, choices in (
            ("One?", Choices()),
            ("One?", Choices()),
            ("Two?", Choices()),
            ("Three?", Choices(follow=False)),
        ):
            async for now in visit.asking(((engine,),), question, choices, ask=ask):
                last = now
            visit = last
        return visit

    asyncio.run(talk())
    assert [[turn.question for turn in prompt.turns] for prompt in sent] == [[], [], ["One?"], []]
    assert [message["role"] for message in sent[2].messages] == ["system", "user", "assistant", "user"]


def test_editing_a_question_takes_what_came_after_it_away(topology):
    race = Visit.begin(topology.engines, "a", "b").race.about(PROMPT)
    visit = Visit(topology.engines, "a", "b", "n", race.showing(Pane("plain-a", Stage.DONE, PROMPT, "so")), ())
    follow = replace(visit, turns=visit.following("And?"))
    edited, question = follow.edited(0)
    assert (edited.turns, question) == ((), "Why?")
    assert follow.edited(9)[1] == ""
