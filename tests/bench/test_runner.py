import errno
import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from bench_rows import OPTIONS, Engines, measure, sample

from bench.arms import COLD
from bench.assemble import _gpus, stack_info
from bench.plan import Trial, TrialStep
from bench.regression import compare_results
from bench.report.markdown import markdown_report
from bench.report.render import report_files, write_reports
from bench.result import Result
from bench.result_io import RESULT, create_folder, read_json, read_result, write_result, write_text
from bench.runner import RunProgress, resume_run
from config.errors import (
    ConfigError,
    EmptyReply,
    EngineRefused,
    EngineUnreachable,
    ResultError,
    StackError,
    StreamBroken,
)
from config.settings import Settings


def test_a_run_ends_with_a_verdict_and_the_result_lies_in_the_folder(topology, tmp_path):
    lines = []
    result = measure(topology, tmp_path, Engines(), lines=lines)
    assert result == read_json(tmp_path)
    assert (result["complete"], result["completed"], result["failed"]) == (True, 36, 0)
    assert (result["comparison"]["verdict"], result["comparison"]["speedup"]["median"]) == ("faster", pytest.approx(10))
    assert (result["model_id"], result["versions"]["vllm"]) == ("small", "0.32.0")
    assert "left" in lines[0]
    assert "left" not in lines[-1]


def interrupted(topology, folder, engines):
    """Options and samples of a run that ended early, as --resume reads them."""
    with pytest.raises((KeyboardInterrupt, StackError)):
        measure(topology, folder, engines)
    return resume_run(folder, OPTIONS)


def test_an_interrupted_run_keeps_what_it_has_and_resumes_with_whole_documents(topology, tmp_path):
    first, second = Engines(fails_after=15), Engines()
    options, past = interrupted(topology, tmp_path, first)
    left = read_json(tmp_path)
    assert (options, left["complete"], len(left["samples"])) == (OPTIONS, False, 15)
    assert left["comparison"]["speedup"]["n"] == 2
    assert sum(arm["completed"] for arm in left["arms"].values()) == 15
    result = measure(topology, tmp_path, second, options, past=past)
    assert (result["complete"], result["completed"], len(second.nonces)) == (True, 36, 24)
    assert result["run_id"] == left["run_id"]
    assert [s["document"] for s in result["samples"][::6]] == [0, 1, 2, 3, 4, 5]
    assert not set(second.nonces) & set(first.nonces), "a document that was sent in part is no longer cold"


def test_a_run_is_not_resumed_on_other_engines(topology, tmp_path):
    options, past = interrupted(topology, tmp_path, Engines(fails_after=9))
    with pytest.raises(ConfigError, match="not what they were"):
        measure(topology, tmp_path, Engines(), options, past=replace(past, engines={"plain-a": {"model": "large"}}))


def test_a_document_that_no_engine_answered_is_sent_again_by_a_resumed_run(topology, tmp_path):
    engines, again = Engines(fails_after=9, failure=EngineUnreachable("plain-a", "no answer")), Engines()
    options, past = interrupted(topology, tmp_path, engines)
    result = measure(topology, tmp_path, again, options, past=past)
    assert (result["failed"], len(again.nonces)) == (3, 24), "half of the document before it failed, and stays failed"


@pytest.mark.parametrize("failure", [StreamBroken, EngineRefused, EmptyReply])
def test_a_request_that_failed_is_still_a_failure_after_a_resumption(topology, tmp_path, failure):
    class Failing(Engines):
        async def ask(self, engine, prompt):
            if self.left == 4:
                self.left -= 1
                raise failure(engine.name, "half an answer")
            return await super().ask(engine, prompt)

    options, past = interrupted(topology, tmp_path, Failing(fails_after=9))
    result = measure(topology, tmp_path, Engines(), options, past=past)
    failed = [s for s in result["samples"] if not s["valid"]]
    assert [(s["document"], s["error"]) for s in failed] == [(0, failure.__name__)]
    assert len(result["samples"]) == 36


def test_a_run_that_is_interrupted_in_its_warm_up_loses_nothing(topology, tmp_path):
    options, past = interrupted(topology, tmp_path, Engines(fails_after=9))
    left = read_json(tmp_path)["samples"]
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, Engines(fails_after=0), options.model_copy(update={"num_warmups": 1}), past=past)
    assert read_json(tmp_path)["samples"] == left[:6]
    assert [s["document"] for s in left[:6]] == [0] * 6


def test_a_request_of_the_warm_up_that_fails_ends_the_run(topology, tmp_path):
    engines = Engines(fails_after=2, failure=EngineRefused("plain-a", "out of memory"))
    with pytest.raises(StackError):
        measure(topology, tmp_path, engines, OPTIONS.model_copy(update={"num_warmups": 1}))
    assert (engines.left, list(tmp_path.iterdir())) == (-1, []), "nothing was asked after it, and nothing is kept"


