"""Encrypts and decrypts chunks with the cache servers' serde. The engines' Python runs it, because LMCache is there.

The last line of standard output is a JSON object: what became of each case, "restored" or the name of an error, and
whether the chunk's file is still there.
"""

import ctypes
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from lmcache.v1.distributed.serde.aesgcm import AesGcmSerializer

from cache.lmcache_server import KEY_PURPOSE, Deserializer, HkdfKeyProvider, ObjectKey, Serializer, WholeLoadProcessor
from cache.lmcache_volume import file_of, prepare_load
from cache.verify_files import is_whole

KEY, CHUNK = ObjectKey(b"\1" * 32, "owner/name", 0), os.urandom(100_000)
TEMPORARY = tempfile.TemporaryDirectory()  # deleted when this process ends
FOLDER = Path(TEMPORARY.name)


def memory(content=b"", size=0):
    """Like LMCache's MemoryObj: `byte_array` is a memoryview in the format of ctypes."""
    held = (ctypes.c_ubyte * max(size, len(content)))(*content)
    return SimpleNamespace(byte_array=memoryview(held), held=held)


def keys(master=b"k" * 32):
    return HkdfKeyProvider(master, key_len=32, info_prefix=KEY_PURPOSE)


def frame_by(serializer, padding=0, key=KEY):
    frame = memory(size=len(CHUNK) + 29 + padding)
    assert serializer.serialize(memory(CHUNK), frame, key) == len(CHUNK) + 29
    return bytes(frame.held)


def outcome(frame, key=KEY, master=b"k" * 32):
    restored, file = memory(size=len(CHUNK)), file_of(FOLDER, key)
    file.write_bytes(frame)
    verified = is_whole(file, keys(master))
    try:
        Deserializer(keys(master), FOLDER).deserialize([memory(frame)], [restored], [key])
    except Exception as exc:  # noqa: BLE001  every error is a result
        return type(exc).__name__, file.exists(), verified
    return "restored" if bytes(restored.held) == CHUNK else "another content", file.exists(), verified


def damaged_load():
    """Which files of a load are left, of which the second and the third are damaged; and its result for LMCache."""
    several = [ObjectKey(bytes([number]) * 32, "owner/name", 0) for number in range(4)]
    frames = [frame_by(Serializer(keys()), key=key) for key in several]
    frames[1:3] = (flipped(frames[1], 5000), frames[2][:-1])
    for key in several:
        file_of(FOLDER, key).touch()
    processor = WholeLoadProcessor(Serializer(keys()), Deserializer(keys(), FOLDER))
    task = processor.submit_deserialize([*map(memory, frames)], [memory(size=len(CHUNK)) for _ in several], several)
    processor.close()  # waits for the task
    return [file_of(FOLDER, key).exists() for key in several], processor.query_deserialize_result(task)


def prepared(age, size):
    """Whether a file of `age` seconds and `size` bytes is there when LMCache loads 100 bytes from it, and is young."""
    file, now = FOLDER / "any.data", time.time()
    file.write_bytes(b"x" * size)
    os.utime(file, (now - age, now - age))
    prepare_load(file, 100, now)
    return file.exists(), file.exists() and file.stat().st_mtime > now - 1


def flipped(frame, at):
    return frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]


FRAME = frame_by(Serializer(keys()))
CASES = {
    "the frame": outcome(FRAME),
    "a frame in a longer buffer": outcome(frame_by(Serializer(keys()), padding=4096)),
    "one bit of the content": outcome(flipped(FRAME, 5000)),
    "one bit of the initialisation vector": outcome(flipped(FRAME, 3)),
    "one bit of the tag": outcome(flipped(FRAME, len(FRAME) - 1)),
    "another version": outcome(flipped(FRAME, 0)),
    "a short frame": outcome(FRAME[:-1]),
    "an empty file": outcome(b""),
    "the name of another chunk": outcome(FRAME, ObjectKey(b"\2" * 32, "owner/name", 0)),
    "the name of another model": outcome(FRAME, ObjectKey(b"\1" * 32, "owner/other", 0)),
    "the name of another rank": outcome(FRAME, ObjectKey(b"\1" * 32, "owner/name", 1)),
    "the name of another visitor": outcome(FRAME, ObjectKey(b"\1" * 32, "owner/name", 0, 0, "visitor")),
    "another key": outcome(FRAME, master=b"x" * 32),
    "a frame of LMCache's own serde": outcome(frame_by(AesGcmSerializer(keys()))),
    "a damaged load": damaged_load(),
    "a load": {
        "old": prepared(90, 100),
        "young": prepared(30, 100),
        "short": prepared(90, 99),
        "long": prepared(90, 101),
    },
}
json.dump(CASES, sys.stdout)
