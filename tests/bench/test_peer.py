import pytest

from bench.peer import Block, OneMessage, summary


def test_medians_stand_side_by_side_and_starting_a_process_is_not_counted():
    blocks = [Block("arena", (1.0, 1.2), 0.02), Block("vllm", (1.1, 1.1), 10.05), Block("vllm", (1.1, 1.3), 10.05)]
    found = summary([*blocks, Block("arena", (1.1, 1.1), 0.02)], start_cpu_s=10.0)
    assert found["median_ttft_ratio"] == pytest.approx(1.0)
    assert found["arena"]["cpu_ms_per_request"] == pytest.approx(10)
    assert found["vllm_bench_serve"]["cpu_ms_per_request"] == pytest.approx(50)


def test_both_clients_send_one_message():
    prompt = OneMessage("what?", "a document", "00ff")
    assert prompt.messages == [{"role": "user", "content": "00ff a document\n\nwhat?"}]
