import pytest
from bench_rows import sample

from bench.arm_summary import summarize_arm
from bench.sample_warnings import sample_warnings, source_unknown_warnings


def test_an_arm_reads_like_vllms_result_with_units_as_there():
    arm = summarize_arm([sample(n, "cold", 8000.0 + n) for n in range(5)], detailed=True)
    assert (arm["completed"], arm["failed"], arm["total_input_tokens"]) == (5, 0, 35_000)
    assert (arm["median_ttft_ms"], arm["ttfts"][0]) == (8002.0, 8.0)
    assert (arm["p50_ttft_ms"], arm["p99_ttft_ms"]) == (8002.0, None)
    assert arm["request_throughput"] == 5 / arm["duration"]


def test_the_gaps_of_twelve_answers_are_no_hundreds_of_samples():
    arm = summarize_arm([sample(n, "cold") for n in range(12)], detailed=False)
    assert (arm["p50_itl_ms"], arm["p90_itl_ms"], arm["p99_itl_ms"]) == (30, None, None)


def test_the_interval_of_an_arm_is_drawn_from_the_runs_seed():
    samples = [sample(n, "cold", 1000.0 + n) for n in range(200)]
    ends = {summarize_arm(samples, detailed=False, seed=seed)["ttft_ci_low_ms"] for seed in range(8)}
    assert len(ends) > 1


READ_BY_VLLM = (  # `vllm bench serve` for PyTorch's benchmark database, and the plots and workloads of its sweeps
    *(f"{name}_{metric}_ms" for metric in ("ttft", "tpot", "itl") for name in ("median", "mean", "std", "p99")),
    *("mean_e2el_ms", "request_throughput", "output_throughput", "total_token_throughput"),
    *("duration", "completed", "failed", "total_input_tokens", "total_output_tokens"),
)
ARRAYS = ("input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times", "generated_texts")


def test_vllms_readers_find_every_field_and_a_place_for_every_request():
    answered = sample(1, "cold", 500.0, reason="128 tokens were cached, and nothing should be", text="yes")
    broken = sample(2, "cold", None, reason="no answer", prompt_tokens=None, completion_tokens=None, itls=())
    arm = summarize_arm([sample(0, "cold", text="yes"), answered, broken], detailed=True)
    assert [name for name in READ_BY_VLLM if name not in arm] == []
    assert {len(arm[name]) for name in (*ARRAYS, "errors")} == {3}
    assert (arm["completed"], arm["failed"]) == (1, 2)
    assert arm["errors"] == ["", answered.reason, "no answer"]
    timeline = [ttft + sum(itl) if itl else ttft for ttft, itl in zip(arm["ttfts"], arm["itls"], strict=True)]
    assert timeline == pytest.approx([1.93, 0.0, 0.0]), "a request that failed has zeros, as in vLLM"
    assert (arm["input_lens"], arm["output_lens"]) == ([7000] * 3, [32, 0, 0])
    assert arm["generated_texts"] == ["yes", "", ""]


def test_raw_arrays_are_left_out_unless_asked_for():
    assert "ttfts" not in summarize_arm([sample(0, "cold")], detailed=False)


def test_an_arm_without_samples_has_no_numbers_instead_of_zeros():
    empty = summarize_arm([sample(0, "cold", None, reason="no answer")], detailed=False)
    assert (empty["completed"], empty["failed"], empty["median_ttft_ms"]) == (0, 1, None)


def test_the_gap_between_client_and_server_is_kept_and_a_large_one_is_warned_of():
    samples = [sample(n, "cold", 1000.0, server_queue_ms=5.0, server_ttft_ms=900.0 + n) for n in range(3)]
    assert summarize_arm(samples, detailed=False)["median_client_overhead_ms"] == 94
    assert any("up to 94 ms (cold; median) over" in line for line in sample_warnings(samples))


def test_a_kind_of_warning_is_one_line_that_names_its_arms():
    arms = [f"{modality}_{arm}" for modality in ("image", "video") for arm in ("cold", "cross_read", "own_warm")]
    samples = [
        sample(n, arm, 1000.0 + 400 * (n % 2), itls=(0.0001,) * 31, tpot_ms=0.1, cached_tokens=None)
        for arm in arms
        for n in range(6)
    ]
    lines = [*sample_warnings(samples), *source_unknown_warnings(samples)]
    assert [all(arm in line for arm in arms) for line in lines] == [True, True, True]


def test_outliers_count_and_are_named():
    samples = [sample(n, "cold", 1000.0 + n) for n in range(6)] + [sample(6, "cold", 9000.0)]
    arm = summarize_arm(samples, detailed=False)
    assert (arm["outliers"], arm["completed"]) == ([6], 7)
    assert any("outliers" in line for line in sample_warnings(samples))


def test_a_server_that_does_not_report_what_was_cached_is_named_and_not_taken_for_none():
    samples = [sample(n, "cold", cached_tokens=None) for n in range(3)]
    arm = summarize_arm(samples, detailed=False)
    assert (arm["total_cached_tokens"], arm["cache_hit_rate_pct"]) == (None, None)
    assert any("does not report how many tokens were cached" in line for line in source_unknown_warnings(samples))
