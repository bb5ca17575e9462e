from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
from fakes import a_reply

from client.prompt import Prompt, Turn
from client.reply import Delta, Sources
from frontend.bars import parts, seconds, ttft_bars
from frontend.conversation_view import conversation_html
from frontend.link import ShareLink
from frontend.panes import first_difference, pane_html
from frontend.question_options import QuestionOptions
from frontend.race import Pane, PaneStatus, Race
from frontend.race_image import race_svg
from frontend.sanitize import escape_html, render_markdown
from frontend.tab_state import TabState
from frontend.tab_view import TabView
from media import Media, Modality

PROMPT = Prompt("Why?", "A document.", "n0nce")
EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> [x](javascript:alert(1)) "
    "![y](http://evil.example/p.png) {{value}} ${1+1}"
)
SHARED = Sources(88, 0, 6912, l1=256, l2=6656)


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
        race = race.showing(pane)
    return race


def test_an_lmcache_engine_is_compared_with_the_plain_one_of_its_side_and_says_what_that_one_did(topology):
    race = raced(topology, done("plain-b", 9.0, sources=Sources(7000, 0, 0)), done("lmcache-b", 0.5, sources=SHARED))
    shown = pane_html(race, topology.engine("lmcache-b"))
    assert "18.0× faster than</strong> plain-b: shared memory + volume against computed" in shown
    assert "same answer" in shown
    assert 'data-ttft-ms="500.0"' in shown


def test_without_a_plain_reply_nothing_is_claimed(topology):
    assert "faster" not in pane_html(raced(topology, done("lmcache-b", 0.5)), topology.engine("lmcache-b"))


def test_a_pair_of_equal_times_is_as_fast(topology):
    race = raced(topology, done("plain-a", 2.00), done("lmcache-a", 1.97))
    assert "as fast as" in pane_html(race, topology.engine("lmcache-a"))


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [("a b c", "a  b c", None), ("a b c", "a x c", 2), ("a b", "a b c", 3), ("", "a", 1)],
)
def test_answers_are_compared_word_by_word(one, other, word):
    assert first_difference(one, other) == word


@pytest.mark.parametrize("other", [Prompt("And?", "A document.", "n0nce"), replace(PROMPT, turns=(Turn("Q", "A"),))])
def test_neither_times_nor_answers_of_different_prompts_are_compared(topology, other):
    shown = pane_html(
        raced(topology, done("plain-b", 9.0, prompt=other), done("lmcache-b", 0.5)), topology.engine("lmcache-b")
    )
    for claim in ("faster", "same answer", "differs"):
        assert claim not in shown


def test_reasoning_is_seen_while_it_is_all_there_is_and_is_no_part_of_the_answer(topology):
    engine = topology.engine("plain-a")
    thinking = Pane("plain-a", PaneStatus.ASKED, PROMPT).grown(Delta("Let me <see>.", 1.0, reasoning=True))
    assert '<details class="reasoning note" open><summary>' in pane_html(raced(topology, thinking), engine)
    answering = thinking.grown(Delta("Because.", 2.0))
    assert (answering.ttft, answering.text, answering.reasoning) == (1.0, "Because.", "Let me <see>.")
    assert '<details class="reasoning note"><summary>' in pane_html(raced(topology, answering), engine)
    assert "&lt;see&gt;" in pane_html(raced(topology, answering), engine)


def test_the_stacked_bar_shows_every_source_and_adds_up_to_the_prompt():
    found = parts(Sources(88, 100, 6912, l1=256, l2=6000))
    assert [part.style for part in found] == ["computed", "own", "l1", "l2", "shared"]
    assert sum(part.tokens for part in found) == 7100


def test_the_clock_stands_in_the_pane_from_the_request_on_until_the_first_token(topology):
    engine = topology.engine("plain-a")
    asked, answering = (
        Pane("plain-a", PaneStatus.ASKED, PROMPT),
        Pane("plain-a", PaneStatus.ANSWERING, PROMPT, "it", 1.234),
    )
    assert "data-clock" in pane_html(raced(topology, asked), engine)
    assert "data-clock" not in pane_html(raced(topology, answering), engine)
    assert "1.23 s" in pane_html(raced(topology, answering), engine)


def test_bars_are_to_scale(topology):
    drawn = ttft_bars(raced(topology, done("plain-a", 4.0), done("lmcache-a", 1.0)), topology.engines)
    assert "width:100.00%" in drawn
    assert "width:25.00%" in drawn


def test_an_engine_that_fails_in_mid_stream_keeps_its_text_and_says_why(topology):
    pane = Pane("plain-a", PaneStatus.FAILED, PROMPT, "half an", 1.0, fault="plain-a: the answer broke off")
    shown = pane_html(raced(topology, pane), topology.engine("plain-a"))
    assert "half an" in shown
    assert "broke off" in shown


@pytest.mark.parametrize("make", [render_markdown, escape_html])
def test_foreign_text_has_no_tag_address_or_template_that_works(make):
    html = make(EVIL)
    found = Tags(html)
    assert not found.tags & {"script", "img", "iframe", "object"}
    assert not any("javascript" in address for address in found.addresses)
    assert not any(name.startswith("on") for name in found.attributes)
    assert "{" not in html
    assert "$" not in html


