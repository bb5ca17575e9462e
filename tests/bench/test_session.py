import json
from dataclasses import replace

import pytest
from bench_rows import OPTIONS, Engines, measure

from bench.folder import RESULT, claim, read, write
from bench.session import publish, resume
from engines.errors import ConfigError, EngineUnreachable, StackError


def test_a_run_ends_with_a_verdict_and_the_result_lies_in_the_folder(topology, tmp_path):
    lines = []
    result = measure(topology, tmp_path, Engines(), lines=lines)
    assert json.loads(json.dumps(result)) == read(tmp_path)
    assert (result["complete"], result["completed"], result["failed"]) == (True, 36, 0)
    assert (result["comparison"]["verdict"], result["comparison"]["speedup"]["median"]) == ("faster", pytest.approx(10))
    assert (result["model_id"], result["versions"]["vllm"]) == ("small", "0.32.0")
    assert "left" in lines[0]
    assert "left" not in lines[-1]


def test_an_interrupted_run_keeps_what_it_has_and_resumes_with_whole_documents(topology, tmp_path):
    first = Engines(fails_after=15)
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, first)
    left = read(tmp_path)
    assert (left["complete"], len(left["samples"])) == (False, 15)
    options, past = resume(tmp_path)
    assert options == OPTIONS
    second = Engines()
    result = measure(topology, tmp_path, second, options, past)
    assert (result["complete"], result["completed"], len(second.nonces)) == (True, 36, 24)
    assert result["run_id"] == left["run_id"]
    assert [s["document"] for s in result["samples"][::6]] == [0, 1, 2, 3, 4, 5]
    assert not set(second.nonces) & set(first.nonces), "a document that was half sent is no longer cold"


def test_a_run_is_not_resumed_on_other_engines(topology, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, Engines(fails_after=9))
    options, past = resume(tmp_path)
    with pytest.raises(ConfigError, match="not what they were"):
        measure(topology, tmp_path, Engines(), options, replace(past, engines={"plain-a": {"model": "large"}}))


def test_a_document_that_nobody_answered_is_sent_again_by_a_resumed_run(topology, tmp_path):
    engines = Engines(fails_after=9, failure=EngineUnreachable("plain-a", "no answer"))
    with pytest.raises(StackError, match="--resume"):
        measure(topology, tmp_path, engines)
    options, past = resume(tmp_path)
    assert measure(topology, tmp_path, Engines(), options, past)["failed"] == 0


def test_a_complete_run_is_not_resumed(topology, tmp_path):
    measure(topology, tmp_path, Engines())
    with pytest.raises(ConfigError, match="is complete"):
        resume(tmp_path)


def test_a_result_is_never_written_over(tmp_path):
    write(tmp_path / RESULT, {"kind": "ttft"})
    with pytest.raises(ConfigError, match="--resume"):
        claim(tmp_path)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        claim(tmp_path / "file" / "deeper")


@pytest.mark.parametrize(("content", "said"), [("{", "not JSON"), ("[]", "not a result"), (None, "cannot be read")])
def test_what_is_no_result_is_told(tmp_path, content, said):
    if content is not None:
        (tmp_path / RESULT).write_text(content)
    with pytest.raises(ConfigError, match=said):
        read(tmp_path)


def test_a_result_file_is_replaced_whole(tmp_path):
    write(tmp_path / "deep" / "out.json", {"a": 1})
    write(tmp_path / "deep" / "out.json", {"a": 2})
    assert [path.read_text() for path in (tmp_path / "deep").iterdir()] == ['{\n "a": 2\n}\n']


def test_each_arm_is_a_file_that_reads_like_one_of_vllms(topology, tmp_path):
    publish(measure(topology, tmp_path, Engines()), tmp_path)
    arm = json.loads((tmp_path / "arms" / "cross_read.json").read_text())
    assert (arm["model_id"], arm["num_prompts"], arm["completed"], arm["request_rate"]) == ("small", 6, 6, "inf")
    assert arm["median_ttft_ms"] == pytest.approx(900)
    assert {path.name for path in tmp_path.iterdir()} == {"arms", RESULT, "report.md", "report.html"}
