"""A tab's document and conversation, and the prompts that are made of them."""

import asyncio
import socket
from dataclasses import replace

import pytest
from fake_engine import Behaviour, FakeEngine
from page_builders import PROMPT, RecordingTab, a_picture, a_state, an_answer, answered_by

from client.prompt import Turn
from config.errors import DocumentError
from config.settings import Settings
from config.topology import Topology
from frontend.document_info import document_html
from frontend.question_options import DEFAULT_OPTIONS, QuestionOptions
from frontend.race import Pane, PaneStatus
from frontend.tab_state import TabState

pytestmark = pytest.mark.anyio


class Talk:
    """A tab whose questions are answered at once."""

    def __init__(self, topology):
        self.topology, self.sent = topology, []
        self.tab = RecordingTab(a_state(topology), answered_by(self._answer))

    def says(self, question, options=DEFAULT_OPTIONS, *, engine="plain-a", media=(), again=False):
        """The questions that go before it."""
        asyncio.run(self.tab.ask(((self.topology.engine(engine),),), question, options, media, again=again))
        return [turn.question for turn in self.sent[-1].turns]

    async def _answer(self, engine, prompt, *, before_send):
        self.sent.append(prompt)
        async for event in an_answer(engine, prompt, before_send=before_send):
            yield event


@pytest.fixture
def talk(topology):
    return Talk(topology)


@pytest.fixture
def handbook(topology):
    return TabState.with_handbook(topology.engines)


def test_the_conversation_goes_along_unless_it_is_switched_off(talk):
    asked = [talk.says("One?"), talk.says("Two?"), talk.says("Three?", QuestionOptions(follow=False))]
    assert asked == [[], ["One?"], []]
    assert [message["role"] for message in talk.sent[1].messages] == ["system", "user", "assistant", "user"]


def test_the_same_words_twice_are_a_follow_up_and_regenerating_is_none(talk):
    assert [talk.says("Go on"), talk.says("Go on")] == [[], ["Go on"]]
    assert talk.says("Go on", again=True) == ["Go on"]
    assert talk.sent[1] == talk.sent[2]


def test_an_engine_that_lacks_only_the_last_question_joins_its_race(talk, topology):
    talk.says("One?")
    assert talk.says("One?", engine="lmcache-a") == []
    assert talk.tab.state.race.baseline(topology.engine("lmcache-a")).engine == "plain-a"


def test_a_picture_that_the_conversation_has_does_not_go_twice(talk):
    cat, dog = a_picture("cat"), a_picture("dog")
    for question, media in (("What is it?", (cat,)), ("What colour?", (a_picture("cat"),)), ("And this?", (cat, dog))):
        talk.says(question, media=media)
    talk.says("And this?", media=talk.sent[-1].media, again=True)
    assert [prompt.media for prompt in talk.sent] == [(cat,), (), (dog,), (dog,)]
    assert str(talk.sent[1].messages).count(cat.base64) == 1


def test_editing_a_question_takes_what_came_after_it_away(topology):
    state = a_state(topology).with_prompt(PROMPT, topology.engines)
    failed = state.failed("gone")  # a question that was never answered can be edited, too
    assert (failed.edited(0)[1], failed.edited(0)[0].race.prompt) == ("Why?", None)
    answered = replace(state, race=state.race.with_pane(Pane("plain-a", PaneStatus.DONE, PROMPT, "so")))
    follow_up = answered.with_prompt(answered.next_prompt(topology.engines, "And?"), topology.engines)
    edited, question = follow_up.edited(0)
    assert (edited.turns, question) == ((), "Why?")
    assert [follow_up.edited(number)[1] for number in (1, 9)] == ["And?", ""]


@pytest.mark.parametrize(("caption", "after"), [("2 of 4. lmcache-a is restarted.", "it failed"), ("", "")])
def test_a_tour_that_fails_does_not_keep_its_caption(topology, caption, after):
    assert replace(a_state(topology), caption=caption).failed("it failed").caption == after


