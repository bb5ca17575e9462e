"""What the stack takes of a machine without a GPU: memory, and a place on a disk."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings

GIB = 2**30
# Proportional set size of one engine (the embedded model, no KV), of one cache server (no L1), and of the page.
ENGINE_GIB, CACHE_GIB, PAGE_GIB = 2.2, 0.6, 0.4


def memory_needed(settings: Settings) -> float:
    """GiB that the whole stack takes; weights beyond the embedded model's are counted once for each engine."""
    weights = sum(path.stat().st_size for path in Path(settings.model).glob("*.safetensors")) / GIB
    engine = ENGINE_GIB + settings.kv_cache_memory_gb + max(0.0, weights - 0.25)
    return settings.engines * engine + 2 * (CACHE_GIB + settings.l1_size_gb) + PAGE_GIB
