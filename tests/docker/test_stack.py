"""The containers, built and run for real: without a GPU as README says, and docker-compose.yml where Docker pins GPUs.

Its engines compute on the CPU here as well (gpu-form.yml), so everything about it is tested but what a GPU does.
"""

import json
import os
import time
import urllib.parse
from pathlib import Path

import pytest
import requests
from docker.forms import BASE, LOGIN, PROMETHEUS, TOKEN, cpu_form, docker, engine_has_the_base, gpu_form
from docker.queries import panel_queries
from live.commands import run_arena

from config.paths import ROOT

ENGINES = ("plain-a", "plain-b", "lmcache-a", "lmcache-b")
SERVERS = ("cache-a", "cache-b", *ENGINES)
DOCUMENT = "One more sentence about codecs and containers, so that there is something to read. " * 120

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not engine_has_the_base(), reason=f"no Docker engine with {BASE}: tests/docker/engine-room"),
]
on_cpu = pytest.mark.parametrize("stack", ["cpu"], indirect=True)
on_gpus = pytest.mark.parametrize("stack", ["gpu"], indirect=True)


@pytest.fixture(scope="module", params=["gpu", "cpu"])
def stack(request, tmp_path_factory):
    """Each form in turn; after each nothing is left, which is a test as well."""
    yield from cpu_form() if request.param == "cpu" else gpu_form(tmp_path_factory.mktemp("gpu"))


def wait_healthy():
    """Health is polled by Docker itself: there is nothing to be woken by."""
    deadline = time.monotonic() + 600
    while run_arena("status").returncode:
        assert time.monotonic() < deadline, run_arena("status").stdout
        time.sleep(2)


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
    assert report["kv_store_dir"] == stack.kv_store


def test_the_model_was_made_ready_and_the_engines_were_preheated_before_the_page_started(stack):
    rows = [json.loads(line) for line in stack.compose("ps", "--all", "--format", "json").stdout.splitlines()]
    assert {row["Service"]: row["ExitCode"] for row in rows if row["State"] == "exited"} == {"model": 0, "preheat": 0}


def test_each_container_runs_what_print_shows(stack):
    for name in SERVERS:
        module = "cache" if name.startswith("cache") else "engines"
        shown = stack.compose("exec", "--no-TTY", name, "python", "-m", module, "serve", name, "--print")
        assert shown.stdout.strip() in run_arena("logs", name).stdout.splitlines()[:3]


def test_nobody_is_root_has_a_capability_or_can_write_to_the_image(stack):
    look = (
        "import os; lines = dict(line.split(':') for line in open('/proc/1/status'));"
        "print(os.getuid(), lines['CapEff'].strip(), lines['NoNewPrivs'].strip())"
    )
    write = "import errno\ntry: open('/app/x', 'w')\nexcept OSError as e: print(errno.errorcode[e.errno])"
    for name in (*SERVERS, "page"):
        uid, capabilities, no_new_privileges = stack.inside(name, look).split()
        assert int(uid) != 0, name
        assert (int(capabilities, 16), no_new_privileges) == (0, "1"), name
        assert stack.inside(name, write) == "EROFS", name


def test_engines_and_cache_servers_have_no_way_out(stack):
    """The page's address on the other network answers on this machine, and not to them."""
    found = json.loads(docker("inspect", "ttft-arena-page-1").stdout)[0]["NetworkSettings"]["Networks"]
    outside = found["ttft-arena_outside"]["IPAddress"]
    reach = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], 7860), timeout=3); print('reached')\n"
        "except OSError: print('no way')"
    )
    assert stack.inside("page", reach, outside) == "reached"
    for name in SERVERS:
        assert stack.inside(name, reach, outside) == "no way", name


def test_only_the_page_is_published_and_on_loopback(stack):
    rows = [json.loads(line) for line in stack.compose("ps", "--format", "json").stdout.splitlines()]
    published = {(r["Service"], p["URL"]) for r in rows for p in r["Publishers"] or () if p["PublishedPort"]}
    assert published == {("page", "127.0.0.1")}


def test_an_lmcache_engine_loads_from_the_volume_what_the_other_one_has_stored(stack, tmp_path, monkeypatch):
    assert ask(tmp_path, monkeypatch, "lmcache-a", "crossing")["cached_tokens"] == 0
    crossed = ask(tmp_path, monkeypatch, "lmcache-b", "crossing")
    print(crossed["source"], crossed["cached_tokens_details"])
    assert crossed["cached_tokens_details"]["storage"] == crossed["cached_tokens"] >= 1536


def test_the_keeper_reports_the_volume_and_finds_every_file_whole(stack):
    assert "0.00 GiB" not in run_arena("cache", "ls").stdout.splitlines()[-1]
    verified = run_arena("cache", "verify")
    assert (verified.returncode, verified.stdout) == (0, "")
    assert " 0 damaged" in verified.stderr


@pytest.mark.parametrize("asked", [{"logprobs": True, "top_logprobs": 3}, {"temperature": 1, "top_k": 5}])
def test_without_a_compiler_engines_sample_and_give_log_probabilities(stack, asked):
    """vLLM would compile a function for each of these. The images have no C++ compiler, so the engine would end."""
    post = "import httpx, json, sys; print(httpx.post(sys.argv[1], json=json.loads(sys.argv[2]), timeout=120).text)"
    body = {"model": "arena", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, **asked}
    url = "http://plain-a:8001/v1/chat/completions"
    assert json.loads(stack.inside("page", post, url, json.dumps(body)))["usage"]["completion_tokens"] == 2


