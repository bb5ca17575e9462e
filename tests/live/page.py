"""A visitor's actions on the page, for tests: in Debian's Chromium, against the real stack or, if
ARENA_TEST_STACK=fake, against fake engines."""

import os
import re
from contextlib import contextmanager

import httpx
from prometheus_client.parser import text_string_to_metric_families

from client.documents import HANDBOOK, read_document

ENGINES = ("plain-a", "plain-b", "lmcache-a", "lmcache-b")
FAKE = os.environ.get("ARENA_TEST_STACK") == "fake"
LIMIT_MS = 30_000 if FAKE else 240_000
BARE = "?doc=No+document&max_tokens=12"  # no document to process, and a short answer
TABS = ("Race", "History", "Stack", "Bench")
ENDED = """name => ["done", "failed", "stopped"].includes(
    document.querySelector(`[data-engine=${name}]`).dataset.stage)"""

# the request has left: a pane's clock starts with it, a pause after the pane shows "asked"
SENT = """name => { const pane = document.querySelector(`[data-engine=${name}]`);
    return pane.dataset.stage == "answering" || parseFloat(pane.querySelector(".clock")?.innerText) > 0 }"""


def arrive(page, url):
    """Opens the page, and waits until it shows its document's size."""
    page.goto(url)
    page.wait_for_function("document.querySelector('#facts')?.innerText.includes('tokens')", timeout=LIMIT_MS)


@contextmanager
def visiting(browser, url, arrive=arrive, **context):
    """Opens the page as a new visitor; at the end asserts that there was no error and no request to another host.

    What the page shows by then is printed: pytest shows it if the test fails.
    """
    visit = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "accept_downloads": True, **context})
    page = visit.new_page()
    errors, hosts = list[str](), set[str]()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: hosts.add(re.sub(r"^\w+:/*([^/:,;]+).*", r"\1", request.url, flags=re.DOTALL)))
    page.said = errors
    arrive(page, url)
    try:
        yield page
    finally:
        print(f"the page shows: {' '.join(page.inner_text('body').split())[:3000]}")
        visit.close()
    assert errors == []
    assert {host for host in hosts if "." in host} <= {"127.0.0.1"}


def ended(page, name):
    """Waits until an engine's pane has ended, and returns its TTFT in ms, or NaN."""
    page.wait_for_function(ENDED, arg=name, timeout=LIMIT_MS)
    return float(page.get_attribute(f"[data-engine={name}] .ttft", "data-ttft-ms") or "nan")


def idle(page):
    """Waits until the run has also ended on the server."""
    page.wait_for_selector("#share button", timeout=LIMIT_MS)


def ask(page, question, target="all"):
    """Chooses the engines, types the question and clicks Ask."""
    page.check(f"#target input[value={target}]")
    page.fill("#question textarea", question)
    page.click("#ask")


def brings(page, path):
    """Uploads a document."""
    page.click("#document-panel > button")
    page.set_input_files("#upload input[type=file]", path)


def short(page, tmp_path):
    """Uploads a document that engines process in seconds."""
    path = tmp_path / "first-pages.md"
    path.write_text(read_document(HANDBOOK)[:4000])
    brings(page, path)
    page.wait_for_function("document.querySelector('#facts').innerText.includes('first-pages.md')")


def metrics(engine):
    """Reads an engine's `/metrics`: the numbers of running and of completely answered requests."""
    found = {"running": 0.0, "answered": 0.0}
    for family in text_string_to_metric_families(httpx.get(f"{engine}/metrics").text):
        for sample in family.samples:
            if sample.name == "vllm:num_requests_running":
                found["running"] += sample.value
            if sample.name == "vllm:request_success_total" and sample.labels["finished_reason"] != "abort":
                found["answered"] += sample.value
    return found


def open_tab(page, name):
    """Opens a tab by its title."""
    page.get_by_role("tab", name=name).click()
