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

from cache.lmcache_server import Deserializer, ObjectKey, Serializer, WholeLoadProcessor, key_provider
from cache.lmcache_volume import file_of, is_old, renew
from cache.verify_files import is_whole
from cache.verify_files import main as verify
from cache.volume import FINGERPRINT, KEY_ID, SERDE, key_id

KEY, CHUNK = ObjectKey(b"\1" * 32, "owner/name", 0), os.urandom(100_000)
TEMPORARY = tempfile.TemporaryDirectory()  # deleted when this process ends
FOLDER = Path(TEMPORARY.name)


def memory(content=b"", size=0):
    """Like LMCache's MemoryObj: `byte_array` is a memoryview in the format of ctypes."""
    held = (ctypes.c_ubyte * max(size, len(content)))(*content)
    return SimpleNamespace(byte_array=memoryview(held), held=held)


def keys(master=b"k" * 32, namespace=FOLDER):
    (FOLDER / "master").write_bytes(master)
    return key_provider(FOLDER / "master", namespace)


def frame_by(serializer, padding=0, key=KEY):
    frame = memory(size=len(CHUNK) + 29 + padding)
    assert serializer.serialize(memory(CHUNK), frame, key) == len(CHUNK) + 29
    return bytes(frame.held)


def outcome(frame, key=KEY, **of_keys):
    restored, file = memory(size=len(CHUNK)), file_of(FOLDER, key)
    file.write_bytes(frame)
    verified = is_whole(file, keys(**of_keys))
    try:
        Deserializer(keys(**of_keys), FOLDER).deserialize([memory(frame)], [restored], [key])
    except Exception as exc:  # noqa: BLE001  every error is a result
        return type(exc).__name__, file.exists(), verified
    return "restored" if bytes(restored.held) == CHUNK else "another content", file.exists(), verified


def verified():
    """Exit codes for a volume with a damaged file: named only, deleted, and verified again; and which file is left."""
    volume = FOLDER / "volume"
    for name, fingerprint in (("own", {"serde": SERDE}), ("unauthenticated", {"serde": "none"}), ("unreadable", [])):
        (volume / name).mkdir(parents=True)
        (volume / name / FINGERPRINT).write_text(json.dumps(fingerprint))
        (volume / name / KEY_ID).write_bytes(key_id(FOLDER / "master"))
        (volume / name / "any.data").touch()
    own = volume / "own"
    (own / "any.data").unlink()
    frame = frame_by(Serializer(keys(namespace=own)))
    whole, damaged = (file_of(own, ObjectKey(bytes([number]) * 32, "owner/name", 0)) for number in (1, 2))
    for file in (whole, damaged):
        file.write_bytes(frame)
    codes = [verify(volume, FOLDER / "master", repair=repair) for repair in (False, True, False)]
    return codes, whole.exists(), damaged.exists(), (volume / "unauthenticated" / "any.data").exists()


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
    """Whether a file of `age` seconds and `size` bytes is left for a load of 100 bytes, and whether it is old."""
    file, now = FOLDER / "any.data", time.time()
    file.write_bytes(b"x" * size)
    os.utime(file, (now - age, now - age))
    return is_old(file, 100, now), file.exists()


def renewed():
    """Whether files get a new time, the first ones the newest, although one of them is gone."""
    files = [FOLDER / f"{number}.data" for number in range(3)]
    for file in files[:2]:
        file.touch()
        os.utime(file, (0, 0))
    renew(files)
    times = [file.stat().st_mtime_ns for file in files[:2]]
    return times[0] >= times[1] > time.time_ns() - 10**10


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
    "the same name in another namespace": outcome(FRAME, namespace=FOLDER / "other"),
    "another key": outcome(FRAME, master=b"x" * 32),
    "a frame of LMCache's own serde": outcome(frame_by(AesGcmSerializer(keys()))),
    "verified": verified(),
    "renewed": renewed(),
    "a damaged load": damaged_load(),
    "a load": {
        "old": prepared(90, 100),
        "young": prepared(30, 100),
        "short": prepared(90, 99),
        "long": prepared(90, 101),
    },
}
json.dump(CASES, sys.stdout)
