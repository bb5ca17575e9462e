import asyncio
import json
import signal
import sys

import pytest
from fakes import a_reply

from client.prompt import Prompt
from client.reply import Sources
from config.errors import ConfigError, StackError
from config.settings import Settings
from frontend.bench_runs import KINDS, BenchRun, BenchRunner, kinds
from frontend.bench_tab import BenchHandlers
from frontend.bench_view import framed, progress, results_table
from frontend.estimate import CLAIMING, UNKNOWN, USUAL, estimate, too_few
from frontend.history import History
from frontend.measurement_queue import MeasurementQueue
from frontend.race import Pane, PaneStatus
from frontend.results_list import ResultSummary, list_results

QUICK = "import sys; print('1/3 cold on plain-a: 9 ms'); print('3/3 cold', *sys.argv[1:])"
ENDLESS = (
    "import time\ntry:\n  print('started', flush=True)\n  time.sleep(600)\nexcept KeyboardInterrupt:\n  print('kept')"
)


def studies_of(results, script):
    return BenchRunner(MeasurementQueue(), results, (sys.executable, "-c", script))


def a_result(folder, name="ttft-1", **more):
    (folder / name).mkdir(parents=True)
    content = {"kind": "ttft", "date": "2026-11-23T10:00:00+00:00", "complete": True, "completed": 18, **more}
    (folder / name / "result.json").write_text(json.dumps(content))
    return folder / name


def test_a_run_is_the_bench_itself_with_its_lines_and_its_exit_code(tmp_path):
    async def run():
        studies = studies_of(tmp_path, QUICK)
        await studies.start("ttft", 3)
        await studies.ended()
        return studies.now

    now = asyncio.run(run())
    assert now.code == 0
    assert "ttft --num-prompts 3 --result-dir" in now.lines[-1]
    assert 'aria-valuenow="100"' in progress(now)


@pytest.mark.parametrize(("code", "said"), [(None, "running"), (130, "cancelled"), (2, "ended with exit code 2")])
def test_the_page_says_how_a_run_ended(tmp_path, code, said):
    assert f"<b>bench ttft</b>: {said} " in progress(BenchRun("ttft", tmp_path, code=code))


def test_whoever_comes_back_to_the_tab_sees_the_report_of_the_run_that_ended(tmp_path):
    folder = a_result(tmp_path)
    (folder / "report.html").write_text("<p>It pays off.</p>")
    studies = studies_of(tmp_path, QUICK)
    studies.now, ended = BenchRun("ttft", folder), BenchRun("ttft", folder, code=0)
    seen = studies.now
    tab = BenchHandlers(studies)
    assert not isinstance(asyncio.run(tab.look(seen))[-1], str)
    studies.now = ended
    assert "It pays off." in asyncio.run(tab.look(seen))[-1]
    assert not isinstance(asyncio.run(tab.look(ended))[-1], str)


def test_cancel_is_a_ctrl_c_and_frees_the_track(tmp_path):
    async def run():
        studies = studies_of(tmp_path, ENDLESS)
        await studies.start("ttft", 3)
        with pytest.raises(StackError, match="bench ttft"):
            await studies.start("aa", 3)
        while not studies.now.lines:  # noqa: ASYNC110 - a child process sets no event
            await asyncio.sleep(0.01)
        studies.cancel()
        await studies.ended()
        return studies

    studies = asyncio.run(run())
    assert studies.now.lines[-1] == "kept"
    assert not studies.track.bench_kind


def test_no_run_begins_while_a_question_is_under_way(tmp_path):
    async def run():
        studies = studies_of(tmp_path, QUICK)
        async with studies.track.wait_turn(lambda *_: None):
            with pytest.raises(StackError, match="a question"):
                await studies.start("ttft", 3)

    asyncio.run(run())


@pytest.mark.parametrize(("kind", "number"), [("peer", 3), ("ttft", 0), ("--help", 1)])
def test_only_known_runs_of_a_sane_size_are_started(tmp_path, kind, number):
    with pytest.raises(ConfigError):
        asyncio.run(studies_of(tmp_path, QUICK).start(kind, number))


def test_results_are_listed_newest_first_and_broken_ones_passed_over(tmp_path):
    a_result(tmp_path, "old")
    a_result(tmp_path, "new", date="2026-11-24T10:00:00+00:00", comparison={"verdict": "faster"})
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "result.json").write_text("{")
    a_result(tmp_path, "<b>", kind="<script>")
    found = list_results(tmp_path)
    assert next(result.name for result in found) == "new"
    assert len(found) == 3
    assert "<script>" not in results_table(found)


