"""Reads `.env` as Docker Compose reads it, so that one file means the same with and without containers.

Syntax and interpolation are those of compose-go (its packages dotenv and template). What Compose would warn of, or read
in a way that is hardly meant, is refused here: a value is Compose's, or the file is not read at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from config.errors import ConfigError
from config.service_environment import is_secret

SPACE = " \t\v\f\r\x85\xa0"  # what Compose trims; a carriage return among them, so CRLF is as LF
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
EXPORT = re.compile(rf"export[{SPACE}]+")
ESCAPE = re.compile(r'\\([abfnrtv$"\\])')
ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OPERATOR = re.compile(r":?[-+?]")
FILE_BYTES, VALUE_CHARACTERS, NESTED = 2**20, 100_000, 20  # bounds that no file of settings comes near
ADVICE = "write $$ for a dollar sign, or put the value in single quotes"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """`values` by key, those of the environment in the place of the file's; `used` are keys that other values name."""

    values: Mapping[str, str] = field(default_factory=dict)
    used: frozenset[str] = frozenset()


def read_env_file(path: Path, environ: Mapping[str, str]) -> EnvFile:
    """An empty one where there is no file. Raises ConfigError that names the file, the line and what to write."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        if len(content) > FILE_BYTES:
            raise ConfigError(f"{path} is larger than {FILE_BYTES // 2**20} MiB: it is no file of settings")
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
    """One pass over the text; `_at` is where the next character is read."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str]) -> None:
        self._path, self._text, self._environ = path, text, environ
        self._at, self._began = 0, 0
        self._values: dict[str, str] = {}
        self._used: set[str] = set()

    def read(self) -> EnvFile:
        if "\0" in self._text:
            self._began = self._text.index("\0")
            self._refuse("a zero byte: remove it")
        while self._at < len(self._text):
            self._skip(SPACE + "\n")
            self._began = self._at
            if self._peek() == "#":
                self._line()
            elif self._peek():
                self._statement()
        return EnvFile(self._values, frozenset(self._used))

    def _statement(self) -> None:
        if exported := EXPORT.match(self._text, self._at):
            self._at = exported.end()
        name = KEY.match(self._text, self._at)
        if name is None:
            self._refuse("a line is NAME=value, or begins with #")
        key, self._at = name[0], name.end()
        self._skip(SPACE)
        if self._peek() in ("", "\n"):
            return  # a name alone: as the environment has it
        if self._peek() not in ("=", ":"):
            self._refuse(f"after {key} comes = and its value")
        self._at += 1
        self._skip(SPACE)
        value = self._quoted(key) if self._peek() in ("'", '"') else self._unquoted(key)
        if len(value) > VALUE_CHARACTERS:
            self._refuse(f"{key} has more than {VALUE_CHARACTERS:,} characters: shorten it")
        self._values[key] = self._environ.get(key, value)

    def _unquoted(self, key: str) -> str:
        value = self._line().split(" #")[0].rstrip(SPACE)
        if value == "#" or re.match(r"#\s", value):
            self._refuse(f"{key} would be the comment: put the comment on a line of its own, or the value in quotes")
        return self._interpolated(key, value)

    def _quoted(self, key: str) -> str:
        quote, end = self._peek(), self._at + 1
        value = ""
        while (char := self._text[end : end + 1]) != quote:
            if not char:
                self._refuse(f"{key} lacks the closing {quote}: put one at its end")
            if char == "\\":
                escaped = self._text[end + 1 : end + 2]
                value += escaped if escaped == quote else char + escaped
                end += 2
            else:
                value, end = value + char, end + 1
        self._at = end + 1
        rest = self._line().strip(SPACE)
        if rest and not rest.startswith("#"):
            self._refuse(f"after the closing {quote} of {key} there is more: escape a quote inside as \\{quote}")
        return value if quote == "'" else self._interpolated(key, self._unescaped(key, value))

    def _unescaped(self, key: str, value: str) -> str:
        if re.search(r"(?<!\\)(?:\\\\)*\\0", value):
            self._refuse(f"{key} has an octal escape: write the character itself")
        return ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), value)

    def _interpolated(self, key: str, value: str) -> str:
        """`$NAME` and `${NAME}`, with `:-` `-` `:+` `+` `:?` `?` and a word, which may have variables of its own."""
        out, at = "", 0
        while (dollar := value.find("$", at)) >= 0:
            out, at = out + value[at:dollar], dollar + 1
            if value.startswith("$", at):
                out, at = out + "$", at + 1
            elif value.startswith("{", at):
                end = self._closing(key, value, at)
                out, at = out + self._braced(key, value[at + 1 : end]), end + 1
            elif name := NAME.match(value, at):
                out, at = out + self._known(key, name[0], f"${name[0]}"), name.end()
            else:
                out += "$"
        return out + value[at:]

    def _closing(self, key: str, value: str, at: int) -> int:
        depth = 0
        for place in range(at, len(value)):
            depth += value.startswith("${", place - 1) - (value[place] == "}")
            if depth == 0:
                return place
            if depth > NESTED:
                self._refuse(f"{key} nests more than {NESTED} variables: write it simpler")
        self._refuse(f"{key} lacks the closing brace of ${{: {ADVICE}")

    def _braced(self, key: str, inside: str) -> str:
        name = NAME.match(inside)
        operator = name and OPERATOR.match(inside, name.end())
        if name is None or (operator is None and name.end() < len(inside)):
            self._refuse(f"{key} has ${{ and no name of a variable: {ADVICE}")
        if operator is None:
            return self._known(key, name[0], f"${{{name[0]}}}")
        value, word = self._lookup(name[0]), inside[operator.end() :]
        absent = not value if operator[0].startswith(":") else value is None
        if operator[0].endswith("+"):
            return "" if absent else self._interpolated(key, word)
        if absent and operator[0].endswith("?"):
            self._refuse(
                f"{key} needs {name[0]}, which is not set: {self._interpolated(key, word) or f'set {name[0]}'}"
            )
        return self._interpolated(key, word) if absent else value or ""

    def _known(self, key: str, name: str, written: str) -> str:
        value = self._lookup(name)
        if value is None:
            shown = "a variable" if is_secret(key) else written
            self._refuse(f"{key} names {shown} that is not set: {ADVICE}; ${{NAME:-}} may be absent")
        return value

    def _lookup(self, name: str) -> str | None:
        self._used.add(name)
        return self._environ.get(name, self._values.get(name))

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, characters: str) -> None:
        while self._peek() and self._peek() in characters:
            self._at += 1

    def _line(self) -> str:
        """The rest of the line, without its end."""
        end = self._text.find("\n", self._at)
        line = self._text[self._at : end if end >= 0 else len(self._text)]
        self._at += len(line)
        return line

    def _refuse(self, fact: str) -> NoReturn:
        """The value itself is not said: it may be a secret."""
        line = self._text.count("\n", 0, self._began) + 1
        raise ConfigError(f"{self._path}, line {line}: {fact}")
