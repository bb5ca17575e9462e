"""What the page promises: a login, looks, no barriers, no delay of its own, nothing of one visitor left for another."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import httpx
import psutil
import pytest
from live.commands import run_arena
from live.page import BARE, ENGINES, FAKE, LIMIT_MS, TABS, ask, ended, idle, open_tab, short, visiting

from engines.ports import is_free
from engines.prompt import new_nonce
from engines.settings import ROOT

pytestmark = pytest.mark.live
VISITORS = 20
VISIT_S = float(os.environ.get("ARENA_TEST_VISIT_S", "4"))  # for how long each visitor goes on asking
GROWTH_MIB = 10  # of the page from the second wave of visitors to the third
PAIRS = int(os.environ.get("ARENA_TEST_PAIRS", "3"))


def test_a_login_keeps_strangers_out(browser, results):
    port = next(number for number in range(7990, 8000) if is_free(number))
    env = {**os.environ, "UI_PORT": str(port), "UI_USERNAME": "guest", "UI_PASSWORD": "open sesame"}
    server = subprocess.Popen([sys.executable, "-m", "frontend"], cwd=ROOT, env=env)
    try:
        address = f"http://127.0.0.1:{port}"
        _answers(address)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(address)
        page.get_by_label("username").wait_for(timeout=LIMIT_MS)
        page.screenshot(path=results / "login.png")
        assert page.locator("#ask").count() == 0
        page.get_by_label("username").fill("guest")
        page.get_by_label("password").fill("open sesame")
        page.get_by_role("button").first.click()
        page.wait_for_selector("#ask", timeout=LIMIT_MS)
        assert httpx.get(f"{address}/config").status_code == 401
        context.close()
    finally:
        server.terminate()
        server.wait(20)


def _answers(address):
    for _ in range(240):
        try:
            if httpx.get(address).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.25)
    raise AssertionError(f"{address} does not answer")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1440)])
def test_it_looks_well_in_light_and_dark_on_phones_and_wide_screens(browser, url, results, scheme, width, tmp_path):
    with visiting(browser, url + BARE, color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        short(page, tmp_path)
        page.click("#document-panel > button")
        ask(page, "What's FFMPEG (answer in 10 words)")
        for name in ENGINES:
            ended(page, name)
        idle(page)
        for tab in TABS:
            if page.get_by_role("tab", name=tab).is_visible():
                open_tab(page, tab)
                page.wait_for_timeout(600)
                page.screenshot(path=results / f"{tab.lower()}-{scheme}-{width}.png", full_page=True)
                assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_tab(browser, url, axe, scheme):
    with visiting(browser, url + BARE, color_scheme=scheme) as page:
        ask(page, "What is a codec?")
        for name in ENGINES:
            ended(page, name)
        idle(page)
        for panel in ("document-panel", "media-panel", "more"):
            page.click(f"#{panel} > button")
        page.evaluate(axe)
        found = {}
        for tab in TABS:
            open_tab(page, tab)
            page.wait_for_timeout(1200)
            violations = page.evaluate("() => axe.run(document).then(result => result.violations)")
            serious = [each for each in violations if each["impact"] in ("serious", "critical")]
            found |= {f"{tab}: {v['id']}": [node["html"][:160] for node in v["nodes"]] for v in serious}
        assert found == {}


def test_the_page_is_used_with_the_keyboard_alone(page):
    page.focus("#question textarea")
    page.keyboard.press("Control+A")
    page.keyboard.type("What is a codec?")
    page.keyboard.press("Control+Enter")
    assert ended(page, "plain-a") > 0
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector(':is([data-stage=asked], [data-stage=answering])')")
    page.focus("#target input[value=lmcache]")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('#target input[value=lmcache]').checked")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert {"ask", "stop", "cold"} <= set(reached)


def test_text_is_in_its_pane_soon_after_the_engines_first_token(page):
    page.evaluate(
        """() => {
          window.seen = {};
          new MutationObserver(() => document.querySelectorAll(".pane").forEach((pane) => {
            const first = pane.dataset.firstMs;
            if (first > 0 && !(first in window.seen) && pane.querySelector(".answer").innerText.trim())
              window.seen[first] = performance.timeOrigin + performance.now() - first;
          })).observe(document.querySelector("#panes"), { childList: true, subtree: true });
        }"""
    )
    for number in range(5):
        ask(page, f"What is number {number}?")
        page.wait_for_function(
            "count => Object.keys(window.seen).length >= count", arg=4 * (number + 1), timeout=LIMIT_MS
        )
        for name in ENGINES:
            ended(page, name)
        idle(page)
    late = sorted(page.evaluate("Object.values(window.seen)"))
    print(f"from first token to pane: median {median(late):.0f} ms, {late[0]:.0f} to {late[-1]:.0f}, n = {len(late)}")
    assert len(late) == 4 * 5


@pytest.mark.skipif(FAKE, reason="the front door asks the real stack")
def test_the_page_and_the_front_door_measure_the_same(page, tmp_path):
    """Alternately, each time with a document that nobody has seen."""
    short(page, tmp_path)
    context = ["--context", str(tmp_path / "first-pages.md"), "--max-tokens", "1", "--json"]
    on_page, by_command = [], []
    for _ in range(PAIRS):
        page.click("#cold")
        page.wait_for_selector("[data-engine=plain-a][data-stage=idle]")
        ask(page, "What is a codec?", "plain-a")
        on_page.append(ended(page, "plain-a"))
        idle(page)
        said = run_arena("ask", "plain-a", "What is a codec?", "--nonce", new_nonce(), *context)
        by_command.append(json.loads(said.stdout)["ttft_ms"])
    ratio = median(on_page) / median(by_command)
    print(f"page: {on_page} ms, ./arena ask: {by_command} ms, ratio of the medians {ratio:.3f}")
    assert min(on_page + by_command) > 0


def test_every_visitor_gets_the_answers_to_their_own_questions_and_leaves_nothing(url):
    """Each is a session of a real client; all ask at once, and wait in the line."""
    grown, answers = [], 0
    with ThreadPoolExecutor(VISITORS) as pool:
        for _ in range(3):
            answers += sum(pool.map(visit, [url] * VISITORS, range(VISITORS)))
            time.sleep(2)  # the server hears a moment later that they have left
            grown.append(page_process(url).memory_info().rss / 2**20)
    print(f"{answers} answers; the page after each of three waves of {VISITORS} visitors: {grown} MiB")
    assert grown[-1] - grown[-2] < GROWTH_MIB


def visit(url, number):
    """Asks for VISIT_S, at least once; each answer is that to the visitor's last question. Returns how many came."""
    from gradio_client import Client

    client = Client(url, verbose=False)
    client.predict("No document", api_name="/document")
    until, turn = time.monotonic() + VISIT_S, 0
    while not turn or time.monotonic() < until:
        question = f"What about number {number}-{turn}?"
        inputs = ["plain-a", question, 4, 0, number, False, False, None, None, None, None]
        shown = client.predict(*inputs, api_name="/ask")
        assert question in shown[1]
        assert 'data-stage="done"' in shown[2]
        turn += 1
    client.close()
    return turn


def page_process(url):
    port = int(url.rpartition(":")[2])
    listens = [each for each in psutil.net_connections("tcp4") if each.laddr and each.laddr.port == port and each.pid]
    return psutil.Process(next(each.pid for each in listens if each.status == psutil.CONN_LISTEN))
