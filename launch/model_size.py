"""How much memory a model needs on a GPU and, for its stored KV, in the host. Computed, and not yet run on a card."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.cli_options import INPUT_LEN
from config.recipe import BYTES, Recipe
from config.settings import Settings
from launch.check_result import GIB, CheckStatus

OVERHEAD, RUNTIME_GIB = 0.15, 2.0  # activations and graphs grow with the weights; the CUDA context does not
VLLM_SHARE = 0.92  # of a GPU; vLLM's --gpu-memory-utilization, which applies only if KV_CACHE_MEMORY_GB is 0
BLOCK = 16  # tokens in a block of vLLM's KV cache on a GPU
L1_ROOM = 0.2  # of L1 is free for a load; LMCache evicts at its --eviction-trigger-watermark, 0.8


@dataclass(frozen=True, slots=True)
class ModelSize:
    """`weights` and `kv_per_token` are in bytes, `context` and `chunk_size` (the setting CHUNK_SIZE) in tokens.

    `kv_per_token` and `context` are 0 if unknown.
    """

    weights: int
    kv_per_token: int = 0
    context: int = 0
    chunk_size: int = 1

    @classmethod
    def of(cls, recipe: Recipe, settings: Settings) -> ModelSize:
        """Returns the size of a recipe's model, served with these settings (DTYPE and CHUNK_SIZE are used)."""
        dtype = settings.dtype
        kv = recipe.kv if dtype == "auto" else recipe.kv.model_copy(update={"dtype": dtype})
        weights = recipe.parameters * BYTES[kv.dtype]
        return cls(weights, kv.bytes_per_token, recipe.served_context, settings.chunk_size)

    @property
    def document(self) -> int:
        """Tokens of the prompt that benchmarks send by default, or of the longest one if that is shorter."""
        return min(INPUT_LEN, self.context)

    @property
    def least_kv(self) -> int:
        """Bytes of KV cache below which vLLM does not start: the longest prompt, and a block that it never uses."""
        return (math.ceil(self.context / BLOCK) + 1) * BLOCK * self.kv_per_token

    @property
    def shared_kv_gib(self) -> float:
        """KV_CACHE_MEMORY_GB for engines that share a GPU: `least_kv` and a benchmark's document, in quarters."""
        return math.ceil(4 * (self.least_kv + self.document * self.kv_per_token) / GIB) / 4

    def engine_bytes(self, kv: float) -> float:
        """Returns the bytes that an engine takes with `kv` bytes of KV cache."""
        return self.weights * (1 + OVERHEAD) + RUNTIME_GIB * GIB + kv

    def fit(self, memory: int, engines: int = 1, kv_gib: float = 0.0) -> CheckStatus:
        """Returns whether a GPU with `memory` bytes has room for the engines; a NOTE means that it will be close.

        If `kv_gib` is 0, vLLM takes what the weights and the activations leave of its share.
        """
        if kv_gib or engines > 1:
            need = engines * self.engine_bytes(kv_gib * GIB or self.least_kv)
            return CheckStatus.GOOD if need <= memory else CheckStatus.BAD
        usable = VLLM_SHARE * memory
        if max(self.engine_bytes(0), self.weights + RUNTIME_GIB * GIB + self.least_kv) > usable:
            return CheckStatus.BAD
        return CheckStatus.GOOD if self.engine_bytes(self.least_kv) <= usable else CheckStatus.NOTE

    def l1_gib(self, tokens: int, copies: int = 2) -> int:
        """Returns the L1_SIZE_GB with which a full L1 has room to load that many tokens at once.

        With KV_SERDE=aesgcm there are two copies of a load, before and after decryption.
        """
        return math.ceil(copies * self._whole_chunks(tokens) * self.kv_per_token / L1_ROOM / GIB)

    def loadable(self, l1_gib: float, copies: int = 2) -> int:
        """Returns how many tokens, in whole chunks, a full L1 of that size has room to load at once."""
        return self._whole_chunks(int(L1_ROOM * l1_gib * GIB / (copies * self.kv_per_token)))

    def _whole_chunks(self, tokens: int) -> int:
        return tokens // self.chunk_size * self.chunk_size
