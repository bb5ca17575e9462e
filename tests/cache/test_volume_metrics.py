from prometheus_client import CollectorRegistry, generate_latest

from cache.keeper import Keeper
from cache.volume_metrics import VolumeCollector
from client.metrics import sum_metrics

NAMES = tuple(f"arena_volume_{name}_bytes" for name in ("stored", "max", "free", "min_free"))


def test_what_the_keeper_found_is_on_the_metrics_page_and_nothing_before_that(tmp_path):
    registry = CollectorRegistry()
    collector = VolumeCollector(tmp_path)
    registry.register(collector)
    assert sum_metrics(generate_latest(registry).decode(), *NAMES) == {}
    Keeper(tmp_path, 3).keep()
    collector.refresh()
    found = sum_metrics(generate_latest(registry).decode(), *NAMES)
    assert found["arena_volume_max_bytes"] == 3 * 2**30
    assert found["arena_volume_stored_bytes"] == 0
    assert found["arena_volume_free_bytes"] > 0
