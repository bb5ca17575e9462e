import os
import subprocess
import sys

import pytest

from client.prompt import Prompt
from config.errors import ConfigError, DocumentError
from config.exit_codes import check_arguments
from config.paths import ROOT

NOT_UTF8 = os.fsdecode(b"caf\xe9")


def test_an_argument_that_is_not_utf8_is_named():
    check_arguments(["ask", "lmcache-a", "Größe? 😀"])
    for word in (NOT_UTF8, f"--label={NOT_UTF8}"):
        with pytest.raises(ConfigError, match="caf"):
            check_arguments(["bench", word])


def test_a_file_may_have_any_name(tmp_path):
    path = tmp_path / NOT_UTF8
    path.touch()
    check_arguments(["ask", "--context", str(path), f"--context={path}"])


@pytest.mark.parametrize("field", ["question", "document", "nonce", "appendix"])
def test_half_a_character_is_refused_by_the_part_of_the_prompt_that_it_is_in(field):
    with pytest.raises(DocumentError, match=field):
        Prompt(**{"question": "why?", field: "a\ud83d"})


def test_a_terminal_without_a_character_ends_no_command():
    program = "import sys, typer; from config.exit_codes import run_app; app = typer.Typer()\n"
    program += "@app.command()\ndef say() -> None:\n print('Größe 😀'); print('–', file=sys.stderr)\nrun_app(app)"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Gr\\xf6\\xdfe \\U0001f600\n", "\\u2013\n")
