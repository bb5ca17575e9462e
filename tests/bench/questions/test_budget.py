from contextlib import ExitStack

import pytest
from bench_results import a_result, everywhere, on_a_terminal
from bench_rows import Engines, a_bench, run, sample
from fake_engine import Behaviour, FakeEngine, Volume, topology_of
from fakes import collect

from bench.measure import MeasureContext
from bench.options import Options
from bench.plan import assign_roles
from bench.questions import budget
from bench.report.plots import plots
from bench.runner import resume_run
from cache.load_cost import LoadCost
from config.settings import Settings

OPTIONS = Options(kind="budget", input_lens=(1088,), output_len=4, num_warmups=0)
COST = LoadCost(150_000_000, 0.02, 0.21)
SPEED = {"gb_per_s": 2.0}


async def no_volume(_say):
    return {}


class Files:
    """KV files that appear while a document is measured; keeps which ones were read again."""

    def __init__(self, cost=COST):
        self.cost, self.looks, self.timed, self.calls = cost, 0, [], []

    def list_all(self):
        self.looks += 1
        return frozenset(range(self.looks))

    def time_load(self, files):
        self.timed.append(files)
        self.calls.append(("timed", files))
        return self.cost

    def in_page_cache(self, files):
        self.calls.append(("probed", files))
        return True

    @property
    def kv_files(self):
        return budget.KVFiles(self.list_all, self.time_load, self.in_page_cache)


def measured(topology, folder, files, engines=None, options=OPTIONS, past=None, **bench):
    engines = engines or Engines()
    study = budget.study(options, assign_roles(topology), files.kv_files, no_volume)
    return run(study, options, topology.engines, folder, a_bench(engines.ask, **bench), past=past)


def test_four_arms_are_measured_and_only_a_cross_reads_new_files_are_read_again(topology, tmp_path):
    files = Files()
    result = measured(topology, tmp_path, files)
    assert {row["arm"] for row in result["samples"]} == {"cold", "own_warm", "first_sight", "cross_read"}
    assert files.calls == [("probed", frozenset({1})), ("timed", frozenset({1, 2}))]
    beside = {row["arm"]: row["decryption_beside_ms"] for row in result["samples"]}
    assert beside == {"cold": None, "own_warm": None, "first_sight": None, "cross_read": 210.0}


def test_files_that_cannot_be_read_leave_the_sample_as_it_is(topology, tmp_path):
    result = measured(topology, tmp_path, Files(cost=None))
    [read] = [row for row in result["samples"] if row["arm"] == "cross_read"]
    assert (read["valid"], read["loaded_bytes"]) == (True, None)


def test_what_prepare_does_before_a_read_it_does_before_the_second_one_too(topology, tmp_path):
    prepared = []

    async def prepare():
        prepared.append("caches dropped")

    measured(topology, tmp_path, Files(), prepare=prepare)
    assert len(prepared) == 2


def test_a_run_that_was_cut_short_goes_on_with_what_was_measured_beside_its_samples(topology, tmp_path):
    options = OPTIONS.model_copy(update={"input_lens": (1088, 1088)})
    with pytest.raises(KeyboardInterrupt):
        measured(topology, tmp_path, Files(), Engines(fails_after=6), options)
    files = Files()
    result = measured(topology, tmp_path, files, options=options, past=resume_run(tmp_path, options)[1])
    assert (result["complete"], len(files.timed)) == (True, 1), "of the second document"
    reads = [row for row in result["samples"] if row["arm"] == "cross_read"]
    assert [row["decryption_beside_ms"] for row in reads] == [210.0, 210.0]


def limit(volume, **cold):
    samples = [
        sample(0, "cold", 7100.0, server_ttft_ms=7000.0, **cold),
        sample(0, "cross_read", 460.0, cached_tokens=6656, loaded_bytes=150_000_000),
    ]
    [found] = budget.limits(samples, volume)
    return found


