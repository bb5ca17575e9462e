import asyncio
import json
import signal
import sys

import pytest

from config.errors import ConfigError, StackError
from config.settings import Settings
from frontend.bench_runs import KINDS, BenchRun, BenchRunner, kinds
from frontend.bench_tab import BenchHandlers, report_frame, results_table, run_html
from frontend.measurement_queue import MeasurementQueue
from frontend.results_list import list_results

pytestmark = pytest.mark.anyio

QUICK = "import sys; print('1/3 cold on plain-a: 9 ms'); print('3/3 cold', *sys.argv[1:])"
ENDLESS = (
    "import time\ntry:\n  print('started', flush=True)\n  time.sleep(600)\nexcept KeyboardInterrupt:\n  print('kept')"
)
REPORTS = "import pathlib, sys; pathlib.Path(sys.argv[2], 'report.html').write_text(sys.argv[1])"


def runner_of(results, script=QUICK):
    return BenchRunner(MeasurementQueue(), results, (sys.executable, "-c", script))


def a_result(folder, name="ttft-1", **more):
    (folder / name).mkdir(parents=True)
    content = {"kind": "ttft", "date": "2026-11-23T10:00:00+00:00", "complete": True, "completed": 18, **more}
    (folder / name / "result.json").write_text(json.dumps(content))
    return folder / name


async def test_a_run_is_the_bench_itself_with_its_lines_and_its_exit_code(tmp_path):
    runner = runner_of(tmp_path)
    await runner.start("ttft", 3)
    await runner.ended()
    assert runner.now.code == 0
    assert "ttft --num-prompts 3 --result-dir" in runner.now.lines[-1]
    assert 'aria-valuenow="100"' in run_html(runner.now)


@pytest.mark.parametrize(("code", "said"), [(None, "running"), (130, "cancelled"), (2, "ended with exit code 2")])
def test_the_page_says_how_a_run_ended(tmp_path, code, said):
    assert f"<b>bench ttft</b>: {said} " in run_html(BenchRun("ttft", tmp_path, code=code))


async def test_a_visitor_who_comes_back_to_the_tab_sees_the_report_of_the_run_that_ended(tmp_path):
    folder = a_result(tmp_path)
    (folder / "report.html").write_text("<p>It pays off.</p>")
    runner = runner_of(tmp_path)
    runner.now, ended = BenchRun("ttft", folder), BenchRun("ttft", folder, code=0)
    seen, tab = runner.now, BenchHandlers(runner)
    assert not isinstance((await tab.look(seen))[-1], str)
    runner.now = ended
    assert "It pays off." in (await tab.look(seen))[-1]
    assert not isinstance((await tab.look(ended))[-1], str)


async def test_cancel_is_a_ctrl_c_and_frees_the_line(tmp_path):
    runner = runner_of(tmp_path, ENDLESS)
    await runner.start("ttft", 3)
    with pytest.raises(StackError, match="bench ttft"):
        await runner.start("aa", 3)
    while not runner.now.lines:  # noqa: ASYNC110 - a child process sets no event
        await asyncio.sleep(0.01)
    runner.cancel()
    await runner.ended()
    assert runner.now.lines[-1] == "kept"
    assert not runner.queue.bench_kind


async def test_a_run_whose_output_cannot_be_read_is_ended_and_frees_the_line(tmp_path):
    runner = runner_of(tmp_path, "import time; print('x' * 2_000_000, flush=True); time.sleep(600)")
    await runner.start("ttft", 3)
    await runner.ended()
    assert runner.now.code == -signal.SIGKILL
    assert not runner.queue.bench_kind


async def test_a_bench_that_cannot_be_started_frees_the_line(tmp_path):
    runner = BenchRunner(MeasurementQueue(), tmp_path, ("/no/such/program",))
    with pytest.raises(FileNotFoundError):
        await runner.start("ttft", 3)
    assert not runner.queue.bench_kind


async def test_no_run_begins_while_a_question_is_under_way(tmp_path):
    runner = runner_of(tmp_path)
    async with runner.queue.wait_turn(lambda *_: None):
        with pytest.raises(StackError, match="a question"):
            await runner.start("ttft", 3)


@pytest.mark.parametrize(("kind", "number"), [("peer", 3), ("ttft", 0), ("ttft", 1001), ("--help", 1)])
async def test_only_known_runs_of_a_sane_size_are_started(tmp_path, kind, number):
    with pytest.raises(ConfigError):
        await runner_of(tmp_path).start(kind, number)


