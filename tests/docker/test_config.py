"""The compose files as Compose reads them: every combination is valid, and says what the topology says."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from config.paths import ROOT
from config.service_environment import VARIABLES_BY_ROLE, ServiceRole
from config.settings import COMPOSE_ONLY_NAMES, DEFAULT_SIZES, SETTING_NAMES, Settings
from config.topology import KVFolder, Topology
from launch.compose import Composition
from launch.containers import Containers

GPU, CPU = ("docker-compose.yml",), ("docker-compose.yml", "docker-compose.cpu.yml")
OVERRIDES = ("docker-compose.nfs.yml", "docker-compose.two-hosts.yml")
PROFILES = ("observability", "router", "bench", "side-a", "side-b")
DOCKER_CONFIG = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")  # where Compose itself may lie
SERVERS_OF_KV = ("cache-a", "cache-b", "plain-a", "plain-b", "lmcache-a", "lmcache-b")
REQUIRED = {"NFS_SERVER": "10.0.0.1", "NFS_PATH": "/export/kv", "HOST_B": "10.0.0.2"}


def compose_is_here():
    try:
        return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not compose_is_here(), reason="docker compose is not installed")


def config(files, profiles=(), **environ):
    command = ["docker", "compose", "--env-file", "/dev/null", *(w for f in files for w in ("--file", str(ROOT / f)))]
    command += [*(w for p in profiles for w in ("--profile", p)), "config", "--format", "json"]
    env = {"PATH": os.environ["PATH"], "HOME": "/nobody", "DOCKER_CONFIG": DOCKER_CONFIG, **environ}
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def gpu():
    return config(GPU, PROFILES)


@pytest.fixture(scope="module")
def cpu():
    return config(CPU, PROFILES)


@pytest.fixture(params=["gpu", "cpu"])
def services(request):
    """Of each form, with all profiles."""
    return request.getfixturevalue(request.param)["services"]


@pytest.fixture
def topology():
    return Topology.of(Settings.from_env({"ENGINE_URL": "http://{name}:{port}", "CACHE_URL": "http://{name}:{port}"}))


def devices(service):
    return service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]


def mount(service, target):
    return next(m for m in service["volumes"] if m["target"] == target)


@pytest.mark.parametrize("files", [CPU, *((*GPU, o) for o in OVERRIDES), (*GPU, *OVERRIDES)])
def test_every_combination_of_overrides_is_valid(files):
    for profiles in ((), PROFILES):
        config(files, profiles, **REQUIRED)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid(profile):
    config(GPU, [profile])


def test_the_services_are_the_topology(gpu, topology):
    names = [server.name for server in (*topology.engines, *topology.caches)]
    others = {"model", "keeper", "preheat", "page", "bench", "router", "prometheus", "grafana"}
    assert set(gpu["services"]) == set(names) | others
    for server in (*topology.engines, *topology.caches):
        service = gpu["services"][server.name]
        module = "cache" if server in topology.caches else "engines"
        assert service["command"] == ["python", "-m", module, "serve", server.name]
        assert f":{server.port}/" in service["environment"]["HEALTH"]


def test_each_engine_has_a_gpu_of_its_own_and_a_cache_server_sees_its_engines(gpu):
    services = gpu["services"]
    pinned = [devices(services[name]) for name in ("plain-a", "plain-b", "lmcache-a", "lmcache-b")]
    assert pinned == [["0"], ["1"], ["2"], ["3"]]
    assert [devices(services[f"cache-{side}"]) for side in "ab"] == [["2"], ["3"]]


def test_fewer_gpus_can_be_shared():
    services = config(GPU, GPU_PLAIN_B="0", GPU_LMCACHE_A="1", GPU_LMCACHE_B="1")["services"]
    assert [devices(services[n]) for n in ("plain-a", "plain-b", "cache-a", "lmcache-b")] == [
        ["0"],
        ["0"],
        ["1"],
        ["1"],
    ]


def test_both_cache_servers_have_one_volume(gpu, cpu):
    for services in (gpu["services"], cpu["services"]):
        assert mount(services["cache-a"], "/kv")["source"] == mount(services["cache-b"], "/kv")["source"]
    assert mount(gpu["services"]["cache-a"], "/kv")["type"] == "bind"
    assert mount(cpu["services"]["cache-a"], "/kv")["type"] == "volume"


def test_the_keeper_has_the_volume_and_the_key_and_no_network(services):
    keeper, cache = services["keeper"], services["cache-a"]
    assert mount(keeper, "/kv")["source"] == mount(cache, "/kv")["source"]
    assert mount(keeper, "/key")["read_only"]
    assert (keeper["image"], keeper["network_mode"]) == (cache["image"], "none")


def test_both_kinds_of_engine_are_one_image(services):
    assert len({services[n]["image"] for n in ("plain-a", "plain-b", "lmcache-a", "lmcache-b", "cache-a")}) == 1


def test_on_the_cpu_nothing_asks_for_a_gpu_a_token_or_a_folder_of_the_host_but_for_results(cpu):
    for name, service in cpu["services"].items():
        assert not service.get("deploy"), name
        assert "hf_token" not in json.dumps(service.get("secrets", ())), name
        if name not in ("prometheus", "grafana"):
            bound = {m["target"] for m in service.get("volumes", ()) if m["type"] == "bind"}
            assert bound == ({"/results"} if name in ("page", "bench") else set()), name


def test_benchmarks_of_the_page_lie_where_those_of_the_command_line_do(services):
    assert mount(services["page"], "/results")["source"] == mount(services["bench"], "/results")["source"]
    assert services["page"]["environment"]["RESULTS_DIR"] == "/results"


def test_only_the_model_service_gets_the_token(gpu):
    text = json.dumps(config(GPU, PROFILES, HF_TOKEN="hf_secret", HF_TOKEN_FILE="/run/t"))
    assert "hf_secret" not in text
    assert who_gets(gpu, "hf_token") == ["model"]


def test_only_the_page_gets_the_password_and_it_may_only_look_at_the_volume(services):
    assert who_gets({"services": services}, "ui_password") == ["page"]
    assert mount(services["page"], "/kv")["read_only"]
    assert mount(services["page"], "/models")["read_only"]


SERVERS = {"HEALTH", "MOUNTED", "ARENA_HOME", "HF_HUB_OFFLINE", "NO_PROXY", "no_proxy"}  # besides settings
FETCHING = {"HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}


def test_each_server_gets_the_settings_that_it_needs_and_no_other(services):
    for side in "ab":
        roles = {
            f"cache-{side}": ServiceRole.CACHE,
            f"plain-{side}": ServiceRole.ENGINE,
            f"lmcache-{side}": ServiceRole.ENGINE,
        }
        for name, role in (roles | {"keeper": ServiceRole.KEEPER}).items():
            assert set(services[name]["environment"]) - SERVERS <= set(VARIABLES_BY_ROLE[role].settings), name


def test_what_a_visitor_or_a_benchmark_needs_is_with_the_page_and_the_benchmark(services):
    having = {name: set(service.get("environment") or ()) for name, service in services.items()}
    assert {n for n, env in having.items() if any(v.startswith("UI_") for v in env)} == {"page"}
    assert {n for n, env in having.items() if any(v.startswith("MEDIA_") for v in env)} == {"page", "bench"}
    assert {n for n, env in having.items() if "RESULTS_DIR" in env} == {"page", "bench"}
    assert {n for n, env in having.items() if "KV_KEY_FILE" in env} == {"cache-a", "cache-b", "keeper", "page"}
    assert {n for n, env in having.items() if "HTTPS_PROXY" in env} == {"model"}
    addresses = {"ARENA_HOME", "ENGINE_URL", "CACHE_URL", "NO_PROXY", "no_proxy"}
    sizes = {"DEVICE", "CHUNK_SIZE", "BLOCK_SIZE"}  # preheating counts chunks
    assert having["preheat"] == addresses | sizes | {"KV_CONNECTOR", "KV_SERDE"}
    assert having["model"] - FETCHING == {
        *("ARENA_HOME", "MODEL", "MODEL_REVISION", "LOCAL_HF_HOME", "HF_HUB_OFFLINE", "DEVICE", "DTYPE")
    }
    assert (
        set(SETTING_NAMES) - set(having["page"]) - {"HF_TOKEN", "ENGINES", "ENGINE_PORT", "CACHE_PORT", "KV_MAX_GB"}
        == set()
    )


@pytest.mark.parametrize("given", [{}, {"CHUNK_SIZE": "128", "BLOCK_SIZE": "64"}], ids=["defaults", "chosen"])
@pytest.mark.parametrize("files", [GPU, CPU], ids=["gpu", "cpu"])
def test_all_that_store_load_or_count_chunks_have_the_same_sizes(files, given):
    services = config(files, PROFILES, **given)["services"]
    wanted = DEFAULT_SIZES["cuda" if files is GPU else "cpu"] | given
    for name in (*SERVERS_OF_KV, "preheat", "page", "bench"):
        settings = Settings.from_env(services[name]["environment"])
        assert (str(settings.chunk_size), str(settings.block_size)) == tuple(wanted.values()), name


def test_nothing_of_the_callers_reaches_a_container_that_no_file_names():
    environ = {"SECRET_CANARY": "s3cret", "OPENAI_API_KEY": "sk-real", "HF_TOKEN": "hf_secret", "UI_PASSWORD": "pw"}
    services = config(GPU, PROFILES, **environ, HTTPS_PROXY="http://me:s3cret@proxy:3128")["services"]
    assert services["model"]["environment"]["HTTPS_PROXY"] == "http://me:s3cret@proxy:3128"
    assert services["page"]["environment"]["UI_PASSWORD"] == "pw"
    del services["model"]["environment"]["HTTPS_PROXY"], services["page"]["environment"]["UI_PASSWORD"]
    assert not [word for word in ("s3cret", "sk-real", "hf_secret", '"pw"') if word in json.dumps(services)]


def who_gets(composition, secret):
    services = composition["services"].items()
    return [name for name, service in services if secret in {each["source"] for each in service.get("secrets", ())}]


def test_everything_is_published_on_loopback_and_no_engine_or_cache_server_is(gpu):
    published = {name: service["ports"] for name, service in gpu["services"].items() if service.get("ports")}
    assert set(published) == {"page", "router", "grafana"}
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}
    assert gpu["networks"]["inside"]["internal"]
    for side in "ab":
        for name in (f"cache-{side}", f"plain-{side}", f"lmcache-{side}"):
            assert set(gpu["services"][name]["networks"]) == {"inside"}


def test_every_container_is_hardened(gpu, cpu):
    for name, service in [*gpu["services"].items(), *cpu["services"].items()]:
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert not service["user"].startswith(("0:", "root")), name
        assert {"mem_limit", "pids_limit", "logging", "stop_grace_period"} <= set(service), name
        assert not {"privileged", "ipc", "pid", "cap_add"} & set(service), name
        assert service.get("network_mode") in (None, "none"), name


def test_the_kv_volume_can_be_an_nfs_export():
    volume = config((*GPU, "docker-compose.nfs.yml"), **REQUIRED)["volumes"]["kv"]
    assert volume["driver_opts"]["device"] == ":/export/kv"
    assert "lookupcache=positive" in volume["driver_opts"]["o"]


def test_a_connector_inside_vllms_process_has_the_volume_and_no_cache_server():
    given = {"KV_CONNECTOR": "offloading", "KV_SERDE": "none"}
    services = config((*GPU, "docker-compose.in-process.yml"), ["bench"], **given)["services"]
    assert not {"cache-a", "cache-b"} & set(services)
    for name in ("lmcache-a", "lmcache-b"):
        engine = services[name]
        assert mount(engine, "/kv")["source"] == mount(services["bench"], "/kv")["source"]
        assert set(engine["depends_on"]) == {"model"}
        assert engine["shm_size"] == engine["mem_limit"]
        assert Topology.of(Settings.from_env(engine["environment"])).engine(name).store == KVFolder(
            Path("/kv"), "offloading"
        )
    assert {services[name]["environment"]["KV_CONNECTOR"] for name in ("page", "preheat", "bench")} == {"offloading"}


def test_two_hosts_run_one_side_each_on_one_nfs_volume():
    files = (*GPU, "docker-compose.nfs.yml", "docker-compose.two-hosts.yml")
    a, b = (set(config(files, [f"side-{side}"], **REQUIRED)["services"]) for side in "ab")
    assert {"plain-a", "lmcache-a", "cache-a", "page"} <= a
    assert {"plain-b", "lmcache-b", "cache-b"} <= b
    assert not {"plain-b", "lmcache-b", "cache-b"} & a
    assert not {"plain-a", "lmcache-a", "cache-a", "page"} & b


def test_what_the_compose_files_ask_for_is_known_and_nothing_else_is():
    text = "".join(path.read_text() for path in ROOT.glob("docker-compose*.yml"))
    asked = set(re.findall(r"\$\{([A-Z0-9_]+)", text))
    assert asked - {*SETTING_NAMES, *COMPOSE_ONLY_NAMES} == set()
    assert set(COMPOSE_ONLY_NAMES) - asked == set()


@pytest.mark.parametrize(
    ("composition", "store"),
    [(Composition(), "/the/kv"), (Composition(cpu=True), "kv"), (Composition(connector="offloading"), "/the/kv")],
    ids=["gpu", "cpu", "in process"],
)
def test_each_form_says_where_its_kv_volume_is(composition, store, tmp_path, monkeypatch):
    monkeypatch.setenv("KV_STORE_DIR", "/the/kv")
    assert Containers(tmp_path, composition).kv_store() == store


def test_the_short_way_uses_the_same_files():
    words = Composition(cpu=True, profiles=("observability",)).command("config", "--services")
    assert [w for w in words if w.endswith(".yml")] == [str(ROOT / f) for f in CPU]


def test_the_page_and_the_bench_share_one_lock_in_a_folder_that_both_see(services):
    page, bench = services["page"], services["bench"]
    assert page["environment"]["MEASUREMENT_LOCK"] == bench["environment"]["MEASUREMENT_LOCK"]
    assert page["environment"]["MEASUREMENT_LOCK"].startswith("/results/")
    assert mount(page, "/results")["source"] == mount(bench, "/results")["source"]


def test_the_page_knows_where_it_is_published(services):
    page = services["page"]
    assert {port["host_ip"] for port in page["ports"]} == {page["environment"]["UI_PUBLISHED_ON"]}
