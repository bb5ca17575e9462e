"""Do different media ever share KV, and do identical ones share it? The media of `bench verify`.

One lmcache engine stores the KV of each document's media and the other reads it. Then variants are sent to the reader
and to a plain engine: other media, one pixel changed, another order, one frame more. Cached tokens must end before the
first difference, and the answer must match that of the plain engine to the same media. Identical media in another form
must be found in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bench import synthetic_media
from bench.answers import compare_answers, nearest
from bench.arms import Arm, EngineRole, always_valid
from bench.media_arms import covers_media, cross_read_arms, named_by_modality, stops_at_media
from bench.media_prompts import MakeMedia, Sizes, media_maker, media_question, other_media
from bench.sample import Sample
from media import Form, Media


@dataclass(frozen=True, slots=True)
class AlteredMedia:
    """Altered media that replace a document's. Of its `of` media, the first `same` are unchanged."""

    name: str
    make: MakeMedia
    same: int = 0
    of: int = 1


@dataclass(frozen=True, slots=True)
class EquivalentMedia:
    """A document's own media in another form. If `must_hit`, vLLM recognises them and must find their KV.

    vLLM recognises an image by the bytes of its file, a video by its bytes or frames, and a sound by its samples.
    """

    name: str
    make: MakeMedia
    must_hit: bool


def altered_media(modality: str, sizes: Sizes) -> tuple[AlteredMedia, ...]:
    """The media that must not be mistaken for the document's."""
    make = media_maker(modality, sizes)
    others, pixel = other_media(make), _change_last(make, synthetic_media.with_another_pixel)
    longer = media_maker(modality, sizes.model_copy(update={"frames": sizes.frames + 1}))
    found = {
        "image": (AlteredMedia("other_media", others), AlteredMedia("one_pixel", pixel)),
        "images": (
            AlteredMedia("other_order", lambda seed: make(seed)[::-1], 0, 2),
            AlteredMedia("other_second", lambda seed: (make(seed)[0], others(seed)[1]), 1, 2),
            AlteredMedia("one_pixel", pixel, 1, 2),
        ),
        "video": (AlteredMedia("other_media", others), AlteredMedia("one_frame_more", longer)),
        "audio": (AlteredMedia("other_media", others),),
    }
    return found[modality]


def equivalent_media(modality: str, sizes: Sizes) -> tuple[EquivalentMedia, ...]:
    """The document's media in other forms."""
    make, audio = media_maker(modality, sizes), modality == "audio"
    repacked = EquivalentMedia(
        "other_container", _change_last(make, synthetic_media.in_another_container), must_hit=audio
    )
    if audio:
        return repacked, EquivalentMedia("input_audio", _change_last(make, _as_input_audio), must_hit=True)
    return repacked, EquivalentMedia("other_mime", _change_last(make, _mislabelled), must_hit=True)


def verify_arms(modality: str, sizes: Sizes) -> tuple[Arm, ...]:
    """All arms of one modality. Arms prefixed with `plain_` send the same media to the plain engine.

    Equivalent media that must hit are compared with the cold and own-warm answers; others need their own plain answer.
    """
    arms = [*cross_read_arms(media_maker(modality, sizes))]
    for altered in altered_media(modality, sizes):
        stops, sent = partial(stops_at_media, same=altered.same, of=altered.of), media_question(altered.make)
        arms += [
            Arm(f"plain_{altered.name}", EngineRole.PLAIN, stops, after_arm="own_warm", transform=sent),
            Arm(altered.name, EngineRole.READER, stops, after_arm="cross_read", stores=True, transform=sent),
        ]
    for equal in equivalent_media(modality, sizes):
        reason, sent = covers_media if equal.must_hit else always_valid, media_question(equal.make)
        stores = not equal.must_hit
        arms.append(Arm(equal.name, EngineRole.READER, reason, after_arm="cross_read", stores=stores, transform=sent))
        if not equal.must_hit:
            arms.append(
                Arm(f"plain_{equal.name}", EngineRole.PLAIN, always_valid, after_arm="own_warm", transform=sent)
            )
    return named_by_modality(modality, arms)


def judge_media(samples: Sequence[Sample], modality: str, sizes: Sizes) -> dict[str, Any]:
    """Compares the cross-reads of one modality like those of text, and checks all altered and equivalent media."""
    mine = [s for s in samples if s.modality == modality]
    found = compare_answers(mine, f"{modality}_")
    floor = found["floor"] if isinstance(found["floor"], float) else -math.inf
    altered, equal = altered_media(modality, sizes), equivalent_media(modality, sizes)
    canaries = [
        row
        for number in sorted({s.document for s in mine})
        for row in _canaries(
            {s.arm.removeprefix(f"{modality}_"): s for s in mine if s.document == number}, altered, equal, floor
        )
    ]
    return {**found, "agrees": found["agrees"] and all(row["holds"] for row in canaries), "canaries": canaries}


def _canaries(
    by_arm: Mapping[str, Sample],
    altered_media: Sequence[AlteredMedia],
    equivalent_media: Sequence[EquivalentMedia],
    floor: float,
) -> Iterator[dict[str, Any]]:
    def plain(*names: str) -> list[Sample]:
        return [by_arm[name] for name in names if name in by_arm]

    own = plain("cold", "own_warm")
    for altered in altered_media:
        same = plain(f"plain_{altered.name}")
        if read := by_arm.get(altered.name):
            apart = nearest(own, same)
            yield {**_row(read, "differs", same, floor), "plain_nats": _finite(apart), "told_by_answer": apart > floor}
    for equal in equivalent_media:
        if read := by_arm.get(equal.name):
            same = [*own, *plain(f"plain_{equal.name}")]
            yield _row(read, "hits" if equal.must_hit else "may hit", same, floor)


def _row(read: Sample, expected: str, plain: Sequence[Sample], floor: float) -> dict[str, Any]:
    """Compares a reply with the plain engine's replies to the same media; `nats` is the smallest difference."""
    nats = _finite(nearest(plain, [read]))
    invalid = next((s.reason for s in (read, *plain) if s.reason), "")
    far = "" if nats is not None and nats <= floor else "further from the plain engine's answer than noise explains"
    return {
        "document": read.document,
        "variant": read.arm.removeprefix(f"{read.modality}_"),
        "expected": expected,
        "cached_tokens": read.cached_tokens,
        "prompt_tokens": read.prompt_tokens,
        "nats": nats,
        "holds": not (invalid or far),
        "why": invalid or far,
    }


def _finite(nats: float) -> float | None:
    return None if math.isinf(nats) else nats


def _change_last(make: MakeMedia, change: Callable[[Media], Media]) -> MakeMedia:
    def changed(seed: int) -> tuple[Media, ...]:
        *others, last = make(seed)
        return (*others, change(last))

    return changed


def _mislabelled(media: Media) -> Media:
    """The same bytes with a wrong MIME type, which engines ignore."""
    return replace(media, mime={"image/png": "image/jpeg", "video/mp4": "video/webm"}[media.mime])


def _as_input_audio(media: Media) -> Media:
    return replace(media, form=Form.INPUT_AUDIO)
