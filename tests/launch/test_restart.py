import os
import subprocess
import sys

from config.paths import ROOT


def test_a_restart_needs_a_stack_that_runs(tmp_path):
    env = {**os.environ, "ARENA_HOME": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-m", "launch", "restart", "plain-a"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert said.returncode == 1
    assert said.stderr.strip().endswith("nothing runs: ./arena up")
