"""The tables and sentences of results about images, video and audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.question_results import MediaVariant, MixupCheck, ModalitySummary, QueryHits, VerifiedPart
from bench.report.number_format import (
    NOTHING,
    count,
    documents,
    nats,
    percent,
    ratio,
    sentence,
    span_of,
    unit_for,
    yes_no,
)
from bench.report.text_table import Column, ReportTable, number, words
from bench.result import Result
from bench.result_part import ArmSpeedup, Number

ALIKE = "the model answers alike to both media, so that cached tokens alone tell them apart"
MIN_MEDIA_TOKENS = 1000  # with fewer, little time can be saved


def media_headline(result: Result) -> str:
    """Mix-ups, if there were any, and then the claim of every modality."""
    claims = [text for text in (_mixed_up(result), _sooner(result), _unclaimed(result)) if text]
    return " ".join(claims) or "No claim: no modality was measured."


def media_reasons(result: Result) -> Iterator[str]:
    """Why a modality makes no claim or a weak one, and which modalities are refused."""
    for modality, found in result.modalities.items():
        if found.comparison.verdict not in ("faster", "slower"):
            yield f"{modality}: {found.comparison.why or 'the result gives no reason'}"
        if found.media_tokens is not None and found.media_tokens < MIN_MEDIA_TOKENS:
            yield f"{modality}: {count(found.media_tokens)} media tokens are few to save time on; make the media larger"
        if unproven := found.canary.unproven:
            yield f"{modality}: the canary of {documents(unproven)} proves nothing: equal media were not shared there"
        if untold := found.canary.untold:
            yield f"{modality}: in {documents(untold)} {ALIKE}"
    if alike := _answered_alike(result):
        yield f"{', '.join(alike)}: {ALIKE}"
    yield from (f"{modality} is refused: {why}" for modality, why in result.refused.items())


def media_evidence(result: Result) -> str:
    """In how many documents other media were kept apart."""
    held = sum(found.canary.held or 0 for found in result.modalities.values())
    return f"Other media in the same place were kept apart in {documents(held)}." if held else ""


def by_modality(result: Result) -> ReportTable:
    """The claim of each modality, and the share of its time that is independent of KV."""
    cells: dict[Column, Callable[[tuple[str, ModalitySummary]], str]] = {
        words("modality"): lambda row: row[0],
        number("media tokens"): lambda row: count(row[1].media_tokens),
        number("text tokens", wide=True): lambda row: count(row[1].text_tokens),
        number("cold"): lambda row: _ttft(result, row[0], "cold"),
        number("cross-read"): lambda row: _ttft(result, row[0], "cross_read"),
        number("cold / cross-read"): lambda row: ratio(row[1].comparison.speedup.median),
        number("interval of the ratio"): lambda row: span_of(row[1].comparison.speedup),
        number("cold / own-warm", wide=True): lambda row: ratio(
            row[1].ladder.get(f"{row[0]}_own_warm", ArmSpeedup()).speedup.median
        ),
        number("processor warm / cold"): lambda row: ratio(row[1].processor_warm_ratio.median),
        words("canary"): lambda row: _held(row[1].canary),
        number("n"): lambda row: count(row[1].comparison.speedup.n),
        words("verdict", wide=True): lambda row: row[1].comparison.verdict or NOTHING,
    }
    note = (
        "Processor warm is the same media under another nonce: preprocessed and encoded before, but no KV; what its "
        "ratio falls short of 1 is the share of preprocessing. The canary is other media in the same place."
    )
    return ReportTable.of("By modality", result.modalities.items(), cells, note)


def hits(result: Result) -> ReportTable:
    """The tokens of every query, and how many of them came from KV."""
    cells: dict[Column, Callable[[QueryHits], str]] = {
        words("Query"): lambda row: row.query,
        number("Total tokens"): lambda row: _mean(row.total_tokens, row),
        number("KV hits"): lambda row: _mean(row.kv_hits, row),
        number("Hit rate"): lambda row: percent(row.hit_rate_pct),
        number("shared"): lambda row: _mean(row.kv_hits_shared, row),
        number("answers", wide=True): lambda row: count(row.n),
    }
    note = (
        "Tokens of one query, mean of all answers, whether they count or not. Shared are those hits that came through "
        "the cache server; the others were in the engine's own cache."
    )
    return ReportTable.of("KV hits", result.queries, cells, note)


def mixup_table(result: Result) -> ReportTable:
    """The variants of `bench verify`: almost identical media, and identical media in another form."""
    found = [
        (modality, part, row)
        for modality, part in result.verify.media.items()
        for row in (*_cross_reads(part), *part.canaries)
    ]
    cells: dict[Column, Callable[[tuple[str, VerifiedPart, MediaVariant]], str]] = {
        words("media"): lambda row: f"{row[0]}, {row[2].variant}",
        words("expected"): lambda row: row[2].expected or NOTHING,
        number("document"): lambda row: count(row[2].document),
        number("cached"): lambda row: count(row[2].cached_tokens),
        number("of"): lambda row: count(row[2].prompt_tokens),
        number("to plain, nats"): lambda row: nats(row[2].nats),
        number("noise, nats"): lambda row: nats(row[1].floor),
        number("plain, this to its own, nats", wide=True): lambda row: nats(row[2].plain_nats),
        words("holds"): lambda row: "by tokens alone" if _by_tokens_alone(row[2]) else yes_no(bool(row[2].holds)),
    }
    note = "“To plain” is how far the answer is from the plain engine's to the same media."
    return ReportTable.of("Media that are almost the same", found, cells, note)


def not_kept_apart(result: Result) -> Sequence[str]:
    """The variants of `bench verify` that failed, each once, with the reason."""
    found: dict[str, str] = {}
    for name, row in _variants(result):
        if not row.holds:
            found.setdefault(name, row.why)
    return [f"{name} ({why})" if why else name for name, why in found.items()]


def _answered_alike(result: Result) -> Sequence[str]:
    """The variants of `bench verify` that the plain engine's own answers do not distinguish, each once."""
    return list(dict.fromkeys(name for name, row in _variants(result) if _by_tokens_alone(row)))


