"""Promises that no single module can keep."""

import ast
import re

import pytest

from config.paths import ROOT
from config.settings import COMPOSE_ONLY_NAMES, SETTING_NAMES

PACKAGES = ("config", "media", "client", "engines", "cache", "bench", "launch", "frontend")
BESIDE = {("launch", "frontend"), ("frontend", "launch")}  # which know nothing of each other


def imports_of(package):
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from ((path, name.split(".")[0]) for name in names)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_that_it_stands_on(package):
    below = {*PACKAGES[: PACKAGES.index(package) + 1]}
    against = [
        (str(path), name)
        for path, name in imports_of(package)
        if name in PACKAGES and (name not in below or (package, name) in BESIDE)
    ]
    assert against == []


def test_env_example_has_every_setting_in_order_with_a_comment():
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line.split("=")[0] for line in lines if "=" in line and line[0] != "#"] == [
        *SETTING_NAMES,
        *COMPOSE_ONLY_NAMES,
    ]
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
