import asyncio
import itertools
import json
from dataclasses import replace

import pytest
from bench_rows import a_bench, run
from fakes import a_reply

from bench.options import Options
from bench.plan import assign_roles
from bench.questions import sweep
from bench.report.render import report_files, write_reports
from bench.result import Result
from bench.result_io import read_json, read_result
from bench.runner import resume_run
from config.errors import ConfigError, EngineUnreachable, StackError, StreamBroken

OPTIONS = Options(kind="sweep", input_lens=(7000,), output_len=4, num_prompts=3, num_warmups=0)
BOTH = {"max_concurrency": (2,), "request_rate": (1000.0,)}


def measure(topology, folder, ask, past=None, lines=None, bench=None, **options):
    chosen = OPTIONS.model_copy(update=options or BOTH)
    experiment = sweep.study(chosen, assign_roles(topology))
    return run(experiment, chosen, topology.engines, folder, bench or a_bench(ask), lines, past=past)


async def sharing(engine, _prompt):
    if engine.name == "lmcache-b":
        return a_reply(engine, ttft=0.4, cached=6912)
    return a_reply(engine, ttft=4.0)


def test_each_cell_reads_like_a_result_of_vllm_and_both_arms_follow_each_other(topology, tmp_path):
    result = measure(topology, tmp_path, sharing, **BOTH, goodput={"ttft": 500})
    cells = result["cells"]
    assert [(c["max_concurrency"], c["request_rate"]) for c in cells] == [(2, "inf")] * 2 + [(None, 1000)] * 2
    assert [{c["arm"] for c in cells[n : n + 2]} for n in (0, 2)] == [{"cold", "cross_read"}] * 2
    for cell in cells:
        assert cell["completed"] == 3
        assert bool(cell["request_goodput"]) is (cell["arm"] == "cross_read")
        assert cell["mean_client_queue_time_ms"] is not None
    assert result == read_json(tmp_path)


def test_a_cross_read_that_had_to_be_computed_counts_as_slow_as_it_was_and_is_named(topology, tmp_path):
    async def blind(engine, _prompt):
        return a_reply(engine)

    cells = measure(topology, tmp_path, blind)["cells"]
    assert {(c["arm"], c["completed"], c["recomputed"]) for c in cells} == {("cold", 3, None), ("cross_read", 3, 3)}


@pytest.mark.parametrize(("chunk_size", "recomputed"), [(256, 0), (64, 3)])
def test_whether_a_document_was_recomputed_is_judged_by_the_readers_chunks(topology, tmp_path, chunk_size, recomputed):
    """6,912 of 7,000 tokens are all whole chunks of 256 tokens, and one chunk of 64 too few."""
    engines = tuple(replace(engine, chunk_size=chunk_size) for engine in topology.engines)
    cells = measure(replace(topology, engines=engines), tmp_path, sharing)["cells"]
    assert {c["recomputed"] for c in cells if c["arm"] == "cross_read"} == {recomputed}


def test_a_cold_request_that_was_cached_does_not_count(topology, tmp_path):
    async def warm(engine, _prompt):
        return a_reply(engine, cached=6912)

    cells = measure(topology, tmp_path, warm)["cells"]
    assert {(c["arm"], c["completed"], c["failed"]) for c in cells} == {("cold", 0, 3), ("cross_read", 3, 0)}


def test_in_a_closed_loop_a_request_counts_from_when_its_turn_came(topology, tmp_path):
    """Its wait depends on how many prompts there are, and stands beside."""

    async def slow(engine, _prompt):
        await asyncio.sleep(0.02)
        return a_reply(engine, ttft=1.0, cached=6912 if engine.name == "lmcache-b" else 0)

    samples = measure(topology, tmp_path, slow, max_concurrency=(1,))["samples"]
    assert max(s["queue_ms"] for s in samples) > 15
    assert {s["ttft_ms"] for s in samples} == {1000}


def test_an_interrupted_sweep_goes_on_with_the_next_cell(topology, tmp_path):
    asked = 0

    async def interrupted(engine, prompt):
        nonlocal asked
        asked += 1
        if asked > 6:
            raise KeyboardInterrupt
        return await sharing(engine, prompt)

    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, interrupted)
    left = read_json(tmp_path)
    assert len(left["samples"]) >= 3, "what is measured of a cell is kept, too"
    options, past = resume_run(tmp_path, OPTIONS)
    assert options.max_concurrency == (2,)
    again = []

    async def counted(engine, prompt):
        again.append(prompt.nonce)
        return await sharing(engine, prompt)

    result = measure(topology, tmp_path, counted, past, **BOTH)
    assert (result["complete"], len(result["cells"]), len(result["samples"])) == (True, 4, 12)
    assert result["run_id"] == left["run_id"]
    assert {s["nonce"] for s in left["samples"][:3]}.isdisjoint(again)


