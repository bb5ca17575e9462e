"""Reads `.env` the way Docker Compose does, so that one file means the same with and without containers.

Syntax and interpolation follow compose-go (its packages dotenv and template). Anything that Compose would warn about,
or read in a way that the author hardly meant, is an error here. So every value that is read equals Compose's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from config.errors import ConfigError
from config.service_environment import is_secret

SPACE = " \t\v\f\r\x85\xa0"  # what Compose trims; this includes the carriage return, so CRLF works like LF
BLANK = re.compile(rf"(?:[{SPACE}\n]+|#[^\n]*)*")  # white space and comments between statements
KEY = re.compile(rf"(?:export[{SPACE}]+)?+([A-Za-z_][A-Za-z0-9_.-]*)[{SPACE}]*")
SIGN = re.compile(rf"[=:][{SPACE}]*")
LINE = re.compile(r"[^\n]*")
QUOTED = {quote: re.compile(rf"{quote}((?:\\.|[^{quote}\\])*+){quote}", re.DOTALL) for quote in "'\""}
ESCAPE = re.compile(r'\\([abfnrtv$"\\0])')  # inside double quotes
ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
VARIABLE = re.compile(rf"\$(?:(?P<dollar>\$)|(?P<brace>\{{)|(?P<name>{NAME}))")
IN_BRACES = re.compile(rf"(?P<name>{NAME})(?:(?P<operator>:?[-+?])(?P<word>.*))?", re.DOTALL)
BRACE = re.compile(r"\$\{|\}")
FILE_BYTES, VALUE_CHARACTERS, NESTED = 2**20, 100_000, 20  # far above what any settings file needs
ADVICE = "write $$ for a dollar sign, or put the value in single quotes"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The `values` by key, overridden by the environment, and the names of the variables `used` inside values."""

    values: Mapping[str, str] = field(default_factory=dict)
    used: frozenset[str] = frozenset()


def read_env_file(path: Path, environ: Mapping[str, str]) -> EnvFile:
    """Reads the file; a missing file gives an empty EnvFile.

    Raises ConfigError, which names the file, says what to do and, for a fault in the text, gives the line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        if len(content) > FILE_BYTES:
            raise ConfigError(f"{path} is larger than {FILE_BYTES // 2**20} MiB, so it is no file of settings")
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        return EnvFile()
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read ({exc.strerror}): let this user read it, or remove it") from exc
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8: save the file as UTF-8") from exc
    return _Parser(path, text, environ).read()


class _Parser:
    """Parses the text in one pass. `_at` is the current position, `_start` the start of the current statement."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str]) -> None:
        self._path, self._text, self._environ = path, text, environ
        self._at = self._start = 0
        self._values: dict[str, str] = {}
        self._used: set[str] = set()

    def read(self) -> EnvFile:
        if "\0" in self._text:
            self._start = self._text.index("\0")
            self._refuse("a zero byte: remove it")
        self._take(BLANK)
        while self._at < len(self._text):
            self._start = self._at
            self._statement()
            self._take(BLANK)
        return EnvFile(self._values, frozenset(self._used))

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Consumes and returns a match of `pattern` at the current position, or returns None."""
        if found := pattern.match(self._text, self._at):
            self._at = found.end()
        return found

    def _rest_of_line(self) -> str:
        found = self._take(LINE)
        return found[0] if found else ""

    def _statement(self) -> None:
        name = self._take(KEY)
        if name is None:
            self._refuse("a line must be NAME=value, or begin with #")
        key = name[1]
        if self._text[self._at : self._at + 1] in ("", "\n"):
            return  # a name without a value: only the environment may set it
        if not self._take(SIGN):
            self._refuse(f"{key} must be followed by = and its value")
        value = self._quoted(key) if self._text[self._at : self._at + 1] in QUOTED else self._unquoted(key)
        if len(value) > VALUE_CHARACTERS:
            self._refuse(f"{key} has more than {VALUE_CHARACTERS:,} characters: shorten it")
        self._values[key] = self._environ.get(key, value)

    def _unquoted(self, key: str) -> str:
        value = self._rest_of_line().split(" #")[0].rstrip(SPACE)
        if value == "#" or re.match(r"#\s", value):
            self._refuse(f"{key} would be the comment: put the comment on a line of its own, or the value in quotes")
        return self._interpolate(key, value)

    def _quoted(self, key: str) -> str:
        quote = self._text[self._at]
        found = self._take(QUOTED[quote])
        if found is None:
            self._refuse(f"{key} lacks the closing {quote}: put one at its end")
        rest = self._rest_of_line().strip(SPACE)
        if rest and not rest.startswith("#"):
            self._refuse(f"after the closing {quote} of {key} there is more: escape a quote inside as \\{quote}")
        if quote == "'":
            return found[1].replace("\\'", "'")
        return self._interpolate(key, ESCAPE.sub(lambda escape: self._unescape(key, escape[1]), found[1]))

    def _unescape(self, key: str, character: str) -> str:
        if character == "0":
            self._refuse(f"{key} has an octal escape: write the character itself")
        return ESCAPED.get(character, character)

    def _interpolate(self, key: str, value: str) -> str:
        """Replaces `$NAME`, `${NAME}` and `${NAME:-word}`, the last also with `-` `:+` `+` `:?` `?`.

        The word may contain variables.
        """
        out, at = "", 0
        while found := VARIABLE.search(value, at):
            out, at = out + value[at : found.start()], found.end()
            if found["brace"]:
                end = self._closing_brace(key, value, found.start())
                out, at = out + self._braced(key, value[at:end]), end + 1
            else:
                out += "$" if found["dollar"] else self._known(key, found["name"], found[0])
        return out + value[at:]

    def _closing_brace(self, key: str, value: str, at: int) -> int:
        depth = 0
        for brace in BRACE.finditer(value, at):
            depth += -1 if brace[0] == "}" else 1
            if depth == 0:
                return brace.start()
            if depth > NESTED:
                self._refuse(f"{key} nests more than {NESTED} variables: simplify it")
        self._refuse(f"{key} lacks the closing brace of ${{: {ADVICE}")

    def _braced(self, key: str, inside: str) -> str:
        found = IN_BRACES.fullmatch(inside)
        if found is None:
            self._refuse(f"{key} has ${{ and no name of a variable: {ADVICE}")
        name, operator, word = found["name"], found["operator"] or "", found["word"] or ""
        if not operator:
            return self._known(key, name, f"${{{name}}}")
        value = self._lookup(name)
        absent = not value if operator[0] == ":" else value is None
        if operator[-1] == "+":
            return "" if absent else self._interpolate(key, word)
        if not absent:
            return value or ""
        if operator[-1] == "?":
            self._refuse(f"{key} needs {name}, which is not set: {self._interpolate(key, word) or f'set {name}'}")
        return self._interpolate(key, word)

    def _known(self, key: str, name: str, written: str) -> str:
        value = self._lookup(name)
        if value is None:
            shown = "a variable" if is_secret(key) else written
            self._refuse(f"{key} names {shown} that is not set: {ADVICE}; ${{NAME:-}} may be absent")
        return value

    def _lookup(self, name: str) -> str | None:
        self._used.add(name)
        return self._environ.get(name, self._values.get(name))

    def _refuse(self, fact: str) -> NoReturn:
        """Raises ConfigError. The message must not contain the value, which may be a secret."""
        line = self._text.count("\n", 0, self._start) + 1
        raise ConfigError(f"{self._path}, line {line}: {fact}")