def pins(*gpus):
    """The GPU of each service, where the engines have `gpus`: a cache server has that of its engine."""
    pinned = dict(zip(ENGINES, gpus, strict=True))
    return pinned | {"cache-a": pinned["lmcache-a"], "cache-b": pinned["lmcache-b"]}


@on_gpus
def test_each_server_has_the_gpu_of_its_engine_and_the_page_has_none(stack):
    """Read from the server's process: Docker does not give the variable to what `exec` starts beside it."""
    look = (
        "server = open('/proc/1/task/1/children').read().split()[0]; "
        "lines = open(f'/proc/{server}/environ').read().split('\\0'); "
        "print([line.split('=', 1)[1] for line in lines if line.startswith('NVIDIA_VISIBLE_DEVICES=')])"
    )
    seen = {name: stack.inside(name, look) for name in (*SERVERS, "page")}
    assert seen == {name: str([gpu]) for name, gpu in pins(*"0123").items()} | {"page": "[]"}


@on_gpus
@pytest.mark.parametrize("gpus", ["0011", "0000"], ids=["two GPUs", "one GPU"])
def test_fewer_gpus_are_shared_as_the_settings_say(stack, gpus):
    settings = {f"GPU_{name.replace('-', '_').upper()}": gpu for name, gpu in zip(ENGINES, gpus, strict=True)}
    seen = {name: stack.once(name, "printenv", "NVIDIA_VISIBLE_DEVICES", **settings).strip() for name in SERVERS}
    assert seen == pins(*gpus)


@on_gpus
def test_only_the_model_service_has_the_token_and_only_the_page_its_password(stack):
    look = (
        "import json, pathlib; files = pathlib.Path('/run/secrets').glob('*'); "
        "print(json.dumps({path.name: path.read_text() for path in files}))"
    )
    seen = {name: json.loads(stack.inside(name, look)) for name in (*SERVERS, "page")}
    assert seen == {name: {} for name in SERVERS} | {"page": {"ui_password": LOGIN[1]}}
    assert json.loads(stack.once("model", "python", "-c", look)) == {"hf_token": TOKEN}


@on_gpus
def test_the_published_page_wants_the_login(stack):
    page, (name, password) = "http://127.0.0.1:7860", LOGIN
    with requests.Session() as visitor:
        assert visitor.get(f"{page}/config", timeout=10).status_code == 401
        assert visitor.post(f"{page}/login", {"username": name, "password": password}, timeout=10).status_code == 200
        assert visitor.get(f"{page}/config", timeout=10).status_code == 200


@on_gpus
def test_the_volume_and_its_key_lie_in_the_hosts_folders_and_belong_to_the_containers_user(stack):
    for name in ("KV_STORE_DIR", "KV_KEY_DIR"):
        files = [path for path in Path(stack.env[name]).rglob("*") if path.is_file()]
        assert {path.stat().st_uid for path in files} == {int(stack.env["ARENA_UID"])}, name


@on_cpu
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
    built = docker("build", "--quiet", "--tag", PROMETHEUS, *file, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return PROMETHEUS


@pytest.mark.parametrize("words", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_takes_its_settings_and_every_alert_fires_when_it_should(prometheus, words):
    files = ("--volume", f"{ROOT}/deploy/observability:/observability:ro", "--workdir", "/observability")
    done = docker("run", "--rm", *files, "--entrypoint", "promtool", prometheus, *words)
    assert done.returncode == 0, done.stdout + done.stderr


@on_cpu
def test_every_panel_of_the_dashboard_has_data(stack, prometheus, tmp_path, monkeypatch):
    """Asked of the real Prometheus, as Grafana would."""
    started = stack.compose("up", "--detach", "--no-deps", "prometheus")
    assert started.returncode == 0, started.stderr
    get = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=30).read().decode())"
    address = "http://prometheus:9090/api/v1/"

    def query(expression):
        answer = json.loads(stack.inside("page", get, f"{address}query?query={urllib.parse.quote(expression)}"))
        return [float(row["value"][1]) for row in answer["data"]["result"]]

    wait_until(lambda: ready(stack, get, address) and len(query("up == 1")) == len(SERVERS))
    for engine in ENGINES:  # between scrapes, so that there is something to see
        ask(tmp_path, monkeypatch, engine, "panels")
    asked = time.time()
    wait_until(lambda: min(query("timestamp(up)")) > asked)
    empty = [title for title, expression in panel_queries() if not [v for v in query(expression) if v == v]]
    assert empty == []
    rules = json.loads(stack.inside("page", get, f"{address}rules"))["data"]["groups"]
    assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}


def ready(stack, get, address):
    try:
        return "success" in stack.inside("page", get, f"{address}status/runtimeinfo")
    except AssertionError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


@on_cpu
def test_the_volume_serves_a_reader_that_was_restarted(stack, tmp_path, monkeypatch):
    """One pair, for the time it takes; tests/live/test_4_failures.py and test_5_foreground.py restart all."""
    assert ask(tmp_path, monkeypatch, "lmcache-a", "restart")["cached_tokens"] == 0
    assert stack.compose("restart", "cache-b", "lmcache-b").returncode == 0
    wait_healthy()
    again = ask(tmp_path, monkeypatch, "lmcache-b", "restart")
    assert again["cached_tokens"] >= 0.8 * again["prompt_tokens"]
    assert again["cached_tokens_details"]["storage"] >= 1536