def test_a_report_is_shown_in_a_frame_that_runs_nothing(tmp_path):
    (a_result(tmp_path) / "report.html").write_text("<script>alert('1')</script>")
    shown = framed(asyncio.run(studies_of(tmp_path, QUICK).report("ttft-1")))
    assert 'sandbox=""' in shown
    assert "<script>" not in shown


@pytest.mark.parametrize("name", ["../../etc", "ttft-2", ""])
def test_only_listed_results_are_read(tmp_path, name):
    a_result(tmp_path)
    with pytest.raises(ConfigError):
        asyncio.run(studies_of(tmp_path, QUICK).report(name))
    with pytest.raises(ConfigError):
        asyncio.run(studies_of(tmp_path, QUICK).compare(name, "ttft-1"))


def test_two_results_are_compared_by_the_bench(tmp_path):
    a_result(tmp_path, "one")
    a_result(tmp_path, "two")
    assert "compare" in asyncio.run(studies_of(tmp_path, QUICK).compare("one", "two"))


REPORTS = "import pathlib, sys; pathlib.Path(sys.argv[2], 'report.html').write_text(sys.argv[1])"


def test_a_run_that_was_cancelled_gets_a_report_of_what_there_is(tmp_path):
    a_result(tmp_path, complete=False)
    assert asyncio.run(studies_of(tmp_path, REPORTS).report("ttft-1")) == "report"


def test_a_result_that_no_report_can_be_made_of_says_what_the_bench_says(tmp_path):
    a_result(tmp_path)
    with pytest.raises(ConfigError, match="has no report: it is of another version"):
        asyncio.run(studies_of(tmp_path, "print('it is of another version')").report("ttft-1"))


def test_a_run_that_cannot_be_read_is_ended_and_frees_the_track(tmp_path):
    async def run():
        studies = studies_of(tmp_path, "import time; print('x' * 2_000_000, flush=True); time.sleep(600)")
        await studies.start("ttft", 3)
        await studies.ended()
        return studies

    studies = asyncio.run(run())
    assert studies.now.code == -signal.SIGKILL
    assert not studies.track.bench_kind


def test_storage_is_offered_where_it_can_write_to_the_volume(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path)})
    assert kinds(settings) == KINDS
    assert kinds(settings, lambda *_: False) == ("ttft", "mm", "aa")


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
        ("sweep", {"cells": [{"failed": 1}, {"failed": 0}]}, "2 loads, 1 requests"),
        *((kind, {}, "") for kind in ("ttft", "mm", "verify", "storage", "sweep", "unknown")),
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


@pytest.mark.parametrize("kind", CLAIMING)
def test_the_tab_opens_with_enough_documents_and_warns_of_fewer_before_anything_is_sent(tmp_path, kind):
    tab = BenchHandlers(studies_of(tmp_path, QUICK))
    assert "no claim" not in asyncio.run(tab.expected(kind, USUAL, ()))
    assert "no claim" in asyncio.run(tab.expected(kind, 3, ()))
    assert not too_few("storage", 3)


def test_how_long_a_run_takes_goes_by_what_was_measured_here():
    def a_run(kind, documents, duration):
        return ResultSummary(
            f"{kind}-1", kind, "2026", complete=True, completed=9, verdict="", documents=documents, duration=duration
        )

    runs = [a_run("aa", 10, 200.0), a_run("mm", 10, 100.0)]
    assert "about 2 minutes" in estimate("aa", 5, runs, ())  # 20 s each, and the warm-up
    assert "aa-1" in estimate("ttft", 5, runs, ())  # three prompts instead of two
    assert "3 minutes" in estimate("ttft", 5, runs, ())
    assert estimate("storage", 3, runs, ()) == UNKNOWN
    assert estimate("ttft", 5, [], ()) == UNKNOWN


def test_without_runs_it_goes_by_the_visitors_last_computed_question():
    history = History()
    prompt = Prompt("Why?", "A document.", "n0nce")
    reply = a_reply(ttft=3.392, prompt=3392, sources=Sources(3392, 0, 0))
    history.add(Pane("plain-a", PaneStatus.DONE, prompt, reply=reply), "a name")
    said = estimate("aa", 6, [], history.rows)  # 6,784 tokens take 6.8 s, twice a document
    assert "about 2 minutes" in said
    assert estimate("mm", 6, [], history.rows) == UNKNOWN
