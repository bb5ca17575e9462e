"""The real stack, started once per test run and stopped at its end, and Debian's Chromium with its page."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_arena import Served, fake_arena_process
from live.commands import run_arena
from live.page import BARE, FAKE, visiting

from config.paths import ROOT
from config.settings import Settings, load_settings
from config.topology import Topology
from launch.processes import LocalStack

Arena = Callable[..., "subprocess.CompletedProcess[str]"]
MEASURED = ROOT / "results" / "tests"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = "axe-core@4.14.1"
CANARIES = {  # the caller's secrets, which no service may get
    "SECRET_CANARY": "canary-1",
    "OPENAI_API_KEY": "canary-2",
    "LMCACHE_RESP_PASSWORD": "canary-3",
    "HF_TOKEN": "canary-4",
}
PROXIES = {  # as a shell may set them; they must not be used for this machine
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
}
MEDIA_HOST = "localhost"  # the only host from which engines may fetch media; 127.0.0.1 counts as another


@pytest.fixture(scope="session")
def arena() -> Arena:
    return run_arena


@pytest.fixture(scope="session")
def results() -> Path:
    """The folder for screenshots and results."""
    MEASURED.mkdir(parents=True, exist_ok=True)
    return MEASURED


@pytest.fixture(scope="session")
def stack(arena: Arena) -> Iterator[Topology]:
    """Starts and stops the stack, or with ARENA_TEST_STACK=keep uses the running one and keeps it running."""
    keep = os.environ.get("ARENA_TEST_STACK") == "keep"
    if not keep:
        up = arena("up", "--detach", timeout=1500, ALLOWED_MEDIA_DOMAINS=MEDIA_HOST, **CANARIES)
        assert up.returncode == 0, up.stderr
    yield Topology.of(load_settings(os.environ)[0])
    if not keep:
        down = arena("down")
        assert down.returncode == 0, down.stderr


@pytest.fixture(scope="module")
def served(request, tmp_path_factory):
    """The URLs of the page and of its engines."""
    if FAKE:
        with fake_arena_process() as served:
            yield served
    else:
        stack = request.getfixturevalue("stack")
        url = LocalStack(tmp_path_factory.mktemp("home"), Settings.from_env({})).url
        yield Served(url, {engine.name: engine.url for engine in stack.engines})


@pytest.fixture(scope="module")
def url(served):
    return served.url


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    arguments += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url):
    """The page without a document, which would take long to process."""
    with visiting(browser, url + BARE) as page:
        yield page


@pytest.fixture
def reader(browser, url):
    """The page with its default document, which keeps an engine busy."""
    with visiting(browser, url) as page:
        yield page


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The source of axe-core, downloaded with npm."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine (apt-get install npm)")
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, timeout=120, capture_output=True)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()
