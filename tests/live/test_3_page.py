"""The page as a visitor uses it. Screenshots are kept in results/tests."""

import csv
import io
import json
import os
import time
from contextlib import suppress
from threading import Thread

import httpx
import pytest
from fake_arena import fake_arena_process
from live.page import (
    BARE,
    ENGINES,
    FAKE,
    LIMIT_MS,
    SENT,
    arrive,
    ask,
    brings,
    ended,
    idle,
    metrics,
    open_tab,
    short,
    visiting,
)
from pdfs import a_pdf
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from client.measurement_lock import MeasurementLock
from media import SAMPLES

pytestmark = pytest.mark.live


@pytest.fixture
def fake_page(browser):
    """The page with fake engines, even if other tests use the real stack; a bench there takes an hour, except with one
    document."""
    with fake_arena_process(between=0.001) as served, visiting(browser, served.url + BARE) as page:
        page.served = served
        yield page


def test_a_race_fills_four_panes_and_draws_them_to_scale(page, results, tmp_path):
    short(page, tmp_path)
    ask(page, "What's FFMPEG (answer in 10 words)")
    page.wait_for_function("document.querySelector('[data-engine=plain-a] [data-clock]')")  # checks on every frame
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
    if not _takes(page, "image"):
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


def _camera(page, where):
    """Switches a camera on, and waits until it shows a picture."""
    page.click(f"{where} button:has-text('Access')")
    page.wait_for_function("where => document.querySelector(`${where} video`)?.videoWidth > 0", arg=where)


def _takes(page, modality):
    """Returns whether the served model accepts this modality; fake engines accept all."""
    return FAKE or modality in page.inner_text("#model")


def test_a_photo_a_film_and_a_sound_are_taken_in_the_browser(page, results):
    """Uses Chromium's fake camera, which shows a green disc, and its fake microphone, which beeps."""
    if not all(_takes(page, kind) for kind in ("image", "audio", "video")):
        pytest.skip("the model does not take all of them")
    page.click("#media-panel > button")
    _camera(page, "#seen")
    page.click("#seen [aria-label='capture photo']")
    page.wait_for_selector("#seen img:not(.hide)")
    _camera(page, "#filmed")
    page.click("#filmed .capture-button")
    page.wait_for_timeout(2000)  # of film
    page.click("#filmed .capture-button")
    page.wait_for_selector("#filmed [aria-label='Clear']")
    page.click("#spoken .record-button")
    page.wait_for_timeout(1500)  # of sound
    page.click("#spoken .stop-button")
    page.wait_for_selector("#spoken [aria-label='Play']")
    ask(page, "What is this?", "plain-a")
    said = ended(page, "plain-a") > 0 or page.inner_text("[data-engine=plain-a] .fault")
    assert said is True or "before any text" in said  # a stand-in may produce no text, but it has processed the media
    page.screenshot(path=results / "race-recorded.png", full_page=True)
    for element in ("img", "video", "audio"):
        assert page.locator(f"#conversation {element}").count() == 1


@pytest.mark.parametrize("name", ["image.png", "speech.ogg", "video.mp4"])
def test_a_medium_is_uploaded_raced_and_shown_in_the_conversation_and_the_history(page, results, name):
    kind = {"png": "image", "ogg": "audio", "mp4": "video"}[name[-3:]]
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


def test_stop_frees_the_engine_and_keeps_the_page(browser, served, results):
    engine = served.engines["plain-a"]
    with visiting(browser, served.url + "?max_tokens=1024") as page:
        answered = metrics(engine)["answered"]
        ask(page, "Tell me everything about containers.", "plain-a")
        _wait_until(lambda: metrics(engine)["running"] == 1)
        page.click("#stop")
        page.wait_for_selector("[data-engine=plain-a][data-stage=stopped]")
        page.screenshot(path=results / "stopped.png")
        _wait_until(lambda: metrics(engine)["running"] == 0)
        assert metrics(engine)["answered"] == answered


