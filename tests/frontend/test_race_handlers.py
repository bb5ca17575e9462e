"""The handlers of the race's tab, as Gradio calls them."""

import asyncio
import os
import time
from contextlib import aclosing
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
from fake_engine import Behaviour, FakeEngine, topology_of
from fakes import collect
from gradio_client import Client

from bench.synthetic_media import image
from cache.volume import current_namespace
from client.prompt import Prompt
from config.errors import DocumentError
from config.settings import Settings
from frontend.app import build
from frontend.app_state import AppState
from frontend.document_handlers import DocumentHandlers
from frontend.document_info import KvBytesPerToken, document_html
from frontend.link import ShareLink
from frontend.question_options import LONGEST_ANSWER, MAX_TOKENS, QUESTION_CHARACTERS, QuestionOptions, checked_question
from frontend.race import REPAINT_S, PaneStatus, ask_after_repaint, ask_engine
from frontend.race_handlers import RaceHandlers
from frontend.restart import Restart
from frontend.server import launch
from launch.ports import is_free

TAB = SimpleNamespace(session_hash="tab")
SLOW = Behaviour(answer=("word",) * 1000, between=0.01)


def asking(player, question="Why?", *, seed=0, files=None, engine="plain-a"):
    return player.ask(engine, question, 8, 0, seed, False, True, files, None, None, None, TAB)


async def all_of(frames):
    return [frame async for frame in frames]


@pytest.fixture
def fake():
    with FakeEngine("plain-a") as fake:
        yield fake


@pytest.fixture
def house(fake, settings):
    house = AppState.of(topology_of([fake]), settings, pinned=False)
    house.desk("tab").visit = house.desk("tab").visit.without_document()
    return house


def test_a_question_with_an_emptied_seed_is_asked_with_the_default(house, fake):
    frames = asyncio.run(all_of(asking(RaceHandlers(house), seed=None)))
    assert 'data-stage="done"' in frames[-1][2]
    assert fake.asked == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [({"question": " "}, "question is empty"), ({"files": ["/no/cat.png"]}, "cat.png cannot be read")],
)
def test_what_cannot_be_asked_is_told_before_anyone_waits(house, fake, given, said):
    async def refused():
        async with house.track.turn(lambda *_: None):  # somebody else measures
            return await all_of(asking(RaceHandlers(house), **given))

    with pytest.warns(UserWarning, match=said):  # what Gradio shows of a warning when there is no browser
        frames = asyncio.run(refused())
    assert len(frames) == 1
    assert not any(isinstance(part, str) for part in frames[0])
    assert fake.asked == 0


def test_media_of_the_conversation_count_among_those_of_a_prompt(fake, settings, tmp_path):
    """The same picture again is none more."""
    house = AppState.of(topology_of([fake]), settings.model_copy(update={"media_max_files": 1}), pinned=False)
    house.desk("tab").visit = house.desk("tab").visit.without_document()
    cat, dog = (write_picture(tmp_path / name, seed) for seed, name in enumerate(("cat.png", "dog.png")))

    async def talk():
        player = RaceHandlers(house)
        for question in ("What is it?", "What colour?"):
            assert 'data-stage="done"' in (await all_of(asking(player, question, files=[cat])))[-1][2]
        with pytest.warns(UserWarning, match="MEDIA_MAX_FILES"):
            await all_of(asking(player, "And this?", files=[dog]))

    asyncio.run(talk())
    assert fake.asked == 2


def write_picture(path, seed):
    path.write_bytes(image(seed, 8, 8).content)
    return str(path)


def test_editing_stops_the_run_which_would_overwrite_it(settings):
    async def edit(house):
        player = RaceHandlers(house)
        async with aclosing(asking(player)) as frames:
            async for _ in frames:
                if house.desk("tab").visit.race.panes["plain-a"].text:
                    question, *_ = await player.edit(SimpleNamespace(number=0), TAB)
        return question, house.desk("tab").visit

    with FakeEngine("plain-a", SLOW) as fake:
        house = AppState.of(topology_of([fake]), settings, pinned=False)
        house.desk("tab").visit = house.desk("tab").visit.without_document()
        question, visit = asyncio.run(edit(house))
    assert question == "Why?"
    assert visit.race.prompt is None
    assert visit.race.panes["plain-a"].stage is PaneStatus.IDLE


def test_an_error_that_is_not_ours_ends_a_run_without_a_trace_on_the_screen(house):
    async def script(_visit):
        raise ZeroDivisionError
        yield

    with pytest.warns(UserWarning, match="its log says why"):
        frames = asyncio.run(all_of(RaceHandlers(house).frames(house.desk("tab"), script, ShareLink())))
    assert 'data-stage="idle"' in frames[-1][2]


