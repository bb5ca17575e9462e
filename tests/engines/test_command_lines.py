"""The command lines of the six GPU services, as their containers build them, read by vLLM's and LMCache's own parsers.

The engines' environment has the CPU builds, whose parsers are the same. No engine starts, and no GPU is needed.
"""

import json
import os
import re
import subprocess
from itertools import product

import pytest
import yaml

from cache.lmcache_command import lmcache_command
from cache.volume import namespace_path
from config.paths import ROOT, arena_home
from config.recipe import all_recipes
from config.settings import Settings
from config.topology import Topology
from engines.vllm_command import vllm_command

PYTHON = arena_home(os.environ) / "env" / "engines" / "bin" / "python"


class ComposeLoader(yaml.SafeLoader):
    """Reads Compose's own tag as the value behind it."""


ComposeLoader.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))


def services_of(name):
    return yaml.load((ROOT / name).read_text(), ComposeLoader)["services"]  # noqa: S506  a subclass of SafeLoader


COMPOSE, IN_PROCESS = services_of("docker-compose.yml"), services_of("docker-compose.in-process.yml")
SERVICES = ("cache-a", "cache-b", "plain-a", "plain-b", "lmcache-a", "lmcache-b")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")

# What an operator sets in .env; every combination is tried. Another setting is one more line here.
CHOICES = (
    [{}, *({"MODEL": recipe.name} for recipe in all_recipes())],
    [{}, {"KV_CACHE_MEMORY_GB": "8"}, {"KV_CACHE_MEMORY_GB": "4.25"}],  # four GPUs, two, and one (docs/deploy.md)
    [{}, {"KV_SERDE": "none"}, *({"KV_SERDE": "none", "KV_CONNECTOR": each} for each in ("lmcache", "offloading"))],
    [{}, {"MODEL_REVISION": "a" * 40}],
    [{}, {"DTYPE": "float16", "ALLOWED_MEDIA_DOMAINS": "a.example,b.example", "CHUNK_SIZE": "64", "BLOCK_SIZE": "16"}],
)
SETTINGS = [{key: value for part in parts for key, value in part.items()} for parts in product(*CHOICES)]

WRONG = {  # in the command line of a service: what is written instead of what, and the reason that is given
    "a flag of vLLM": ("plain-a", "--enable-prefix-caching", "--enable-prefix-cachng", "unrecognized arguments"),
    "a value of vLLM": ("plain-a", '"auto"', '"bfloat17"', "invalid choice"),
    "a size of a block": ("lmcache-a", "--block-size", "--blok-size", "unrecognized arguments"),
    "a size of a chunk": ("cache-a", "--chunk-size", "--chunksize", "unrecognized arguments"),
    "a limit of media": ("plain-b", '{\\"image\\":2}', '{\\"image\\":\\"two\\"}', "limit-mm-per-prompt|ImageDummy"),
    "a variable of vLLM": ("plain-b", "VLLM_DO_NOT_TRACK", "VLLM_DO_NOT_TRAK", "nothing reads VLLM_DO_NOT_TRAK"),
    "a field of the connector": ("lmcache-a", "kv_load_failure_policy", "kv_load_failur", r"kv_load_failur\b"),
    "a connector": ("lmcache-b", "LMCacheMPConnector", "LMCacheXPConnector", "LMCacheXPConnector"),
    "a key of LMCache in process": (
        "lmcache-a lmcache",
        "max_local_cpu_size",
        "max_local_cpu",
        "nothing reads lmcache",
    ),
    "a key of its files": (
        "lmcache-a lmcache",
        "relative_tmp_dir",
        "relativ_tmp_dir",
        "nothing reads fs_connector_rel",
    ),
    "a key of offloading": ("lmcache-b offloading", "cpu_bytes_to_use", "cpu_bytes", "nothing reads cpu_bytes"),
    "a key of its tier": ("lmcache-b offloading", "root_dir", "rootdir", "nothing reads rootdir"),
    "a key of the connector": ("lmcache-a", "heartbeat_interval", "heartbeat", r"nothing reads lmcache\.mp\.heartbeat"),
    "a flag of LMCache": ("cache-a", "--isolated-ipc", "--isolate-ipcs", "unrecognized arguments"),
    "a key of the volume": ("cache-b", "relative_tmp_dir", "relativ_tmp_dir", "nothing reads relativ_tmp_dir"),
    "a key of the cipher": ("cache-b", "master_key_path", "master_key", "nothing reads master_key"),
}

