"""A fake engine for tests: OpenAI's API like vLLM's, over real HTTP, with a prefix cache and, if given a volume, a
cache server. It computes nothing, and its Behaviour can imitate everything that might mislead a benchmark.

Each word is a token.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from fakes import CHUNK_SIZE
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from config.topology import CacheServer, Engine, KVFolder, ServiceKind, Topology

CHAT = "/v1/chat/completions"
MAX_MODEL_LEN = 8192
MEDIA_TOKENS = 2 * CHUNK_SIZE
LOAD_RATE = 0.5  # GB/s of every load from the volume
NONCE = re.compile(r"[0-9a-f]{16}")

Key = tuple[str, ...]  # a chunk is identified by all words up to its end
Body = Mapping[str, Any]
Wait = Callable[[float], None]  # seconds; raises BrokenPipeError if the client disconnects in the meantime


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How an engine responds to requests. The defaults are those of a correct engine; times are in seconds."""

    answer: tuple[str, ...] = ("it", "copies", "frames", "around")
    until_text: float = 0.0
    per_token: float = 0.0  # for each computed token of the prompt
    between: float = 0.0  # two chunks
    tokens_per_chunk: int = 1
    early_role: bool = False  # the chunk with the role is sent at once instead of just before the text
    keep_alives: int = 0  # SSE comments sent at once
    reasoning: str = ""  # sent before the answer
    echoes: bool = False  # the answer ends with the question
    stamps: bool = False  # the answer begins with the Unix time at which it is sent, in ms
    usage: bool = True
    metrics: Mapping[str, float] | None = None  # of a request, in the chunk with the usage
    histograms: bool = True
    status: int = 200
    says: str = "the engine is dead"  # the message with any status other than 200
    breaks_after: int | None = None  # chunks of the answer, after which the connection is reset
    between_chunks: str = ""  # a raw line sent between chunks
    breaks_from: int = 0  # number of the first request with that line
    bystander: int = 0  # tokens of another client's prompt, computed during each answer
    lying_reset: bool = False  # reports success but keeps the cache
    late_looks: int = 0  # how often the counter is read before a store is complete
    nonce_blind: bool = False  # the cache treats prompts as equal that differ only in their nonces
    media_blind: bool = False  # the same for prompts that differ only in their media
    user_only: bool = False  # its chat template accepts no system message
    refuses: tuple[str, ...] = ()  # types of content parts that it rejects
    preprocessing: float = 0.0  # for each medium that is not in the processor's cache (which has no KV)
    processor_cache: bool = True
    counts: int | None = None  # prompt tokens that its usage reports for any prompt
    lists_models: bool = True
    lends_tokenizer: bool = True
    unknown: tuple[str, ...] = ()  # request fields that it rejects
    stays_open: bool = False  # after the answer, until the client disconnects
    body: bytes | None = None  # sent instead of the stream, with status 200


@dataclass(slots=True)
class Volume:
    """The chunks on a KV volume shared by several engines."""

    chunks: set[Key] = field(default_factory=set)
    folder: Path | None = None  # the engines' connectors then store files there by themselves, without cache servers


class FakeCache:
    """An engine's cache server: its memory (L1), the volume (L2), and a hit counter for each."""

    def __init__(self, volume: Volume) -> None:
        self.volume, self.memory = volume, set[Key]()
        self.registry = CollectorRegistry()
        names = [*(f"lookup_hit_{tier}_tokens" for tier in ("l1", "l2")), "l2_store_completed_objects_chunks"]
        *self.hits, self.stored = [Counter(f"lmcache_mp_{name}", "-", registry=self.registry) for name in names]
        rate = "lmcache_mp_l2_load_throughput_GB_per_second"
        self.load_rate = Histogram(rate, "-", registry=self.registry)
        self.pending: list[tuple[int, Sequence[Key]]] = []  # counter reads until the store completes, and the chunks

    def look_up(self, keys: Sequence[Key]) -> int:
        """Returns how many leading chunks it has, and loads those on the volume into memory."""
        found = _prefix(keys, self.memory | self.volume.chunks)
        in_memory = sum(key in self.memory for key in keys[:found])
        for counter, chunks in zip(self.hits, (in_memory, found - in_memory), strict=True):
            counter.inc(chunks * CHUNK_SIZE)
        if found > in_memory:
            self.load_rate.observe(LOAD_RATE)
        self.memory |= set(keys[:found])
        return found

    def store(self, keys: Sequence[Key], late_looks: int) -> None:
        self.memory |= set(keys)
        self.pending.append((late_looks, keys))
        if not late_looks:
            self._complete()

    def metrics(self) -> bytes:
        page = generate_latest(self.registry)
        self.pending = [(looks - 1, keys) for looks, keys in self.pending]
        self._complete()
        return page

    def _complete(self) -> None:
        for looks, keys in self.pending:
            if looks <= 0:
                self.volume.chunks |= set(keys)
                self.stored.inc(len(keys))
                for key in keys if self.volume.folder else ():
                    (self.volume.folder / f"{hash(key)}.bin").touch()
        self.pending = [(looks, keys) for looks, keys in self.pending if looks > 0]