def test_answers_questions_names_and_faults_are_all_escaped(topology):
    prompt = Prompt(EVIL, EVIL, "n", media=(Media(Modality.IMAGE, EVIL, "image/png", "AAAA", 3),))
    race = Race.of(topology.engines).about(prompt)
    race = race.showing(Pane("plain-a", PaneStatus.DONE, prompt, EVIL, 1.0)).showing(
        Pane("plain-b", PaneStatus.FAILED, prompt, fault=EVIL)
    )
    visit = TabState(topology.engines, EVIL, EVIL, "n", race, (Turn(EVIL, EVIL),), EVIL)
    found = Tags("".join(TabView(topology.engines, ShareLink(EVIL)).whole(visit)))
    assert "script" not in found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(address.startswith("data:image/png;base64,") or "evil" in address for address in found.addresses)
    assert "img" in Tags(conversation_html(visit)).tags


def test_code_in_an_answer_has_a_frame_with_its_language():
    html = render_markdown("```bash\nffmpeg -i <in>\n```")
    assert "<figcaption>bash" in html
    assert "ffmpeg -i &lt;in&gt;" in html


def test_only_what_changed_is_sent(topology):
    screen = TabView(topology.engines, ShareLink())
    visit = TabState.begin(topology.engines, "a name", "text")
    screen.frame(visit)
    race = raced(topology, Pane("plain-b", PaneStatus.ASKED, PROMPT))
    changed = [isinstance(part, str) for part in screen.frame(TabState(topology.engines, "a name", "text", "n", race))]
    assert changed == [True, True, False, True, False, False, False, False]


def test_a_visitor_sees_how_many_are_before_them(topology):
    visit = TabState.begin(topology.engines, "a name", "text")
    waiting = TabState(topology.engines, "a name", "text", visit.nonce, visit.race, before=2)
    assert "2 visitors are before you" in TabView(topology.engines, ShareLink()).whole(waiting)[0]
    stopped_before = replace(waiting, caption="Stopped.")
    assert "2 visitors are before you" in TabView(topology.engines, ShareLink()).whole(stopped_before)[0]


def test_the_picture_is_xml_that_names_question_document_and_times(topology):
    text = pictured(topology, done("plain-a", 4.0), done("lmcache-a", 1.0, sources=SHARED))
    for fact in ("Why?", "<notes>.md", "4.00 s", "shared memory + volume", "SmolLM2, a stand-in"):
        assert fact in text
    assert text.count("Why?") == 1


def test_the_picture_of_answers_to_two_questions_names_both(topology):
    text = pictured(topology, done("plain-a", 4.0), done("plain-b", 4.0, prompt=replace(PROMPT, question="And?")))
    assert (text.count("Why?"), text.count("And?")) == (1, 1)
    assert [text.count(f"question {number}") for number in (1, 2)] == [1, 1]


def pictured(topology, *panes):
    visit = replace(
        TabState.begin(topology.engines, "<notes>.md", "", "SmolLM2, a stand-in"), race=raced(topology, *panes)
    )
    return "|".join(ElementTree.fromstring(race_svg(visit, datetime.now(UTC))).itertext())  # noqa: S314


def test_a_link_restores_what_it_was_made_of_and_refuses_nonsense():
    link = ShareLink("What?", "lmcache", "No document", QuestionOptions(32, 0.5, 7, cut=True, follow=False))
    assert ShareLink.read(dict(parse_qsl(link.query()[1:]))) == link
    assert ShareLink.read({"max_tokens": "1025", "temperature": "nan", "seed": "-1"}) == ShareLink()
    assert ShareLink().query() == "?"


def test_a_question_too_long_for_an_address_has_no_link(topology):
    def shared(question):
        visit = TabState.begin(topology.engines, "a name", "")
        visit = replace(visit, race=raced(topology, done("plain-a", 9.0)))
        return TabView(topology.engines, ShareLink(question)).whole(visit)[-1]

    assert 'data-copy="link"' in shared("Why?")
    assert 'data-copy="link"' not in shared("Why? " * 500)


def test_a_stop_is_said_also_where_only_reasoning_had_come(topology):
    thinking = Pane("plain-a", PaneStatus.ASKED, PROMPT).grown(Delta("Well.", 0.4, reasoning=True))
    assert '<p class="note">stopped</p>' in pane_html(raced(topology, thinking.stopped()), topology.engine("plain-a"))


def test_every_answer_of_the_conversation_can_be_copied(topology):
    visit = replace(TabState.begin(topology.engines, "a name", ""), turns=(Turn("Why?", "So."), Turn("And?", "Too.")))
    assert conversation_html(visit).count('data-copy="reply"') == 2


@pytest.mark.parametrize(
    ("value", "said"), [(0.0384, "38 ms"), (0.043, "43 ms"), (1.234, "1.23 s"), (12.34, "12.3 s"), (123.4, "123 s")]
)
def test_a_time_has_three_digits_and_milliseconds_below_a_second(value, said):
    assert seconds(value) == said
