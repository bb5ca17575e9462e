"""What the tab says before a run begins."""

import pytest
from fakes import a_reply

from client.prompt import Prompt
from client.reply import Sources
from frontend.bench_runs import BenchRunner
from frontend.bench_tab import (
    CLAIMING,
    DEFAULT_DOCUMENTS,
    UNKNOWN_DURATION,
    BenchHandlers,
    estimate,
    no_claim_warning,
)
from frontend.history import History
from frontend.measurement_queue import MeasurementQueue
from frontend.race import Pane, PaneStatus
from frontend.results_list import ResultSummary


def a_run(kind, duration):
    return ResultSummary(
        f"{kind}-1", kind, "2026", complete=True, completed=9, verdict="", documents=10, duration=duration
    )


RUNS = [a_run("aa", 200.0), a_run("mm", 100.0)]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", CLAIMING)
async def test_the_tab_opens_with_enough_documents_and_warns_of_fewer_before_anything_is_sent(tmp_path, kind):
    tab = BenchHandlers(BenchRunner(MeasurementQueue(), tmp_path))
    assert "no claim" not in await tab.expected(kind, DEFAULT_DOCUMENTS, ())
    assert "no claim" in await tab.expected(kind, 3, ())
    assert not no_claim_warning("storage", 3)


@pytest.mark.parametrize(
    ("kind", "duration", "source"),
    [
        ("aa", "about 2 minutes", "aa-1"),  # 20 s each, and the warm-up
        ("ttft", "about 3 minutes", "aa-1"),  # three prompts instead of two
        ("mm", "about 60 seconds", "mm-1"),
    ],
)
def test_how_long_a_run_takes_is_estimated_by_earlier_runs(kind, duration, source):
    text = estimate(kind, 5, RUNS, ())
    assert duration in text
    assert source in text


@pytest.mark.parametrize(("kind", "results"), [("storage", RUNS), ("ttft", [])])
def test_without_a_measurement_there_is_no_estimate(kind, results):
    assert estimate(kind, 5, results, ()) == UNKNOWN_DURATION


def test_without_runs_it_is_estimated_by_the_visitors_last_computed_question():
    history = History()
    reply = a_reply(ttft=3.392, prompt=3392, sources=Sources(3392, 0, 0))
    history.add(Pane("plain-a", PaneStatus.DONE, Prompt("Why?"), reply=reply), "a name")
    assert "about 2 minutes" in estimate("aa", 6, [], history.rows)  # 6,784 tokens take 6.8 s, twice a document
    assert estimate("mm", 6, [], history.rows) == UNKNOWN_DURATION
