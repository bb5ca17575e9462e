"""Texts that all report formats share: kinds, arms, counts, reasons and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.number_format import NOTHING, count
from bench.result import Result, SampleRow

KINDS: Mapping[str, str] = {
    "ttft": "TTFT, plain against shared",
    "mm": "TTFT of media, plain against shared",
    "aa": "A/A test, two engines that do the same",
    "storage": "Loading against computing again",
    "budget": "Where the time to first token goes",
    "decode": "What storing costs while decoding",
    "verify": "Is the fast answer the right one?",
    "sweep": "TTFT under load",
    "peer": "This client against `vllm bench serve`",
}
MEANING: Mapping[str, str] = {
    "cold": "vLLM, no engine has read the document",
    "own_warm": "vLLM, its own prefix cache",
    "other_instance": "vLLM, only the other engine has read it",
    "first_sight": "vLLM + LMCache, computes and stores",
    "cross_read": "vLLM + LMCache, reads what the other stored",
    "lmcache_own_warm": "vLLM + LMCache, its own prefix cache",
    "plain_a": "vLLM",
    "plain_b": "vLLM, the same again",
    "arena": "this client",
    "vllm_bench_serve": "vLLM's own",
}
MEANING_EXTERNAL: Mapping[str, str] = {
    "cold": "the first server, no server has read the document",
    "other_cold": "the second server, another one that no server has read",
    "other_instance": "the second server, only the first has read it",
    "own_warm": "the second server again",
}


def arm_meaning(result: Result, arm: str) -> str:
    """A short description of an arm; empty for media arms and unknown arms."""
    return (MEANING_EXTERNAL if result.base_url else MEANING).get(arm, "")


def counted_sentence(result: Result) -> str:
    """A sentence on how many samples counted."""
    total = len(result.samples)
    return f"{len(result.counted)} of {total} samples counted." if total else "The result holds no samples."


def invalid_reasons(result: Result) -> Sequence[str]:
    """One line for each sample that does not count, with the reason."""
    return [f"document {count(row.document)}, {row.arm or NOTHING}: {reason(row)}" for row in result.not_counted]


def reason(sample: SampleRow) -> str:
    """Why the sample does not count."""
    return sample.reason or "no reason given"


def incomplete(result: Result) -> str:
    """A sentence on a run that ended early; empty for other runs."""
    if result.complete is not False:
        return ""
    return f"This run is not complete: it ended after {len(result.samples)} samples, before its plan was done."


def warnings(result: Result) -> Sequence[str]:
    """The run's warnings, then differences between its engines that are not among them."""
    return tuple(dict.fromkeys([*result.warnings, *result.preflight.mismatches]))
