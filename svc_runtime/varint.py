"""Variable-length numbers, as protobuf and ClickHouse's RowBinary have them."""

_VARINTS: tuple[bytes, ...] = tuple(bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(16384))


def encode_varint(number: int) -> bytes:
    """Return the variable-length form of a number >= 0."""
    if number < 16384:
        return _VARINTS[number]
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)