def test_a_sweep_is_not_resumed_on_other_engines(topology, tmp_path):
    measure(topology, tmp_path, sharing)
    past = replace(resume_run(_half(tmp_path), OPTIONS)[1], engines={"plain-a": {"model": "large"}})
    with pytest.raises(ConfigError, match="not what they were"):
        measure(topology, tmp_path, sharing, past)


def _half(folder):
    left = {**read_json(folder), "complete": False}
    (folder / "result.json").write_text(json.dumps(left))
    return folder


@pytest.mark.parametrize("name", ["lmcache-a", "lmcache-b", "plain-a"])
def test_a_store_or_a_request_that_fails_is_a_row_and_the_sweep_goes_on(topology, tmp_path, name):
    count = itertools.count()

    async def flaky(engine, prompt):
        if engine.name == name and next(count) == 1:
            raise StreamBroken(engine.name, "half an answer")
        return await sharing(engine, prompt)

    result = measure(topology, tmp_path, flaky, max_concurrency=(2,))
    failed = [s for s in result["samples"] if not s["valid"]]
    assert [(s["error"], s["reason"]) for s in failed] == [("StreamBroken", f"{name}: half an answer")]
    assert sorted(cell["failed"] for cell in result["cells"]) == [0, 1]
    assert not sweep.holds(Result.model_validate(result)), "one of three is more than a fifth"


def test_when_no_engine_answers_any_more_the_sweep_ends_with_the_next_step(topology, tmp_path):
    async def dead(engine, _prompt):
        raise EngineUnreachable(engine.name, "no answer")

    with pytest.raises(StackError, match="--resume"):
        measure(topology, tmp_path, dead)


def test_every_length_is_warmed_up_on_every_engine_and_loaded_once(topology, tmp_path):
    asked = []

    async def counted(engine, _prompt):
        asked.append(engine.name)
        return a_reply(engine)

    async def sized(_engine, prompt, tokens):
        asked.append(tokens)
        return prompt

    bench = a_bench(counted, fit_prompt=sized, under_load=sharing)
    measure(topology, tmp_path, None, bench=bench, **BOTH, num_warmups=1)
    engines = [name for name in asked if isinstance(name, str)]
    assert {name: engines.count(name) for name in engines} == {
        "plain-a": 1,
        "plain-b": 1,
        "lmcache-a": 2,
        "lmcache-b": 2,
    }
    assert asked[0] == 7000


def test_each_cell_is_a_file_that_reads_like_one_of_vllms(topology, tmp_path):
    measure(topology, tmp_path, sharing)
    write_reports(report_files(read_result(tmp_path)), tmp_path)
    assert {path.name for path in (tmp_path / "arms").iterdir()} == {
        f"{arm}-7000-{load}.json" for arm in ("cold", "cross_read") for load in ("c2", "r1000")
    }
    cell = json.loads((tmp_path / "arms" / "cold-7000-c2.json").read_text())
    assert (cell["max_concurrency"], cell["num_prompts"], cell["completed"]) == (2, 3, 3)
    assert cell["median_ttft_ms"] == 4000


def test_times_count_from_the_beginning_of_the_run_and_the_time_left_is_told(topology, tmp_path):
    lines = []
    result = measure(topology, tmp_path, sharing, lines=lines)
    started = [min(s["started_s"] for s in result["samples"][n : n + 3]) for n in range(0, 12, 3)]
    assert started == sorted(started)
    assert started[0] < started[-1]
    assert all(cell["duration"] > 0 for cell in result["cells"])
    assert sum("left" in line for line in lines) == 11


def test_cells_that_were_computed_after_all_are_warned_of(topology, tmp_path):
    async def blind(engine, _prompt):
        return a_reply(engine)

    warnings = measure(topology, tmp_path, blind, max_concurrency=(2,))["warnings"]
    assert warnings == ["documents had to be computed after all: 7,000 tokens, 2 at once, cross_read 3 of 3"]
