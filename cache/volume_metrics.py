"""What the keeper found, as gauges on the /metrics page of each cache server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from client.volume_use import VolumeUse


class VolumeCollector(Collector):
    """Reads the report on the volume at each scrape; without one, there are no gauges."""

    def __init__(self, volume: Path) -> None:
        self._volume = volume

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if use := VolumeUse.read(self._volume):
            yield GaugeMetricFamily("arena_volume_stored_bytes", "KV on the volume, in all namespaces", use.total_bytes)
            yield GaugeMetricFamily("arena_volume_max_bytes", "What may be stored there (KV_MAX_GB)", use.max_bytes)
            yield GaugeMetricFamily("arena_volume_free_bytes", "What is free on its disk", use.free_bytes)
            yield GaugeMetricFamily("arena_volume_min_free_bytes", "What should stay free there", use.min_free_bytes)
