"""LMCache's connector, with one difference: if the cache server does not answer a store, only the store is lost.

vLLM loads this module into its engine core by the name in `kv_connector_module_path` (`engines/kv_connector.py`). In
LMCache's own, the error leaves `wait_for_save` and ends the engine core, and with it every request. Nothing has been
copied by then, and the adapter reports a request without a store as finished.
"""

from __future__ import annotations

from lmcache.integration.vllm.lmcache_mp_connector import LMCacheMPConnector as UpstreamConnector
from lmcache.logging import init_logger
from lmcache.v1.mp_observability.errors import LMCacheTimeoutError

logger = init_logger(__name__)


class LMCacheMPConnector(UpstreamConnector):  # type: ignore[misc]
    """Has the name of LMCache's class, which vLLM and LMCache look for in the configuration."""

    def wait_for_save(self) -> None:
        try:
            super().wait_for_save()
        except LMCacheTimeoutError as exc:
            logger.error("KV was not stored: %s", exc)
