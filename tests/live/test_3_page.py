"""The page as a visitor uses it. Screenshots are kept in results/tests."""

import json
import time

import pytest
from fake_arena import fake_arena_process
from live.page import BARE, ENGINES, FAKE, LIMIT_MS, arrive, ask, brings, ended, idle, open_tab, short, visiting

from engines.settings import ROOT

pytestmark = pytest.mark.live
SAMPLES = ROOT / "engines" / "samples"


def test_a_race_fills_four_panes_and_draws_them_to_scale(page, results, tmp_path):
    short(page, tmp_path)
    ask(page, "What's FFMPEG (answer in 10 words)")
    page.wait_for_selector("[data-engine=plain-a] [data-clock]")
    page.screenshot(path=results / "race-clock.png")
    ttfts = {name: ended(page, name) for name in ENGINES}
    idle(page)
    page.screenshot(path=results / "race.png", full_page=True)
    print({name: f"{ttft:,.0f} ms" for name, ttft in ttfts.items()})
    assert "shared volume" in page.inner_text("[data-engine=lmcache-b] .legend")
    against = page.inner_text("[data-engine=lmcache-b] .against")
    assert "plain-b" in against
    assert "same answer" in against or "differs at word" in against
    widths = page.eval_on_selector_all(".bar-row .bar", "bars => bars.map(bar => parseFloat(bar.style.width))")
    longest = max(ttfts.values())
    assert widths == pytest.approx([100 * ttfts[name] / longest for name in ENGINES], abs=0.1)


def test_the_tour_plays_the_seeds_story_and_ends_with_the_comparison(page, results, tmp_path):
    short(page, tmp_path)
    page.click("#tour-demo")
    page.wait_for_function("document.querySelector('#stage').innerText.startsWith('1 of 4')", timeout=LIMIT_MS)
    page.screenshot(path=results / "tour-1.png")
    page.wait_for_function("document.querySelector('#stage').innerText.startsWith('Without')", timeout=4 * LIMIT_MS)
    idle(page)
    page.screenshot(path=results / "tour.png", full_page=True)
    assert "sooner" in page.inner_text("#stage")
    for name in ("plain-a", "plain-b", "lmcache-a"):
        assert page.inner_text(f"[data-engine={name}] .cost").split()[-1] == "0"


def test_the_second_tour_does_it_for_a_picture(page, results):
    if not (SAMPLES / "image.png").exists() or not _takes(page, "image"):
        pytest.skip("the model takes no pictures")
    page.click("#tour-media")
    page.wait_for_function("document.querySelector('#stage').innerText.startsWith('Without')", timeout=4 * LIMIT_MS)
    page.screenshot(path=results / "tour-media.png", full_page=True)
    assert page.locator("#conversation img").count() == 1


def test_the_third_tour_restarts_an_engine_and_the_volume_remembers(page, results, tmp_path):
    short(page, tmp_path)
    page.click("#tour-volume")
    page.wait_for_function(
        "document.querySelector('#stage').innerText.startsWith('Before the restart')", timeout=900_000
    )
    page.screenshot(path=results / "tour-volume.png", full_page=True)
    assert "shared volume" in page.inner_text("#stage")


def _takes(page, modality):
    """Whether the served model does; fake engines take all."""
    return FAKE or modality in page.inner_text("#model")


@pytest.mark.parametrize("name", ["image.png", "speech.wav", "video.mp4"])
def test_a_medium_is_uploaded_raced_and_shown_in_the_conversation_and_the_history(page, results, name):
    if not (SAMPLES / name).exists():
        pytest.skip("no sample of it yet")
    kind = {"png": "image", "wav": "audio", "mp4": "video"}[name[-3:]]
    if not _takes(page, kind):
        pytest.skip(f"the model takes no {kind}")
    page.click("#media-panel > button")
    page.set_input_files("#files input[type=file]", SAMPLES / name)
    page.wait_for_function("name => document.querySelector('#files').innerText.includes(name.slice(0, 4))", arg=name)
    ask(page, "What is this?")
    for engine in ENGINES:
        assert ended(page, engine) > 0
    tag = {"image": "img", "audio": "audio", "video": "video"}[kind]
    assert page.locator(f"#conversation {tag}").count() == 1
    page.screenshot(path=results / f"media-{kind}.png", full_page=True)
    open_tab(page, "History")
    page.wait_for_function("name => document.querySelector('#rows').innerText.includes(name)", arg=name)


