import json

import pytest
from bench_rows import Engines, a_bench, run, sample
from fakes import CHUNK_SIZE

from bench.options import Options
from bench.plan import assign_roles
from bench.questions import storage
from bench.runner import PreviousRun, _remaining, resume_run
from cache.bandwidth import AccessSpeeds, Bandwidth, Speed

SPEED = Speed(2.0, 10**9, 0.5, "O_DIRECT", 0.0, None)
BANDWIDTH = Bandwidth(
    "/kv", "ext4", "fio", None, 8, 5_898_240, AccessSpeeds(SPEED, SPEED, SPEED), AccessSpeeds(SPEED, SPEED, SPEED)
)
VOLUME = storage.volume_of(BANDWIDTH, 20_000.0)
LENGTHS = (288, 544, 1056, 2080, 4128)
OPTIONS = Options(kind="storage", input_lens=LENGTHS)


async def never(_say):
    raise AssertionError("the volume was measured before")


def recompute(n):
    return 50 + 0.5 * n + 2e-4 * n * n


def rows(load, lengths=LENGTHS, first=0):
    for number, n in enumerate(lengths, first):
        yield sample(number, "cold", recompute(n), input_len=n, prompt_tokens=n)
        yield sample(number, "cross_read", load(n), input_len=n, prompt_tokens=n)


def found(load, options=OPTIONS, extra=()):
    return storage.break_even([*rows(load), *extra], options, VOLUME, CHUNK_SIZE)


def test_the_break_even_is_where_the_fitted_times_cross():
    even = found(lambda n: 500 + 0.01 * n)
    n = even["input_len"]
    assert recompute(n - 1) <= 500 + 0.01 * (n - 1)
    assert recompute(n) > 500 + 0.01 * n


def test_the_slope_of_loading_is_the_effective_bandwidth_beside_the_volumes_own():
    even = found(lambda n: 500 + 0.01 * n)
    assert even["effective_gb_per_s"] == pytest.approx(20_000 / 0.01e-3 / 1e9)
    assert even["share_of_device_pct"] == pytest.approx(100 * even["effective_gb_per_s"] / 2.0)


def test_nothing_shorter_than_a_chunk_and_a_token_can_be_shared():
    even = found(lambda n: 1 + 0.001 * n)
    assert even["input_len"] == min(LENGTHS)
    assert "one chunk" in even["why"]
    assert [each["shareable_tokens"] for each in even["confirmed"]] == [0, 512]
    smaller = storage.break_even(list(rows(lambda n: 1 + 0.001 * n)), OPTIONS, VOLUME, 64)
    assert [each["shareable_tokens"] for each in smaller["confirmed"]] == [128, 512]


def test_shorter_prompts_than_were_measured_are_not_guessed_at():
    long = Options(kind="storage", input_lens=(2000, 3000, 4000))
    samples = rows(lambda n: 1 + 0.001 * n, long.input_lens)
    even = storage.break_even(list(samples), long, VOLUME, CHUNK_SIZE)
    assert even["input_len"] == 2000
    assert "measure shorter ones" in even["why"]
    assert storage.confirming_lengths(3000, long) == (1500, 4000)


def test_a_volume_that_is_slower_at_every_length_has_no_break_even():
    even = found(lambda n: 100 + 2 * n)
    assert (even["input_len"], even["confirmed"]) == (None, [])


