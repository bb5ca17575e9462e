"""The syntax trees of all modules of ours.

They are parsed when this module is imported, before any test runs: CPython 3.11 cannot parse any more once a deep
recursion has failed in its process (gh-106905), and some tests make one fail on purpose.
"""

import ast

from config.paths import ROOT

PACKAGES = ("config", "media", "client", "engines", "cache", "bench", "launch", "frontend")
TREES = {path: ast.parse(path.read_text()) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def package_of(path):
    return path.relative_to(ROOT).parts[0]


def imports(path):
    """The names of the modules that a module imports, and of what it imports from them."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
