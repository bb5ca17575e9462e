import asyncio
import json
import sys

import pytest

from engines.errors import ConfigError, StackError
from frontend.studies import Studies, earlier, report
from frontend.studies_view import framed, progress, results_table
from frontend.track import Track

QUICK = "import sys; print('1/3 cold on plain-a: 9 ms'); print('3/3 cold', *sys.argv[1:])"
ENDLESS = (
    "import time\ntry:\n  print('started', flush=True)\n  time.sleep(600)\nexcept KeyboardInterrupt:\n  print('kept')"
)


def studies_of(script):
    return Studies(Track(), (sys.executable, "-c", script))


def a_result(folder, name="ttft-1", **more):
    (folder / name).mkdir(parents=True)
    content = {"kind": "ttft", "date": "2026-11-23T10:00:00+00:00", "complete": True, "completed": 18, **more}
    (folder / name / "result.json").write_text(json.dumps(content))
    return folder / name


def test_a_run_is_the_bench_itself_with_its_lines_and_its_exit_code(tmp_path):
    async def run():
        studies = studies_of(QUICK)
        await studies.start("ttft", 3, tmp_path)
        await studies.ended()
        return studies.now

    now = asyncio.run(run())
    assert now.code == 0
    assert "ttft --num-prompts 3 --result-dir" in now.lines[-1]
    assert 'aria-valuenow="100"' in progress(now)


def test_cancel_is_a_ctrl_c_and_frees_the_track(tmp_path):
    async def run():
        studies = studies_of(ENDLESS)
        await studies.start("ttft", 3, tmp_path)
        with pytest.raises(StackError, match="bench ttft"):
            await studies.start("aa", 3, tmp_path)
        while not studies.now.lines:  # noqa: ASYNC110 - a child process sets no event
            await asyncio.sleep(0.01)
        studies.cancel()
        await studies.ended()
        return studies

    studies = asyncio.run(run())
    assert studies.now.lines[-1] == "kept"
    assert not studies.track.study


def test_no_run_begins_while_a_question_is_under_way(tmp_path):
    async def run():
        studies = studies_of(QUICK)
        async with studies.track.turn(lambda _: None):
            with pytest.raises(StackError, match="a question"):
                await studies.start("ttft", 3, tmp_path)

    asyncio.run(run())


@pytest.mark.parametrize(("kind", "number"), [("peer", 3), ("ttft", 0), ("--help", 1)])
def test_only_known_runs_of_a_sane_size_are_started(tmp_path, kind, number):
    with pytest.raises(ConfigError):
        asyncio.run(studies_of(QUICK).start(kind, number, tmp_path))


def test_results_are_listed_newest_first_and_broken_ones_passed_over(tmp_path):
    a_result(tmp_path, "old")
    a_result(tmp_path, "new", date="2026-11-24T10:00:00+00:00", comparison={"verdict": "faster"})
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "result.json").write_text("{")
    a_result(tmp_path, "<b>", kind="<script>")
    found = earlier(tmp_path)
    assert next(result.name for result in found) == "new"
    assert len(found) == 3
    assert "<script>" not in results_table(found)


def test_a_report_is_shown_in_a_frame_that_runs_nothing(tmp_path):
    (a_result(tmp_path) / "report.html").write_text("<script>alert('1')</script>")
    shown = framed(report(tmp_path, "ttft-1"))
    assert 'sandbox=""' in shown
    assert "<script>" not in shown


@pytest.mark.parametrize("name", ["../../etc", "ttft-2", ""])
def test_only_listed_results_are_read(tmp_path, name):
    a_result(tmp_path)
    with pytest.raises(ConfigError):
        report(tmp_path, name)
    with pytest.raises(ConfigError):
        asyncio.run(studies_of(QUICK).compare(name, "ttft-1", tmp_path))


def test_two_results_are_compared_by_the_bench(tmp_path):
    a_result(tmp_path, "one")
    a_result(tmp_path, "two")
    assert "compare" in asyncio.run(studies_of(QUICK).compare("one", "two", tmp_path))