def test_a_document_that_cannot_be_used_does_not_even_stop_the_run(house, tmp_path):
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\xff")
    before = house.desk("tab").visit
    with pytest.warns(UserWarning, match="is not text"):
        frame = asyncio.run(DocumentHandlers(house).uploaded(str(tmp_path / "cat.png"), TAB))
    assert not any(isinstance(part, str) for part in frame)
    assert house.desk("tab").visit is before


def test_choosing_the_document_that_is_chosen_does_not_even_stop_the_run(house):
    """Gradio's choice tells so whenever it loses the focus."""

    async def chosen():
        frames, told = [], []
        async with aclosing(asking(RaceHandlers(house))) as run:
            async for frame in run:
                frames.append(frame)
                told.append(await DocumentHandlers(house).chosen("No document", TAB))
        return frames, told

    frames, told = asyncio.run(chosen())
    assert 'data-stage="done"' in frames[-1][2]
    assert not any(isinstance(part, str) for frame in told for part in frame)


def test_what_was_asked_without_the_document_is_regenerated_without_it(house, fake):
    """As after the tour for a picture."""
    house.desk("tab").visit = house.desk("tab").visit.reading("my.md", "Words of mine.")

    async def again():
        player = RaceHandlers(house)
        await all_of(player.media(None, None, None, None, TAB))
        picture = house.desk("tab").visit.race.prompt
        await all_of(player.again("plain-a", 8, 0, False, True, TAB))
        return picture, house.desk("tab").visit.race.prompt

    picture, regenerated = asyncio.run(again())
    assert picture.media
    assert (regenerated.document, regenerated.media) == ("", picture.media)
    assert fake.asked == 2


def test_a_tab_whose_connection_was_lost_is_told_to_reload(house):
    async def lost():
        await house.reception.leave("tab")
        await all_of(asking(RaceHandlers(house)))

    with pytest.raises(gr.Error, match="reload the page"):
        asyncio.run(lost())


def test_a_film_from_the_camera_is_taken_as_it_is(house):
    """To mirror or to mute it Gradio would run an ffmpeg that need not be there."""
    [camera] = [block for block in build(house).blocks.values() if block.elem_id == "filmed"]
    taken = camera.preprocess(camera.data_model(path="film.webm"))
    assert taken == "film.webm"


def test_a_document_is_read_elsewhere_than_in_the_loop(house, tmp_path):
    """A pipe is read to its end when its writer closes it, and that happens in the loop here."""
    path = tmp_path / "slow.md"
    os.mkfifo(path)

    async def both():
        changed = DocumentHandlers(house).replaced(lambda visit, _: visit.reading("slow.md", path.read_text()))
        reading = asyncio.create_task(changed("", TAB))
        await asyncio.to_thread(path.write_text, "at last")
        await reading

    asyncio.run(asyncio.wait_for(both(), 10))
    assert house.desk("tab").visit.document == "at last"


@pytest.mark.parametrize(
    ("text", "said"), [("x" * (2**21 + 1), "over the limit of 2"), (" \n", "is empty"), ("a\0b", "is not text")]
)
def test_pasted_text_has_the_limits_of_a_file(house, text, said):
    with pytest.raises(DocumentError, match=said):
        house.desk("tab").visit.with_text(text)


def test_half_a_surrogate_pair_is_no_reason_to_fail(house):
    assert house.desk("tab").visit.with_text("a \ud83d b").document == "a ? b"
    assert checked_question("why \ud83d?") == "why ??"


def test_a_question_has_a_length():
    with pytest.raises(DocumentError, match="as a document"):
        checked_question("x" * (QUESTION_CHARACTERS + 1))


def test_choices_out_of_range_are_the_defaults():
    assert QuestionOptions.of(LONGEST_ANSWER + 1, "nan", -1, cut=False, follow=True) == QuestionOptions(
        MAX_TOKENS, 0.0, 0
    )
    assert QuestionOptions.of("7", 0.5, 3.0, cut=True, follow=False) == QuestionOptions(
        7, 0.5, 3, cut=True, follow=False
    )


def test_bytes_per_token_are_measured_once(settings):
    folder = current_namespace(settings)
    size = KvBytesPerToken(settings)
    assert asyncio.run(size.get())  # by the recipe
    folder.mkdir(parents=True)
    (folder / "chunk.data").write_bytes(b"x" * 2560)
    assert asyncio.run(size.get()) == 10
    (folder / "chunk.data").unlink()
    assert asyncio.run(size.get()) == 10


