"""One colour for each engine and source, on every screen.

Searched for, starting from Okabe and Ito's: all nine stay apart with each kind of dichromacy, and stand out from the
page (tests/frontend/test_palette.py). Sources have patterns besides (page.css), and all have their names beside them.
"""

ENGINES = {
    "plain-a": ("#af3300", "#ee863b"),  # in light, in dark
    "plain-b": ("#ac518a", "#cd9fc0"),
    "lmcache-a": ("#258ec6", "#4398cd"),
    "lmcache-b": ("#157655", "#48c99a"),
}
SOURCES = {
    "computed": ("#504657", "#e1ddeb"),
    "own": ("#b38b10", "#ebc32f"),
    "l1": ("#2e4e9e", "#6d778e"),
    "l2": ("#1d4922", "#b4e58d"),
    "shared": ("#7357d8", "#9397ff"),
}


def variables() -> str:
    """As CSS: `--engine` on an engine's elements, `--source` on a source's."""
    rules = []
    for name, choices in (("--engine", ENGINES), ("--source", SOURCES)):
        for key, (light, dark) in choices.items():
            rules.append(f".{key} {{ {name}: {light}; }} .dark .{key} {{ {name}: {dark}; }}")
    return "\n".join(rules)