def _wait_until(true):
    """Polls a condition, since engines' metrics can only be polled."""
    until = time.monotonic() + LIMIT_MS / 1e3
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_reload_in_mid_run_stops_it_and_the_history_is_there(reader, served):
    page = reader
    ask(page, "Tell me everything about containers.", "plain-a")
    page.wait_for_function(SENT, arg="plain-a", timeout=LIMIT_MS)
    arrive(page, served.url + BARE)
    page.said.clear()  # Gradio's client logs an error because the reload closed its stream
    open_tab(page, "History")
    _wait_until(lambda: _is_in_history(page, "stopped"))
    _wait_until(lambda: metrics(served.engines["plain-a"])["running"] == 0)
    open_tab(page, "Race")
    ask(page, "And?", "plain-b")
    assert ended(page, "plain-b") > 0


def _is_in_history(page, text):
    """Has the open History tab drawn again, since it does not follow what happens, and tells whether it has `text`."""
    page.click("#newer")
    return text in page.inner_text("#rows")


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
    rows = csv.DictReader(io.StringIO(saved.value.path().read_text()))
    assert [row["question"] for row in rows] == ["What is a codec?"] * 4


def test_a_picture_of_the_race_is_saved(page, results):
    ask(page, "What is a codec, & why?", "lmcache")
    for name in ("lmcache-a", "lmcache-b"):
        ended(page, name)
    for button, name in (("[data-svg]", "race-picture.svg"), ("[data-png]", "race-picture.png")):
        with page.expect_download() as saved:
            page.click(f"#share {button}")
        saved.value.save_as(results / name)
        assert (results / name).stat().st_size > 1000


SETTINGS = {"max-tokens": "5", "temperature": "0.5", "seed": "7"}


def choose(page, settings):
    page.click("#more > button")
    for name, value in (*settings.items(), *settings.items()):  # twice, as fields may not be ready at first
        page.fill(f"#{name} input[type=number]", value)
        page.press(f"#{name} input[type=number]", "Tab")


def test_a_link_restores_question_target_document_and_settings(browser, page, url):
    choose(page, SETTINGS)
    ask(page, "What is a codec, & why?", "lmcache")
    ended(page, "lmcache-b")
    idle(page)
    query = page.get_attribute("#share [data-copy=link]", "data-query")
    with visiting(browser, url + query) as other:
        assert other.input_value("#question textarea") == "What is a codec, & why?"
        assert other.is_checked("#target input[value=lmcache]")
        assert other.input_value("#document input") == "No document"
        other.click("#more > button")
        assert {name: other.input_value(f"#{name} input[type=number]") for name in SETTINGS} == SETTINGS


def test_settings_reach_the_engine(fake_page):
    choose(fake_page, SETTINGS)
    ask(fake_page, "What is a codec?", "plain-a")
    ended(fake_page, "plain-a")
    body = httpx.post(fake_page.served.engines["plain-a"] + "/last", json={}).json()
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (5, 0.5, 7)


def test_answers_code_questions_and_links_are_copied(fake_page):
    page = fake_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "What is a codec?", "plain-a")
    ended(page, "plain-a")
    idle(page)
    for button, text in (
        ("[data-engine=plain-a] [data-copy=code]", "ffmpeg -i talk.mkv -c:v libx264 -crf 23 talk.mp4"),
        ("[data-engine=plain-a] [data-copy=answer]", "FFmpeg copies, converts and streams audio and video"),
        ("#conversation [data-copy=words]", "What is a codec?"),
        ("#share [data-copy=link]", "q=What+is+a+codec"),
    ):
        page.click(button)
        page.wait_for_selector(f"{button} >> text=Copied")
        assert text in page.evaluate("navigator.clipboard.readText()")


def test_the_theme_that_was_chosen_stays(page, url):
    def dark():
        return page.evaluate("document.body.classList.contains('dark')")

    before = dark()
    page.click("[data-theme]")
    assert dark() is not before
    arrive(page, url + BARE)
    assert dark() is not before


def test_ten_thousand_rows_are_paged_through(browser, results):
    with fake_arena_process(rows=10_000) as served, visiting(browser, served.url + BARE) as page:
        open_tab(page, "History")
        took = []
        for button, numbers in (
            (None, "1 of 200"),
            ("#older", "2 of 200"),
            ("#older", "3 of 200"),
            ("#newer", "2 of 200"),
        ):
            began = time.perf_counter()
            if button:
                page.click(button)
            page.wait_for_selector(f"#rows caption >> text=page {numbers}")
            took.append(f"{(time.perf_counter() - began) * 1e3:.0f} ms")
            assert page.locator("#rows tbody tr").count() == 50
        page.screenshot(path=results / "history-10000.png", full_page=True)
        print(f"10,000 rows: {', '.join(took)} to a page")
        assert page.locator("#chart :is(circle, rect, polygon)").count() < 500
        assert page.inner_text("#rows tbody td") == "9950"


