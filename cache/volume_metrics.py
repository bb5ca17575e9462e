"""What the keeper found, as gauges on the /metrics page of each cache server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from client.volume_use import VolumeUse

REFRESH_S = 5.0


class VolumeCollector(Collector):
    """Reports what was last read of the volume; nothing before the first report.

    It is read in a thread, because LMCache answers /metrics and /healthcheck in one event loop, and reading from a
    network mount may block for ever.
    """

    def __init__(self, volume: Path) -> None:
        self._volume, self._use = volume, VolumeUse.read(volume)

    def start(self) -> None:
        """Refreshes the values until the process ends."""
        threading.Thread(target=self._refresh_for_ever, daemon=True).start()

    def refresh(self) -> None:
        self._use = VolumeUse.read(self._volume)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if use := self._use:
            yield GaugeMetricFamily("arena_volume_stored_bytes", "KV on the volume, in all namespaces", use.total_bytes)
            yield GaugeMetricFamily("arena_volume_max_bytes", "What may be stored there (KV_MAX_GB)", use.max_bytes)
            yield GaugeMetricFamily("arena_volume_free_bytes", "What is free on its disk", use.free_bytes)
            yield GaugeMetricFamily("arena_volume_min_free_bytes", "What should stay free there", use.min_free_bytes)

    def _refresh_for_ever(self) -> None:
        while True:
            self.refresh()
            time.sleep(REFRESH_S)