def test_what_was_cut_is_said_and_not_shown_as_sent(house):
    async def cut():
        desk = house.desk("tab")
        desk.visit = desk.visit.reading("long.md", "word " * 9000)
        visits = desk.visit.asking((house.topology.engines,), "Why?", QuestionOptions(cut=True))
        last = [visit async for visit in visits][-1]
        return last, await last.facts()

    visit, facts = asyncio.run(cut())
    assert len(visit.sent) < len(visit.document)
    assert facts.cut == len(visit.document) - len(visit.sent)
    assert f"the last {facts.cut:,} characters" in document_html(facts, "n", None)
    assert visit.cold().sent == visit.document


@pytest.mark.parametrize(("command", "offered"), [((), 0), (("restart",), 1)])
def test_a_restart_is_offered_only_where_the_page_can_make_one(house, command, offered):
    page = build(replace(house, restart=Restart(command)))
    ids = [block.elem_id for block in page.blocks.values()]
    assert ids.count("tour-volume") == offered
    assert ids.count("no-restart") == 1 - offered


@pytest.mark.parametrize(
    ("env", "pinned", "said"),
    [
        ({}, False, "this machine's cores"),
        ({"DEVICE": "cuda"}, False, "a GPU"),
        ({"DEVICE": "cuda"}, True, "of its own"),
    ],
)
def test_the_page_says_why_engines_are_asked_in_turn(topology, tmp_path, env, pinned, said):
    page = build(AppState.of(topology, Settings.from_env({"ARENA_HOME": str(tmp_path), **env}), pinned=pinned))
    [mode] = [block for block in page.blocks.values() if block.elem_id == "mode"]
    assert said in mode.value


def test_stop_waits_for_nobody(house):
    """Everyone in the line occupies one of Gradio's jobs; Stop is none of them."""
    page = build(house)
    [button] = [block._id for block in page.blocks.values() if block.elem_id == "stop"]
    [stop] = [fn for fn in page.fns.values() if fn.targets == [(button, "click")]]
    assert stop.queue is False


def test_gradio_draws_no_progress_of_its_own(house):
    """Not even unseen: a hidden tracker draws sixty times a second, on cores that engines may share."""
    drawing = [fn.api_name for fn in build(house).fns.values() if fn.outputs and fn.show_progress_on != []]
    assert drawing == []


@pytest.fixture
def served(house, settings, monkeypatch):
    """The page, and its address. A client that leaves is missed at its next heartbeat."""
    monkeypatch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.1")
    port = next(number for number in range(7940, 7960) if is_free(number))
    page = build(house)
    launch(page, settings.model_copy(update={"ui_port": port}), wait=False)
    yield page, f"http://127.0.0.1:{port}"
    page.close(verbose=False)


def test_visitors_in_the_line_leave_jobs_to_the_others(served):
    page, _ = served
    assert page._queue.max_thread_count > 200
    limits = {fn.concurrency_limit for fn in page.fns.values() if fn.queue}
    assert (limits, page._queue.default_concurrency_limit) == ({"default"}, None)


def test_of_a_visitor_who_left_gradio_keeps_nothing_either(served):
    page, address = served
    client = Client(address, verbose=False)
    client.predict("No document", api_name="/document")
    kept = page.state_holder.session_data
    assert list(kept) == [client.session_hash]
    client.close()
    deadline = time.monotonic() + 10
    while kept and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(kept) == []


@pytest.mark.parametrize(("pinned", "how"), [(True, ask_engine), (False, ask_after_repaint)])
def test_where_cores_are_shared_an_engine_is_asked_when_the_browser_has_drawn(topology, settings, pinned, how):
    assert AppState.of(topology, settings, pinned=pinned).ask is how


def test_what_is_asked_in_calm_is_answered_as_ever():
    with FakeEngine() as fake:
        sent = []
        *deltas, reply = collect(ask_after_repaint(fake.engine, Prompt("What is a codec?"), sent.append))
    assert (sent, len(deltas), reply.text) == ([REPAINT_S], 4, "it copies frames around ")


def test_nothing_stands_between_the_calm_and_the_request():
    """A clock that starts after it would be early by as long as the counters take to be read."""
    with FakeEngine() as fake:
        done, metrics = [], fake.metrics
        fake.metrics = lambda path: [done.append("counted"), metrics(path)][1]
        collect(ask_after_repaint(fake.engine, Prompt("What is a codec?"), lambda _: done.append("drawn")))
    assert done == ["counted", "drawn", "counted"]