pytestmark = [
    pytest.mark.live,  # no engine runs, but their environment takes its time to load
    pytest.mark.skipif(not PYTHON.exists(), reason="the engines' environment is not there: ./arena install makes it"),
]


def command(name, given):
    """What the container of a service executes, by the service's `command` and `environment` in the Compose files."""
    service, over = COMPOSE[name], IN_PROCESS.get(name, {}) if "KV_CONNECTOR" in given else {}
    env = {
        key: VARIABLE.sub(lambda found: given.get(found[1]) or found[2], str(value))
        for key, value in (service["environment"] | over.get("environment", {})).items()
    }
    assert not any("$" in value for value in env.values()), env
    settings = Settings.from_env(env)
    assert settings.device == "cuda"
    topology, (_, _, module, _, service_name) = Topology.of(settings), over.get("command", service["command"])
    if module == "engines":
        return vllm_command(topology.engine(service_name), settings)
    folder = namespace_path(settings, {"vllm": "0.32.0", "lmcache": "0.5.6"})
    if settings.in_process:
        return vllm_command(topology.engine(service_name), settings, folder)
    return lmcache_command(topology.cache(service_name), settings, folder)


def services(given):
    return SERVICES[2:] if "KV_CONNECTOR" in given else SERVICES


def as_json(name, given):
    made = command(name, given)
    return json.dumps({"argv": made.argv, "env": dict(made.env)})


def misspelt(what):
    """The command line with one fault, which is in it only if the fault's place is."""
    (name, *connector), right, wrong = WRONG[what][0].split(), *WRONG[what][1:3]
    in_process = {"KV_CONNECTOR": connector[0], "KV_SERDE": "none"} if connector else {}
    text = as_json(name, {"MODEL": "Phi-3.5-vision-instruct", "BLOCK_SIZE": "16", **in_process})
    changed = text.replace(right, wrong).replace(right.replace('"', '\\"'), wrong)
    assert changed != text, right
    return changed


@pytest.fixture(scope="module")
def refusals():
    """Why each command line is refused, by its JSON; all are parsed in one process."""
    lines = {as_json(name, given) for given in SETTINGS for name in services(given)} | set(map(misspelt, WRONG))
    wanted = sorted(lines)
    run = [str(PYTHON), str(ROOT / "tests" / "command_line_parsers.py")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, input=f"[{','.join(wanted)}]", capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(wanted, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("given", SETTINGS, ids=lambda given: " ".join(given.values())[:100] or "defaults")
def test_vllm_and_lmcache_accept_the_command_line_of_every_service(refusals, given):
    assert {name: refused for name in services(given) if (refused := refusals[as_json(name, given)])} == {}


@pytest.mark.parametrize("what", WRONG)
def test_a_word_that_vllm_or_lmcache_does_not_know_is_found(refusals, what):
    assert re.search(WRONG[what][3], refusals[misspelt(what)])


@pytest.mark.parametrize("gigabytes", ["8", "4.25"])
def test_engines_that_share_a_gpu_are_told_how_much_kv_they_have_and_to_start_beside_others(gigabytes):
    argv = command("lmcache-b", {"KV_CACHE_MEMORY_GB": gigabytes}).argv
    assert argv[argv.index("--kv-cache-memory-bytes") + 1] == str(int(float(gigabytes) * 2**30))
    assert float(argv[argv.index("--gpu-memory-utilization") + 1]) <= 0.05


def test_an_nfs_volume_changes_no_command_line():
    assert {field for service in services_of("docker-compose.nfs.yml").values() for field in service} == {
        "volumes",
        "environment",
    }
