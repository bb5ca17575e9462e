import json
import subprocess
import sys

import pytest
from bench_rows import a_bench, run, sample
from fakes import a_reply

from bench.options import Options
from bench.plan import assign_roles
from bench.questions import peer
from bench.questions.peer import BEGINS, ENDS, SingleMessagePrompt, _watch, blocks, summary
from bench.report.render import report_files, write_reports
from bench.result_io import read_result
from config.errors import ConfigError

OPTIONS = Options(kind="peer", input_lens=(1000,) * 12, num_prompts=3, output_len=8, num_warmups=0)


def client(name, ttfts, cpu_ms):
    return [sample(number, name, ttft, cpu_ms=cpu_ms) for number, ttft in enumerate(ttfts)]


def test_clients_are_compared_pair_by_pair_with_the_cpu_time_of_each_request():
    ours, theirs = (1000, 1200, 1100, 1100, 1050, 1150), (1100, 1100, 1100, 1300, 1000, 1100)
    found = summary([*client("arena", ours, 10.0), *client("vllm_bench_serve", theirs, 50.0)], OPTIONS)
    assert found["peer"]["median_ttft_ratio"] == pytest.approx(1.0)
    assert found["peer"]["cpu_ms_per_request"] == {"arena": 10.0, "vllm_bench_serve": 50.0}
    assert found["comparison"]["speedup"]["n"] == 6
    assert found["comparison"]["speedup"]["ci_low"] < 1 < found["comparison"]["speedup"]["ci_high"]


def test_a_slow_half_of_one_client_does_not_move_the_ratio_of_the_fastest_halves():
    ours, theirs = (1000, 1000, 1000, 3000, 3000, 3000), (1000,) * 6
    found = summary([*client("arena", ours, 1.0), *client("vllm_bench_serve", theirs, 1.0)], OPTIONS)["peer"]
    assert (found["median_ttft_ratio"], found["fastest_half_ttft_ratio"]) == (2.0, 1.0)


def test_blocks_alternate_and_each_document_has_both_clients(topology):
    planned = blocks(OPTIONS, topology.engines[0])
    assert [block.arm.name for block in planned[:4]] == ["arena", "vllm_bench_serve", "vllm_bench_serve", "arena"]
    rows = sorted((document, arm) for block in planned for document, arm, _ in block.rows)
    assert rows == [(n, arm) for n in range(12) for arm in ("arena", "vllm_bench_serve")]


VLLM = f"""#!{sys.executable}
import json, os, pathlib, sys
assert not {{"OPENAI_API_KEY", "HF_TOKEN", "UI_PASSWORD"}} & os.environ.keys()
given = dict(zip(sys.argv[3:], sys.argv[4:]))
prompts = pathlib.Path(given["--dataset-path"]).read_text().splitlines()
assert len(set(prompts)) == len(prompts) == int(given["--num-prompts"])
print("{BEGINS}...", flush=True)
print("== {ENDS} ==", flush=True)
found = {{"completed": len(prompts), "ttfts": [1.01] * len(prompts)}}
(pathlib.Path(given["--result-dir"]) / "result.json").write_text(json.dumps(found))
"""


@pytest.fixture
def vllm(tmp_path, monkeypatch):
    """A client that sends nothing, where the arena has vLLM's."""
    client = tmp_path / "home" / "env" / "engines" / "bin" / "vllm"
    client.parent.mkdir(parents=True)
    client.write_text(VLLM)
    client.chmod(0o755)
    monkeypatch.setenv("ARENA_HOME", str(tmp_path / "home"))
    for secret in ("OPENAI_API_KEY", "HF_TOKEN", "UI_PASSWORD"):
        monkeypatch.setenv(secret, "secret")


@pytest.mark.usefixtures("vllm")
def test_a_run_leaves_a_folder_with_a_report_like_every_other(settings, topology, tmp_path):
    async def ask(engine, _prompt):
        return a_reply(engine, ttft=1.0)

    folder, lines = tmp_path / "result", []
    experiment = peer.study(OPTIONS, assign_roles(topology), settings)
    result = run(experiment, OPTIONS, topology.engines, folder, a_bench(ask), lines)
    assert (result["comparison"]["verdict"], result["completed"]) == ("not distinguishable", 24)
    assert result["peer"]["median_ttft_ratio"] == pytest.approx(1 / 1.01)
    assert "left" in lines[2]
    write_reports(report_files(read_result(folder)), folder)
    report = (folder / "report.md").read_text()
    assert "cannot be told from" in report
    assert "CPU per request" in report
    assert json.loads((folder / "arms" / "vllm_bench_serve.json").read_text())["median_ttft_ms"] == pytest.approx(1010)
    assert read_result(folder).kind == "peer"


def test_without_the_other_client_the_next_step_is_named(settings, topology, tmp_path, monkeypatch):
    monkeypatch.setenv("ARENA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="arena install"):
        peer.study(OPTIONS, assign_roles(topology), settings)


@pytest.mark.slow
def test_starting_the_other_client_is_not_counted():
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < {}: pass"
    program = (
        f"{burn.format(1.5)}\nprint('{BEGINS}...', flush=True)\n{burn.format(0.5)}\nprint('== {ENDS} ==', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    said, cpu_s = _watch(child)
    assert child.returncode == 0
    assert ENDS in said
    assert 0.2 <= cpu_s < 0.8


def test_both_clients_send_one_message():
    prompt = SingleMessagePrompt("what?", "a document", "00ff")
    assert prompt.messages == [{"role": "user", "content": "00ff a document\n\nwhat?"}]
