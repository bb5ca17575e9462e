"""One colour for each engine and source, on every screen: Okabe and Ito's, which the colour-blind tell apart."""

ENGINES = {
    "plain-a": ("#c2410c", "#f0883e"),  # in light, in dark
    "plain-b": ("#a8447f", "#e39ac6"),
    "lmcache-a": ("#0369a1", "#56b4e9"),
    "lmcache-b": ("#04785a", "#34c79b"),
}
SOURCES = {
    "computed": ("#6b7280", "#9ca3af"),
    "own": ("#b58900", "#e6c229"),
    "l1": ("#0369a1", "#56b4e9"),
    "l2": ("#04785a", "#34c79b"),
    "shared": ("#5b4bc4", "#a99bff"),
}


def variables() -> str:
    """As CSS: `--engine` on an engine's elements, `--source` on a source's."""
    rules = []
    for prefix, choices, name in (("", ENGINES, "--engine"), ("", SOURCES, "--source")):
        for key, (light, dark) in choices.items():
            rules.append(f"{prefix}.{key} {{ {name}: {light}; }} .dark .{key} {{ {name}: {dark}; }}")
    return "\n".join(rules)
