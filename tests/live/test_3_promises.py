"""What the page promises: a login, good looks, accessibility, no delay of its own, and separate visitors."""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from statistics import median

import httpx
import psutil
import pytest
from fake_arena import fake_arena_process
from live.commands import run_arena
from live.page import BARE, ENGINES, FAKE, LIMIT_MS, TABS, ask, ended, idle, open_tab, short, visiting

from client.documents import HANDBOOK
from client.prompt import new_nonce
from config.paths import ROOT
from launch.ports import is_free

pytestmark = pytest.mark.live
VISITORS = 20
VISIT_S = float(os.environ.get("ARENA_TEST_VISIT_S", "4"))  # how long each visitor keeps asking; 120 on demand
ASKS = 5  # questions to all four engines
GROWTH_MIB = 5  # of the page from the second wave of visitors to the third
PAIRS = int(os.environ.get("ARENA_TEST_PAIRS", "1"))


def test_a_login_keeps_strangers_out(browser, results, tmp_path):
    port = next(number for number in range(7990, 8000) if is_free(number))
    (tmp_path / "password").write_text("open sesame\n")
    env = {"UI_PORT": str(port), "UI_USERNAME": "guest", "UI_PASSWORD_FILE": str(tmp_path / "password")}
    nobody = {"ENGINE_URL": "http://127.0.0.1:9", "CACHE_URL": "http://127.0.0.1:9"}
    server = subprocess.Popen([sys.executable, "-m", "frontend"], cwd=ROOT, env={**os.environ, **env, **nobody})

    def arrive(page, url):
        page.goto(url)
        page.get_by_label("username").wait_for(timeout=LIMIT_MS)
        page.screenshot(path=results / "login.png")
        assert page.locator("#ask").count() == 0
        for password in ("close sesame", "open sesame"):
            page.get_by_label("username").fill("guest")
            page.get_by_label("password").fill(password)
            page.get_by_role("button").first.click()
            page.wait_for_selector("#ask" if password == "open sesame" else "text=Incorrect", timeout=LIMIT_MS)

    try:
        address = f"http://127.0.0.1:{port}"
        _answers(address)
        assert httpx.get(f"{address}/config").status_code == 401
        with visiting(browser, address, arrive) as page:
            page.said.remove("Failed to load resource: the server responded with a status of 400 (Bad Request)")
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


def test_text_is_in_its_pane_soon_after_the_engine_has_sent_it(browser):
    """Measures from the wire: a fake engine's first text is the time at which it is sent."""
    with fake_arena_process(stamps=True) as served, visiting(browser, served.url + BARE) as page:
        late = _lateness(page, "pane.querySelector('.answer').innerText.split(' ')[0]")
    print(f"from first token on the wire to pane: {_spread(late)}")
    assert len(late) == ASKS * len(ENGINES)


def test_text_is_in_its_pane_soon_after_the_page_has_read_it(page):
    """Measures from when the page's client has the first token, because real engines send no timestamps."""
    late = _lateness(page, "pane.dataset.firstMs")
    print(f"from the client's first token to pane: {_spread(late)}")
    assert len(late) == ASKS * len(ENGINES)


def _lateness(page, sent):
    """Returns how late each answer's first text is shown in its pane, in ms. `sent` is a JavaScript expression for the
    time at which it was sent."""
    page.evaluate(
        f"""() => {{
          window.late = {{}};
          new MutationObserver(() => document.querySelectorAll(".pane").forEach((pane) => {{
            const first = pane.dataset.firstMs;
            if (first > 0 && !(first in window.late) && pane.querySelector(".answer").innerText.trim())
              window.late[first] = performance.timeOrigin + performance.now() - Number({sent});
          }})).observe(document.querySelector("#panes"), {{ childList: true, subtree: true }});
        }}"""
    )
    for number in range(1, ASKS + 1):
        ask(page, f"What is number {number}?")
        page.wait_for_function("n => Object.keys(window.late).length >= n", arg=4 * number, timeout=LIMIT_MS)
        for name in ENGINES:
            ended(page, name)
        idle(page)
    return sorted(page.evaluate("Object.values(window.late)"))


