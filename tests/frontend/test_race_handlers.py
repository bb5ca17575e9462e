"""The handlers of the race's tab, as Gradio calls them, and how they are wired."""

import asyncio
import os
from contextlib import aclosing
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
from fake_engine import Behaviour, FakeEngine, topology_of
from page_builders import a_request, all_of, asking

from bench.synthetic_media import image
from cache.volume import current_namespace
from config.errors import ConfigError, DocumentError
from config.settings import Settings
from frontend.app import build
from frontend.app_state import AppState
from frontend.document_handlers import DocumentHandlers
from frontend.document_info import KvBytesPerToken
from frontend.question_options import LONGEST_ANSWER, MAX_TOKENS, QUESTION_CHARACTERS, QuestionOptions, checked_question
from frontend.race import REPAINT_S, PaneStatus
from frontend.race_handlers import RaceHandlers, shows_run
from frontend.restart import Restart

pytestmark = pytest.mark.anyio
TAB = a_request()
SLOW = Behaviour(answer=("word",) * 1000, between=0.01)


@pytest.fixture
def fake(request):
    with FakeEngine("plain-a", getattr(request, "param", Behaviour())) as fake:
        yield fake


@pytest.fixture
def app(fake, settings):
    app = AppState.of(topology_of([fake]), settings, gpu_per_engine=False)
    app.session("tab").state = app.session("tab").state.without_document()
    return app


@pytest.fixture
def handlers(app):
    return RaceHandlers(app)


def is_skipped(frame):
    return not any(isinstance(part, str) for part in frame)


def state_of(app):
    return app.session("tab").state


async def test_a_question_with_an_emptied_seed_is_asked_with_the_default(handlers, fake):
    frames = await all_of(asking(handlers, seed=None))
    assert 'data-stage="done"' in frames[-1][2]
    assert fake.asked == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"question": " "}, "question is empty"),
        ({"files": ["/no/cat.png"]}, "cat.png cannot be read"),
        ({"engine": "plain-z"}, "no engine"),
    ],
)
async def test_what_cannot_be_asked_is_refused_before_it_waits_in_the_line(app, handlers, fake, given, said):
    async with app.queue.wait_turn(lambda *_: None):  # another visitor measures
        with pytest.warns(UserWarning, match=said):  # what Gradio shows of a warning when there is no browser
            frames = await all_of(asking(handlers, **given))
    assert [is_skipped(frame) for frame in frames] == [True]
    assert fake.asked == 0


async def test_media_of_the_conversation_count_among_those_of_a_prompt(fake, settings, tmp_path):
    """The same picture again is none more."""
    app = AppState.of(topology_of([fake]), settings.model_copy(update={"media_max_files": 1}), gpu_per_engine=False)
    app.session("tab").state = state_of(app).without_document()
    cat, dog = tmp_path / "cat.png", tmp_path / "dog.png"
    for seed, path in enumerate((cat, dog)):
        path.write_bytes(image(seed, 8, 8).content)

    handlers = RaceHandlers(app)
    for question in ("What is it?", "What colour?"):
        assert 'data-stage="done"' in (await all_of(asking(handlers, question, files=[str(cat)])))[-1][2]
    with pytest.warns(UserWarning, match="MEDIA_MAX_FILES"):
        await all_of(asking(handlers, "And this?", files=[str(dog)]))
    assert fake.asked == 2


@pytest.mark.parametrize("fake", [SLOW], indirect=True)
async def test_editing_stops_the_run_which_would_overwrite_it(app, handlers):
    async with aclosing(asking(handlers)) as frames:
        async for _ in frames:
            if state_of(app).race.panes["plain-a"].text:
                question, *_ = await handlers.edit(SimpleNamespace(number=0), TAB)
    assert question == "Why?"
    assert state_of(app).race.prompt is None
    assert state_of(app).race.panes["plain-a"].status is PaneStatus.IDLE


async def test_an_error_that_is_not_ours_ends_a_run_without_a_trace_on_the_screen(app):
    class Failing(RaceHandlers):
        @shows_run
        async def fail(self, _request):
            raise ZeroDivisionError

    with pytest.warns(UserWarning, match="its log says why"):
        frames = await all_of(Failing(app).fail(TAB))
    assert is_skipped(frames[-1])


async def test_a_document_that_cannot_be_used_does_not_even_stop_the_run(app, tmp_path):
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\xff")
    before = state_of(app)
    with pytest.warns(UserWarning, match="is not text"):
        frame = await DocumentHandlers(app).uploaded(str(tmp_path / "cat.png"), TAB)
    assert is_skipped(frame)
    assert state_of(app) is before


async def test_choosing_the_document_that_is_chosen_does_not_even_stop_the_run(app, handlers):
    """Gradio's dropdown fires its event whenever it loses the focus."""
    async with aclosing(asking(handlers)) as run:
        frames = [(frame, await DocumentHandlers(app).chosen("No document", TAB)) async for frame in run]
    assert 'data-stage="done"' in frames[-1][0][2]
    assert all(is_skipped(chosen) for _, chosen in frames)


