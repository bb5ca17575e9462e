import subprocess
import sys

import pytest

from config.paths import ROOT
from launch.signals import END_SIGNALS

# Ends at its second line: the handler has run by then, and a second signal would arrive in between
PROGRAM = """
import os, signal, sys
from launch.signals import interrupt_once
interrupt_once()
try:
    os.kill(os.getpid(), int(sys.argv[1]))
    print("not reached")
except KeyboardInterrupt:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), each)
    print("cleaned up")
"""
NOHUP = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from launch.signals import interrupt_once
interrupt_once()
os.kill(os.getpid(), signal.SIGHUP)
print("still there")
"""


@pytest.mark.parametrize(
    ("program", "number", "printed"),
    [*((PROGRAM, number, "cleaned up") for number in END_SIGNALS), (NOHUP, 0, "still there")],
)
def test_the_first_signal_interrupts_a_second_breaks_nothing_off_and_what_nohup_ignores_stays_so(
    program, number, printed
):
    command = [sys.executable, "-c", program, str(int(number))]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip() == printed