def test_a_file_that_is_no_picture_asks_nobody(page, tmp_path):
    (tmp_path / "cat.png").write_bytes(b"no picture at all")
    page.click("#media-panel > button")
    page.set_input_files("#files input[type=file]", tmp_path / "cat.png")
    page.wait_for_function("document.querySelector('#files').innerText.includes('cat')")
    ask(page, "What is this?")
    page.wait_for_function("document.body.innerText.includes('cat.png is not an image')")
    assert page.get_attribute("[data-engine=plain-a]", "data-stage") == "idle"


def test_stop_frees_the_engine_and_keeps_the_page(reader, results):
    page = reader
    ask(page, "Tell me everything about containers.", "plain-a")
    page.wait_for_selector("[data-engine=plain-a]:is([data-stage=asked], [data-stage=answering])", timeout=LIMIT_MS)
    began = time.monotonic()
    page.click("#stop")
    page.wait_for_selector("[data-engine=plain-a][data-stage=stopped]")
    assert time.monotonic() - began < 3
    page.screenshot(path=results / "stopped.png")


def test_a_reload_in_mid_run_stops_it_and_the_history_is_there(reader, url):
    page = reader
    ask(page, "Tell me everything about containers.", "plain-a")
    page.wait_for_selector("[data-engine=plain-a]:is([data-stage=asked], [data-stage=answering])", timeout=LIMIT_MS)
    arrive(page, url + BARE)
    page.said.clear()  # Gradio's client calls it an error that the reload closed its stream
    open_tab(page, "History")
    page.wait_for_function("document.querySelector('#rows').innerText.includes('stopped')")
    open_tab(page, "Race")
    ask(page, "And?", "plain-b")
    assert ended(page, "plain-b") > 0


def test_two_tabs_of_one_visitor_share_the_history_and_two_visitors_do_not(browser, page, url):
    ask(page, "My secret question", "plain-a")
    ended(page, "plain-a")
    idle(page)
    second = page.context.new_page()
    arrive(second, url)
    open_tab(second, "History")
    second.wait_for_function("document.querySelector('#rows').innerText.includes('My secret question')")
    second.close()
    with visiting(browser, url) as other:
        open_tab(other, "History")
        other.wait_for_selector("#chart p")
        assert "My secret question" not in other.content()


def test_a_second_visitor_sees_the_line(browser, reader, url):
    page = reader
    with visiting(browser, url + BARE) as other:
        other.check("#target input[value=plain-b]")
        ask(page, "Tell me everything about containers.")
        page.wait_for_selector("[data-engine=plain-a]:is([data-stage=asked], [data-stage=answering])", timeout=LIMIT_MS)
        other.click("#ask")
        other.wait_for_function("document.querySelector('#stage').innerText.includes('before you')")
        page.click("#stop")
        assert ended(other, "plain-b") > 0


def test_the_conversation_goes_on_is_edited_and_begins_anew(page, results):
    ask(page, "What is a codec?", "plain-a")
    ended(page, "plain-a")
    idle(page)
    ask(page, "And a container?", "plain-a")
    page.wait_for_function("document.querySelectorAll('#conversation li').length == 2")
    ended(page, "plain-a")
    idle(page)
    page.screenshot(path=results / "conversation.png", full_page=True)
    assert "What is a codec?" in page.inner_text("#conversation li:first-child")
    page.click("#again")
    page.wait_for_function("document.querySelectorAll('#conversation li').length == 2")
    idle(page)
    page.click("#conversation [data-edit='0']")
    page.wait_for_function("document.querySelector('#question textarea').value == 'What is a codec?'")
    assert page.locator("#conversation li").count() == 0
    page.click("#fresh")
    page.wait_for_function("document.querySelector('[data-engine=plain-a]').dataset.stage == 'idle'")


def test_the_history_is_saved_as_csv_and_json(page, results):
    ask(page, "What is a codec?", "all")
    for name in ENGINES:
        ended(page, name)
    idle(page)
    open_tab(page, "History")
    page.wait_for_selector("#rows table")
    page.screenshot(path=results / "history.png", full_page=True)
    with page.expect_download() as saved:
        page.click("#save-json")
    samples = json.loads(saved.value.path().read_text())["samples"]
    assert [sample["engine"] for sample in samples] == list(ENGINES)
    assert all(sample["ttft_ms"] > 0 for sample in samples)
    with page.expect_download() as saved:
        page.click("#save-csv")
    assert saved.value.path().read_text().count("What is a codec?") == 4


