"""What an image's early layers run must be copied there with all that it imports."""

import ast
import re

from config.paths import ROOT

MODULES = ("engines.prepare_model", "config.settings")  # which make the model in engines/Dockerfile.cpu


def imported(name):
    """The modules of ours that a module imports, and those that they import."""
    found, todo = set(), [name]
    while todo:
        module = todo.pop()
        path = ROOT / (module.replace(".", "/") + ".py")
        if module in found or not path.is_file():
            continue
        found.add(module)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("engines", "media", "client")):
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def test_the_layer_that_makes_the_model_has_every_module_that_this_imports():
    copied = re.search(
        r"^COPY (engines/__init__\.py .*) engines/$", (ROOT / "engines/Dockerfile.cpu").read_text(), re.M
    )
    there = {name.removesuffix(".py").replace("/", ".") for name in copied[1].split()}
    assert set().union(*map(imported, MODULES)) - there == set()
