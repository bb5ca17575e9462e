import os
import subprocess
import sys

import pytest

from config.errors import ConfigError
from config.exit_codes import check_arguments
from config.paths import ROOT
from config.printable import printable

NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("word", [NOT_UTF8, f"--label={NOT_UTF8}"])
def test_an_argument_that_is_not_utf8_is_named(word):
    check_arguments(["ask", "lmcache-a", "Größe? 😀"])
    with pytest.raises(ConfigError, match="caf"):
        check_arguments(["bench", word])


def test_a_file_may_have_any_name(tmp_path):
    path = tmp_path / NOT_UTF8
    path.touch()
    check_arguments(["ask", "--context", str(path), f"--context={path}"])


def test_a_terminal_without_a_character_ends_no_command():
    program = "import sys, typer; from config.exit_codes import run_app; app = typer.Typer()\n"
    program += "@app.command()\ndef say() -> None:\n print('Größe 😀'); print('–', file=sys.stderr)\nrun_app(app)"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Gr\\xf6\\xdfe \\U0001f600\n", "\\u2013\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text,\n\tGröße 👩\u200d🔬", "plain text,\n\tGröße 👩\u200d🔬"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("\x9b31m\r", r"\x9b31m\r"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_text_cannot_control_a_terminal(text, shown):
    assert printable(text) == shown