def test_half_and_twice_the_length_are_measured_and_say_whether_it_holds(topology):
    options = OPTIONS
    length = found(lambda n: 500 + 0.01 * n)["input_len"]
    study = storage.study(options, assign_roles(topology), never, VOLUME)
    planned = list(rows(lambda n: 500 + 0.01 * n))
    more = study.next_phase(planned).units
    assert {trial.input_len for trial in more} == {length // 2, 2 * length}
    assert [trial.document for trial in more] == list(range(5, 5 + len(more)))
    measured = rows(lambda n: 500 + 0.01 * n, [trial.input_len for trial in more], first=5)
    confirmed = found(lambda n: 500 + 0.01 * n, extra=measured)["confirmed"]
    assert [(each["expected"], each["holds"]) for each in confirmed] == [("recompute", True), ("load", True)]


def test_what_the_confirmation_contradicts_does_not_hold_and_what_it_cannot_tell_is_left_open():
    length = found(lambda n: 500 + 0.01 * n)["input_len"]
    against = rows(recompute, [2 * length] * 6, first=5)
    confirmed = found(lambda n: 500 + 0.01 * n, extra=against)["confirmed"]
    assert [each["holds"] for each in confirmed] == [None, False]


def test_the_summary_is_json_with_lengths_in_order(topology):
    study = storage.study(OPTIONS, assign_roles(topology), never, storage.volume_of(BANDWIDTH, None))
    summary = json.loads(json.dumps(study.summary(list(rows(lambda n: 500 + 0.01 * n)), OPTIONS)))
    assert [each["input_len"] for each in summary["lengths"]] == list(LENGTHS)
    assert summary["storage"]["read_device"]["gb_per_s"] == 2.0
    assert summary["break_even"]["effective_gb_per_s"] is None


def test_the_break_even_is_confirmed_with_five_times_the_documents(topology):
    options = Options(kind="storage", input_lens=LENGTHS * 3)
    study = storage.study(options, assign_roles(topology), never, VOLUME)
    again = study.next_phase(list(rows(lambda n: 500 + 0.01 * n, LENGTHS * 3))).units
    assert len(study.expected_units) == len(again)
    assert [[t.input_len for t in again].count(n) for n in {t.input_len for t in again}] == [15, 15]
    assert min(trial.document for trial in again) == 15


def test_every_length_is_warmed_up_also_those_that_confirm(topology):
    study = storage.study(OPTIONS, assign_roles(topology), never, VOLUME)
    assert {trial.input_len for trial in study.warmups} == set(LENGTHS)
    more = study.next_phase(list(rows(lambda n: 500 + 0.01 * n)))
    assert {trial.input_len for trial in more.warmups} == {trial.input_len for trial in more.units}


@pytest.mark.parametrize("lengths", [(320,), (320, 576)])
def test_with_too_few_lengths_nothing_is_said_of_what_was_not_seen(lengths):
    options = Options(kind="storage", input_lens=lengths)
    why = storage.break_even(list(rows(lambda n: 500 + 0.01 * n, lengths)), options, VOLUME, CHUNK_SIZE)["why"]
    assert f"computing has them at {len(lengths)}" in why
    assert "not found to be sooner" not in why


def measure(topology, folder, look, engines, past=None):
    options = Options(kind="storage", input_lens=(7000,), num_warmups=1)
    experiment = storage.study(options, assign_roles(topology), look, past and past.storage)
    return run(experiment, options, topology.engines, folder, a_bench(engines.ask), past=past)


def test_the_volume_is_measured_once_after_preflight_and_warm_up_even_when_a_run_is_resumed(topology, tmp_path):
    engines, looked = Engines(fails_after=8), []

    async def look(_say):
        looked.append(len(engines.nonces))
        return VOLUME

    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, look, engines)
    assert looked == [6], "after the warm-up: six requests"
    past = resume_run(tmp_path, OPTIONS)[1]
    result = measure(topology, tmp_path, never, Engines(), past)
    assert (result["complete"], result["storage"]["tool"]) == (True, "fio")


def test_a_resumed_run_keeps_confirming_documents_of_the_length_that_is_confirmed_and_no_other(topology):
    study = storage.study(OPTIONS, assign_roles(topology), never, VOLUME)
    confirming = study.next_phase(list(rows(lambda n: 500 + 0.01 * n))).units
    other = [
        sample(trial.document, step.arm.name, input_len=trial.input_len + 1)
        for trial in confirming
        for step in trial.steps
    ]
    right = [
        sample(trial.document, step.arm.name, input_len=trial.input_len)
        for trial in confirming[:1]
        for step in trial.steps
    ]
    past = PreviousRun("id", "date", "command", samples=(*other, *right))
    kept, todo = _remaining(confirming, past)
    assert kept == right
    assert len(todo) == len(confirming) - 1
