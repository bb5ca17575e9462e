from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
from fakes import a_reply

from engines.media import Media, Modality
from engines.prompt import Prompt, Turn
from engines.reply import Delta, Sources
from frontend.bars import parts, seconds, ttft_bars
from frontend.choices import Choices
from frontend.conversation import conversation
from frontend.link import Link
from frontend.panes import card, first_difference
from frontend.picture import picture
from frontend.prose import markdown, plain
from frontend.race import Pane, Race, Stage
from frontend.screen import Screen
from frontend.visitor import Visit

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
    return Pane(engine, Stage.DONE, prompt, text, ttft, reply)


def raced(topology, *panes):
    race = Race.of(topology.engines).about(PROMPT)
    for pane in panes:
        race = race.showing(pane)
    return race


def test_an_lmcache_engine_is_compared_with_the_plain_one_of_its_side_and_says_what_that_one_did(topology):
    race = raced(topology, done("plain-b", 9.0, sources=Sources(7000, 0, 0)), done("lmcache-b", 0.5, sources=SHARED))
    shown = card(race, topology.engine("lmcache-b"))
    assert "18.0× faster than</strong> plain-b: shared memory + volume against computed" in shown
    assert "same answer" in shown
    assert 'data-ttft-ms="500.0"' in shown


def test_without_a_plain_reply_nothing_is_claimed(topology):
    assert "faster" not in card(raced(topology, done("lmcache-b", 0.5)), topology.engine("lmcache-b"))


def test_a_pair_of_equal_times_is_as_fast(topology):
    race = raced(topology, done("plain-a", 2.00), done("lmcache-a", 1.97))
    assert "as fast as" in card(race, topology.engine("lmcache-a"))


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [("a b c", "a  b c", None), ("a b c", "a x c", 2), ("a b", "a b c", 3), ("", "a", 1)],
)
def test_answers_are_compared_word_by_word(one, other, word):
    assert first_difference(one, other) == word


@pytest.mark.parametrize("other", [Prompt("And?", "A document.", "n0nce"), replace(PROMPT, turns=(Turn("Q", "A"),))])
def test_neither_times_nor_answers_of_different_prompts_are_compared(topology, other):
    shown = card(
        raced(topology, done("plain-b", 9.0, prompt=other), done("lmcache-b", 0.5)), topology.engine("lmcache-b")
    )
    for claim in ("faster", "same answer", "differs"):
        assert claim not in shown


def test_reasoning_is_seen_while_it_is_all_there_is_and_is_no_part_of_the_answer(topology):
    engine = topology.engine("plain-a")
    thinking = Pane("plain-a", Stage.ASKED, PROMPT).grown(Delta("Let me <see>.", 1.0, reasoning=True))
    assert '<details class="reasoning note" open><summary>' in card(raced(topology, thinking), engine)
    answering = thinking.grown(Delta("Because.", 2.0))
    assert (answering.ttft, answering.text, answering.reasoning) == (1.0, "Because.", "Let me <see>.")
    assert '<details class="reasoning note"><summary>' in card(raced(topology, answering), engine)
    assert "&lt;see&gt;" in card(raced(topology, answering), engine)


def test_the_stacked_bar_shows_every_source_and_adds_up_to_the_prompt():
    found = parts(Sources(88, 100, 6912, l1=256, l2=6000))
    assert [part.style for part in found] == ["computed", "own", "l1", "l2", "shared"]
    assert sum(part.tokens for part in found) == 7100


def test_the_clock_stands_in_the_pane_from_the_request_on_until_the_first_token(topology):
    engine = topology.engine("plain-a")
    asked, answering = Pane("plain-a", Stage.ASKED, PROMPT), Pane("plain-a", Stage.ANSWERING, PROMPT, "it", 1.234)
    assert "data-clock" in card(raced(topology, asked), engine)
    assert "data-clock" not in card(raced(topology, answering), engine)
    assert "1.23 s" in card(raced(topology, answering), engine)


def test_bars_are_to_scale(topology):
    drawn = ttft_bars(raced(topology, done("plain-a", 4.0), done("lmcache-a", 1.0)), topology.engines)
    assert "width:100.00%" in drawn
    assert "width:25.00%" in drawn


