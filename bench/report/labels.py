"""What every form of the report says in the same words: kinds, arms, what counted and what did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.conclusion import evidence, headline
from bench.report.number_format import NOTHING, count
from bench.report.result_fields import Fields, counted, fields, not_counted, number, rows, texts

KINDS: Mapping[str, str] = {
    "ttft": "TTFT, plain against shared",
    "mm": "TTFT of media, plain against shared",
    "aa": "A/A test, two engines that do the same",
    "storage": "Loading against computing again",
    "decode": "What storing costs while decoding",
    "verify": "Is the fast answer the right one?",
    "sweep": "TTFT under load",
    "peer": "This client against `vllm bench serve`",
}
MEANING: Mapping[str, str] = {
    "cold": "vLLM, nobody has seen the document",
    "own_warm": "vLLM, its own prefix cache",
    "other_instance": "vLLM, only the other engine has seen it",
    "first_sight": "vLLM + LMCache, computes and stores",
    "cross_read": "vLLM + LMCache, reads what the other stored",
    "lmcache_own_warm": "vLLM + LMCache, its own prefix cache",
    "plain_a": "vLLM",
    "plain_b": "vLLM, the same again",
    "arena": "this client",
    "vllm_bench_serve": "vLLM's own",
}
FOREIGN: Mapping[str, str] = {
    "cold": "the first server, nobody has seen the document",
    "other_cold": "the second server, another one that nobody has seen",
    "other_instance": "the second server, only the first has seen it",
    "own_warm": "the second server again",
}


def arm_meaning(result: Fields, arm: str) -> str:
    """What an arm is; servers that the caller named are not ours to describe."""
    meanings = FOREIGN if fields(result, "options").get("base_url") else MEANING
    return meanings.get(arm, "")


def conclusion(result: Fields) -> str:
    """The claim and its evidence, or why there is no claim."""
    return " ".join(part for part in (headline(result), evidence(result)) if part)


def counted_sentence(result: Fields) -> str:
    """How many samples counted."""
    total = len(rows(result, "samples"))
    return f"{len(counted(result))} of {total} samples counted." if total else "The result holds no samples."


def invalid_reasons(result: Fields) -> Sequence[str]:
    """One line for each sample that does not count."""
    return [
        f"document {count(number(row, 'document'))}, {row.get('arm') or NOTHING}: {reason(row)}"
        for row in not_counted(result)
    ]


def reason(sample: Fields) -> str:
    """Why it does not count."""
    return str(sample.get("reason") or "no reason given")


def incomplete(result: Fields) -> str:
    """Says that a run was cut short; empty when it was not."""
    if result.get("complete", True):
        return ""
    return f"This run is not complete: it ended after {len(rows(result, 'samples'))} samples, before its plan was done."


def warnings(result: Fields) -> Sequence[str]:
    """The run's own, then what differs between its engines if they do not name it."""
    return tuple(dict.fromkeys([*texts(result, "warnings"), *texts(fields(result, "preflight"), "mismatches")]))
