"""What each KV_CONNECTOR changes: the engines' command line, and whether there are cache servers."""

import json
from pathlib import Path

import pytest

from cache.lmcache_command import all_commands
from cache.volume import namespace_path
from config.errors import ConfigError
from config.settings import IN_PROCESS, Settings
from config.topology import KVFolder, Topology
from engines.vllm_command import vllm_command

GPU = {"DEVICE": "cuda", "CHUNK_SIZE": "512", "KV_SERDE": "none", "KV_STORE_DIR": "/kv", "L1_SIZE_GB": "20"}
FOLDER = Path("/kv/small-1234")


def settings_of(connector, **more):
    return Settings.from_env({**GPU, "KV_CONNECTOR": connector, **more})


def transfer_config(connector, side="a"):
    settings = settings_of(connector)
    argv = vllm_command(Topology.of(settings).engine(f"lmcache-{side}"), settings, FOLDER).argv
    return json.loads(argv[argv.index("--kv-transfer-config") + 1])


def test_lmcache_in_process_stores_whole_chunks_in_files_with_unfinished_ones_apart():
    a, b = (transfer_config("lmcache", side)["kv_connector_extra_config"] for side in "ab")
    assert transfer_config("lmcache")["kv_connector"] == "LMCacheConnectorV1"
    assert a["lmcache.chunk_size"] == 512
    assert a["lmcache.remote_url"] == b["lmcache.remote_url"] == f"fs://localhost:0{FOLDER}"
    assert a["lmcache.extra_config"] != b["lmcache.extra_config"]


def test_vllms_offloading_uses_the_same_folder_chunks_and_memory():
    config = transfer_config("offloading")
    assert config["kv_connector"] == "OffloadingConnector"
    assert config["kv_connector_extra_config"] == {
        "spec_name": "TieringOffloadingSpec",
        "cpu_bytes_to_use": 20 * 2**30,
        "block_size": 512,
        "secondary_tiers": [{"type": "fs", "root_dir": str(FOLDER)}],
    }


@pytest.mark.parametrize("connector", ["lmcache-mp", *IN_PROCESS])
def test_a_load_that_fails_is_recomputed_and_a_plain_engine_has_no_connector(connector):
    assert transfer_config(connector)["kv_load_failure_policy"] == "recompute"
    commands = {name: command.argv for name, command in all_commands(settings_of(connector))}
    assert [name for name, argv in commands.items() if "--kv-transfer-config" in argv] == ["lmcache-a", "lmcache-b"]
    assert ("cache-a" in commands) == (connector == "lmcache-mp")


@pytest.mark.parametrize("connector", IN_PROCESS)
def test_inside_vllms_process_the_volume_itself_is_what_engines_share(connector):
    topology = Topology.of(settings_of(connector))
    assert topology.caches == ()
    assert [engine.store for engine in topology.engines] == [None, None, *[KVFolder(Path("/kv"), connector)] * 2]
    assert {engine.cache for engine in topology.engines} == {None}
    with pytest.raises(ConfigError, match="no cache server 'cache-a': there is none with this KV_CONNECTOR"):
        topology.cache("cache-a")


@pytest.mark.parametrize("connector", IN_PROCESS)
def test_what_a_connector_inside_vllms_process_needs_is_said(connector):
    with pytest.raises(ConfigError, match=r"does not authenticate .* set KV_SERDE=none"):
        settings_of(connector, KV_SERDE="aesgcm")
    settings = settings_of(connector)
    engine = Topology.of(settings).engine("lmcache-a")
    with pytest.raises(ConfigError, match=r"docker-compose\.in-process\.yml"):
        vllm_command(engine, settings)
    with pytest.raises(ConfigError, match="needs DEVICE=cuda"):
        vllm_command(engine, settings_of(connector, DEVICE="cpu"), FOLDER)


def test_connectors_do_not_read_each_others_files():
    assert len({namespace_path(settings_of(each), {}) for each in ("lmcache-mp", *IN_PROCESS)}) == 3