def _spread(late):
    return f"median {median(late):.0f} ms, {late[0]:.0f} to {late[-1]:.0f}, n = {len(late)}"


@pytest.mark.skipif(FAKE, reason="the front door asks the real stack")
def test_the_page_and_the_front_door_measure_the_same(browser, url):
    """Alternates between both, with the page's default document and a new nonce each time."""
    _as_if_elsewhere()
    context = ["--context", str(HANDBOOK), "--max-tokens", "1", "--json"]
    with visiting(browser, f"{url}?max_tokens=1") as page:
        on_page, by_command = _in_turns(page, context)
    ratio = median(on_page) / median(by_command)
    print(f"page: {on_page} ms, ./arena ask: {by_command} ms, ratio of the medians {ratio:.3f}")
    assert min(on_page + by_command) > 0


def _in_turns(page, context):
    on_page, by_command = [], []
    for _ in range(PAIRS):
        page.click("#cold")
        page.wait_for_selector("[data-engine=plain-a][data-stage=idle]")
        ask(page, "What is a codec?", "plain-a")
        on_page.append(ended(page, "plain-a"))
        idle(page)
        said = run_arena("ask", "plain-a", "What is a codec?", "--nonce", new_nonce(), *context)
        by_command.append(round(json.loads(said.stdout)["ttft_ms"], 1))
    return on_page, by_command


def _as_if_elsewhere():
    """Lowers the browser's priority, because a real visitor's browser runs on another machine."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # Chromium ends processes at any time
            if "chrom" in process.name():
                process.nice(19)


def test_every_visitor_gets_the_answers_to_their_own_questions_and_leaves_nothing(url):
    """Each visitor is a session of a real client; all ask at once, and wait in the queue."""
    grown, answers = [], 0
    for at_least in (2, 1, 1):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:  # closes all connections when it ends
            answers += process.submit(wave, url, at_least).result()
        time.sleep(2)  # the server notices the closed connections a moment later
        grown.append(page_process(url).memory_info().rss / 2**20)
    print(f"{answers} answers; the page after each of three waves of {VISITORS} visitors: {grown} MiB")
    assert grown[-1] - grown[-2] < GROWTH_MIB


def wave(url, at_least):
    """Runs all visitors at once, and returns their number of answers."""
    with ThreadPoolExecutor(VISITORS) as pool:
        return sum(pool.map(partial(visit, url, at_least), range(VISITORS)))


def visit(url, at_least, number):
    """Asks for VISIT_S seconds, and at least `at_least` times. Returns the number of answers.

    Each answer must be in this visitor's pane, and then below its own question in this visitor's conversation; fake
    engines repeat the question in their answers.
    """
    from gradio_client import Client

    client = Client(url, verbose=False)
    client.predict("No document", api_name="/document")
    until, asked = time.monotonic() + VISIT_S, list[tuple[str, str]]()
    while len(asked) < at_least or time.monotonic() < until:
        question = f"What about number {number}-{len(asked)}?"
        inputs = ["plain-a", question, 4, 0, number, False, bool(asked), None, None, None, None]
        _, conversation, pane, *_ = client.predict(*inputs, api_name="/ask")
        assert 'data-stage="done"' in pane
        answer = re.search(r'<div class="answer"[^>]*>(.*?)</div><footer>', pane, re.DOTALL)[1]
        assert not FAKE or question in answer
        turns = re.findall(r"<li><div class=.asked.*?(?=<li><div class=.asked|</ol>$)", conversation, re.DOTALL)
        assert question in turns[-1]
        for (old, said), turn in zip(asked, turns, strict=False):
            assert old in turn
            assert said in turn
        assert len(turns) == len(asked) + 1
        asked.append((question, answer))
    client.close()
    return len(asked)


def page_process(url):
    port = int(url.rpartition(":")[2])
    listens = [each for each in psutil.net_connections("tcp4") if each.laddr and each.laddr.port == port and each.pid]
    return psutil.Process(next(each.pid for each in listens if each.status == psutil.CONN_LISTEN))
