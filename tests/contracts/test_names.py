"""One name for one thing, and no module or function that is too long to be read at once."""

import ast
from collections import defaultdict

from contracts.modules import TREES

MODULE_LINES, FUNCTION_LINES = 350, 60


def names_of_two_things():
    """`module` or `class` and the name, with the files that have it."""
    found = defaultdict(list)
    for path, tree in TREES.items():
        if path.stem not in ("__init__", "__main__"):
            found["module", path.stem].append(path)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found["class", node.name].append(path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_module_and_no_class_has_the_name_of_another():
    assert names_of_two_things() == {}


def test_no_module_and_no_function_is_too_long_to_be_read_at_once():
    for path, tree in TREES.items():
        assert len(path.read_text().splitlines()) <= MODULE_LINES, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < FUNCTION_LINES, f"{path}: {node.name}"


if __name__ == "__main__":  # PYTHONPATH=.:tests python tests/contracts/test_names.py
    print("names that stand for two things:", names_of_two_things() or "none")  # noqa: T201
