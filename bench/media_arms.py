"""The arms of media: as those of text, and some in which only what an engine does besides KV can help.

| arm | engine | what it must be |
|---|---|---|
| cold | plain | nobody has seen the media: nothing cached |
| own_warm | the same plain engine | its own prefix cache |
| processor_warm | the same plain engine | the same media under another nonce: preprocessed and encoded, but no KV |
| first_sight | lmcache writer | as cold, plus the cost of storing |
| cross_read | lmcache reader | from the KV volume, and all of the media |
| other_question | lmcache reader | the same media, asked otherwise: their KV helps, by then from its own cache |
| other_media | lmcache reader | the canary: same nonce, text and question, and no token of other media's KV |
| own_answer, plain_other_media | the plain engine | not compared: its answers to these media and to the other ones |
"""

from __future__ import annotations

from dataclasses import replace

from bench.arms import Arm, EngineRole, always_valid, from_prefix_cache, loaded_from_volume, nothing_cached
from bench.media_prompts import (
    OTHER_QUESTION,
    MakeMedia,
    media_question,
    other_media,
    under_another_nonce,
    with_candidates,
)
from cache.volume import CHUNK_SIZE
from client.reply import Reply

MAX_MARKER_TOKENS = 8  # tokens at most in which a model sets its media, the same for all; a block of KV has 16 at least
UNCOUNTED = "how many of its tokens are media was not counted"


def cross_read_arms(show: MakeMedia) -> tuple[Arm, ...]:
    """Media on a plain engine twice, and from one lmcache engine to the other."""
    variant = media_question(show)
    return (
        Arm("cold", EngineRole.PLAIN, nothing_cached, variant=variant),
        Arm("own_warm", EngineRole.PLAIN, from_prefix_cache, after="cold", variant=variant),
        Arm("first_sight", EngineRole.WRITER, nothing_cached, stores=True, variant=variant),
        Arm("cross_read", EngineRole.READER, media_from_volume, after="first_sight", reads=True, variant=variant),
    )


def media_arms(show: MakeMedia) -> tuple[Arm, ...]:
    """Every arm of `bench mm`, for one modality."""
    cold, own_warm, *crossed = cross_read_arms(show)
    variant, others = media_question(show), with_candidates(media_question(other_media(show)))
    return (
        cold,
        own_warm,
        Arm("processor_warm", EngineRole.PLAIN, only_preprocessed, after="cold", variant=under_another_nonce(variant)),
        *crossed,
        Arm(
            "other_question",
            EngineRole.READER,
            covers_media,
            "cross_read",
            variant=media_question(show, OTHER_QUESTION),
        ),
        Arm("other_media", EngineRole.READER, stops_at_media, "cross_read", stores=True, variant=others),
        Arm("plain_other_media", EngineRole.PLAIN, stops_at_media, "own_warm", variant=others),
        Arm("own_answer", EngineRole.PLAIN, always_valid, "own_warm", variant=with_candidates(variant)),
    )


def named_by_modality(modality: str, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The arms under names of their own, so that no table adds up images and sounds."""

    def named(name: str) -> str:
        return f"{modality}_{name}" if name else ""

    return tuple(replace(arm, name=named(arm.name), after=named(arm.after), modality=modality) for arm in arms)


def media_from_volume(reply: Reply) -> str:
    """Why this reply is not a cross-read that covers its media; empty when it is."""
    return loaded_from_volume(reply) or covers_media(reply)


def only_preprocessed(reply: Reply) -> str:
    """Why this reply does not show what preprocessing alone saves; empty when it does.

    The media must be in the processor's cache, where its counter can be read, and no KV may be reused.
    """
    if fault := nothing_cached(reply):
        return fault
    processed_anew = reply.sources and reply.sources.mm_cache_hits == 0
    return "its media were not in the engine's processor cache, which is off or full" if processed_anew else ""


def covers_media(reply: Reply) -> str:
    """Why the KV of this reply's media was not reused, in whole chunks; empty when it was."""
    if reply.media_tokens is None:
        return UNCOUNTED
    if reply.media_tokens < CHUNK_SIZE:
        return f"its media have {reply.media_tokens} tokens, less than a chunk of KV: nothing of them can be shared"
    expected, cached = reply.media_tokens // CHUNK_SIZE * CHUNK_SIZE, reply.usage.cached_tokens or 0
    return f"only {cached} tokens were cached, and its media have {reply.media_tokens}" if cached < expected else ""


def stops_at_media(reply: Reply, same: int = 0, of: int = 1) -> str:
    """Why media that nobody has seen were taken for others; empty when they were not.

    The first `same` of the reply's `of` media, all of one size, have been seen, and may be reused with what stands
    before them. What follows new media has new KV, though its text may be known.
    """
    if reply.media_tokens is None or reply.before_media is None:
        return UNCOUNTED
    known, cached = reply.before_media + reply.media_tokens * same // of, reply.usage.cached_tokens or 0
    if not reaches_media(cached, known):
        return ""
    return f"{cached} tokens were cached, though only the first {known} were ever seen: media were mixed up"


def reaches_media(cached: int, before: int) -> bool:
    """Whether so many cached tokens are more than those before the media, which a model may set in marks of its own."""
    return cached > before + MAX_MARKER_TOKENS
