"""The arms for media: those for text, and others that distinguish KV sharing from an engine's other caches.

| arm | engine | what is sent, and what is required |
|---|---|---|
| cold | plain | new media: nothing cached |
| own_warm | the same plain engine | from its own prefix cache |
| processor_warm | the same plain engine | the same media under another nonce: preprocessed and encoded, but no KV |
| first_sight | lmcache writer | like cold, plus the cost of storing |
| cross_read | lmcache reader | from the KV volume, including all of the media |
| other_question | lmcache reader | the same media, another question: reuses their KV, by then from its own cache |
| other_media | lmcache reader | other media, same nonce, text and question: no token from the KV of the first media |
| own_answer, plain_other_media | the plain engine | not timed: its answers to the document's and to the other media |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.arms import (
    Arm,
    EngineRole,
    always_valid,
    from_prefix_cache,
    loaded_from_volume,
    nothing_cached,
    under_another_nonce,
)
from bench.media_prompts import OTHER_QUESTION, MakeMedia, media_question, other_media, with_candidates
from bench.options import Options
from bench.plan import EngineRoles, Trial, plan, warmups
from client.reply import Reply

MAX_MARKER_TOKENS = 8  # put around any media by the model; may be cached. A block of KV has 16 tokens or more
UNCOUNTED = "how many of its tokens are media was not counted"
WARM_ARMS = ("cold", "first_sight", "cross_read")


def cross_read_arms(make: MakeMedia) -> tuple[Arm, ...]:
    """The arms that send media twice to a plain engine, and from one lmcache engine to the other."""
    sent = media_question(make)
    return (
        Arm("cold", EngineRole.PLAIN, nothing_cached, transform=sent),
        Arm("own_warm", EngineRole.PLAIN, from_prefix_cache, after_arm="cold", transform=sent),
        Arm("first_sight", EngineRole.WRITER, nothing_cached, stores=True, transform=sent),
        Arm("cross_read", EngineRole.READER, media_from_volume, after_arm="first_sight", reads=True, transform=sent),
    )


def media_arms(make: MakeMedia) -> tuple[Arm, ...]:
    """Every arm of `bench mm`, for one modality."""
    cold, own_warm, *crossed = cross_read_arms(make)
    sent, others = media_question(make), with_candidates(media_question(other_media(make)))
    plain, reader = EngineRole.PLAIN, EngineRole.READER
    asked = media_question(make, OTHER_QUESTION)
    return (
        cold,
        own_warm,
        Arm("processor_warm", plain, only_preprocessed, after_arm="cold", transform=under_another_nonce(sent)),
        *crossed,
        Arm("other_question", reader, covers_media, after_arm="cross_read", transform=asked),
        Arm("other_media", reader, stops_at_media, after_arm="cross_read", stores=True, transform=others),
        Arm("plain_other_media", plain, stops_at_media, after_arm="own_warm", transform=others),
        Arm("own_answer", plain, always_valid, after_arm="own_warm", transform=with_candidates(sent)),
    )


def named_by_modality(modality: str, arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms with the modality as a prefix of their names, so that no table mixes modalities."""

    def named(name: str) -> str:
        return f"{modality}_{name}" if name else ""

    return tuple(replace(arm, name=named(arm.name), after_arm=named(arm.after_arm), modality=modality) for arm in arms)


def media_trials(
    arms: Mapping[str, Sequence[Arm]], roles: EngineRoles, options: Options, first: int = 0
) -> tuple[Trial, ...]:
    """One trial for each of `input_lens` in each modality, one modality after the other."""
    lengths = [0] * len(options.input_lens)
    return tuple(
        trial
        for place, of_modality in enumerate(arms.values())
        for trial in plan(of_modality, roles, lengths, options.seed, first + place * len(lengths))
    )


def media_warmups(arms: Mapping[str, Sequence[Arm]], roles: EngineRoles, options: Options) -> tuple[Trial, ...]:
    """Trials in which every engine computes or loads media of each modality."""
    return tuple(
        trial
        for modality, of_modality in arms.items()
        for trial in warmups(
            [arm for arm in of_modality if arm.name.removeprefix(f"{modality}_") in WARM_ARMS],
            roles,
            [0],
            options.num_warmups,
        )
    )


def media_from_volume(reply: Reply) -> str:
    """Requires a read from the KV volume that covers the media."""
    return loaded_from_volume(reply) or covers_media(reply)


def only_preprocessed(reply: Reply) -> str:
    """Requires that no KV was reused and, if the counter can be read, that the media were in the processor cache."""
    if reason := nothing_cached(reply):
        return reason
    processed_anew = reply.sources and reply.sources.mm_cache_hits == 0
    return "its media were not in the engine's processor cache, which is off or full" if processed_anew else ""


def covers_media(reply: Reply) -> str:
    """Requires that the KV of the media was reused, in whole chunks."""
    if reply.media_tokens is None:
        return UNCOUNTED
    if reply.media_tokens < reply.chunk_size:
        return f"its media have {reply.media_tokens} tokens, less than a chunk of KV: nothing of them can be shared"
    expected, cached = reply.whole_chunks(reply.media_tokens), reply.usage.cached_tokens or 0
    return f"only {cached} tokens were cached, and its media have {reply.media_tokens}" if cached < expected else ""


def stops_at_media(reply: Reply, same: int = 0, of: int = 1) -> str:
    """Requires that no KV was reused from the first new media on.

    The first `same` of the `of` media, all of one size, were sent before: they and the tokens before them may be
    reused. Everything after new media has new KV, even text that was sent before.
    """
    if reply.media_tokens is None or reply.before_media is None:
        return UNCOUNTED
    known, cached = reply.before_media + reply.media_tokens * same // of, reply.usage.cached_tokens or 0
    if not reaches_media(cached, known):
        return ""
    return f"{cached} tokens were cached, though only the first {known} were sent before: media were mixed up"


def reaches_media(cached: int, before: int) -> bool:
    """Whether more tokens are cached than those before the media and the model's markers around them."""
    return cached > before + MAX_MARKER_TOKENS
