"""What a tab shows: panes, bars, conversation, the picture and the link of a race."""

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
from fakes import a_reply
from page_builders import PROMPT, a_state

from client.prompt import Prompt, Turn
from client.reply import Delta, Sources
from frontend.bars import seconds, token_parts, ttft_bars
from frontend.link import NO_LINK, ShareLink
from frontend.panes import first_difference, pane_html
from frontend.question_options import QuestionOptions
from frontend.race import Pane, PaneStatus, Race
from frontend.race_image import race_svg
from frontend.sanitize import escape_html, render_markdown
from frontend.tab_state import TabState
from frontend.tab_view import TabView, conversation_html, status_line
from media import Media, Modality

EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> [x](javascript:alert(1)) "
    "![y](http://evil.example/p.png) {{value}} ${1+1}"
)
SHARED = Sources(88, 0, 6912, l1=256, l2=6656)
OTHER = replace(PROMPT, question="And?")


class Tags(HTMLParser):
    """Names of all elements, and of all their attributes."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.addresses = set(), set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


def done(engine, ttft, text="an answer", prompt=PROMPT, sources=None):
    reply = a_reply(engine, ttft=ttft, text=text, cached=sources.shared if sources else 0, sources=sources)
    return Pane(engine, PaneStatus.DONE, prompt, text, ttft, reply)


def raced(topology, *panes):
    race = Race.of(topology.engines).about(PROMPT)
    for pane in panes:
        race = race.with_pane(pane)
    return race


def shown(topology, *panes):
    """The pane of the last one."""
    return pane_html(raced(topology, *panes), topology.engine(panes[-1].engine))


def test_an_lmcache_engine_is_compared_with_the_plain_one_of_its_side_and_says_what_that_one_did(topology):
    computed = done("plain-b", 9.0, sources=Sources(7000, 0, 0))
    html = shown(topology, computed, done("lmcache-b", 0.5, sources=SHARED))
    assert "18.0× faster than</strong> plain-b: shared memory + volume against computed" in html
    assert "same answer" in html
    assert 'data-ttft-ms="500.0"' in html
    assert "as fast as" in shown(topology, done("plain-a", 2.00), done("lmcache-a", 1.97))


@pytest.mark.parametrize(
    "plain",
    [
        (),
        (done("plain-b", 9.0, prompt=OTHER),),
        (done("plain-b", 9.0, prompt=replace(PROMPT, turns=(Turn("Q", "A"),))),),
    ],
)
def test_without_an_answer_to_the_same_prompt_neither_times_nor_answers_are_compared(topology, plain):
    html = shown(topology, *plain, done("lmcache-b", 0.5))
    assert not [claim for claim in ("faster", "same answer", "differs") if claim in html]


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [("a b c", "a  b c", None), ("a b c", "a x c", 2), ("a b", "a b c", 3), ("", "a", 1)],
)
def test_answers_are_compared_word_by_word(one, other, word):
    assert first_difference(one, other) == word


def test_reasoning_is_open_while_it_is_all_there_is_and_is_no_part_of_the_answer(topology):
    thinking = Pane("plain-a", PaneStatus.ASKED, PROMPT).with_delta(Delta("Let me <see>.", 1.0, reasoning=True))
    assert '<details class="reasoning note" open><summary>' in shown(topology, thinking)
    answering = thinking.with_delta(Delta("Because.", 2.0))
    assert (answering.ttft, answering.text, answering.reasoning) == (1.0, "Because.", "Let me <see>.")
    assert '<details class="reasoning note"><summary>' in shown(topology, answering)
    assert "&lt;see&gt;" in shown(topology, answering)
    assert '<p class="note">stopped</p>' in shown(topology, thinking.ended(PaneStatus.STOPPED, "stopped"))


def test_the_stacked_bar_shows_every_source_and_adds_up_to_the_prompt():
    found = token_parts(Sources(88, 100, 6912, l1=256, l2=6000))
    assert [part.style for part in found] == ["computed", "own", "l1", "l2", "shared"]
    assert sum(part.tokens for part in found) == 7100


def test_the_clock_runs_from_the_request_until_the_first_token(topology):
    assert "data-clock" in shown(topology, Pane("plain-a", PaneStatus.ASKED, PROMPT))
    answering = shown(topology, Pane("plain-a", PaneStatus.ANSWERING, PROMPT, "it", 1.234))
    assert "data-clock" not in answering
    assert "1.23 s" in answering


def test_bars_are_to_scale(topology):
    drawn = ttft_bars(raced(topology, done("plain-a", 4.0), done("lmcache-a", 1.0)), topology.engines)
    assert "width:100.00%" in drawn
    assert "width:25.00%" in drawn


def test_an_engine_that_fails_in_mid_stream_keeps_its_text_and_says_why(topology):
    html = shown(topology, Pane("plain-a", PaneStatus.FAILED, PROMPT, "half an", 1.0, fault="the answer broke off"))
    assert "half an" in html
    assert "broke off" in html


@pytest.mark.parametrize("render", [render_markdown, escape_html])
def test_foreign_text_has_no_tag_address_or_template_that_works(render):
    html = render(EVIL)
    found = Tags(html)
    assert not found.tags & {"script", "img", "iframe", "object"}
    assert not any("javascript" in address for address in found.addresses)
    assert not any(name.startswith("on") for name in found.attributes)
    assert "{" not in html
    assert "$" not in html


def test_answers_questions_names_and_faults_are_all_escaped(topology):
    prompt = Prompt(EVIL, EVIL, "n", media=(Media(Modality.IMAGE, EVIL, "image/png", "AAAA", 3),))
    race = Race.of(topology.engines).about(prompt).with_pane(Pane("plain-a", PaneStatus.DONE, prompt, EVIL, 1.0))
    race = race.with_pane(Pane("plain-b", PaneStatus.FAILED, prompt, fault=EVIL))
    state = TabState(topology.engines, EVIL, EVIL, "n", race, (Turn(EVIL, EVIL),), EVIL, link=ShareLink(EVIL))
    found = Tags("".join(TabView().all_html(state)))
    assert "script" not in found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(address.startswith("data:image/png;base64,") or "evil" in address for address in found.addresses)
    assert "img" in Tags(conversation_html(state)).tags


def test_code_in_an_answer_has_a_frame_with_its_language():
    html = render_markdown("```bash\nffmpeg -i <in>\n```")
    assert "<figcaption>bash" in html
    assert "ffmpeg -i &lt;in&gt;" in html


def test_only_what_changed_is_sent(topology):
    view, state = TabView(), a_state(topology)
    view.changed_html(state)
    asked = replace(state, race=raced(topology, Pane("plain-b", PaneStatus.ASKED, PROMPT)))
    changed = [isinstance(part, str) for part in view.changed_html(asked)]
    assert changed == [True, True, False, True, False, False, False, False]


def test_a_visitor_sees_how_many_are_before_them(topology):
    waiting = replace(a_state(topology), visitors_ahead=2, caption="Stopped.")
    assert "2 visitors are before you" in status_line(waiting)


@pytest.mark.parametrize(
    ("panes", "counts"),
    [
        ([done("plain-a", 4.0), done("lmcache-a", 1.0, sources=SHARED)], {"Why?": 1, "shared memory + volume": 1}),
        (
            [done("plain-a", 4.0), done("plain-b", 4.0, prompt=OTHER)],
            {"Why?": 1, "And?": 1, "question 1": 1, "question 2": 1},
        ),
    ],
)
def test_the_picture_is_xml_that_names_questions_document_model_and_times(topology, panes, counts):
    state = TabState.begin(topology.engines, "<notes>.md", "", "SmolLM2, a stand-in")
    svg = race_svg(replace(state, race=raced(topology, *panes)), datetime.now(UTC))
    text = "|".join(ElementTree.fromstring(svg).itertext())  # noqa: S314
    assert {fact: text.count(fact) for fact in counts} == counts
    assert all(fact in text for fact in ("<notes>.md", "4.00 s", "SmolLM2, a stand-in"))


def test_a_link_restores_what_it_was_made_of_and_refuses_nonsense():
    link = ShareLink("What?", "lmcache", "No document", QuestionOptions(32, 0.5, 7, cut=True, follow=False))
    assert ShareLink.read(dict(parse_qsl(link.query()[1:]))) == link
    assert ShareLink.read({"max_tokens": "1025", "temperature": "nan", "seed": "-1"}) == NO_LINK
    assert NO_LINK.query() == "?"


@pytest.mark.parametrize(("question", "linked"), [("Why?", True), ("Why? " * 500, False)])
def test_a_question_too_long_for_an_address_has_no_link(topology, question, linked):
    state = replace(a_state(topology), race=raced(topology, done("plain-a", 9.0)), link=ShareLink(question))
    assert ('data-copy="link"' in TabView().all_html(state)[-1]) is linked


def test_every_answer_of_the_conversation_can_be_copied(topology):
    state = replace(a_state(topology), turns=(Turn("Why?", "So."), Turn("And?", "Too.")))
    assert conversation_html(state).count('data-copy="reply"') == 2


@pytest.mark.parametrize(
    ("value", "said"), [(0.0384, "38 ms"), (0.043, "43 ms"), (1.234, "1.23 s"), (12.34, "12.3 s"), (123.4, "123 s")]
)
def test_a_time_has_three_digits_and_milliseconds_below_a_second(value, said):
    assert seconds(value) == said
