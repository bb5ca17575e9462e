"""Random damage on the KV volume: no answer changes, and the request that meets it makes every file whole again.

ARENA_TEST_CORRUPTIONS=1000 damages so many files; ARENA_TEST_SEED repeats a run. What happens without authentication is
in test_5_foreground.py.
"""

import asyncio
import os
import random
import re
import time

import pytest
from live.commands import ask_and_store, run_arena

from bench.options import QUESTION
from cache.volume import current_namespace
from client.ask import ask_whole
from client.documents import HANDBOOK, read_document
from client.prompt import Prompt, new_nonce
from client.tokenizer import fill_to_length
from config.settings import load_settings

pytestmark = pytest.mark.live
CORRUPTIONS = int(os.environ.get("ARENA_TEST_CORRUPTIONS", "60"))
SEED = int(os.environ.get("ARENA_TEST_SEED", time.time_ns()))
TOKENS = 1104  # 17 chunks of 64
RESOLUTION = 1e-4  # nats, as in bench/answers.py


def flip(rng, content):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def cut(rng, content):
    return content[: rng.randrange(len(content))]


def lengthen(rng, content):
    return content + rng.randbytes(rng.randrange(1, 4096))


def overwrite(rng, content):
    place = rng.randrange(len(content) - 4096)
    return content[:place] + bytes(4096) + content[place + 4096 :]


def empty(rng, content):
    return b""


DAMAGE = (flip, flip, cut, lengthen, overwrite, empty)


def damage(rng, files):
    """Damages every file, or gives it the content of another one."""
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, contents, strict=True):
        others = [each for each in contents if each != content]
        change = rng.choice((*DAMAGE, None))
        file.write_bytes(change(rng, content) if change else rng.choice(others))


def apart(one, other):
    """The largest difference of two answers' log-probabilities, in nats, up to where their texts diverge."""
    largest = 0.0
    for ours, theirs in zip(one.logprobs, other.logprobs, strict=False):
        both = ours.best.keys() & theirs.best.keys()
        largest = max([largest, *(abs(ours.best[token] - theirs.best[token]) for token in both)])
        if ours.token != theirs.token:
            break
    return largest


def test_no_answer_changes_and_every_file_is_whole_again_after_one_request(stack):
    print(f"seed {SEED}: ARENA_TEST_SEED={SEED} repeats this")
    rng, folder, corrupted = random.Random(SEED), current_namespace(load_settings(os.environ)[0]), set()
    noise, worst = RESOLUTION, 0.0
    while len(corrupted) < CORRUPTIONS:
        before = set(folder.glob("*.data"))
        prompt = Prompt(QUESTION, read_document(HANDBOOK), new_nonce(), 8, ignore_eos=True, top_logprobs=5)
        prompt = asyncio.run(fill_to_length(stack.engine("plain-a"), prompt, TOKENS))
        asyncio.run(ask_and_store(stack.engine("lmcache-a"), prompt))
        cold, warm = (asyncio.run(ask_whole(stack.engine("plain-a"), prompt)) for _ in range(2))
        noise = max(noise, 2 * apart(cold, warm))
        files = sorted(set(folder.glob("*.data")) - before)
        assert len(files) == TOKENS // cold.chunk_size
        damage(rng, files)
        damaged = {file: file.read_bytes() for file in files}
        reply = asyncio.run(ask_and_store(stack.engine("lmcache-b"), prompt))
        assert reply.text
        worst = max(worst, min(apart(cold, reply), apart(warm, reply)))
        assert [file.name for file in files if file.read_bytes() == damaged[file]] == []
        corrupted |= set(files)
    verified = run_arena("cache", "verify")
    print(f"{len(corrupted)} files damaged; worst answer {worst:.4f} nats, noise floor {noise:.4f}; {verified.stderr}")
    assert re.search(rf"^{folder.name}: [\d,]+ files", verified.stderr, re.MULTILINE)
    assert [file.name for file in corrupted if file.name in verified.stdout] == []
    assert worst <= noise
