"""Results of every kind as a run would leave them, and what the reports make of them on a terminal."""

from __future__ import annotations

from dataclasses import asdict
from statistics import median

from rich.console import Console

from bench.report import terminal
from bench.report.render import render_reports
from cache.bandwidth import Speed

MEDIANS = {  # ms
    "cold": 19_900.0,
    "own_warm": 905.0,
    "other_instance": 20_100.0,
    "first_sight": 21_400.0,
    "cross_read": 1_710.0,
    "lmcache_own_warm": 930.0,
}
ENGINE = {"cold": "plain-a", "own_warm": "plain-a", "other_instance": "plain-b", "first_sight": "lmcache-a"}
HOSTILE = "<script src='http://evil/x.js'></script> | `$a_b$` [x](http://evil) &"
FAULT = "1280 tokens came from the cache server's memory, so it had seen them before"


def a_sample(arm, document, position, **changes):
    ttft = MEDIANS.get(arm, 20_000.0) * (1 + 0.02 * ((document * 7 + position * 3) % 5 - 2))
    cached = 0 if arm in ("cold", "other_instance", "first_sight") else 6912
    row = {"document": document, "arm": arm, "engine": ENGINE.get(arm, "lmcache-b"), "input_len": 7000}
    row |= {"position": position, "started_s": document * 70.0 + position * 11.0, "valid": True, "reason": ""}
    row |= {"nonce": "9f3a", "ttft_ms": ttft, "tpot_ms": 44.0, "mean_itl_ms": 45.0, "e2el_ms": ttft + 1400}
    row |= {"itls": [0.040 + 0.001 * ((document + n) % 9) for n in range(31)], "prompt_tokens": 7000}
    row |= {"completion_tokens": 32, "cached_tokens": cached, "source": "shared volume" if cached else "computed"}
    row |= {"server_queue_ms": 2.1, "server_ttft_ms": ttft - 5, "text": "A handbook of FFmpeg."}
    return row | {"stored_s": 0.4 if arm == "first_sight" else None} | changes


def an_arm(samples):
    ttfts = [row["ttft_ms"] for row in samples if row["valid"]]
    middle = median(ttfts) if ttfts else None
    flat = {f"{name}_{metric}_ms": 45.0 for metric in ("tpot", "itl") for name in ("mean", "median", "std", "p90")}
    flat |= {f"p99_{metric}_ms": None for metric in ("ttft", "tpot", "itl", "e2el")}
    flat |= {f"{name}_ttft_ms": middle for name in ("mean", "median", "p50")} if ttfts else dict.fromkeys(flat)
    tokens = {"total_input_tokens": 7000 * len(ttfts), "total_output_tokens": 32 * len(ttfts)}
    tokens["total_cached_tokens"] = sum(row["cached_tokens"] or 0 for row in samples if row["valid"])
    ends = {"ttft_ci_low_ms": min(ttfts, default=None), "ttft_ci_high_ms": max(ttfts, default=None)}
    counts = {"completed": len(ttfts), "failed": len(samples) - len(ttfts)}
    return counts | flat | tokens | ends | {"median_client_overhead_ms": 3.1 if ttfts else None, "outliers": []}


def an_interval(middle, spread=0.05, n=12):
    low, high = sorted((middle * (1 - spread), middle * (1 + spread)))
    ends = {"ci_low": low, "ci_high": high, "min": low, "max": high}
    return {"median": middle, **ends, "n": n, "confidence_level": 0.95}


NOBODY = {"median": None, "ci_low": None, "ci_high": None, "min": None, "max": None, "n": 0, "confidence_level": 0.95}


def a_frame(kind, samples=(), arms=None, **changes):
    names = dict.fromkeys(row["arm"] for row in samples)
    own = {name: an_arm([row for row in samples if row["arm"] == name]) for name in names}
    engines = {name: {"version": "0.32.0", "max_model_len": 8192} for name in ("plain-a", "lmcache-b")}
    frame = {"schema": 1, "kind": kind, "date": "2026-11-22T23:40:00+00:00", "run_id": "9f3a", "complete": True}
    frame |= {"command": f"./arena bench {kind} --num-prompts 12", "label": None, "metadata": {}}
    frame |= {"model_id": "SmolLM2-135M-Instruct", "num_prompts": 12, "input_len": 7000, "output_len": 32, "seed": 0}
    frame |= {"num_warmups": 1, "max_concurrency": 1, "request_rate": "inf", "confidence_level": 0.95}
    frame |= {"duration": 861.2, "completed": len(samples), "failed": 0}
    frame |= {"versions": {"vllm": "0.32.0", "lmcache": "0.5.6", "python": "3.11.14"}}
    frame |= {"host": {"machine": "x86_64", "cpus": 2, "cpu": "AMD EPYC", "memory_gb": 24.0, "kernel": "6.8.0"}}
    frame |= {"preflight": {"engines": engines, "mismatches": []}, "warnings": [], "samples": list(samples)}
    return frame | {"arms": own if arms is None else arms} | changes


def a_rung(arm):
    return {
        "speedup": an_interval(MEDIANS["cold"] / MEDIANS[arm]),
        "saved_ms": an_interval(MEDIANS["cold"] - MEDIANS[arm]),
    }


