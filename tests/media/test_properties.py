"""Damaged files of every format: a MediaError that says so, or a medium; never another error."""

from functools import cache

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from media_files import FILES

from config.errors import MediaError
from media import Modality
from media.limits import Limits
from media.load import MediaFile, encode_media, load_media

LIMITS = Limits(mb=2, pixels=1_000_000, seconds=20, frames=30, film_pixels=10**8, files=3, total_mb=4)
SLOW = ("png-text", "mp4-hevc", "mkv-hevc", "mp4-av1", "webm-av1", "mkv-av1", "avif-moving")  # to make
NAMES = [name for name in FILES if name.partition(".")[2] not in SLOW]
pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, of what it could still read
BOUNDED = settings(
    max_examples=60, deadline=20_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SPOTS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8)


@cache
def content(name):
    return FILES[name].make()


def in_words(error):
    assert str(error).isprintable()
    assert len(str(error)) < 500


def tried(content, wanted):
    try:
        encode_media(MediaFile("file", content), LIMITS, wanted)
    except MediaError as exc:
        in_words(exc)


@BOUNDED
@given(st.sampled_from(NAMES), st.floats(0, 1), SPOTS, st.sampled_from([None, *Modality]))
def test_a_file_that_was_cut_or_changed_is_refused_in_words_or_taken(name, kept, spots, wanted):
    damaged = bytearray(content(name)[: round(kept * len(content(name)))])
    for where, value in spots if damaged else ():
        damaged[int(where * len(damaged))] = value
    tried(bytes(damaged), wanted)


@BOUNDED
@given(st.sampled_from(NAMES), st.binary(max_size=64), st.sampled_from(NAMES))
def test_a_file_with_another_behind_its_beginning_is_refused_in_words_or_taken(name, between, other):
    tried(content(name)[:64] + between + content(other), None)


@BOUNDED
@given(st.text(max_size=400))
@example("data:image/png;base64,é")
@example("A" * 128 + "=")
@example("\ud800")
def test_any_words_for_a_file_are_refused_in_words(words):
    try:
        load_media(words.replace("/", "_"), LIMITS)
    except MediaError as exc:
        in_words(exc)
