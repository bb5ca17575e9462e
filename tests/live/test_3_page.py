"""The page in Debian's Chromium, as a visitor uses it."""

import re
import shutil

import pytest

from embedded.stack import Stack
from engines.document import HANDBOOK, read_document
from engines.settings import Settings

pytestmark = pytest.mark.live
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ANSWERED = "name => document.querySelector(`[data-engine=${name}] .cost`).innerText.includes('prompt tokens cached')"
SETTLED = "name => !document.querySelector(`[data-engine=${name}]`).innerText.includes('storing')"
LIMIT_MS = 180_000


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, stack, tmp_path):
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    page.errors, page.hosts = [], set()
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: page.hosts.add(re.sub(r"^\w+://([^/:]+).*", r"\1", request.url)))
    page.goto(Stack(tmp_path, Settings.from_env({})).url)
    page.wait_for_function("document.querySelector('#facts')?.innerText.includes('tokens')")
    yield page
    assert page.errors == []
    assert page.hosts <= {"127.0.0.1"}
    page.close()


def answered(page, name):
    page.wait_for_function(ANSWERED, arg=name, timeout=LIMIT_MS)
    page.wait_for_function(SETTLED, arg=name, timeout=LIMIT_MS)
    return float(page.get_attribute(f"[data-engine={name}] .ttft", "data-ttft-ms"))


def test_the_seeds_four_steps_read_four_ttfts_off_the_page(page, results, tmp_path):
    """About the handbook's first pages, uploaded: all of it takes a minute an engine without AVX-512."""
    path = tmp_path / "first-pages.md"
    path.write_text(read_document(HANDBOOK)[:8000])
    page.set_input_files("#upload input[type=file]", path)
    page.wait_for_function("document.querySelector('#facts').innerText.includes('first-pages.md')")
    ttfts = {}
    for step, name in enumerate(("plain-a", "plain-b", "lmcache-a", "lmcache-b"), 1):
        page.click(f"#step-{step}")
        ttfts[name] = answered(page, name)
    page.screenshot(path=results / "steps.png", full_page=True)
    print({name: f"{ttft:,.0f} ms" for name, ttft in ttfts.items()})
    assert "shared volume" in page.inner_text("[data-engine=lmcache-b] .cost")
    assert "than plain-b" in page.inner_text("[data-engine=lmcache-b] .cost")
    for name in ("plain-a", "plain-b", "lmcache-a"):
        assert "0 of" in page.inner_text(f"[data-engine={name}] .cost")
    assert all(page.inner_text(f"[data-engine={name}] .answer") for name in ttfts)


def test_a_race_about_an_uploaded_document_fills_four_panes(page, results, tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("The canal was dug by hand. It took nine years and four thousand people.\n" * 60)
    page.set_input_files("#upload input[type=file]", path)
    page.wait_for_function("document.querySelector('#facts').innerText.includes('notes.md')")
    page.fill("#question textarea", "How long did it take?")
    page.click("#ask")
    assert all(answered(page, name) > 0 for name in ("plain-a", "plain-b", "lmcache-a", "lmcache-b"))
    page.screenshot(path=results / "race.png", full_page=True)


def test_start_cold_empties_the_panes_and_changes_the_nonce(page):
    before = page.locator("#facts code").last.inner_text()
    page.click("#cold")
    page.wait_for_function(
        "before => ![...document.querySelectorAll('#facts code')].at(-1).innerText.includes(before)", arg=before
    )
    assert page.inner_text("[data-engine=plain-a] .ttft") == "not asked yet"


def test_stop_frees_the_engine_and_keeps_the_page(page):
    page.click("text=vLLM (A)")
    page.click("#ask")
    page.wait_for_function("document.querySelector('[data-engine=plain-a]').innerText.includes('reading the prompt')")
    page.click("#stop")
    page.wait_for_function("document.querySelector('[data-engine=plain-a]').innerText.includes('stopped')")


@pytest.mark.parametrize(("question", "said"), [("   ", "empty")])
def test_a_question_that_cannot_be_asked_is_answered_with_why(page, question, said):
    page.fill("#question textarea", question)
    page.click("#ask")
    page.wait_for_function("said => document.body.innerText.includes(said)", arg=said)


def test_a_file_that_is_no_text_is_refused_and_the_document_stays(page, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe\xff")
    page.set_input_files("#upload input[type=file]", path)
    page.wait_for_function("document.body.innerText.includes('is not text')")
    assert "FFmpeg" in page.inner_text("#facts")


def test_it_fits_a_phone(page, results):
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=results / "phone.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
