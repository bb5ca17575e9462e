"""The tables and sentences of results about images, video and audio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report.number_format import NOTHING, count, documents, percent, ratio, ratio_span, sentence, unit_for
from bench.report.result_fields import Fields, fields, number, numbers, rows
from bench.report.text_table import Column, ReportTable, number_column, text_column

ALIKE = "the model answers alike to both media, so that cached tokens alone tell them apart"
ENOUGH = 1000  # media tokens; of fewer, little can be saved


def headline(result: Fields) -> str:
    """The claim of every modality, after what must not happen."""
    claims = [text for text in (_mixed_up(result), _sooner(result), _unclaimed(result)) if text]
    return " ".join(claims) or "No claim: no modality was measured."


def reasons(result: Fields) -> Iterator[str]:
    """Why a modality makes no claim, or a small one."""
    for modality, found in _modalities(result):
        comparison, tokens = fields(found, "comparison"), number(found, "media_tokens")
        if comparison.get("verdict") not in ("faster", "slower"):
            yield f"{modality}: {comparison.get('why')}"
        if tokens is not None and tokens < ENOUGH:
            yield f"{modality}: {count(tokens)} media tokens are few to save time on; make the media larger"
        if unproven := number(fields(found, "canary"), "unproven"):
            yield f"{modality}: the canary of {documents(unproven)} proves nothing: equal media were not shared there"
        if untold := number(fields(found, "canary"), "untold"):
            yield f"{modality}: in {documents(untold)} {ALIKE}"
    yield from (f"{', '.join(alike)}: {ALIKE}" for alike in [answered_alike(result)] if alike)
    yield from (f"{modality} is refused: {why}" for modality, why in fields(result, "refused").items())


def evidence(result: Fields) -> str:
    """How often the canary held."""
    held = sum(number(fields(found, "canary"), "held") or 0 for _, found in _modalities(result))
    return f"Other media in the same place were kept apart in {documents(held)}." if held else ""


def by_modality(result: Fields) -> ReportTable:
    """The claim of each modality, and how much of the time is none of KV's."""
    return ReportTable(
        "By modality",
        [
            *text_column("modality"),
            *number_column("media tokens"),
            Column("text tokens", wide=True),
            *number_column("cold", "cross-read", "cold / cross-read", "interval of the ratio"),
            Column("cold / own-warm", wide=True),
            *number_column("processor warm / cold"),
            *text_column("canary"),
            *number_column("n"),
            Column("verdict", text=True, wide=True),
        ],
        [_modality(result, modality, found) for modality, found in _modalities(result)],
        note="Processor warm is the same media under another nonce: preprocessed and encoded before, but no KV; what "
        "its ratio falls short of 1 is the share of preprocessing. The canary is other media in the same place.",
    )


def hits(result: Fields) -> ReportTable:
    """Every query's tokens, and those that came from KV."""
    return ReportTable(
        "KV hits",
        [
            *text_column("Query"),
            *number_column("Total tokens", "KV hits", "Hit rate", "shared"),
            Column("answers", wide=True),
        ],
        [_query(row) for row in rows(result, "queries")],
        note="Tokens of one query, mean of all answers, whether they count or not. Shared are those hits that came "
        "through the cache server; the others were in the engine's own cache.",
    )


def mixup_table(result: Fields) -> ReportTable:
    """Media that are almost the same, and equal ones in another form, in `bench verify`."""
    media = fields(result, "verify", "media")
    return ReportTable(
        "Media that are almost the same",
        [
            *text_column("media", "expected"),
            *number_column("document", "cached", "of", "to plain, nats", "noise, nats"),
            Column("plain, this to its own, nats", wide=True),
            *text_column("holds"),
        ],
        [
            _canary(modality, fields(media, modality), row)
            for modality in media
            for row in _all(fields(media, modality))
        ],
        note="“To plain” is how far the answer is from the plain engine's to the same media.",
    )


def not_kept_apart(result: Fields) -> Sequence[str]:
    """The variants of `bench verify` that did not hold, each once, and why."""
    media = fields(result, "verify", "media")
    found: dict[str, object] = {}
    for modality in media:
        for row in rows(fields(media, modality), "canaries"):
            if not row.get("holds"):
                found.setdefault(f"{modality} {row.get('variant')}", row.get("why"))
    return [f"{name} ({why})" if why else name for name, why in found.items()]


