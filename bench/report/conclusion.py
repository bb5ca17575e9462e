"""What a run found, in a sentence that stands alone, and the numbers it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.report import media_tables
from bench.report.number_format import change, confidence, count, documents, ratio, ratio_span, sentence
from bench.report.result_fields import Fields, fields, number, rows

DOING: Mapping[str, str] = {  # an arm as the subject of a sentence
    "cold": "a cold start",
    "first_sight": "computing a document and storing it",
    "other_instance": "a document that the other engine has seen",
    "cross_read": "reading what the other LMCache engine stored",
}
FOREIGN: Mapping[str, str] = {  # the same of servers that the caller named, the second one against itself
    "other_instance": "on {second}, a document that {first} has read",
    "other_cold": "one that nobody has read",
}
FASTER: Mapping[str, str] = {
    "faster": "{of} starts {times} times sooner than {over}",
    "slower": "{of} takes {longer} times as long to start as {over}",
    "not distinguishable": "{of} cannot be told from {over} by TTFT: their ratio is {times}",
}
WORDING: Mapping[str, Mapping[str, str]] = {
    "decode_ms": {
        "faster": "{over} takes {times} times as long for an output token as {of}",
        "slower": "{of} takes {longer} times as long for an output token as {over}",
        "not distinguishable": "{of} cannot be told from {over} by the time of an output token: their ratio is {times}",
    }
}
MEASURED: Mapping[str, str] = {"decode_ms": "The time of an output token"}


def headline(result: Fields) -> str:
    """The claim, or why there is none."""
    return HEADLINES.get(str(result.get("kind")), _compared)(result)


def evidence(result: Fields) -> str:
    """How many documents, how certain, and how much time; empty where the headline says it all."""
    if result.get("kind") == "verify":
        return _nats(fields(result, "verify"))
    if result.get("kind") == "mm":
        return media_tables.evidence(result)
    comparison = fields(result, "comparison")
    return " ".join(part for part in (_interval(comparison), _saved(comparison)) if part)


def reasons(result: Fields) -> Sequence[str]:
    """Why the verdict is what it is, and the noise it was held against; what the headline says is not said again."""
    comparison = fields(result, "comparison")
    why = str(comparison.get("why") or fields(result, "break_even").get("why") or "")
    said = headline(result)
    found = (why, _noise(comparison), _needles(fields(result, "verify")), *media_tables.reasons(result))
    return [sentence(text) for text in found if text and text not in said]


def _compared(result: Fields) -> str:
    comparison = fields(result, "comparison")
    verdict, times = str(comparison.get("verdict")), number(fields(comparison, "speedup"), "median")
    if verdict not in FASTER or not times:
        return f"No claim: {comparison.get('why') or 'no document has a valid sample both ways'}."
    wording = WORDING.get(str(comparison.get("metric")), FASTER)[verdict]
    said = wording.format(
        of=_doing(result, "of"), over=_doing(result, "over"), times=ratio(times), longer=ratio(1 / times)
    )
    return sentence(said)


def _break_even(result: Fields) -> str:
    found = fields(result, "break_even")
    tokens = number(found, "input_len")
    if tokens is None:
        return f"No break-even: {found.get('why') or 'the result names none'}."
    return f"From about {count(tokens)} tokens on, loading a prompt's KV starts sooner than computing it again."


def _agreement(result: Fields) -> str:
    verify = fields(result, "verify")
    if verify.get("agrees"):
        return "The fast answer is the right one: noise explains every difference."
    judged = {"text": verify} | {name: fields(verify, "media", name) for name in fields(verify, "media")}
    if wrong := [
        f"{name}, {found.get('why')}" for name, found in judged.items() if found.get("verdict") == "different"
    ]:
        return f"The answers differ by more than noise explains: {'; '.join(wrong)}."
    if astray := media_tables.not_kept_apart(result):
        return f"Media were not shown to be kept apart, or to be found again: {'; '.join(astray)}."
    unproven = [f"{name}, {found['why']}" for name, found in judged.items() if found.get("why")]
    unproven += [f"{name} is refused" for name in fields(result, "refused")]
    return f"No claim: {'; '.join(unproven) or 'no document was compared'}."


def _under_load(result: Fields) -> str:
    ratios = _ratios_by_load(result)
    if not ratios:
        return "No claim: no load was measured both ways."
    least, most = ratio(min(ratios)), ratio(max(ratios))
    times = least if least == most else f"{least} to {most}"
    loads = "under one load" if len(ratios) == 1 else f"over {len(ratios)} loads"
    return f"The median TTFT of cold is {times} times that of cross_read, {loads}."


HEADLINES: Mapping[str, Callable[[Fields], str]] = {
    "mm": media_tables.headline,
    "storage": _break_even,
    "verify": _agreement,
    "sweep": _under_load,
}


def _ratios_by_load(result: Fields) -> Sequence[float]:
    medians: dict[tuple[str, ...], dict[str, float]] = {}
    for cell in rows(result, "cells"):
        load = tuple(str(cell.get(name)) for name in ("input_len", "max_concurrency", "request_rate"))
        if ttft := number(cell, "median_ttft_ms"):
            medians.setdefault(load, {})[str(cell.get("arm"))] = ttft
    return [arms["cold"] / arms["cross_read"] for arms in medians.values() if {"cold", "cross_read"} <= arms.keys()]


def _interval(comparison: Fields) -> str:
    speedup = fields(comparison, "speedup")
    low, high = number(speedup, "ci_low"), number(speedup, "ci_high")
    if number(speedup, "median") is None:
        return ""
    if comparison.get("verdict") == "slower" and low and high:  # the headline says it the other way round
        low, high = 1 / high, 1 / low
    within = "" if low is None else f", {confidence(speedup)} interval {ratio_span(low, high)}"
    return f"Median of {documents(number(speedup, 'n'))}{within}."


def _saved(comparison: Fields) -> str:
    if comparison.get("verdict") not in ("faster", "slower"):
        return ""
    saved = change(fields(comparison, "saved_ms"), "less", "more")
    return f"{MEASURED.get(str(comparison.get('metric')), 'TTFT')} is {saved}." if saved else ""


def _nats(verify: Fields) -> str:
    floor, worst = number(verify, "floor"), number(verify, "worst")
    if floor is None or worst is None:
        return ""
    return f"Worst cross-read {worst:.3f} nats, noise floor {floor:.3f} nats, {documents(number(verify, 'n'))}."


def _needles(verify: Fields) -> str:
    if not number(verify, "n") or number(verify, "needles_asked") != 0:
        return ""
    return "the needle proves nothing here: the plain engine itself never found it both cold and own-warm"


def _noise(comparison: Fields) -> str:
    floor = fields(comparison, "noise_floor")
    if number(floor, "median") is None:
        return ""
    span = ratio_span(number(floor, "ci_low"), number(floor, "ci_high"))
    limit = number(floor, "ratio")
    counts = "" if limit is None else f"; a ratio up to {ratio(limit)} is noise here"
    return (
        f"Noise floor, {floor.get('over')} against {floor.get('of')}: {ratio(number(floor, 'median'))} ({span}){counts}"
    )


def _doing(result: Fields, end: str) -> str:
    name = str(fields(result, "comparison").get(end))
    if not fields(result, "options").get("base_url"):
        return DOING.get(name, name)
    first, second = [*fields(result, "preflight", "engines"), "the first server", "the second server"][:2]
    return FOREIGN[name].format(first=first, second=second) if name in FOREIGN else name