def test_after_every_document_the_samples_are_on_the_disk_and_sums_are_done_once(topology, tmp_path):
    """Summing up takes longer than writing, and would be done again for every sample."""
    seen = []

    class Watched(Engines):
        async def ask(self, engine, prompt):
            if len(self.nonces) % 6 == 0 and self.nonces:
                seen.append(read_json(tmp_path))
            return await super().ask(engine, prompt)

    measure(topology, tmp_path, Watched())
    assert [len(each["samples"]) for each in seen] == [6, 12, 18, 24, 30]
    assert not any("arms" in each or each["complete"] for each in seen)
    killed = Result.model_validate(seen[0])
    assert "killed before its samples were summed up" in markdown_report(killed)
    assert not compare_results(killed, killed).passed


def test_the_estimate_goes_by_tokens_and_counts_what_is_foreseen():
    ticks = iter([0.0, 8.0, 10.0])
    cold = (TrialStep(COLD, None),)
    line = RunProgress([Trial(0, 100, cold), Trial(1, 100, cold)], [Trial(2, 800, cold)], lambda: next(ticks))
    assert line.after(sample(0, "cold", input_len=100)).startswith("1/3 ")
    assert line.after(sample(1, "cold", input_len=100)).endswith("; 40 s left")


@pytest.mark.parametrize(
    "change",
    [{"options": {"kind": "ttft", "input_lens": "many"}}, {"preflight": {}}, {"samples": [{}]}, {"run_id": None}],
)
def test_what_another_program_or_version_wrote_is_refused_in_a_sentence(topology, tmp_path, change):
    interrupted(topology, tmp_path, Engines(fails_after=9))
    write_result(tmp_path / RESULT, {**read_json(tmp_path), **change})
    with pytest.raises(ConfigError, match="cannot be resumed"):
        resume_run(tmp_path, OPTIONS)


def test_a_disk_that_fills_up_is_an_error_of_ours_with_a_next_step(topology, tmp_path):
    class Full(Engines):
        async def ask(self, engine, prompt):
            if len(self.nonces) == 8:
                folder = tmp_path / "result"
                (folder / RESULT).unlink()
                folder.rmdir()
                folder.write_text("no folder any more")
            return await super().ask(engine, prompt)

    with pytest.raises(ResultError, match="cannot be written"):
        measure(topology, tmp_path / "result", Full())


def test_what_the_engines_were_started_with_and_what_computed_it_is_kept(settings, topology, tmp_path):
    result = measure(topology, tmp_path, Engines(), stack=stack_info(settings))
    assert (result["stack"]["kv_serde"], result["stack"]["hash_seed"], result["stack"]["l1_size_gb"]) == (
        "aesgcm",
        "0",
        1,
    )
    assert "gpus" in result["host"]
    assert _gpus(("printf", "A card, 80 GiB, 550\\n")) == ["A card, 80 GiB, 550"]
    assert _gpus(("no-such-command",)) == _gpus(("false",)) == []


def test_no_secret_of_the_stack_is_kept():
    secret = {"HF_TOKEN": "hf_secret", "UI_PASSWORD": "hush", "UI_USERNAME": "ann"}
    assert not {"hf_secret", "hush", "ann"} & set(map(str, stack_info(Settings.from_env(secret)).values()))


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        create_folder(tmp_path / "file" / "deeper")


@pytest.mark.parametrize(("content", "said"), [("{", "not JSON"), ("[]", "not a result"), (None, "cannot be read")])
def test_what_is_no_result_is_told(tmp_path, content, said):
    if content is not None:
        (tmp_path / RESULT).write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_result(tmp_path)


def test_a_result_file_is_replaced_whole(tmp_path):
    write_result(tmp_path / "deep" / "out.json", {"a": 1})
    write_result(tmp_path / "deep" / "out.json", {"a": 2})
    assert [path.read_text() for path in (tmp_path / "deep").iterdir()] == ['{\n "a": 2\n}\n']


@pytest.mark.parametrize("fault", [None, OSError(errno.EIO, "Input/output error")])
def test_a_result_is_on_the_disk_before_it_takes_the_place_of_the_one_before(tmp_path, monkeypatch, fault):
    file, before, synced = tmp_path / RESULT, tmp_path / "before", []
    write_text(file, "one")
    before.hardlink_to(file)

    def sync(number):
        synced.append((Path(f"/proc/self/fd/{number}").read_text(), file.read_text()))
        if fault:
            raise fault

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(ResultError) if fault else nullcontext():
        write_text(file, "two")
    assert synced == [("two", "one")]
    assert (before.read_text(), file.read_text()) == ("one", "one" if fault else "two")
    assert {path.name for path in tmp_path.iterdir()} == {RESULT, "before"}


def test_each_arm_is_a_file_that_reads_like_one_of_vllms(topology, tmp_path):
    measure(topology, tmp_path, Engines())
    write_reports(report_files(read_result(tmp_path)), tmp_path)
    arm = json.loads((tmp_path / "arms" / "cross_read.json").read_text())
    assert (arm["model_id"], arm["num_prompts"], arm["completed"], arm["request_rate"]) == ("small", 6, 6, "inf")
    assert arm["median_ttft_ms"] == pytest.approx(900)
    assert {path.name for path in tmp_path.iterdir()} == {"arms", RESULT, "report.md", "report.html"}
