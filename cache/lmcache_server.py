"""`python -m cache.lmcache_server` is the command `lmcache` with an L2 adapter and a serde of this project.

The serde `arena_aesgcm_3` is AES-GCM as in LMCache's `aesgcm`, with three differences. It decrypts from the buffer that
a file was read into directly to L1, where LMCache's copies each chunk four times through newly allocated memory. The
key of a chunk is authenticated with its content, and each namespace has encryption keys of its own, so a file that is
copied over another one is refused. And a file that is refused is deleted (`cache/lmcache_volume.py` says why). The
cache servers run this module where LMCache is installed; the page and the benchmarks do not import it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lmcache.cli.main import main
from lmcache.v1.distributed.api import ObjectKey
from lmcache.v1.distributed.serde.aesgcm import AesGcmDeserializer, AesGcmSerializer
from lmcache.v1.distributed.serde.async_processor import AsyncSerdeProcessor
from lmcache.v1.distributed.serde.base import SerdeTaskId
from lmcache.v1.distributed.serde.factory import register_serde_factory
from lmcache.v1.distributed.serde.key_provider import HkdfKeyProvider
from lmcache.v1.memory_management import MemoryObj

from cache.lmcache_volume import delete_damaged, file_of
from cache.volume import SERDE

FRAME_VERSION = b"\2"  # LMCache's own frames have 1
IV_BYTES, TAG_BYTES = 12, 16
HEADER_BYTES = len(FRAME_VERSION) + IV_BYTES  # a frame is this header, the ciphertext and the tag: as long as LMCache's
KEY_PURPOSE = b"ttft-arena-kv-3"  # HKDF's `info`: no key is used for two formats


class Serializer(AesGcmSerializer):  # type: ignore[misc]
    """Encrypts a chunk from L1 into a frame."""

    def serialize(self, src: MemoryObj, dst: MemoryObj, key: ObjectKey) -> int:
        """Returns the length of the frame in bytes."""
        plaintext, frame, iv = _bytes(src), _bytes(dst), os.urandom(IV_BYTES)
        end = HEADER_BYTES + len(plaintext) + TAG_BYTES
        frame[:HEADER_BYTES] = FRAME_VERSION + iv
        _cipher(self._keys, key).encrypt_into(iv, plaintext, _name(key), frame[HEADER_BYTES:end])
        return end


class Deserializer(AesGcmDeserializer):  # type: ignore[misc]
    """Decrypts the frames of a load into L1. The files lie in `folder`."""

    def __init__(self, keys: HkdfKeyProvider, folder: Path) -> None:
        super().__init__(keys)
        self._folder = folder

    def deserialize(self, src: Sequence[MemoryObj], dst: Sequence[MemoryObj], keys: Sequence[ObjectKey]) -> None:
        """Deletes the file of each frame that is damaged or of another key, and then raises ValueError or InvalidTag,
        which LMCache takes as a miss of all.

        What it has written to `dst` by then is not authentic; LMCache deletes it.
        """
        fault: Exception | None = None
        for frame, chunk, key in zip(src, dst, keys, strict=True):
            try:
                decrypt_frame(self._keys, key, _bytes(frame), _bytes(chunk))
            except (ValueError, InvalidTag) as exc:
                delete_damaged(file_of(self._folder, key), "is damaged or was not written with this key")
                fault = exc
        if fault:
            raise fault


class WholeLoadProcessor(AsyncSerdeProcessor):  # type: ignore[misc]
    """Gives the deserializer all chunks of a load at once: LMCache's stops at the first that is refused, and the others
    would each take another load until they are found."""

    def submit_deserialize(
        self, src_objs: list[MemoryObj], dst_objs: list[MemoryObj], keys: list[ObjectKey]
    ) -> SerdeTaskId:
        return super().submit_deserialize([src_objs], [dst_objs], [keys])


def decrypt_frame(keys: HkdfKeyProvider, key: ObjectKey, frame: memoryview, plaintext: memoryview) -> None:
    """Decrypts a chunk's frame, which may be in a longer buffer. Raises ValueError or InvalidTag if it is not whole."""
    end = HEADER_BYTES + len(plaintext) + TAG_BYTES
    if len(frame) < end or bytes(frame[:1]) != FRAME_VERSION:
        raise ValueError("not a frame of this version")
    iv = bytes(frame[1:HEADER_BYTES])
    _cipher(keys, key).decrypt_into(iv, frame[HEADER_BYTES:end], _name(key), plaintext)


def make_serde(options: Mapping[str, object]) -> WholeLoadProcessor:
    """Builds the serde from `master_key_path`, `folder` and `max_workers`. Raises OSError if the key cannot be read."""
    keys = key_provider(Path(str(options["master_key_path"])), Path(str(options["folder"])))
    deserializer = Deserializer(keys, Path(str(options["folder"])))
    return WholeLoadProcessor(Serializer(keys), deserializer, max_workers=int(str(options["max_workers"])))


def key_provider(key_file: Path, namespace: Path) -> HkdfKeyProvider:
    """Derives a namespace's keys, one for each salt, from the master key in the file. Raises OSError if that cannot be
    read."""
    purpose = b"/".join((KEY_PURPOSE, os.fsencode(namespace.name), b""))
    return HkdfKeyProvider(key_file.read_bytes(), key_len=32, info_prefix=purpose)


def _cipher(keys: HkdfKeyProvider, key: ObjectKey) -> AESGCM:
    return AESGCM(keys.get_key(key.cache_salt))


def _name(key: ObjectKey) -> bytes:
    """The chunk's key, in the form in which LMCache names its files; model names and salts have no @."""
    parts = (key.model_name, f"{key.kv_rank:08x}", f"{key.object_group_id:x}", key.chunk_hash.hex(), key.cache_salt)
    return "@".join(parts).encode()


def _bytes(memory: MemoryObj) -> memoryview:
    return memoryview(memory.byte_array).cast("B")


register_serde_factory(SERDE, make_serde)

if __name__ == "__main__":
    sys.exit(main())
