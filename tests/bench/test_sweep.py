import asyncio
import json

import pytest
from bench_rows import a_bench
from fakes import a_reply

from bench import sweep
from bench.folder import read
from bench.preflight import Preflight
from bench.study import Options
from engines.errors import ConfigError

OPTIONS = Options(kind="sweep", input_lens=(7000,), output_len=4, num_prompts=3)


BOTH = {"max_concurrency": (2,), "request_rate": (1000.0,)}


def measure(topology, folder, ask, left=None, **options):
    async def same(_engines):
        return Preflight({}, ())

    chosen = OPTIONS.model_copy(update=options or BOTH)
    return asyncio.run(
        sweep.conduct(chosen, topology, folder, [].append, command="", bench=a_bench(ask), check=same, left=left)
    )


async def sharing(engine, _prompt):
    if engine.name == "lmcache-b":
        return a_reply(engine, ttft=0.4, cached=6912)
    return a_reply(engine, ttft=4.0)


def test_each_cell_reads_like_a_result_of_vllm_and_both_arms_follow_each_other(topology, tmp_path):
    result = measure(topology, tmp_path, sharing, **BOTH, goodput=sweep.promises(["ttft:500"]))
    cells = result["cells"]
    assert [(c["max_concurrency"], c["request_rate"]) for c in cells] == [(2, "inf")] * 2 + [(None, 1000)] * 2
    assert [{c["arm"] for c in cells[n : n + 2]} for n in (0, 2)] == [{"cold", "cross_read"}] * 2
    for cell in cells:
        assert cell["completed"] == 3
        assert bool(cell["request_goodput"]) is (cell["arm"] == "cross_read")
        assert cell["mean_client_queue_time_ms"] is not None
    assert json.loads(json.dumps(result)) == read(tmp_path)


def test_a_cross_read_that_had_to_be_computed_counts_as_slow_as_it_was_and_is_named(topology, tmp_path):
    async def blind(engine, _prompt):
        return a_reply(engine)

    cells = measure(topology, tmp_path, blind)["cells"]
    assert {(c["arm"], c["completed"], c["recomputed"]) for c in cells} == {("cold", 3, None), ("cross_read", 3, 3)}


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
    options, left = sweep.resume(tmp_path)
    assert (options.max_concurrency, len(left["cells"])) == ((2,), 1)
    result = measure(topology, tmp_path, sharing, left, **BOTH)
    assert (result["complete"], len(result["cells"]), len(result["samples"])) == (True, 4, 12)
    assert result["run_id"] == left["run_id"]


@pytest.mark.parametrize("text", ["ttft", "ttft:soon", "itl:5", ":500"])
def test_a_promise_that_says_nothing_is_refused(text):
    with pytest.raises(ConfigError, match="ttft:500"):
        sweep.promises([text])
