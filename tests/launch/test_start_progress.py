import io

from launch.start_progress import StartProgress
from rich.console import Console


def test_a_log_gets_a_line_about_waiting_now_and_then_and_one_for_each_thing_done():
    out = io.StringIO()
    with StartProgress(Console(file=out)) as progress:
        for second in range(70):
            progress.waiting({"plain-a": None, "plain-b": None}, second)
        progress.done("plain-a is healthy", 70)
    assert out.getvalue().splitlines() == [
        "  waiting for plain-a, plain-b: 30 s",
        "  waiting for plain-a, plain-b: 60 s",
        "  plain-a is healthy after 70 s",
    ]
