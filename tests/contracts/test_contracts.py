"""Promises that no single module can keep."""

import ast
import re

import pytest
from contracts.modules import PACKAGES, TREES, imports, package_of

from config.paths import ROOT
from config.settings import COMPOSE_ONLY_NAMES, SETTING_NAMES

BESIDE = {("frontend", "launch")}  # one stands above the other, and does not know it


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_that_it_stands_on(package):
    allowed = {each for each in PACKAGES[: PACKAGES.index(package) + 1] if (package, each) not in BESIDE}
    for path in TREES:
        if package_of(path) == package:
            assert {name.split(".")[0] for name in imports(path)} & set(PACKAGES) <= allowed, path


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
    for path, tree in TREES.items():
        assert not tree.body or ast.get_docstring(tree), path
