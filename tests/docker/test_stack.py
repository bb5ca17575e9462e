"""The CPU form of the containers, built and run for real: `./arena up --docker --cpu`, and what one would try next."""

import json
import os
import subprocess
import time
import urllib.parse

import pytest
from docker.queries import panel_queries
from live.commands import run_arena

from config.paths import ROOT
from launch.compose import Composition, compose_environment

STACK = Composition(cpu=True, profiles=("observability", "bench"))
ENV = compose_environment({**os.environ, "PROMETHEUS_IMAGE": "ttft-arena-test-prometheus"}, cpu=True)
SERVERS = ("cache-a", "cache-b", "plain-a", "plain-b", "lmcache-a", "lmcache-b")
DOCUMENT = "One more sentence about codecs and containers, so that there is something to read. " * 120
BASE = "python:3.11-slim-bookworm"


def an_engine_has_the_base():
    try:
        return subprocess.run(["docker", "image", "inspect", BASE], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not an_engine_has_the_base(), reason=f"no Docker engine with {BASE}: tests/docker/engine-room"),
]


def docker(*arguments, **options):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, **options)


def compose(*arguments, timeout=900):
    command = STACK.command(*arguments)
    return subprocess.run(command, env=ENV, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def inside(service, program, *arguments):
    """What a Python program prints in a service's container."""
    done = compose("exec", "--no-TTY", service, "python", "-c", program, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ids(*filters):
    """Of everything that is the project's: containers, networks and volumes."""
    label = "label=com.docker.compose.project=ttft-arena"
    kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
    return [line for kind in kinds for line in docker(*kind, "--quiet", "--filter", label).stdout.split()]


def wait_healthy():
    """Health is polled by Docker itself: there is nothing to be woken by."""
    deadline = time.monotonic() + 600
    while run_arena("status").returncode:
        assert time.monotonic() < deadline, run_arena("status").stdout
        time.sleep(2)


@pytest.fixture(scope="module")
def stack():
    """Started as README says; afterwards nothing is left, which is a test as well."""
    keep = os.environ.get("ARENA_TEST_STACK") == "keep"
    if not keep:
        run_arena("down")  # the stack of processes would take the memory of this one
        up = run_arena("up", "--docker", "--cpu", "--detach", timeout=2400)
        assert up.returncode == 0, up.stderr[-3000:]
    yield
    if not keep:
        down = run_arena("down", "--volumes")
        assert down.returncode == 0, down.stderr
        assert ids() == []
        assert not (ROOT / ".arena" / "run" / "containers.json").exists()


def ask(tmp_path, monkeypatch, engine, nonce):
    """From a folder of the caller's, as a person would."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "document.txt").write_text(DOCUMENT)
    tmp_path.chmod(0o755)
    words = ("--context", "document.txt", "--nonce", nonce, "--max-tokens", "4", "--json")
    asked = run_arena("ask", engine, "What is it about?", *words)
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_six_services_and_the_page_are_healthy(stack):
    report = json.loads(run_arena("status", "--json").stdout)
    assert {s["name"] for s in report["services"]} == {*SERVERS, "page"}
    assert all(s["healthy"] and s["pid"] for s in report["services"])
    assert report["kv_store_dir"] == "kv"


def test_each_container_runs_what_print_shows(stack):
    for name in SERVERS:
        module = "cache" if name.startswith("cache") else "engines"
        printed = compose("exec", "--no-TTY", name, "python", "-m", module, "serve", name, "--print").stdout.strip()
        assert printed in run_arena("logs", name).stdout.splitlines()[:3]


def test_nobody_is_root_has_a_capability_or_can_write_to_the_image(stack):
    look = (
        "import os; lines = dict(line.split(':') for line in open('/proc/1/status'));"
        "print(os.getuid(), lines['CapEff'].strip(), lines['NoNewPrivs'].strip())"
    )
    write = "import errno\ntry: open('/app/x', 'w')\nexcept OSError as e: print(errno.errorcode[e.errno])"
    for name in (*SERVERS, "page"):
        uid, capabilities, no_new_privileges = inside(name, look).split()
        assert int(uid) != 0, name
        assert (int(capabilities, 16), no_new_privileges) == (0, "1"), name
        assert inside(name, write) == "EROFS", name


def test_engines_and_cache_servers_have_no_way_out(stack):
    """The page's address on the other network answers on this machine, and not to them."""
    found = json.loads(docker("inspect", "ttft-arena-page-1").stdout)[0]["NetworkSettings"]["Networks"]
    outside = found["ttft-arena_outside"]["IPAddress"]
    reach = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], 7860), timeout=3); print('reached')\n"
        "except OSError: print('no way')"
    )
    assert inside("page", reach, outside) == "reached"
    for name in SERVERS:
        assert inside(name, reach, outside) == "no way", name