def a_comparison(of="cross_read", over="cold", verdict="faster", **changes):
    floor = {"of": "other_instance", "over": "cold", **an_interval(0.99), "ratio": 1.06}
    why = "the interval of the ratio is clear of the noise floor"
    rung = a_rung(of) if of in MEDIANS else {"speedup": an_interval(1.0), "saved_ms": an_interval(5.0)}
    return {"of": of, "over": over, "verdict": verdict, "why": why, "noise_floor": floor, **rung, **changes}


def a_ttft_result(documents=12, **changes):
    samples = [a_sample(arm, d, p) for d in range(documents) for p, arm in enumerate(MEDIANS)]
    if documents > 4:
        samples[4 * 6 + 4] |= {"valid": False, "reason": FAULT}
        nothing = dict.fromkeys(("ttft_ms", "tpot_ms", "mean_itl_ms", "e2el_ms", "cached_tokens", "text"))
        samples[2 * 6] |= {"valid": False, "reason": "plain-a: the stream stopped", "itls": [], **nothing}
    ladder = {arm: a_rung(arm) for arm in MEDIANS if arm != "cold"}
    return a_frame("ttft", samples) | {"comparison": a_comparison(), "ladder": ladder} | changes


def an_aa_result():
    samples = [a_sample(arm, d, p) for d in range(5) for p, arm in enumerate(("plain_a", "plain_b"))]
    return a_frame("aa", samples, comparison=a_comparison("plain_b", "plain_a", "not distinguishable"))


def a_decode_result():
    arms = ("cold", "other_instance", "first_sight")
    samples = [a_sample(arm, d, p) for d in range(5) for p, arm in enumerate(arms)]
    slower = {"speedup": an_interval(0.8), "saved_ms": an_interval(-9.0), "metric": "decode_ms"}
    seen = {"stall_ms": {"cold": 61.0, "first_sight": 312.0}, "bursts": {"cold": 0, "first_sight": 1}}
    seen |= {"median_decode_ms": {"cold": 36.1, "other_instance": 36.4, "first_sight": 45.2}}
    return a_frame("decode", samples, comparison=a_comparison("first_sight", "cold", "slower", **slower), decode=seen)


def a_length(tokens):
    sides = {"recompute": 120 + 1.2 * tokens + 2e-4 * tokens**2, "load": 600 + 0.16 * tokens}
    arms = {
        side: {
            "completed": 5,
            "failed": 0,
            "median_ttft_ms": ms,
            "ttft_ci_low_ms": ms * 0.9,
            "ttft_ci_high_ms": ms * 1.1,
        }
        for side, ms in sides.items()
    }
    return {"input_len": tokens, **arms, "speedup": an_interval(sides["recompute"] / sides["load"], n=5)}


def a_storage_result():
    storage = {"tool": "fio", "path": "/mnt/kv", "filesystem": "ext4", "read_cached": {"gb_per_s": 4.2}}
    missing = asdict(Speed.missing("overlay: cannot be read past the page cache (Invalid argument)"))
    storage |= {"read_device": missing, "write_device": {"gb_per_s": 0.9}}
    storage |= {"sequential": {"read_cached": {"gb_per_s": 6.1}, "read_device": missing, "write": {"gb_per_s": 1.3}}}
    storage |= {"note": "not measured: install fio"}
    even = {"input_len": 430, "recompute_fit": [120, 1.2, 2e-4], "load_fit": [600, 0.16], "bytes_per_token": 46_080}
    even["confirmed"] = [{"input_len": 215, "expected": "recompute", "speedup": an_interval(0.6), "holds": True}]
    lengths = [a_length(tokens) for tokens in (512, 1024, 2048, 4096, 7000)]
    return a_frame("storage", storage=storage, lengths=lengths, break_even=even)


def a_verify_result(**changes):
    parted = {"token": 7, "near_tie": True, "gap": 0.02}
    documents = [{"document": 0, "noise": 0.238, "cross": 0.0, "same_text": True, "divergence": None}]
    documents += [{"document": 1, "noise": "infinite", "cross": None, "same_text": False, "divergence": parted}]
    documents[0]["needle"] = {"plain": True, "cross": True}
    verify = {"agrees": True, "verdict": "same", "why": "", "noise": 0.119, "floor": 0.238, "worst": 0.0, "n": 2}
    verify |= {"needles_asked": 1, "documents": documents}
    return a_frame("verify", verify=verify | changes)


def a_sweep_result(loads=(1, 2)):
    cells = [
        {"input_len": 7000, "max_concurrency": n, "request_rate": "inf", "arm": arm, "completed": 8, "failed": 0}
        | {"median_ttft_ms": ms * n, "p99_ttft_ms": None, "median_itl_ms": 45.0, "request_goodput": 0.31}
        | {"recomputed": 3 if arm == "cross_read" else None}
        for n in loads
        for arm, ms in (("cold", 19_900), ("cross_read", 1_990))
    ]
    return a_frame("sweep", cells=cells)


RESULTS = {
    "ttft": a_ttft_result,
    "aa": an_aa_result,
    "storage": a_storage_result,
    "decode": a_decode_result,
    "verify": a_verify_result,
    "sweep": a_sweep_result,
}


def on_a_terminal(result, width=80):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(terminal.terminal_report(result))
    return capture.get()


def everywhere(result):
    return [*render_reports(result).values(), on_a_terminal(result)]