def test_engines_with_a_gpu_each_answer_side_by_side(browser, results):
    with fake_arena_process(pinned=True, until_text=3) as served, visiting(browser, served.url + BARE) as page:
        assert "a GPU of its own" in page.inner_text("#mode")
        ask(page, "What is a codec?")
        page.wait_for_selector("#panes:has([data-clock=plain-a]):has([data-clock=lmcache-a])")
        page.screenshot(path=results / "race-pinned.png")
        assert page.get_attribute("[data-engine=lmcache-b]", "data-stage") == "queued"
        for name in ENGINES:
            assert ended(page, name) > 0


def test_escape_closes_a_list_and_stops_a_run_only_when_none_is_open(browser):
    with fake_arena_process(until_text=600) as served, visiting(browser, served.url + BARE) as page:
        ask(page, "What is a codec?", "plain-a")
        page.wait_for_selector("[data-clock=plain-a]")
        page.click("#document input")
        page.wait_for_selector("[role=listbox]")
        page.keyboard.press("Escape")
        page.wait_for_selector("[role=listbox]", state="detached")
        assert page.get_attribute("[data-engine=plain-a]", "data-stage") == "asked"
        stopped = page.locator("[data-engine=plain-a][data-stage=stopped]")
        for _ in range(3):  # the list keeps the focus and may open again, and is then closed first
            page.keyboard.press("Escape")
            with suppress(PlaywrightTimeout):
                stopped.wait_for(timeout=5_000)
                break
        assert stopped.count()


def test_screen_readers_are_told_from_an_element_that_stays(page):
    told = page.query_selector("#stage [role=status]")
    ask(page, "What is a codec?", "plain-a")
    page.wait_for_function("told => told.innerText.includes('vLLM (A)')", arg=told)
    ended(page, "plain-a")
    idle(page)
    assert told.evaluate("told => told.isConnected && told.innerText.trim() === ''")


def test_a_pdf_is_read_and_cut_to_fit_on_request(page, tmp_path):
    brings(page, a_pdf(tmp_path / "canal.pdf", text="A canal was dug by hand. " * 40, pages=60))
    page.wait_for_selector("#facts >> text=tokens too many")
    assert "A canal was dug by hand." in page.input_value("#text textarea")
    ask(page, "What was dug?", "plain-a")
    page.wait_for_selector("text=tick «Cut to fit», start")
    page.check("#cut input")
    page.click("#ask")
    assert ended(page, "plain-a") > 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("picture.png", b"\x89PNG\r\n\xff\xfe\xff", "is an image, and not text"),
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


def test_html_in_questions_answers_and_names_of_documents_does_nothing(fake_page, tmp_path):
    """The fake engines repeat the question in their answers."""
    page = fake_page
    evil = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script> {{value}} ${window.hacked=1}"
    path = tmp_path / "<img src=x onerror=window.hacked=1>.md"
    path.write_text(evil)
    brings(page, path)
    page.wait_for_function("document.querySelector('#facts').innerText.includes('1.md')")
    ask(page, evil, "plain-a")
    ended(page, "plain-a")
    idle(page)
    for place in ("#conversation", "[data-engine=plain-a] .answer"):
        assert evil in page.inner_text(place)
    ask(page, "And?", "plain-a")
    page.wait_for_function("document.querySelectorAll('#conversation li').length == 2")
    assert evil in page.inner_text("#conversation .reply")
    ended(page, "plain-a")
    idle(page)
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


def test_the_stack_panel_is_live_while_it_is_open(browser):
    running = "[data-service=plain-a] dl div:has(dt:text-is('running')) dd"
    with fake_arena_process(until_text=600) as served, visiting(browser, served.url + BARE) as page:
        open_tab(page, "Stack")
        page.wait_for_selector(f"{running}:text-is('0')")
        Thread(target=_ask_the_engine_itself, args=[served.engines["plain-a"]], daemon=True).start()
        page.wait_for_selector(f"{running}:text-is('1')")