async def test_what_was_asked_without_the_document_is_regenerated_without_it(app, handlers, fake):
    """As after the tour for a picture."""
    app.session("tab").state = state_of(app).with_document("my.md", "Words of mine.")
    await all_of(handlers.media_tour(None, None, None, None, TAB))
    picture = state_of(app).race.prompt
    await all_of(handlers.again("plain-a", 8, 0, False, True, TAB))
    regenerated = state_of(app).race.prompt
    assert picture.media
    assert (regenerated.document, regenerated.media) == ("", picture.media)
    assert fake.asked == 2


async def test_a_tab_whose_connection_was_lost_is_asked_to_reload(app, handlers):
    await app.sessions.close("tab")
    with pytest.raises(gr.Error, match="reload the page"):
        await all_of(asking(handlers))


async def test_a_document_is_read_elsewhere_than_in_the_loop(app, tmp_path):
    """A pipe is read to its end when its writer closes it, and that happens in the loop here."""
    path = tmp_path / "slow.md"
    os.mkfifo(path)
    changed = DocumentHandlers(app).replaces(lambda state, _: state.with_document("slow.md", path.read_text()))
    reading = asyncio.create_task(changed("", TAB))
    await asyncio.wait_for(asyncio.to_thread(path.write_text, "at last"), 10)
    await asyncio.wait_for(reading, 10)
    assert state_of(app).document == "at last"


def test_a_question_is_bounded_and_made_fit_to_send():
    assert checked_question("why \ud83d?") == "why ??"  # half a surrogate pair
    with pytest.raises(DocumentError, match="as a document"):
        checked_question("x" * (QUESTION_CHARACTERS + 1))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ((LONGEST_ANSWER + 1, "nan", -1), (MAX_TOKENS, 0.0, 0)),
        (("7", 0.5, 3.0), (7, 0.5, 3)),
        ((None,) * 3, (64, 0, 0)),
    ],
)
def test_options_out_of_range_are_the_defaults(given, taken):
    assert QuestionOptions.of(*given, cut=True, follow=False) == QuestionOptions(*taken, cut=True, follow=False)


async def test_bytes_per_token_are_measured_once(settings):
    folder = current_namespace(settings)
    size = KvBytesPerToken(settings)
    assert await size.get()  # by the recipe
    folder.mkdir(parents=True)
    (folder / "chunk.data").write_bytes(b"x" * 10 * settings.chunk_size)
    assert await size.get() == 10
    (folder / "chunk.data").unlink()
    assert await size.get() == 10


@pytest.mark.parametrize(("gpu_per_engine", "pause_s"), [(True, 0), (False, REPAINT_S)])
async def test_where_cores_are_shared_an_engine_is_asked_when_the_browser_has_drawn(
    fake, settings, gpu_per_engine, pause_s
):
    app = AppState.of(topology_of([fake]), settings, gpu_per_engine=gpu_per_engine)
    await all_of(asking(RaceHandlers(app)))
    assert state_of(app).race.panes["plain-a"].pause_s == pause_s


def test_a_target_is_all_a_pair_or_one_engine(topology, settings):
    app = AppState.of(topology, settings, gpu_per_engine=False)
    asked = {target: [group[0].name for group in app.groups_of(target)] for _, target in app.targets()}
    assert asked["all"] == [engine.name for engine in topology.engines]
    assert (asked["lmcache"], asked["plain-b"]) == (["lmcache-a", "lmcache-b"], ["plain-b"])
    with pytest.raises(ConfigError):
        app.groups_of("cache")


def blocks(app, elem_id):
    return [block for block in build(app).blocks.values() if block.elem_id == elem_id]


@pytest.mark.parametrize(("command", "offered"), [((), 0), (("restart",), 1)])
def test_a_restart_is_offered_only_where_the_page_can_make_one(app, command, offered):
    app = replace(app, restart=Restart(command))
    assert (len(blocks(app, "tour-volume")), len(blocks(app, "no-restart"))) == (offered, 1 - offered)


@pytest.mark.parametrize(
    ("env", "gpu_per_engine", "said"),
    [
        ({}, False, "this machine's cores"),
        ({"DEVICE": "cuda"}, False, "a GPU"),
        ({"DEVICE": "cuda"}, True, "of its own"),
    ],
)
def test_the_page_says_why_engines_are_asked_in_turn(topology, tmp_path, env, gpu_per_engine, said):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), **env})
    [mode] = blocks(AppState.of(topology, settings, gpu_per_engine=gpu_per_engine), "mode")
    assert said in mode.value


def test_a_film_from_the_camera_is_taken_as_it_is(app):
    """To mirror or to mute it Gradio would run an ffmpeg that need not be there."""
    [camera] = blocks(app, "filmed")
    assert camera.preprocess(camera.data_model(path="film.webm")) == "film.webm"


def test_stop_is_none_of_the_jobs_that_wait_in_gradios_queue(app):
    page = build(app)
    [button] = [block._id for block in page.blocks.values() if block.elem_id == "stop"]
    [stop] = [fn for fn in page.fns.values() if fn.targets == [(button, "click")]]
    assert stop.queue is False


def test_gradio_draws_no_progress_of_its_own(app):
    """Not even unseen: a hidden tracker draws sixty times a second, on cores that engines may share."""
    drawing = [fn.api_name for fn in build(app).fns.values() if fn.outputs and fn.show_progress_on != []]
    assert drawing == []
