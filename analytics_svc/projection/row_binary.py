"""ClickHouse's RowBinary: values as bytes and back. Texts are bytes, which may be any."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from svc_runtime.varint import encode_varint

Encode = Callable[[Any], bytes]


def text(value: str | bytes) -> bytes:
    """String, LowCardinality(String)."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    return encode_varint(len(value)) + value


def texts(values: Sequence[str | bytes]) -> bytes:
    """Array(String)."""
    return encode_varint(len(values)) + b"".join(map(text, values))


def text_map(pairs: Mapping[bytes, bytes]) -> bytes:
    """Map(String, String)."""
    return encode_varint(len(pairs)) + b"".join([text(name) + text(value) for name, value in pairs.items()])


def uuid(value: str) -> bytes:
    """UUID from its text. Raise ValueError for what is none."""
    number = UUID(value).int
    return struct.pack("<QQ", number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF)


uint8: Encode = struct.Struct("<B").pack
uint16: Encode = struct.Struct("<H").pack
uint32: Encode = struct.Struct("<I").pack
int64: Encode = struct.Struct("<q").pack


def nullable(encode: Encode) -> Encode:
    """Nullable(…)."""
    return lambda value: b"\x01" if value is None else b"\x00" + encode(value)


def rows(encoders: Sequence[Encode], values: Iterable[Sequence[Any]]) -> bytes:
    """Return rows, each of a value for each encoder."""
    return b"".join([b"".join([encode(value) for encode, value in zip(encoders, row, strict=True)]) for row in values])


class Reader:
    """Reads an answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Nothing is left."""
        return self._at >= len(self._data)

    def varint(self) -> int:
        """A length."""
        number = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 128:
                return number
            shift += 7

    def text(self) -> bytes:
        """String."""
        length = self.varint()
        return self.take(length)

    def texts(self) -> tuple[bytes, ...]:
        """Array(String)."""
        return tuple([self.text() for _ in range(self.varint())])

    def take(self, count: int) -> bytes:
        """So many bytes as they are: FixedString, UInt128."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def uint8(self) -> int:
        """UInt8."""
        self._at += 1
        return self._data[self._at - 1]
