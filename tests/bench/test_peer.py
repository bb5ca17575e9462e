import subprocess
import sys

import pytest

from bench.peer import BEGINS, ENDS, Block, OneMessage, _watched, summary


def test_medians_stand_side_by_side_with_the_cpu_time_of_each_request():
    blocks = [Block("arena", (1.0, 1.2), 0.02), Block("vllm", (1.1, 1.1), 0.1), Block("vllm", (1.1, 1.3), 0.1)]
    found = summary([*blocks, Block("arena", (1.1, 1.1), 0.02)])
    assert found["median_ttft_ratio"] == pytest.approx(1.0)
    assert found["arena"]["cpu_ms_per_request"] == pytest.approx(10)
    assert found["vllm_bench_serve"]["cpu_ms_per_request"] == pytest.approx(50)


def test_starting_the_other_client_is_not_counted():
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < {}: pass"
    program = (
        f"{burn.format(1.5)}\nprint('{BEGINS}...', flush=True)\n{burn.format(0.5)}\nprint('== {ENDS} ==', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    said, cpu_s = _watched(child)
    assert child.returncode == 0
    assert ENDS in said
    assert 0.2 <= cpu_s < 0.8


def test_both_clients_send_one_message():
    prompt = OneMessage("what?", "a document", "00ff")
    assert prompt.messages == [{"role": "user", "content": "00ff a document\n\nwhat?"}]