def test_the_limit_reads_the_bytes_at_the_volumes_speed_and_computes_the_tail_at_the_cold_rate():
    found = limit({"read_cached": SPEED, "read_device": {"gb_per_s": None, "reason": "refused"}})
    assert found["read_cached_ms"] == pytest.approx(75)
    assert found["read_device_ms"] is None
    assert (found["tail_tokens"], found["tail_ms"]) == (344, pytest.approx(344))


def test_without_fio_the_limit_is_not_measured():
    assert limit({})["read_cached_ms"] is None
    result = a_result("budget", {"limits.0.read_cached_ms": None, "limits.0.read_device_ms": None})
    assert "not measured" in on_a_terminal(result)


def test_a_length_without_a_cross_read_that_counts_has_no_limit():
    assert budget.limits([sample(0, "cold"), sample(0, "cross_read", reason="computed")], {}) == []


@pytest.mark.parametrize("serde", ["aesgcm", "none"])
def test_the_arenas_files_are_those_of_its_namespace(tmp_path, serde):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "KV_SERDE": serde})
    files = budget.KVFiles.of(settings)
    assert files.list_all() == frozenset()
    assert files.time_load(frozenset()) is None


def with_histograms(**more):
    """One document over HTTP, on engines that report as vLLM and LMCache do."""
    shared = Volume()
    times = Behaviour(metrics={"queue_time_ms": 0.0, "time_to_first_token_ms": 0.0, "generation_time_ms": 1.0}, **more)
    kinds = {"plain-a": None, "plain-b": None, "lmcache-a": shared, "lmcache-b": shared}
    with ExitStack() as running:
        fakes = [running.enter_context(FakeEngine(name, times, volume)) for name, volume in kinds.items()]
        experiment = budget.study(OPTIONS, assign_roles(topology_of(fakes)), Files().kv_files, no_volume)
        [unit] = experiment.units
        return {s.arm: s for s in collect(experiment.measure(unit, experiment.prompt, MeasureContext(), 0.0))}


def test_histograms_say_what_a_request_took_in_each_server():
    samples = with_histograms()
    assert [s.reason for s in samples.values()] == [""] * 4
    assert all(0 < s.server_total_ttft_ms <= s.ttft_ms for s in samples.values())
    assert {arm for arm, s in samples.items() if s.lookup_ms is not None} == {"first_sight", "cross_read"}
    assert {arm: s.volume_gb_per_s for arm, s in samples.items() if s.volume_gb_per_s} == {"cross_read": 0.5}


def test_a_server_without_histograms_leaves_more_in_one_part():
    samples = with_histograms(histograms=False)
    assert all(s.server_total_ttft_ms is None for s in samples.values())
    rows = {row["arm"]: row["parts_ms"].keys() for row in budget.budgets(list(samples.values()), budget.ARMS)}
    assert rows["cold"] == {"outside", "queue", "prefill"}
    assert rows["cross_read"] == {"outside"}


def test_the_report_says_which_times_overlap_and_where_too_little_is_attributed():
    changes = {"budgets.3.overlap_ms": 60.0, "budgets.3.attributed_pct": 80.0, "budgets.2.overlap_ms": 0.2}
    twice, short = (
        "counted twice: cross_read, 576 tokens: 60.0 ms.",
        "90 % is attributed: cross_read, 576 tokens: 80 %.",
    )
    for text in everywhere(a_result("budget", changes)):
        assert "counted twice" in text
        assert all(sentence in " ".join(text.split()) or "<" in text for sentence in (twice, short))
    assert "counted twice" not in "".join(everywhere(a_result("budget")))


def test_the_plot_has_a_bar_for_each_arm_and_length():
    [bars] = [plot for plot in plots(a_result("budget")) if b"not attributed" in plot.svg]
    assert bars.svg.count(b"tokens: ") == 12


def test_a_ttft_result_has_the_parts_that_need_no_further_request():
    assert "lookup, read, decrypt" in on_a_terminal(a_result("ttft"))
    rows = {row.arm: row.parts_ms.keys() for row in a_result("ttft").budgets}
    assert rows["cross_read"] == {"http", "rendering", "loading", "copy", "prefill"}
    assert rows["cold"] == {"http", "rendering", "queue", "prefill"}