def answered_alike(result: Fields) -> Sequence[str]:
    """The variants of `bench verify` that the plain engine's own answers do not tell apart, each once."""
    media = fields(result, "verify", "media")
    found = [
        f"{modality} {row.get('variant')}"
        for modality in media
        for row in rows(fields(media, modality), "canaries")
        if row.get("holds") and row.get("told_by_answer") is False
    ]
    return list(dict.fromkeys(found))


def _all(found: Fields) -> Iterator[Fields]:
    """The cross-reads themselves first."""
    for row in rows(found, "documents"):
        cross, floor = number(row, "cross"), number(found, "floor")
        holds = cross is not None and floor is not None and cross <= floor
        yield {**row, "variant": "cross_read", "expected": "hits", "nats": row.get("cross"), "holds": holds}
    yield from rows(found, "canaries")


def _canary(modality: str, found: Fields, row: Fields) -> tuple[str, ...]:
    return (
        f"{modality}, {row.get('variant')}",
        str(row.get("expected") or NOTHING),
        count(number(row, "document")),
        count(number(row, "cached_tokens")),
        count(number(row, "prompt_tokens")),
        _nats(number(row, "nats")),
        _nats(number(found, "floor")),
        _nats(number(row, "plain_nats")),
        _holds(row),
    )


def _holds(row: Fields) -> str:
    if not row.get("holds"):
        return "no"
    return "by tokens alone" if row.get("told_by_answer") is False else "yes"


def _modality(result: Fields, modality: str, found: Fields) -> tuple[str, ...]:
    cold, cross = (
        number(fields(result, "arms", f"{modality}_{arm}"), "median_ttft_ms") for arm in ("cold", "cross_read")
    )
    speedup, unit = fields(found, "comparison", "speedup"), unit_for([cold, cross])
    return (
        modality,
        count(number(found, "media_tokens")),
        count(number(found, "text_tokens")),
        unit(cold),
        unit(cross),
        ratio(number(speedup, "median")),
        ratio_span(number(speedup, "ci_low"), number(speedup, "ci_high")),
        ratio(number(fields(found, "ladder", f"{modality}_own_warm", "speedup"), "median")),
        ratio(number(fields(found, "processor_warm_ratio"), "median")),
        _held(fields(found, "canary")),
        count(number(speedup, "n")),
        str(fields(found, "comparison").get("verdict") or NOTHING),
    )


def _held(canary: Fields) -> str:
    if failed := numbers(canary, "failed"):
        return f"{len(failed)} mixed up"
    held, unproven = number(canary, "held") or 0, number(canary, "unproven") or 0
    return f"{count(held)} of {count(held + unproven)}"


def _query(row: Fields) -> tuple[str, ...]:
    n = number(row, "n") or 1
    summed = (number(row, name) for name in ("total_tokens", "kv_hits", "kv_hits_shared"))
    total, hits, shared = (count(None if value is None else value / n) for value in summed)
    return str(row.get("query")), total, hits, percent(number(row, "hit_rate_pct")), shared, count(number(row, "n"))


def _mixed_up(result: Fields) -> str:
    failed = [(modality, numbers(fields(found, "canary"), "failed")) for modality, found in _modalities(result)]
    said = ", ".join(f"{modality} in {documents(len(mixed))}" for modality, mixed in failed if mixed)
    return f"Media were mixed up: {said}." if said else ""


def _sooner(result: Fields) -> str:
    found = [
        f"{modality} {ratio(number(fields(found, 'comparison', 'speedup'), 'median'))} times"
        for modality, found in _modalities(result)
        if fields(found, "comparison").get("verdict") == "faster"
    ]
    return f"Reading what the other LMCache engine stored starts sooner: {', '.join(found)}." if found else ""


def _unclaimed(result: Fields) -> str:
    said = [(modality, str(fields(found, "comparison").get("verdict"))) for modality, found in _modalities(result)]
    others = [f"{modality}: {verdict}" for modality, verdict in said if verdict != "faster"]
    return sentence(", ".join(others)) if others else ""


def _modalities(result: Fields) -> Iterator[tuple[str, Fields]]:
    for modality in fields(result, "modalities"):
        yield modality, fields(result, "modalities", modality)


def _nats(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