class FakeEngine:
    """A fake engine that serves on a port of its own inside its context."""

    def __init__(
        self, name: str = "plain-a", behaviour: Behaviour | None = None, volume: Volume | None = None, key: str = ""
    ) -> None:
        self.name, self.behaviour = name, behaviour or Behaviour()
        self.key = key  # API key, required for everything except chat and metrics
        self.cache = FakeCache(volume) if volume else None
        self.asked = 0  # chat requests
        self.last: Body = {}  # the latest of them
        self.own, self.processed = set[Key](), set[str]()
        self.vocabulary: list[str] = []
        self.registry = registry = CollectorRegistry()
        self.by_source = Counter("vllm:prompt_tokens_by_source", "-", ["source"], registry=registry)
        for source in ("local_compute", "local_cache_hit", "external_kv_transfer"):
            self.by_source.labels(source)
        self.mm_cache_hits = Counter("vllm:mm_cache_hits", "-", registry=registry)
        self.first_tokens = Histogram("vllm:time_to_first_token_seconds", "-", registry=registry)
        self.lookups = Histogram("vllm:lmcache_mp_lookup_duration_seconds", "-", registry=registry)
        self.running = Gauge("vllm:num_requests_running", "-", registry=registry)
        self.finished = Counter("vllm:request_success", "-", ["finished_reason"], registry=registry).labels("stop")
        facts = {"enable_prefix_caching": "True", "cache_dtype": "auto", "block_size": str(CHUNK_SIZE)}
        Gauge("vllm:cache_config_info", "-", facts, registry=registry).labels(**facts).set(1)
        self.started = Gauge("process_start_time_seconds", "-", registry=registry)
        self.started.set(time.time())
        self.lock = threading.Lock()
        self.server = _Server(self)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def engine(self) -> Engine:
        """The engine as the code under test expects it."""
        port, side = self.server.server_address[1], self.name[-1]
        url = f"http://127.0.0.1:{port}"
        if not self.cache:
            return Engine(self.name, ServiceKind.PLAIN, side, port, url, chunk_size=CHUNK_SIZE)
        folder = self.cache.volume.folder
        store = (
            KVFolder(folder, "offloading") if folder else CacheServer(f"cache-{side}", side, port, 0, f"{url}/cache")
        )
        return Engine(self.name, ServiceKind.LMCACHE, side, port, url, store, chunk_size=CHUNK_SIZE)

    def restart(self) -> None:
        """Simulates a new process: empties its memory and its cache server's."""
        with self.lock:
            self.own.clear()
            if self.cache:
                self.cache.memory.clear()
            self.started.set(time.time())

    def json(self, path: str, body: Body) -> object:
        """Returns the answer to a request other than chat and metrics. Raises LookupError for an unknown path."""
        answers = {
            "/v1/models": lambda: {"data": [{"id": "arena", "root": "fake", "max_model_len": MAX_MODEL_LEN}]},
            "/health": dict,
            "/version": lambda: {"version": "0.32.0"},
            "/tokenize": lambda: self._tokenize(body),
            "/detokenize": lambda: {"prompt": " ".join(self.vocabulary[token] for token in body["tokens"])},
            "/reset_prefix_cache": self._reset,
            "/last": lambda: self.last,  # not in vLLM: lets tests check the last request
        }
        if self.cache:
            answers |= {
                "/cache/healthcheck": dict,
                "/cache/status": lambda: {"chunk_size": CHUNK_SIZE},
                "/cache/lmc_version": lambda: "0.5.6",
            }
        if not self.behaviour.lists_models:
            del answers["/v1/models"]
        if not self.behaviour.lends_tokenizer:
            del answers["/tokenize"]
        return answers[path]()

    def metrics(self, path: str) -> bytes | None:
        with self.lock:
            if path == "/cache/metrics" and self.cache:
                return self.cache.metrics()
            return generate_latest(self.registry) if path == "/metrics" else None

    def chat(self, body: Body, wait: Wait = time.sleep) -> Generator[str]:
        """Yields the answer as server-sent events. Raises ConnectionResetError if the connection is to be reset."""
        self.last = body
        with self.running.track_inprogress():
            yield from self._answer(body, wait)
        self.finished.inc()

    def _answer(self, body: Body, wait: Wait) -> Iterator[str]:
        does, arrived = self.behaviour, time.perf_counter()
        self._process(body)
        keys, words = self._keys(body), self._words(body)
        cached = self._prefill(keys, len(words))
        looked_up = time.perf_counter()
        role = _event(choice={"role": "assistant", "content": ""})
        if does.early_role:
            yield role
        yield from [": ping\n\n"] * does.keep_alives
        wait(does.until_text + does.per_token * (len(words) - cached))
        self._observe(arrived, looked_up)
        if not does.early_role:
            yield role
        if does.reasoning:
            yield _event(choice={"reasoning": does.reasoning})
            wait(does.between)
        if does.stamps:
            yield _event(choice={"content": f"{time.time() * 1e3:.1f} "})
        answer = (*does.answer, *_question(body)) if does.echoes else does.answer
        for number, start in enumerate(range(0, len(answer), does.tokens_per_chunk)):
            if number == does.breaks_after:
                raise ConnectionResetError
            wait(does.between if number else 0)
            if number and does.between_chunks and self.asked >= does.breaks_from:
                yield f"{does.between_chunks}\n\n"
            tokens = answer[start : start + does.tokens_per_chunk]
            yield _event(choice={"content": " ".join(tokens) + " "}, logprobs=tokens if body.get("logprobs") else ())
        self._store(keys[cached // CHUNK_SIZE :])
        if does.usage:
            prompt_tokens = len(words) if does.counts is None else does.counts
            counted = {"prompt_tokens": prompt_tokens, "completion_tokens": len(answer)}
            usage = counted | {"total_tokens": 0, "prompt_tokens_details": {"cached_tokens": cached}}
            yield _event(usage=usage, metrics=does.metrics)
        yield "data: [DONE]\n\n"
        if does.stays_open:
            wait(20)

    def _observe(self, arrived: float, looked_up: float) -> None:
        """Puts a request's first token and its lookup into the histograms; connectors without a server have none."""
        if self.behaviour.histograms:
            self.first_tokens.observe(time.perf_counter() - arrived)
            if self.cache and not self.cache.volume.folder:
                self.lookups.observe(looked_up - arrived)

    def _process(self, body: Body) -> None:
        """Simulates preprocessing the media; those of earlier requests are in the processor's cache."""
        for medium in dict.fromkeys(word for word in self._words(body) if word.startswith("<media")):
            with self.lock:
                cached = self.behaviour.processor_cache and medium in self.processed
                self.processed.add(medium)
                self.mm_cache_hits.inc(cached)
            time.sleep(0 if cached else self.behaviour.preprocessing)

    def refusal(self, path: str, body: Body) -> tuple[int, str]:
        """Returns the status and message of an error; the message is empty if the request is answered."""
        does, messages = self.behaviour, body.get("messages", ())
        tokenizes = path != "/tokenize" or does.lends_tokenizer
        if does.user_only and tokenizes and messages and messages[0]["role"] == "system":
            return 400, "System role not supported"
        if path != CHAT:
            return 200, ""
        if unknown := [name for name in does.unknown if name in body]:
            return 400, f"Unsupported parameter: '{unknown[0]}' is not supported with this model."
        parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
        if refused := [part["type"] for part in parts if part["type"] in does.refuses]:
            return 400, f"At most 0 {refused[0]} may be provided in one prompt."
        self.asked += does.status != 200
        return does.status, "" if does.status == 200 else does.says

    def _prefill(self, keys: Sequence[Key], prompt_tokens: int) -> int:
        """Returns the number of cached tokens. The chunk with the last token is always computed."""
        with self.lock:
            self.asked += 1
            reusable = keys[: (prompt_tokens - 1) // CHUNK_SIZE]
            own = _prefix(reusable, self.own)
            found = max(own, self.cache.look_up(reusable) if self.cache else 0)
            self.own |= set(keys)
            computed = prompt_tokens - found * CHUNK_SIZE + self.behaviour.bystander
            self.by_source.labels("local_cache_hit").inc(own * CHUNK_SIZE)
            self.by_source.labels("external_kv_transfer").inc((found - own) * CHUNK_SIZE)
            self.by_source.labels("local_compute").inc(computed)
            return found * CHUNK_SIZE

    def _store(self, keys: Sequence[Key]) -> None:
        with self.lock:
            if self.cache:
                self.cache.store(keys, self.behaviour.late_looks)

    def _reset(self) -> Body:
        """Clears the prefix cache but, like vLLM, not the cache server."""
        if not self.behaviour.lying_reset:
            self.own.clear()
        return {"success": True}

    def _tokenize(self, body: Body) -> Body:
        words = self._words(body)
        self.vocabulary += sorted(set(words) - set(self.vocabulary))
        number = {word: index for index, word in enumerate(self.vocabulary)}
        return {"count": len(words), "max_model_len": MAX_MODEL_LEN, "tokens": [number[word] for word in words]}

    def _words(self, body: Body) -> Sequence[str]:
        if "prompt" in body:
            return str(body["prompt"]).split()
        return [word for message in body["messages"] for word in [message["role"], *_content(message["content"])]]

    def _keys(self, body: Body) -> Sequence[Key]:
        """Returns a key for each complete chunk of the prompt, as the cache distinguishes them."""
        seen = list(self._words(body))
        if self.behaviour.nonce_blind:
            seen = ["" if NONCE.fullmatch(word) else word for word in seen]
        if self.behaviour.media_blind:
            seen = ["<media>" if word.startswith("<media") else word for word in seen]
        return [tuple(seen[:end]) for end in range(CHUNK_SIZE, len(seen) + 1, CHUNK_SIZE)]


def topology_of(engines: Sequence[FakeEngine]) -> Topology:
    """Returns the topology. Engines are in the arena's order: two plain ones, then two with a cache server."""
    known = tuple(fake.engine for fake in engines)
    return Topology(known, tuple(engine.cache for engine in known if engine.cache))


def _prefix(keys: Sequence[Key], held: set[Key]) -> int:
    """Returns how many leading keys are in `held`."""
    return next((index for index, key in enumerate(keys) if key not in held), len(keys))


def _content(content: str | Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the words of a message. A medium is MEDIA_TOKENS words with a hash of its content, in any form."""
    if isinstance(content, str):
        yield from content.split()
        return
    for part in content:
        if part["type"] == "text":
            yield from part["text"].split()
        else:
            [carried] = [value for key, value in part.items() if key != "type"]
            file = (carried.get("data") or carried["url"]).rpartition(",")[2]
            yield from [f"<media {hashlib.sha256(file.encode()).hexdigest()}>"] * MEDIA_TOKENS


def _question(body: Body) -> Sequence[str]:
    """Returns the words of the last message, without media."""
    return [word for word in _content(body["messages"][-1]["content"]) if not word.startswith("<media ")]


def _event(
    *,
    choice: Body | None = None,
    usage: Body | None = None,
    metrics: Body | None = None,
    logprobs: Sequence[str] = (),
) -> str:
    """Returns a chunk as a server-sent event: a choice with a delta, or usage without choices."""
    certain = [{"token": token, "top_logprobs": [{"token": token, "logprob": -0.1}]} for token in logprobs]
    choices = [] if choice is None else [{"index": 0, "delta": choice, "logprobs": {"content": certain}}]
    frame = {"id": "chat-1", "object": "chat.completion.chunk", "created": 0, "model": "arena"}
    return f"data: {json.dumps({**frame, 'choices': choices, 'usage': usage, 'metrics': metrics})}\n\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for requests in flight

    def __init__(self, fake: FakeEngine) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    """Serves one request per connection: a client that stayed connected would block its thread."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        page = self.server.fake.metrics(self.path)
        if page is None:
            self._json({})
        else:
            self._whole(200, "text/plain", page)

    def do_POST(self) -> None:
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
        status, message = fake.refusal(self.path, body)
        if message:
            self._whole(status, "application/json", json.dumps({"error": {"message": message}}).encode())
        elif self.path != CHAT:
            self._json(body)
        elif fake.behaviour.body is not None:
            self._whole(200, "application/json", fake.behaviour.body)
        else:
            self._stream(fake.chat(body, self._wait))

    def log_message(self, *_: object) -> None: ...

    def _json(self, body: Body) -> None:
        key = self.server.fake.key
        if key and self.headers["Authorization"] != f"Bearer {key}":
            return self._whole(401, "application/json", b"{}")
        try:
            self._whole(200, "application/json", json.dumps(self.server.fake.json(self.path, body)).encode())
        except LookupError:
            self._whole(404, "application/json", b"{}")

    def _whole(self, status: int, kind: str, content: bytes) -> None:
        self._head(status, {"Content-Type": kind, "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _wait(self, seconds: float) -> None:
        """Waits, and like vLLM notices at once when the client closes the connection."""
        if select.select([self.connection], [], [], seconds)[0]:
            raise BrokenPipeError

    def _stream(self, events: Generator[str]) -> None:
        self._head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        with suppress(BrokenPipeError), closing(events):  # the client disconnected
            try:
                for event in map(str.encode, events):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                self.wfile.write(b"0\r\n\r\n")
            except ConnectionResetError:
                self._reset()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        """Resets the connection: without lingering, closing a socket sends RST instead of FIN. It is detached so that
        nothing else closes it first."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
