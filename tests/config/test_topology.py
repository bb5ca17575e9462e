import pytest

from config.errors import ConfigError
from config.settings import Settings
from config.topology import Topology


def test_there_are_four_engines_two_of_each_kind_and_a_cache_server_for_each_lmcache_engine(topology):
    assert [engine.name for engine in topology.engines] == ["plain-a", "plain-b", "lmcache-a", "lmcache-b"]
    assert [engine.cache and engine.cache.name for engine in topology.engines] == [None, None, "cache-a", "cache-b"]
    ports = [engine.port for engine in topology.engines]
    ports += [port for cache in topology.caches for port in (cache.port, cache.mq_port)]
    assert len(set(ports)) == len(ports) == 8


def test_two_engines_are_the_lmcache_pair_on_the_same_ports(topology):
    two = Topology.of(Settings.from_env({"ENGINES": "2"}))
    assert [(e.name, e.kind, e.port) for e in two.engines] == [(e.name, e.kind, e.port) for e in topology.engines[2:]]


def test_services_elsewhere_are_reached_by_name():
    remote = Topology.of(Settings.from_env({"ENGINE_URL": "http://{name}:{port}", "CACHE_URL": "http://{name}:{port}"}))
    assert remote.engine("plain-b").url == "http://plain-b:8002"
    assert remote.cache("cache-b").host == "cache-b"


def test_an_unknown_name_is_answered_with_the_known_ones(topology):
    with pytest.raises(ConfigError, match=r"plain-a, plain-b, lmcache-a, lmcache-b"):
        topology.engine("lmcache-c")
    with pytest.raises(ConfigError, match=r"cache-a, cache-b"):
        topology.cache("cache-c")