def test_storage_is_offered_where_it_can_write_to_the_volume(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path)})
    assert kinds(settings) == KINDS
    assert kinds(settings, lambda *_: False) == ("ttft", "mm", "aa")


def test_results_are_listed_newest_first_and_broken_ones_passed_over(tmp_path):
    a_result(tmp_path, "old")
    a_result(tmp_path, "new", date="2026-11-24T10:00:00+00:00", comparison={"verdict": "faster"})
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "result.json").write_text("{")
    a_result(tmp_path, "<b>", kind="<script>")
    found = list_results(tmp_path)
    assert found[0].name == "new"
    assert len(found) == 3
    assert "<script>" not in results_table(found)


async def test_a_report_is_shown_in_a_frame_that_runs_nothing(tmp_path):
    (a_result(tmp_path) / "report.html").write_text("<script>alert('1')</script>")
    shown = report_frame(await runner_of(tmp_path).report("ttft-1"))
    assert 'sandbox=""' in shown
    assert "<script>" not in shown


@pytest.mark.parametrize("name", ["../../etc", "ttft-2", ""])
async def test_only_listed_results_are_read(tmp_path, name):
    a_result(tmp_path)
    runner = runner_of(tmp_path)
    for reads in (runner.report(name), runner.compare(name, "ttft-1")):
        with pytest.raises(ConfigError):
            await reads


async def test_two_results_are_compared_by_the_bench(tmp_path):
    a_result(tmp_path, "one")
    a_result(tmp_path, "two")
    assert "compare" in await runner_of(tmp_path).compare("one", "two")


async def test_a_run_that_was_cancelled_gets_a_report_of_what_there_is(tmp_path):
    a_result(tmp_path, complete=False)
    assert await runner_of(tmp_path, REPORTS).report("ttft-1") == "report"


async def test_a_result_that_no_report_can_be_made_of_says_what_the_bench_says(tmp_path):
    a_result(tmp_path)
    with pytest.raises(ConfigError, match="has no report: it is of another version"):
        await runner_of(tmp_path, "print('it is of another version')").report("ttft-1")


COMPARED = {"comparison": {"verdict": "faster"}}


@pytest.mark.parametrize(
    ("kind", "content", "verdict"),
    [
        ("ttft", COMPARED, "faster"),
        ("aa", {"comparison": {"verdict": "not distinguishable"}}, "not distinguishable"),
        ("decode", COMPARED, "faster"),
        ("peer", COMPARED, "faster"),
        ("mm", {"modalities": {"image": COMPARED, "audio": {}}, "holds": True}, "image: faster; audio: no claim"),
        ("mm", {"modalities": {"image": {**COMPARED, "canary": {"failed": [1]}}}}, "image: faster; image was mixed up"),
        ("verify", {"verify": {"verdict": "same", "media": {}}}, "same"),
        ("verify", {"verify": {"verdict": "same", "media": {"image": {"verdict": "no claim"}}}}, "image: no claim"),
        (
            "storage",
            {"break_even": {"input_len": 2048.0, "confirmed": [{"holds": True}]}},
            "2,048 tokens on, confirmed",
        ),
        ("storage", {"break_even": {"input_len": 2048, "confirmed": [{"holds": None}]}}, "not confirmed"),
        ("storage", {"break_even": {"input_len": None}}, "no break-even"),
        ("budget", {"budgets": [{"attributed_pct": 99.2}, {"attributed_pct": 93}]}, "at least 93 %"),
        ("sweep", {"cells": [{"failed": 1}, {"failed": 0}]}, "2 loads, 1 requests"),
        *((kind, {}, "") for kind in ("ttft", "mm", "verify", "storage", "budget", "sweep", "unknown")),
        ("mm", {"modalities": [1]}, ""),
        ("verify", {"verify": 3}, ""),
        ("storage", {"break_even": {"input_len": 1, "confirmed": 7}}, "1 tokens on, not confirmed"),
    ],
)
def test_the_list_has_the_verdict_of_every_kind(tmp_path, kind, content, verdict):
    a_result(tmp_path, **{"kind": kind, **content})
    [found] = list_results(tmp_path)
    assert verdict in found.verdict
    assert bool(verdict) is bool(found.verdict)


def test_a_result_is_read_once_until_it_changes(tmp_path):
    folder = a_result(tmp_path, comparison={"verdict": "faster"})
    first, again = list_results(tmp_path)[0], list_results(tmp_path)[0]
    (folder / "result.json").write_text(json.dumps({"kind": "ttft", "date": "2027", "completed": 7}))
    assert first is again
    assert list_results(tmp_path)[0].completed == 7