def test_an_engine_that_fails_in_mid_stream_keeps_its_text_and_says_why(topology):
    pane = Pane("plain-a", Stage.FAILED, PROMPT, "half an", 1.0, fault="plain-a: the answer broke off")
    shown = card(raced(topology, pane), topology.engine("plain-a"))
    assert "half an" in shown
    assert "broke off" in shown


@pytest.mark.parametrize("make", [markdown, plain])
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
    race = race.showing(Pane("plain-a", Stage.DONE, prompt, EVIL, 1.0)).showing(
        Pane("plain-b", Stage.FAILED, prompt, fault=EVIL)
    )
    visit = Visit(topology.engines, EVIL, EVIL, "n", race, (Turn(EVIL, EVIL),), EVIL)
    found = Tags("".join(Screen(topology.engines, Link(EVIL)).whole(visit)))
    assert "script" not in found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(address.startswith("data:image/png;base64,") or "evil" in address for address in found.addresses)
    assert "img" in Tags(conversation(visit)).tags


def test_code_in_an_answer_has_a_frame_with_its_language():
    html = markdown("```bash\nffmpeg -i <in>\n```")
    assert "<figcaption>bash" in html
    assert "ffmpeg -i &lt;in&gt;" in html


def test_only_what_changed_is_sent(topology):
    screen = Screen(topology.engines, Link())
    visit = Visit.begin(topology.engines, "a name", "text")
    screen.frame(visit)
    race = raced(topology, Pane("plain-b", Stage.ASKED, PROMPT))
    changed = [isinstance(part, str) for part in screen.frame(Visit(topology.engines, "a name", "text", "n", race))]
    assert changed == [True, True, False, True, False, False, False, False]


def test_a_visitor_sees_how_many_are_before_them(topology):
    visit = Visit.begin(topology.engines, "a name", "text")
    waiting = Visit(topology.engines, "a name", "text", visit.nonce, visit.race, before=2)
    assert "2 visitors are before you" in Screen(topology.engines, Link()).whole(waiting)[0]
    stopped_before = replace(waiting, caption="Stopped.")
    assert "2 visitors are before you" in Screen(topology.engines, Link()).whole(stopped_before)[0]


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
        Visit.begin(topology.engines, "<notes>.md", "", "SmolLM2, a stand-in"), race=raced(topology, *panes)
    )
    return "|".join(ElementTree.fromstring(picture(visit, datetime.now(UTC))).itertext())  # noqa: S314


def test_a_link_restores_what_it_was_made_of_and_refuses_nonsense():
    link = Link("What?", "lmcache", "No document", Choices(32, 0.5, 7, cut=True, follow=False))
    assert Link.read(dict(parse_qsl(link.query()[1:]))) == link
    assert Link.read({"max_tokens": "1025", "temperature": "nan", "seed": "-1"}) == Link()
    assert Link().query() == "?"


def test_a_question_too_long_for_an_address_has_no_link(topology):
    def shared(question):
        visit = Visit.begin(topology.engines, "a name", "")
        visit = replace(visit, race=raced(topology, done("plain-a", 9.0)))
        return Screen(topology.engines, Link(question)).whole(visit)[-1]

    assert 'data-copy="link"' in shared("Why?")
    assert 'data-copy="link"' not in shared("Why? " * 500)


def test_a_stop_is_said_also_where_only_reasoning_had_come(topology):
    thinking = Pane("plain-a", Stage.ASKED, PROMPT).grown(Delta("Well.", 0.4, reasoning=True))
    assert '<p class="note">stopped</p>' in card(raced(topology, thinking.stopped()), topology.engine("plain-a"))


def test_every_answer_of_the_conversation_can_be_copied(topology):
    visit = replace(Visit.begin(topology.engines, "a name", ""), turns=(Turn("Why?", "So."), Turn("And?", "Too.")))
    assert conversation(visit).count('data-copy="reply"') == 2


@pytest.mark.parametrize(
    ("value", "said"), [(0.0384, "38 ms"), (0.043, "43 ms"), (1.234, "1.23 s"), (12.34, "12.3 s"), (123.4, "123 s")]
)
def test_a_time_has_three_digits_and_milliseconds_below_a_second(value, said):
    assert seconds(value) == said
