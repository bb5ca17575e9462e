import os
import signal
import subprocess
import sys

from config.paths import ROOT


def test_logs_end_quietly_when_their_reader_has_enough(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "plain-a.log").write_text("a line\n" * 200_000)
    env = {**os.environ, "ARENA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "launch", "logs", "plain-a"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"a line\n"
        child.stdout.close()
        said = child.stderr.read()
    assert (said, child.returncode) == (b"", -signal.SIGPIPE)