def _by_tokens_alone(row: MediaVariant) -> bool:
    return bool(row.holds) and row.told_by_answer is False


def _variants(result: Result) -> Iterator[tuple[str, MediaVariant]]:
    for modality, part in result.verify.media.items():
        yield from ((f"{modality} {row.variant}", row) for row in part.canaries)


def _cross_reads(part: VerifiedPart) -> Iterator[MediaVariant]:
    """The documents' cross-reads, as rows like those of the variants."""
    for row in part.documents:
        cross, floor = row.cross, part.floor
        yield MediaVariant(
            document=row.document,
            variant="cross_read",
            expected="hits",
            cached_tokens=row.cached_tokens,
            prompt_tokens=row.prompt_tokens,
            nats=cross,
            holds=isinstance(cross, int | float) and isinstance(floor, int | float) and cross <= floor,
        )


def _ttft(result: Result, modality: str, arm: str) -> str:
    """An arm's median TTFT, in the unit that suits the slower of cold and cross-read."""
    names = [f"{modality}_{name}" for name in ("cold", "cross_read")]
    medians = {name: result.arms[name].median_ttft_ms for name in names if name in result.arms}
    return unit_for(medians.values())(medians.get(f"{modality}_{arm}"))


def _held(canary: MixupCheck) -> str:
    if canary.failed:
        return f"{len(canary.failed)} mixed up"
    held, unproven = canary.held or 0, canary.unproven or 0
    return f"{count(held)} of {count(held + unproven)}"


def _mean(total: Number, row: QueryHits) -> str:
    return count(None if total is None else total / (row.n or 1))


def _mixed_up(result: Result) -> str:
    failed = {modality: found.canary.failed for modality, found in result.modalities.items()}
    mixed = ", ".join(f"{modality} in {documents(len(each))}" for modality, each in failed.items() if each)
    return f"Media were mixed up: {mixed}." if mixed else ""


def _sooner(result: Result) -> str:
    found = [
        f"{modality} {ratio(found.comparison.speedup.median)} times"
        for modality, found in result.modalities.items()
        if found.comparison.verdict == "faster"
    ]
    return f"Reading what the other LMCache engine stored starts sooner: {', '.join(found)}." if found else ""


def _unclaimed(result: Result) -> str:
    verdicts = {modality: found.comparison.verdict for modality, found in result.modalities.items()}
    others = [f"{modality}: {verdict or 'no claim'}" for modality, verdict in verdicts.items() if verdict != "faster"]
    return sentence(", ".join(others)) if others else ""