def _ask_the_engine_itself(engine):
    """Sends a request like another client of the engine, outside the measurement queue; it ends with the engine."""
    body = {"model": "arena", "messages": [{"role": "user", "content": "What is a codec?"}], "stream": True}
    with suppress(httpx.HTTPError):
        httpx.post(f"{engine}/v1/chat/completions", json=body, timeout=LIMIT_MS)


def test_a_question_waits_for_the_command_line_and_the_stack_is_not_looked_at(page, results):
    open_tab(page, "Stack")
    page.wait_for_selector("#stack .card")
    open_tab(page, "Race")
    hold = MeasurementLock.of(os.environ).attempt("bench ttft")
    try:
        ask(page, "What is a codec?", "plain-a")
        page.wait_for_function("document.querySelector('#stage').innerText.includes('bench ttft')")
        page.screenshot(path=results / "waiting.png")
        open_tab(page, "Stack")
        page.wait_for_selector("#stack >> text=s ago: bench ttft")
        page.screenshot(path=results / "stack-measured.png")
        open_tab(page, "Race")
    finally:
        hold.release()
    assert ended(page, "plain-a") > 0


def test_the_bench_runs_from_the_page_keeps_questions_away_and_is_cancelled(browser, page, url, results):
    open_tab(page, "Bench")
    page.wait_for_selector("#bench-expected p")
    page.screenshot(path=results / "bench-opened.png")
    page.fill("#bench-number input", "3")
    page.wait_for_selector("#bench-expected >> text=A claim takes 5 documents")
    page.screenshot(path=results / "bench-too-few.png")
    page.click("#bench-run")
    page.wait_for_selector("#bench-progress [data-state=running]")
    with visiting(browser, url + BARE) as other:
        open_tab(other, "Bench")
        other.wait_for_selector("#bench-progress [data-state=running]")
    page.wait_for_function("document.querySelector('#bench-progress pre').innerText.length > 10", timeout=LIMIT_MS)
    page.screenshot(path=results / "bench.png", full_page=True)
    open_tab(page, "Race")
    ask(page, "Why?", "plain-a")
    page.wait_for_function("document.body.innerText.includes('bench ttft is measuring')")
    open_tab(page, "Bench")
    page.click("#bench-cancel")
    page.wait_for_selector("#bench-progress [data-state=ended]", timeout=60_000)
    page.wait_for_selector("#bench-report :is(iframe, p)", timeout=60_000)
    page.screenshot(path=results / "bench-cancelled.png", full_page=True)


def test_a_bench_that_is_cancelled_has_a_report_of_what_there_is(fake_page):
    page = fake_page
    open_tab(page, "Bench")
    page.fill("#bench-number input", "2")
    page.click("#bench-run")
    page.wait_for_selector("#bench-progress >> text=warming up")
    page.click("#bench-cancel")
    page.wait_for_selector("#bench-report >> text=Nothing was measured yet")
    page.fill("#bench-number input", "3")
    page.click("#bench-run")
    page.wait_for_selector("#bench-progress >> text=2/9 cold")
    page.click("#bench-cancel")
    page.frame_locator("#bench-report iframe").get_by_text("Half a report").wait_for()


def test_a_bench_comes_to_its_end_for_all_who_look_and_results_are_compared(browser, fake_page, results):
    page = fake_page
    with visiting(browser, page.served.url + BARE) as other:
        for each in (other, page):
            open_tab(each, "Bench")
        for kind in ("ttft", "aa"):
            page.fill("#bench-number input", "1")
            page.click("#bench-kind input")
            page.get_by_role("option", name=kind, exact=True).click()
            page.click("#bench-run")
            page.wait_for_selector(f"#bench-results >> text={kind}-")
        other.wait_for_selector("#bench-results >> text=aa-")
        for each in (other, page):
            each.frame_locator("#bench-report iframe").get_by_text("A whole report").wait_for()
    page.click("#bench-compare")
    page.wait_for_selector("#bench-said >> text=as good as it was")
    page.screenshot(path=results / "bench-compared.png", full_page=True)


def test_an_engine_that_breaks_off_keeps_its_text_in_the_pane(browser):
    with fake_arena_process(breaks_after=3) as served, visiting(browser, served.url) as page:
        ask(page, "Why?", "plain-a")
        page.wait_for_selector("[data-engine=plain-a][data-stage=failed]")
        assert "FFmpeg copies" in page.inner_text("[data-engine=plain-a] .answer")
        assert "broke off" in page.inner_text("[data-engine=plain-a] .fault")
