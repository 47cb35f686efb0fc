"""Read a TensorFlow 2 checkpoint ("tensor bundle") with numpy alone.

`NAME.index` is a LevelDB table of protocol-buffer entries, each of which says where in
`NAME.data-00000-of-00001` a tensor's bytes lie (tensorflow/core/protobuf/tensor_bundle.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FOOTER_BYTES = 48
DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64}  # numbers of tensorflow.DataType
DTYPE, SHAPE, OFFSET, SIZE = 1, 2, 4, 5  # fields of BundleEntryProto
DIMENSION, LENGTH = 2, 1  # of TensorShapeProto and its Dim


def read_checkpoint(folder: Path, name: str = "") -> dict[str, np.ndarray]:
    """Every numeric tensor by its name. Raises OSError or ValueError when it is no checkpoint."""
    index = (folder / f"{name}.index").read_bytes()
    data = (folder / f"{name}.data-00000-of-00001").read_bytes()
    try:
        return {
            key: tensor
            for _, handle in _block(index, *_index_block(index))
            for key, tensor in _tensors(index, data, handle)
        }
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / name}.index is damaged") from error


def _index_block(index: bytes) -> tuple[int, int]:
    """Offset and size of the table's own index, from its footer."""
    footer, at = index[-FOOTER_BYTES:], 0
    for _ in range(2):  # the meta index, which is empty
        _, at = _varint(footer, at)
    offset, at = _varint(footer, at)
    return offset, _varint(footer, at)[0]


def _tensors(index: bytes, data: bytes, handle: bytes) -> Iterator[tuple[str, np.ndarray]]:
    offset, at = _varint(handle, 0)
    for key, value in _block(index, offset, _varint(handle, at)[0]):
        entry = dict(_fields(value))
        dtype = DTYPES.get(_number(entry.get(DTYPE, 0)))
        if not key or dtype is None:  # the header, or a string
            continue
        start = _number(entry.get(OFFSET, 0))
        raw = data[start : start + _number(entry.get(SIZE, 0))]
        yield key.decode(), np.frombuffer(raw, dtype).reshape(_shape(entry.get(SHAPE, b"")))


def _shape(proto: int | bytes) -> list[int]:
    assert isinstance(proto, bytes)
    sizes = [dict(_fields(v)) for k, v in _fields(proto) if k == DIMENSION and isinstance(v, bytes)]
    return [_number(size.get(LENGTH, 0)) for size in sizes]


def _number(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A base-128 number and where it ends."""
    value = shift = 0
    while True:
        byte = buffer[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB block; a key shares its start with the one before it."""
    if table[offset + size]:
        raise ValueError("the checkpoint's index is compressed")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protocol-buffer message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        raw = message[at : at + size]
        yield tag >> 3, raw if kind == 2 else int.from_bytes(raw, "little")
        at += size
