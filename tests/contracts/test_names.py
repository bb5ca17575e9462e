"""One name for one thing, and no file or function that is too long to be read at once."""

import ast
from collections import defaultdict

from contracts.test_contracts import PACKAGES

from config.paths import ROOT

MODULE_LINES, FUNCTION_LINES = 350, 60
EVERYWHERE = {"__init__", "__main__"}


def modules():
    """Path and syntax tree of each module of ours."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def names_of_two_things():
    """`module` or `class`, the name, and the files that have it."""
    found = defaultdict(list)
    for path, tree in modules():
        if path.stem not in EVERYWHERE:
            found["module", path.stem].append(path)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found["class", node.name].append(path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_module_and_no_class_has_the_name_of_another():
    assert names_of_two_things() == {}


def test_no_module_and_no_function_is_too_long_to_be_read_at_once():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for path, tree in modules():
        assert len(path.read_text().splitlines()) <= MODULE_LINES, path
        for node in ast.walk(tree):
            if isinstance(node, functions):
                assert node.end_lineno - node.lineno < FUNCTION_LINES, f"{path}: {node.name}"
