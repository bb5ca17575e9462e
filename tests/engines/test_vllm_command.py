import json
import os
import subprocess
import sys
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from cache.lmcache_command import all_commands, lmcache_command
from config.paths import ROOT
from config.settings import Settings
from engines.vllm_command import served_dtype, vllm_command


def test_the_kinds_differ_in_the_connector_only(topology, settings):
    plain = vllm_command(topology.engine("plain-a"), settings)
    lmcache = vllm_command(topology.engine("lmcache-a"), settings)
    assert lmcache.env == plain.env
    own = list(lmcache.argv[: lmcache.argv.index("--kv-transfer-config")])
    own[own.index("--port") + 1] = str(topology.engine("plain-a").port)
    assert tuple(own) == plain.argv


def test_engines_fetch_media_from_nowhere_unless_hosts_are_named(topology):
    def allowed(**env):
        command = vllm_command(topology.engine("plain-a"), Settings.from_env(env))
        assert command.env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
        rest = command.argv[command.argv.index("--allowed-media-domains") + 1 :]
        return list(takewhile(lambda word: not word.startswith("--"), rest))

    assert allowed() == ["media.invalid"]  # vLLM takes an empty list for every host
    assert allowed(ALLOWED_MEDIA_DOMAINS="A.example,b.example,") == ["a.example", "b.example"]


def test_a_failed_load_is_recomputed_and_the_connector_is_named(topology, settings):
    command = vllm_command(topology.engine("lmcache-b"), settings)
    config = json.loads(command.argv[command.argv.index("--kv-transfer-config") + 1])
    assert config["kv_load_failure_policy"] == "recompute"
    assert config["kv_connector_module_path"] == "engines.lmcache_connector"
    assert config["kv_connector_extra_config"]["lmcache.mp.port"] == topology.cache("cache-b").mq_port


@pytest.mark.parametrize(("gigabytes", "share"), [("4", ["0.05"]), ("0", [])])
def test_engines_with_a_bounded_kv_cache_may_share_a_gpu(topology, gigabytes, share):
    """vLLM asks for 92 % of the card to be free else, however small the KV cache is."""
    settings = Settings.from_env({"DEVICE": "cuda", "KV_CACHE_MEMORY_GB": gigabytes})
    argv = vllm_command(topology.engine("plain-a"), settings).argv
    assert [value for option, value in pairwise(argv) if option == "--gpu-memory-utilization"] == share


@pytest.mark.parametrize(
    ("given", "chunk", "block"),
    [({}, "64", ["32"]), ({"DEVICE": "cuda"}, "256", []), ({"CHUNK_SIZE": "512", "BLOCK_SIZE": "128"}, "512", ["128"])],
)
def test_every_engine_has_the_same_blocks_and_every_cache_server_the_same_chunks(given, chunk, block):
    for name, command in all_commands(Settings.from_env(given)):
        options = list(pairwise(command.argv))
        blocks, chunks = ([v for option, v in options if option == flag] for flag in ("--block-size", "--chunk-size"))
        assert (blocks, chunks) == (([], [chunk]) if name.startswith("cache") else (block, [])), name


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_on_a_cpu_no_engine_waits_for_a_worker_by_spinning(topology, device):
    """vLLM takes the one process only where both are said, and spins on the cores that all engines share otherwise."""
    command = vllm_command(topology.engine("plain-a"), Settings.from_env({"DEVICE": device}))
    one_process = ("uni" in command.argv, command.env.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0")
    assert one_process == (device == "cpu",) * 2


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_on_a_cpu_nothing_is_compiled_because_there_may_be_no_compiler(topology, device):
    command = vllm_command(topology.engine("plain-a"), Settings.from_env({"DEVICE": device}))
    nothing = ("--enforce-eager" in command.argv, command.env.get("TORCHDYNAMO_DISABLE") == "1")
    assert nothing == (device == "cpu",) * 2


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_both_sides_agree_on_how_gpu_memory_is_shared(topology, device):
    settings = Settings.from_env({"DEVICE": device})
    engine = vllm_command(topology.engine("lmcache-a"), settings).argv
    config = json.loads(engine[engine.index("--kv-transfer-config") + 1])["kv_connector_extra_config"]
    server = lmcache_command(topology.cache("cache-a"), settings, Path("/kv/small")).argv
    assert ("--isolated-ipc" in server, config.get("lmcache.mp.isolated_ipc", False)) == (device == "cuda",) * 2


@pytest.mark.parametrize(
    ("flags", "chosen", "taken"),
    [
        ("sse2 avx2", "auto", "float32"),
        ("sse2 avx2 avx512f", "auto", "auto"),
        ("asimd bf16", "auto", "auto"),
        ("sse2 avx2", "bfloat16", "bfloat16"),
    ],
)
def test_a_cpu_that_emulates_bfloat16_computes_in_float32_unless_told_otherwise(tmp_path, flags, chosen, taken):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags : {flags}\n")
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "DTYPE": chosen})
    assert served_dtype(settings, cpuinfo) == taken


def test_print_shows_what_a_shell_would_take_and_runs_nothing(topology, tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path)})  # where no stack runs, whose settings would go before
    env = {**os.environ, **settings.to_env(), "ARENA_HOME": str(tmp_path), "HF_TOKEN": "hf_secret"}
    command = [sys.executable, "-m", "engines", "serve", "lmcache-a", "--print"]
    shown = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(vllm_command(topology.engine("lmcache-a"), settings))
    assert "hf_secret" not in shown