def test_a_picture_of_the_race_and_a_link_to_it(browser, page, url, results):
    ask(page, "What is a codec, & why?", "lmcache")
    for name in ("lmcache-a", "lmcache-b"):
        ended(page, name)
    for button, name in (("[data-svg]", "race-picture.svg"), ("[data-png]", "race-picture.png")):
        with page.expect_download() as saved:
            page.click(f"#share {button}")
        saved.value.save_as(results / name)
        assert (results / name).stat().st_size > 1000
    query = page.get_attribute("#share [data-copy=link]", "data-query")
    with visiting(browser, url + query) as other:
        assert other.input_value("#question textarea") == "What is a codec, & why?"
        assert other.is_checked("#target input[value=lmcache]")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("picture.png", b"\x89PNG\r\n\xff\xfe\xff", "is not text"),
        ("empty.md", b"  \n", "is empty"),
        ("torn.pdf", b"%PDF-1.7\nnothing", "damaged"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused_and_the_old_one_stays(page, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    brings(page, tmp_path / name)
    page.wait_for_function("said => document.body.innerText.includes(said)", arg=said)
    assert "No document" in page.inner_text("#facts")


def test_a_document_in_utf_16_and_one_that_is_pasted_are_used(page, tmp_path):
    (tmp_path / "wide.txt").write_text("Der Kanal wurde von Hand gegraben.", encoding="utf-16")
    brings(page, tmp_path / "wide.txt")
    page.wait_for_function("document.querySelector('#facts').innerText.includes('wide.txt')")
    assert page.input_value("#text textarea") == "Der Kanal wurde von Hand gegraben."
    page.fill("#pasted textarea", "Nine years, four thousand people.")
    page.click("#paste")
    page.wait_for_function("document.querySelector('#facts').innerText.includes('Pasted text')")


@pytest.mark.parametrize("question", ["   "])
def test_an_empty_question_is_answered_with_why(page, question):
    ask(page, question)
    page.wait_for_function("document.body.innerText.includes('the question is empty')")


def test_html_in_questions_and_names_of_documents_does_nothing(page, tmp_path):
    evil = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script> {{value}} ${window.hacked=1}"
    path = tmp_path / "<img src=x onerror=window.hacked=1>.md"
    path.write_text(evil)
    brings(page, path)
    page.wait_for_function("document.querySelector('#facts').innerText.includes('1.md')")
    ask(page, evil, "plain-a")
    ended(page, "plain-a")
    idle(page)
    assert "{{value}} ${window.hacked=1}" in page.inner_text("#conversation")
    open_tab(page, "History")
    page.wait_for_selector("#rows table")
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize(("tab", "button"), [("Race", "#cold"), ("Stack", "#stack-cold")])
def test_start_cold_empties_the_panes_and_changes_the_nonce(page, tab, button):
    before = page.inner_text("#facts .nonce code")
    open_tab(page, tab)
    page.click(button)
    open_tab(page, "Race")
    page.wait_for_function("before => document.querySelector('#facts .nonce code').innerText != before", arg=before)
    assert page.inner_text("[data-engine=plain-a] .ttft") == "not asked yet"


def test_the_stack_panel_shows_every_service_and_how_it_is_started(page, results):
    open_tab(page, "Stack")
    page.wait_for_function("document.querySelectorAll('#stack .card').length == 7")
    page.screenshot(path=results / "stack.png", full_page=True)
    assert page.locator("#stack .up").count() == 6
    assert "vllm serve" in page.inner_text("#stack")


def test_the_bench_runs_from_the_page_keeps_questions_away_and_is_cancelled(page, results):
    open_tab(page, "Bench")
    page.fill("#bench-number input", "3")
    page.click("#bench-run")
    page.wait_for_selector("#bench-progress [data-state=running]")
    page.wait_for_function("document.querySelector('#bench-progress pre').innerText.length > 10", timeout=LIMIT_MS)
    page.screenshot(path=results / "bench.png", full_page=True)
    open_tab(page, "Race")
    ask(page, "Why?", "plain-a")
    page.wait_for_function("document.body.innerText.includes('bench ttft is measuring')")
    open_tab(page, "Bench")
    page.click("#bench-cancel")
    page.wait_for_selector("#bench-progress [data-state=ended]", timeout=60_000)
    page.screenshot(path=results / "bench-cancelled.png", full_page=True)


@pytest.mark.skipif(not FAKE, reason="fake engines break off on demand")
def test_an_engine_that_breaks_off_keeps_its_text_in_the_pane(browser):
    with fake_arena_process(breaks_after=3) as address, visiting(browser, address) as page:
        ask(page, "Why?", "plain-a")
        page.wait_for_selector("[data-engine=plain-a][data-stage=failed]")
        assert "FFmpeg copies" in page.inner_text("[data-engine=plain-a] .answer")
        assert "broke off" in page.inner_text("[data-engine=plain-a] .fault")
