"""Reads command lines as `vllm serve` and `lmcache server` do, until these would need a GPU, a model or a port.

The engines' Python runs it, once for many command lines, because vLLM takes long to import. Standard input is a JSON
list of {"argv": [...], "env": {...}}; the last line of standard output is a list of the reasons why each is refused,
empty if it is not.
"""

import argparse
import ast
import contextlib
import dataclasses
import inspect
import io
import json
import os
import re
import sys
from functools import cache

os.environ["HF_HUB_OFFLINE"] = "0"  # offline, vLLM would look for the model's files here

from lmcache.cli.commands.server import ServerCommand
from lmcache.integration.vllm import vllm_multi_process_adapter as adapter
from lmcache.v1 import config as lmcache_config
from lmcache.v1.distributed.l2_adapters import config as l2_adapters
from lmcache.v1.distributed.serde import factory as serdes
from lmcache.v1.multiprocess import http_server
from lmcache.v1.storage_backend.connector import fs_connector, parse_remote_url
from vllm import envs
from vllm.config import CacheConfig, MultiModalConfig
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.v1.offloading import config as offloading_config
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.kv_offload.factory import OffloadingSpecFactory
from vllm.v1.kv_offload.tiering.fs.manager import FileSystemTierManager

from cache import lmcache_server as lmcache  # registers the serde and the L2 adapter

MP_KEY = re.compile(r"lmcache\.mp\.\w[\w.]*")
http_server.uvicorn.Server.run = lambda _: None  # the last step of `lmcache server`

SERVE, LMCACHE = FlexibleArgumentParser(prog="vllm"), argparse.ArgumentParser(prog="lmcache")
ServeSubcommand().subparser_init(SERVE.add_subparsers(dest="subparser"))
ServerCommand().register(LMCACHE.add_subparsers(dest="command"))


@cache
def strings(*modules):
    """Every string literal of the modules' sources, whole."""
    nodes = (node for module in modules for node in ast.walk(ast.parse(inspect.getsource(module))))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def only_known(what, given, known):
    """LMCache ignores keys that it does not know, so a misspelt one would have no effect and give no error."""
    if unknown := set(given) - set(known):
        raise ValueError(f"{what}: nothing reads {', '.join(sorted(unknown))}")


def vllm_serve(argv):
    args = SERVE.parse_args(argv)
    ServeSubcommand().validate(args)
    args.model = args.model_tag  # as ServeSubcommand.cmd does
    engine = AsyncEngineArgs.from_cli_args(args)
    for config in (CacheConfig, MultiModalConfig):
        shared = {field.name for field in dataclasses.fields(config) if field.init} & vars(args).keys()
        config(**{name: vars(engine)[name] for name in shared & vars(engine).keys()})
    MultiModalConfig(limit_per_prompt=engine.limit_mm_per_prompt)  # the only field with another name
    if engine.kv_transfer_config:
        kv_connector(engine.kv_transfer_config)


def kv_connector(config):
    connector = KVConnectorFactory.get_connector_class(config)
    KEYS_OF[config.kv_connector](config.kv_connector_extra_config, connector)


def cache_server(given, connector):
    package = connector.__mro__[1].__module__.rpartition(".")[0]  # engines/lmcache_connector.py changes LMCache's own
    sources = [module for name, module in sys.modules.items() if name.startswith(package)]
    read = {text for text in strings(*sources) if MP_KEY.fullmatch(text)}
    read |= {adapter._EXTRA_CONFIG_KEY_PREFIX + item.name for item in adapter.ExtraConfigDefault}
    only_known("kv_connector_extra_config", given, read)
    adapter._resolve_extra_config(given)


def lmcache_files(given, _):
    only_known("kv_connector_extra_config", given, {f"lmcache.{name}" for name in lmcache_config._CONFIG_DEFINITIONS})
    only_known("extra_config", given["lmcache.extra_config"], strings(fs_connector))
    assert parse_remote_url(given["lmcache.remote_url"]).path, given


def offloading(given, _):
    """vLLM itself builds its tiers only on a GPU."""
    spec = OffloadingSpecFactory.get_spec_cls(given)
    bases = [inspect.getmodule(each) for each in spec.__mro__ if each.__module__.startswith("vllm.")]
    only_known("kv_connector_extra_config", given, strings(*bases, offloading_config) | {"spec_name"})
    for tier in given["secondary_tiers"]:
        only_known("secondary_tiers", tier, {"type", *inspect.signature(FileSystemTierManager).parameters})


KEYS_OF = {
    "LMCacheMPConnector": cache_server,
    "LMCacheConnectorV1": lmcache_files,
    "OffloadingConnector": offloading,
}


def lmcache_server(argv):
    args = LMCACHE.parse_args(argv)
    args.func(args)
    for text in args.l2_adapter:
        storage = json.loads(text)
        kind = l2_adapters._L2_ADAPTER_CONFIG_REGISTRY[storage["type"]]
        only_known("--l2-adapter", storage, strings(l2_adapters, *map(inspect.getmodule, kind.__mro__[:2])))
        if serde := storage.get("serde"):
            make = serdes._SERDE_FACTORY_REGISTRY[serde["type"]]
            only_known("serde", serde, strings(inspect.getmodule(make)) | {"type"})


PARSERS = {("vllm",): vllm_serve, ("python", "-m", lmcache.__name__): lmcache_server}


def refusal(argv, env):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            program = next(words for words in PARSERS if tuple(argv[: len(words)]) == words)
            PARSERS[program](argv[len(program) :])
            only_known("environment", (name for name in env if name.startswith("VLLM_")), envs.environment_variables)
    except SystemExit:
        return said.getvalue().partition("error: ")[2].strip()
    except Exception as exc:  # noqa: BLE001  every error is a result
        return f"{type(exc).__name__}: {exc}"
    return ""


json.dump([refusal(**each) for each in json.load(sys.stdin)], sys.stdout)
