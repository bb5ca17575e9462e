"""Do media that differ ever share KV, and do equal ones share it? The media of `bench verify`.

Each document's media cross from one lmcache engine to the other. Then media that are almost the same are shown to the
engine that has just read them, and to a plain engine: other ones, one pixel changed, another order, one frame more.
What is cached must stop before the first that differs, and the answer must be the plain engine's to the same media.
Equal media in another form must be found again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bench import synthetic_media
from bench.arms import Arm, EngineRole, always_valid
from bench.experiment import Experiment
from bench.media_arms import covers_media, cross_read_arms, named_by_modality, stops_at_media
from bench.media_prompts import MakeMedia, Sizes, media_maker, media_question, other_media, wanted_modalities
from bench.options import Options
from bench.plan import EngineRoles
from bench.questions import verify
from bench.questions.mm import trials, warming_up
from bench.sample import Sample
from media import Form, Media


@dataclass(frozen=True, slots=True)
class AlteredMedia:
    """Media to be shown in place of a document's; the first `same` of `of` are the document's own."""

    name: str
    show: MakeMedia
    same: int = 0
    of: int = 1


@dataclass(frozen=True, slots=True)
class EquivalentMedia:
    """A document's own media, sent otherwise. `must_hit` says whether vLLM knows them by what stays the same.

    An image is known by the bytes of its file, a video by those or by its frames, a sound by its samples.
    """

    name: str
    show: MakeMedia
    must_hit: bool


def altered_media(modality: str, sizes: Sizes) -> tuple[AlteredMedia, ...]:
    """What must be told apart."""
    show = media_maker(modality, sizes)
    others, pixel = other_media(show), _last(show, synthetic_media.with_another_pixel)
    longer = media_maker(modality, sizes.model_copy(update={"frames": sizes.frames + 1}))
    found = {
        "image": (AlteredMedia("other_media", others), AlteredMedia("one_pixel", pixel)),
        "images": (
            AlteredMedia("other_order", lambda seed: show(seed)[::-1], 0, 2),
            AlteredMedia("other_second", lambda seed: (show(seed)[0], others(seed)[1]), 1, 2),
            AlteredMedia("one_pixel", pixel, 1, 2),
        ),
        "video": (AlteredMedia("other_media", others), AlteredMedia("one_frame_more", longer)),
        "audio": (AlteredMedia("other_media", others),),
    }
    return found[modality]


def equivalent_media(modality: str, sizes: Sizes) -> tuple[EquivalentMedia, ...]:
    """What is the same."""
    show = media_maker(modality, sizes)
    heard = modality == "audio"
    repacked = EquivalentMedia("other_container", _last(show, synthetic_media.in_another_container), must_hit=heard)
    if heard:
        return repacked, EquivalentMedia("input_audio", _last(show, _as_input_audio), must_hit=True)
    return repacked, EquivalentMedia("other_mime", _last(show, _mislabelled), must_hit=True)


def arms(modality: str, sizes: Sizes) -> tuple[Arm, ...]:
    """Every arm of one modality; a name with `plain_` before it is the plain engine's answer to the same media.

    A twin that hits is answered from the same tokens as own-warm; one that may miss needs an answer of its own.
    """
    each = [*cross_read_arms(media_maker(modality, sizes))]
    for variant in altered_media(modality, sizes):
        fault, sent = partial(stops_at_media, same=variant.same, of=variant.of), media_question(variant.show)
        each += [
            Arm(f"plain_{variant.name}", EngineRole.PLAIN, fault, after="own_warm", variant=sent),
            Arm(variant.name, EngineRole.READER, fault, after="cross_read", stores=True, variant=sent),
        ]
    for twin in equivalent_media(modality, sizes):
        hit, sent = covers_media if twin.must_hit else always_valid, media_question(twin.show)
        each.append(Arm(twin.name, EngineRole.READER, hit, "cross_read", stores=not twin.must_hit, variant=sent))
        if not twin.must_hit:
            each.append(Arm(f"plain_{twin.name}", EngineRole.PLAIN, always_valid, after="own_warm", variant=sent))
    return named_by_modality(modality, tuple(each))


def study(options: Options, cast: EngineRoles) -> Experiment:
    """The text documents of `bench verify`, and as many of each modality that was asked for."""
    text = verify.study(options, cast)
    shown = {modality: arms(modality, options.sizes) for modality in asked(options)}
    return replace(
        text,
        arms=(*text.arms, *(arm for each in shown.values() for arm in each)),
        trials=(*text.trials, *trials(shown, cast, options, first=len(text.trials))),
        warmups=(*text.warmups, *warming_up(shown, cast, options)),
        summary=summary,
    )


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The verdict on text as it is without media, and one for each modality; `agrees` when all do."""
    text = verify.compared([s for s in samples if not s.modality])
    media = {modality: judge_altered(samples, modality, options.sizes) for modality in asked(options)}
    agrees = text["agrees"] and all(each["agrees"] for each in media.values()) and not options.refused
    return {
        "verify": {**text, "text_agrees": text["agrees"], "agrees": agrees, "media": media},
        "refused": dict(options.refused),
    }