def test_only_the_page_is_published_and_on_loopback(stack):
    rows = [json.loads(line) for line in compose("ps", "--format", "json").stdout.splitlines()]
    published = {(r["Service"], p["URL"]) for r in rows for p in r["Publishers"] or () if p["PublishedPort"]}
    assert published == {("page", "127.0.0.1")}


def test_a_document_crosses_over_and_the_benchmark_proves_where_its_tokens_came_from(stack, tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    bench = run_arena(
        *("bench", "ttft", "--num-prompts", "2", "--input-len", "1088", "--num-warmups", "0", "--json", "out.json"),
        timeout=1500,
    )
    print(bench.stdout)
    assert bench.returncode in (0, 1), bench.stderr  # 1: two documents make no claim
    result = json.loads((tmp_path / "out.json").read_text())
    assert [row["reason"] for row in result["samples"] if not row["valid"]] == []
    crossed = [row["cached_tokens"] for row in result["samples"] if row["arm"] == "cross_read"]
    assert (len(crossed), min(crossed) >= 1024) == (2, True)
    assert (tmp_path / "out.json").stat().st_uid == os.getuid()


@pytest.fixture(scope="module")
def prometheus():
    """The image's name: Debian's Prometheus, in the place of the image that a registry would have."""
    file = ("--file", "tests/docker/prometheus.Dockerfile", "tests/docker")
    built = docker("build", "--quiet", "--tag", ENV["PROMETHEUS_IMAGE"], *file, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return ENV["PROMETHEUS_IMAGE"]


@pytest.mark.parametrize("words", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_takes_its_settings_and_every_alert_fires_when_it_should(prometheus, words):
    files = ("--volume", f"{ROOT}/deploy/observability:/observability:ro", "--workdir", "/observability")
    done = docker("run", "--rm", *files, "--entrypoint", "promtool", prometheus, *words)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_of_the_dashboard_has_data(stack, prometheus, tmp_path, monkeypatch):
    """Asked of the real Prometheus, as Grafana would."""
    started = compose("up", "--detach", "--no-deps", "prometheus")
    assert started.returncode == 0, started.stderr
    get = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=30).read().decode())"
    address = "http://prometheus:9090/api/v1/"

    def query(expression):
        answer = json.loads(inside("page", get, f"{address}query?query={urllib.parse.quote(expression)}"))
        return [float(row["value"][1]) for row in answer["data"]["result"]]

    wait_until(lambda: ready(inside, get, address) and len(query("up == 1")) == len(SERVERS))
    for engine in (
        "plain-a",
        "plain-b",
        "lmcache-a",
        "lmcache-b",
    ):  # between scrapes, so that there is something to see
        ask(tmp_path, monkeypatch, engine, "panels")
    asked = time.time()
    wait_until(lambda: min(query("timestamp(up)")) > asked)
    empty = [title for title, expression in panel_queries() if not [v for v in query(expression) if v == v]]
    assert empty == []
    rules = json.loads(inside("page", get, f"{address}rules"))["data"]["groups"]
    assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}


def ready(inside, get, address):
    try:
        return "success" in inside("page", get, f"{address}status/runtimeinfo")
    except AssertionError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


def test_the_volume_serves_a_reader_that_was_restarted(stack, tmp_path, monkeypatch):
    """One pair, for the time it takes; tests/live/test_4_failures.py and test_5_foreground.py restart all."""
    assert ask(tmp_path, monkeypatch, "lmcache-a", "restart")["cached_tokens"] == 0
    assert compose("restart", "cache-b", "lmcache-b").returncode == 0
    wait_healthy()
    again = ask(tmp_path, monkeypatch, "lmcache-b", "restart")
    assert again["cached_tokens"] >= 0.8 * again["prompt_tokens"]
    assert again["cached_tokens_details"]["storage"] >= 1536
