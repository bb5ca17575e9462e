import asyncio
import json

import pytest
from bench_rows import a_bench
from fakes import a_reply

from bench import sweep
from bench.folder import read
from bench.load import Load
from bench.preflight import Preflight
from bench.study import Options
from engines.errors import ConfigError

OPTIONS = Options(kind="sweep", input_lens=(7000,), output_len=4)


def measure(topology, folder, ask, goodput=()):
    async def same(_engines):
        return Preflight({}, ())

    todo = sweep.cells((7000,), (Load(max_concurrency=2), Load(request_rate=1000)), 3, seed=0)
    promised = sweep.promises(goodput)
    return asyncio.run(
        sweep.conduct(
            todo, OPTIONS, topology, folder, [].append, promised=promised, command="", bench=a_bench(ask), check=same
        )
    )


async def sharing(engine, _prompt):
    if engine.name == "lmcache-b":
        return a_reply(engine, ttft=0.4, cached=6912)
    return a_reply(engine, ttft=4.0)


def test_each_cell_reads_like_a_result_of_vllm_and_both_arms_follow_each_other(topology, tmp_path):
    result = measure(topology, tmp_path, sharing, ["ttft:500"])
    cells = result["cells"]
    assert [(c["max_concurrency"], c["request_rate"]) for c in cells] == [(2, "inf")] * 2 + [(None, 1000)] * 2
    assert [{c["arm"] for c in cells[n : n + 2]} for n in (0, 2)] == [{"cold", "cross_read"}] * 2
    for cell in cells:
        assert cell["completed"] == 3
        assert bool(cell["request_goodput"]) is (cell["arm"] == "cross_read")
        assert cell["mean_client_queue_time_ms"] is not None
    assert json.loads(json.dumps(result)) == read(tmp_path)


def test_a_cross_read_that_was_not_cached_does_not_count(topology, tmp_path):
    async def blind(engine, _prompt):
        return a_reply(engine)

    cells = measure(topology, tmp_path, blind)["cells"]
    assert {(c["arm"], c["completed"], c["failed"]) for c in cells} == {("cold", 3, 0), ("cross_read", 0, 3)}


def test_a_request_counts_from_when_it_was_meant_to_be_sent(topology, tmp_path):
    async def slow(engine, _prompt):
        await asyncio.sleep(0.02)
        return a_reply(engine, ttft=1.0, cached=6912 if engine.name == "lmcache-b" else 0)

    result = measure(topology, tmp_path, slow)
    waited = [s for s in result["samples"] if s["queue_ms"] > 15]
    assert waited
    assert all(s["ttft_ms"] == pytest.approx(1000 + s["queue_ms"]) for s in result["samples"])


@pytest.mark.parametrize("text", ["ttft", "ttft:soon", "itl:5", ":500"])
def test_a_promise_that_says_nothing_is_refused(text):
    with pytest.raises(ConfigError, match="ttft:500"):
        sweep.promises([text])