def asked(options: Options) -> tuple[str, ...]:
    """The modalities to verify: none unless they are named."""
    return wanted_modalities(options.modality, options.refused) if options.modality else ()


def judge_altered(samples: Sequence[Sample], modality: str, sizes: Sizes) -> dict[str, Any]:
    """Cross-reads of one modality as those of text are judged, and every variant and twin of every document."""
    mine = [s for s in samples if s.modality == modality]
    found = verify.compared(mine, f"{modality}_")
    floor = found["floor"] if isinstance(found["floor"], float) else -math.inf
    canaries = [
        row
        for number in sorted({s.document for s in mine})
        for row in _canaries(
            _by_arm(mine, number), altered_media(modality, sizes), equivalent_media(modality, sizes), floor
        )
    ]
    return {**found, "agrees": found["agrees"] and all(row["holds"] for row in canaries), "canaries": canaries}


def _canaries(
    by_arm: Mapping[str, Sample], variants: Sequence[AlteredMedia], twins: Sequence[EquivalentMedia], floor: float
) -> Iterator[dict[str, Any]]:
    def plain(*names: str) -> list[Sample]:
        return [by_arm[name] for name in names if name in by_arm]

    own = plain("cold", "own_warm")
    for variant in variants:
        same = plain(f"plain_{variant.name}")
        if read := by_arm.get(variant.name):
            apart = verify.nearest(own, same)
            yield {**_row(read, "differs", same, floor), "plain_nats": _finite(apart), "told_by_answer": apart > floor}
    for twin in twins:
        if read := by_arm.get(twin.name):
            same = [*own, *plain(f"plain_{twin.name}")]
            yield _row(read, "hits" if twin.must_hit else "may hit", same, floor)


def _row(read: Sample, expected: str, plain: Sequence[Sample], floor: float) -> dict[str, Any]:
    """One reply beside the plain engine's to the same media, `nats` apart in the best candidates of a token."""
    nats = _finite(verify.nearest(plain, [read]))
    flaw = next((s.reason for s in (read, *plain) if s.reason), "")
    far = "" if nats is not None and nats <= floor else "further from the plain engine's answer than noise explains"
    return {
        "document": read.document,
        "variant": read.arm.removeprefix(f"{read.modality}_"),
        "expected": expected,
        "cached_tokens": read.cached_tokens,
        "prompt_tokens": read.prompt_tokens,
        "nats": nats,
        "holds": not (flaw or far),
        "why": flaw or far,
    }


def _finite(nats: float) -> float | None:
    return None if math.isinf(nats) else nats


def _by_arm(samples: Sequence[Sample], document: int) -> Mapping[str, Sample]:
    return {s.arm.removeprefix(f"{s.modality}_"): s for s in samples if s.document == document}


def _last(show: MakeMedia, change: Callable[[Media], Media]) -> MakeMedia:
    """The same media but for the last one."""

    def changed(seed: int) -> tuple[Media, ...]:
        *others, last = show(seed)
        return (*others, change(last))

    return changed


def _mislabelled(media: Media) -> Media:
    """The same bytes, said to be of another kind; engines look at the bytes."""
    return replace(media, mime={"image/png": "image/jpeg", "video/mp4": "video/webm"}[media.mime])


def _as_input_audio(media: Media) -> Media:
    return replace(media, form=Form.INPUT_AUDIO)
