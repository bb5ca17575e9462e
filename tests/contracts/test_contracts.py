"""Promises that no single module can keep."""

import ast
import re

import pytest

from engines.settings import FOR_COMPOSE, NAMES, ROOT

PACKAGES = ("engines", "cache", "bench", "frontend", "embedded", "containers")
MAY_IMPORT = {
    "engines": {"engines"},
    "cache": {"cache", "engines"},
    "bench": {"bench", "cache", "engines"},
    "frontend": {"frontend", "cache", "engines"},
    "embedded": {"embedded", "cache", "engines"},
    "containers": {"containers", "bench", "cache", "engines"},  # it reads the words of what it runs
}


def imports_of(package):
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from ((path, name.split(".")[0]) for name in names)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    against = [
        (str(p), name) for p, name in imports_of(package) if name in PACKAGES and name not in MAY_IMPORT[package]
    ]
    assert against == []


def test_env_example_has_every_setting_in_order_with_a_comment():
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line.split("=")[0] for line in lines if "=" in line and line[0] != "#"] == [*NAMES, *FOR_COMPOSE]
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert lines[number - 1].startswith("#"), f"{line} has no comment"


def test_every_command_of_the_front_door_is_in_its_help_and_in_the_readme():
    door = (ROOT / "arena").read_text()
    commands = re.findall(r"^  ([a-z|]+)\)\s", door[door.index("case $command") :], re.MULTILINE)
    words = {word for group in commands for word in group.split("|")} - {"help"}
    assert words >= {"up", "down", "status", "logs", "doctor", "ask", "bench", "test", "check"}
    usage, readme = door[: door.index("TEXT\n}")], (ROOT / "README.md").read_text()
    for word in words:
        assert f"./arena {word}" in usage
        assert f"./arena {word}" in readme


def test_every_module_says_what_it_is_for():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            source = path.read_text()
            assert not source or ast.get_docstring(ast.parse(source)), path
