"""What the dashboard asks Prometheus."""

from __future__ import annotations

import json
from pathlib import Path

from config.paths import ROOT

DASHBOARD: Path = ROOT / "deploy/observability/grafana/dashboards/arena.json"
WINDOW = "15m"  # for Grafana's own variables


def panel_queries() -> list[tuple[str, str]]:
    """Each panel's title and a query of it that Prometheus understands."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", WINDOW).replace("$__range", WINDOW))
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
    ]