def test_starting_cold_keeps_the_document_and_changes_the_nonce(handbook):
    cold = handbook.with_new_nonce()
    assert cold.document == handbook.document
    assert cold.nonce != handbook.nonce


@pytest.mark.parametrize(("random", "media", "turns"), [(True, 1, 0), (True, 0, 1), (True, 0, 0), (False, 1, 1)])
def test_an_encoder_of_random_weights_does_not_end_an_answer_before_its_first_word(handbook, random, media, turns):
    cat = a_picture("cat")
    state = replace(handbook, random_media_weights=random, turns=(Turn("What?", "A cat.", (cat,)),) * turns)
    prompt = state.next_prompt(state.engines, "Why?", media=(a_picture("dog"),) * media)
    assert prompt.ignore_eos is (random and media + turns > 0)


def test_a_file_that_is_no_text_is_refused(handbook, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(DocumentError, match=r"picture\.png is not UTF-8"):
        handbook.with_file(path)


@pytest.mark.parametrize(
    ("text", "said"), [("x" * (2**21 + 1), "over the limit of 2"), (" \n", "is empty"), ("a\0b", "is not text")]
)
def test_pasted_text_has_the_limits_of_a_file(handbook, text, said):
    with pytest.raises(DocumentError, match=said):
        handbook.with_text(text)


def test_half_a_surrogate_pair_is_no_reason_to_fail(handbook):
    assert handbook.with_text("a \ud83d b").document == "a ? b"


def test_an_empty_question_asks_no_engine(talk):
    with pytest.raises(DocumentError, match="empty"):
        talk.says(" ")
    assert talk.sent == []


def size_of(*engines, text="three small words", options=DEFAULT_OPTIONS, turns=(), **more):
    state = replace(TabState.begin(engines, "a name", text), turns=turns)
    return asyncio.run(state.document_size(options, **more))


def test_with_no_engine_up_the_document_is_not_counted():
    topology = Topology.of(Settings.from_env({"ENGINE_URL": "http://127.0.0.1:9"}))
    assert size_of(*topology.engines).tokens is None


def test_the_document_is_counted_for_a_model_without_a_system_role():
    with FakeEngine("plain-a", Behaviour(user_only=True)) as fake:
        size = size_of(fake.engine)
    assert (size.name, size.tokens > 3) == ("a name", True)


def test_with_media_of_the_conversation_the_document_is_counted_without_them():
    turns = (Turn("What is it?", "A cat.", (a_picture("cat"),)),)
    with FakeEngine("plain-a") as fake:
        alone = size_of(fake.engine)
        followed = size_of(fake.engine, turns=turns, options=QuestionOptions(max_tokens=100))
    assert (alone.turns, followed.turns) == (0, 1)
    assert alone.tokens < followed.tokens < alone.tokens + 20
    assert alone.limit - followed.limit == 100 - 64


def test_an_engine_that_hangs_does_not_keep_the_others_from_counting(topology):
    with socket.create_server(("127.0.0.1", 0)) as silent, FakeEngine("plain-b") as fake:
        hung = replace(topology.engine("plain-a"), url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert size_of(hung, fake.engine, within_s=0.5).tokens


async def test_what_was_cut_is_said_and_not_shown_as_sent():
    with FakeEngine("plain-a") as fake:
        tab = RecordingTab(TabState.begin((fake.engine,), "long.md", "word " * 9000), answered_by(an_answer))
        await tab.ask(((fake.engine,),), "Why?", QuestionOptions(cut=True))
        size = await tab.state.document_size()
    assert len(tab.state.sent_document) < len(tab.state.document)
    assert size.cut == len(tab.state.document) - len(tab.state.sent_document)
    assert f"the last {size.cut:,} characters" in document_html(size, "n", None, 256)
    assert tab.state.with_new_nonce().sent_document == tab.state.document
