"""The serde of the cache servers, with LMCache's own classes."""

import json
import os
import subprocess

import pytest

from config.paths import ROOT, arena_home

PYTHON = arena_home(os.environ) / "env" / "engines" / "bin" / "python"

pytestmark = [
    pytest.mark.live,  # no engine runs, but LMCache is in their environment
    pytest.mark.skipif(not PYTHON.exists(), reason="the engines' environment is not there: ./arena install makes it"),
]

EXPECTED = {
    "the frame": "restored",
    "a frame in a longer buffer": "restored",
    "one bit of the content": "InvalidTag",
    "one bit of the initialisation vector": "InvalidTag",
    "one bit of the tag": "InvalidTag",
    "another version": "ValueError",
    "a short frame": "ValueError",
    "an empty file": "ValueError",
    "the name of another chunk": "InvalidTag",
    "the name of another model": "InvalidTag",
    "the name of another rank": "InvalidTag",
    "the name of another visitor": "InvalidTag",
    "the same name in another namespace": "InvalidTag",
    "another key": "InvalidTag",
    "a frame of LMCache's own serde": "ValueError",
}


@pytest.fixture(scope="module")
def outcomes():
    run = [str(PYTHON), str(ROOT / "tests" / "serde_cases.py")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", EXPECTED)
def test_a_chunk_is_restored_only_from_its_own_undamaged_file_and_any_other_file_is_deleted(outcomes, case):
    restored = EXPECTED[case] == "restored"
    assert outcomes[case] == [EXPECTED[case], restored, case == "the frame"]  # a file has no bytes behind its frame


def test_every_damaged_file_of_a_load_is_deleted_and_the_load_is_a_miss(outcomes):
    assert outcomes["a damaged load"] == [[True, False, False, True], False]


def test_a_load_deletes_a_file_of_another_size_and_renews_the_times_of_old_ones(outcomes):
    gone = [False, False]
    assert outcomes["a load"] == {"old": [True, True], "young": [False, True], "short": gone, "long": gone}
    assert outcomes["renewed"]


def test_verify_finds_and_deletes_damage_where_it_can_tell(outcomes):
    assert outcomes["verified"] == [[1, 0, 0], True, False, True]


def test_every_case_has_an_expectation(outcomes):
    assert outcomes.keys() == EXPECTED.keys() | {"a load", "a damaged load", "renewed", "verified"}
