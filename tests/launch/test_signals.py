import signal
import subprocess
import sys

import pytest

from config.paths import ROOT

# Ends at its second line: the handler has run by then, and a second signal would be seen in between
PROGRAM = """
import os, signal, sys
from launch.signals import interrupt_once
interrupt_once()
how = signal.Signals(int(sys.argv[1]))
try:
    os.kill(os.getpid(), how)
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


def said(program, *words):
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_a_second_does_not_break_off_the_cleaning_up(how):
    assert said(PROGRAM, str(int(how))) == "cleaned up"


def test_what_nohup_ignores_stays_ignored():
    assert said(NOHUP) == "still there"
