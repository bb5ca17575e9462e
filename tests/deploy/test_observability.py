"""What Prometheus and Grafana are given: it names what is there, and nothing else."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from docker.queries import DASHBOARD, panel_queries

from config.paths import ROOT
from config.settings import Settings
from config.topology import Topology

FOLDER = ROOT / "deploy/observability"
EXPOSED = {
    line for line in Path(__file__).with_name("metric_names.txt").read_text().splitlines() if not line.startswith("#")
}
OF_PROMETHEUS = {"up", "ALERTS"}
WORDS = {"and", "bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "or", "unless", "without"}


def read(path):
    return yaml.safe_load((FOLDER / path).read_text())


def in_docker():
    inside = "http://{name}:{port}"
    return Topology.of(Settings.from_env({"ENGINE_URL": inside, "CACHE_URL": inside}))


def metrics(expr):
    """The names in a PromQL expression: what is left without strings, labels, ranges, functions and words."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(by|on|without|ignoring)\s*\([^)]*\)', " ", expr)
    return set(re.findall(r"[a-zA-Z_:][\w:]*(?!\w|:|\s*\()", bare)) - WORDS


@pytest.fixture(scope="module")
def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


@pytest.fixture(scope="module")
def rules():
    return read("alerts.yml")["groups"][0]["rules"]


@pytest.mark.parametrize(("job", "services"), [("engines", in_docker().engines), ("cache-servers", in_docker().caches)])
def test_every_service_of_the_topology_is_scraped_and_labelled_by_what_it_is(job, services):
    (config,) = [c for c in read("prometheus.yml")["scrape_configs"] if c["job_name"] == job]
    (targets,) = [c["targets"] for c in config["static_configs"]]
    assert targets == [urlsplit(service.url).netloc for service in services]
    assert [labels(config["relabel_configs"], target) for target in targets] == [
        {"service": s.name, "kind": s.kind, "side": s.side} for s in services
    ]


def labels(relabel_configs, target):
    """What Prometheus makes of them: a rule whose regex matches the whole source writes its first group."""
    made = {"__address__": target}
    for rule in relabel_configs:
        (source,) = rule["source_labels"]
        if found := re.fullmatch(rule["regex"], made[source]):
            made[rule["target_label"]] = found[1]
    return {name: value for name, value in made.items() if not name.startswith("__")}


def test_the_rules_that_prometheus_reads_are_there():
    assert [(FOLDER / name).is_file() for name in read("prometheus.yml")["rule_files"]] == [True]


def test_every_alert_says_what_to_do_next_and_stands_in_the_guide(rules):
    guide = (ROOT / "docs/observability.md").read_text()
    for rule in (rule for rule in rules if "alert" in rule):
        assert "Next: " in rule["annotations"]["description"], rule["alert"]
        assert rule["annotations"]["summary"]
        assert f"**{rule['alert']}**" in guide


def test_every_alert_is_made_to_fire_by_promtools_tests(rules):
    tests = (FOLDER / "alerts_test.yml").read_text()
    for alert in (rule["alert"] for rule in rules if "alert" in rule):
        assert f'alertname="{alert}", alertstate="firing"' in tests


def test_rules_ask_only_for_metrics_that_the_servers_have(rules):
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        names = metrics(rule["expr"])
        assert names
        assert names <= EXPOSED | OF_PROMETHEUS | recorded, rule["expr"]


def test_panels_ask_only_for_metrics_that_the_servers_have(rules):
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for title, expr in panel_queries():
        names = metrics(expr)
        assert names, title
        assert names <= EXPOSED | OF_PROMETHEUS | recorded, title


def test_every_recorded_series_has_a_panel(rules):
    shown = {name for _, expr in panel_queries() for name in metrics(expr)}
    assert {rule["record"] for rule in rules if "record" in rule} <= shown


def test_no_variable_of_grafana_is_left_in_a_query():
    assert [expr for _, expr in panel_queries() if "$" in expr] == []


def test_names_are_told_from_the_rest_of_an_expression():
    expr = 'histogram_quantile(0.5, sum by (le) (rate(a:b_c{x="y"}[5m]))) or on () 0 * up'
    assert metrics(expr) == {"a:b_c", "up"}


def test_panels_have_their_own_ids_and_titles(panels):
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_no_panel_lies_upon_another_or_beyond_the_edge(panels):
    places = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels)
    ]
    assert sum(map(len, places)) == len(set().union(*places))
    assert max(x for place in places for x, _ in place) < 24


def test_every_panel_has_a_unit_a_description_and_asks_a_source_that_is_provisioned(panels):
    provisioned = {source["uid"] for source in read("grafana/provisioning/datasources/prometheus.yml")["datasources"]}
    for panel in (panel for panel in panels if panel["type"] != "row"):
        assert panel["type"] in {"timeseries", "stat", "bargauge"}
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for asker in (panel, *panel["targets"]):
            assert asker["datasource"]["uid"] in provisioned, panel["title"]
        assert all(target["expr"].strip() for target in panel["targets"])


def test_a_service_has_one_colour_in_all_panels_and_no_other_has_it(panels):
    colours = {}
    for panel in (panel for panel in panels if panel["type"] == "timeseries"):
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["id"] == "byName"
            (colour,) = [p["value"]["fixedColor"] for p in override["properties"] if p["id"] == "color"]
            assert colours.setdefault(override["matcher"]["options"], colour) == colour
    everyone = in_docker().engines + in_docker().caches
    assert set(colours) == {service.name for service in everyone}
    assert len(set(colours.values())) == len(everyone)


def test_every_engine_has_a_panel_of_its_sources():
    asked = " ".join(expr for _, expr in panel_queries())
    assert all(f'service="{engine.name}"' in asked for engine in in_docker().engines)


def test_nothing_is_loaded_from_the_network():
    """The only address is Prometheus, on the internal network."""
    text = "".join(path.read_text() for path in (FOLDER / "grafana").rglob("*") if path.is_file())
    assert set(re.findall(r"https?://[^\s\"]+", text)) == {"http://prometheus:9090"}
