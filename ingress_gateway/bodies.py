"""Reads a body: capped, timed, decoded. Nothing here parses it."""

import asyncio
import io
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Protocol, TypeAlias

import brotli  # type: ignore[import-untyped]  # the library has no types
import zstandard
from aiohttp import HttpVersion11, web
from aiohttp.web_protocol import RequestPayloadError

from ingress_gateway.settings import GatewaySettings
from svc_runtime.errors import Code, TooLargeError, TrellisError

_STEP = 256 * 1024
_PIECE = 16 * 1024
_ZSTD_PIECE = 256
_MOST_MEMBERS = 1000
_MOST_ENCODINGS = 2
_Read: TypeAlias = Callable[[int], bytes]
"""Gives the next bytes, at most so many; none at the end."""


class RequestTimeoutError(TrellisError):
    """The body came too slowly."""

    code = Code.DEADLINE_EXCEEDED


class BodyBrokenError(TrellisError):
    """The body's framing is broken: where it ends cannot be known."""

    code = Code.INVALID_ARGUMENT


class EncodingUnsupportedError(TrellisError):
    """A content encoding that we do not know, or bytes that are not of it."""

    code = Code.ENCODING_UNSUPPORTED


async def read_body(request: web.BaseRequest, settings: GatewaySettings, limit: int) -> bytes:
    """Return the body after content decoding, at most ``limit`` bytes before and after.

    Raises TooLargeError, RequestTimeoutError (below the slowest honest pace), BodyBrokenError and
    EncodingUnsupportedError.
    """
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > limit:
        raise TooLargeError(f"the body has {int(length)} bytes; the limit is {limit}")
    give_word(request)
    raw = await _receive(request, settings, limit)
    encodings = [e.strip().lower() for e in request.headers.get("Content-Encoding", "").split(",")]
    encodings = [e for e in encodings if e and e != "identity"]
    if not encodings:
        return raw
    if len(encodings) > _MOST_ENCODINGS:
        raise EncodingUnsupportedError(f"{len(encodings)} content encodings; the limit is {_MOST_ENCODINGS}")
    return await asyncio.to_thread(_decode_all, raw, encodings, limit)


def give_word(request: web.BaseRequest) -> None:
    """Tell a client that sends its body when it hears that it may."""
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    waits = expects and request.version >= HttpVersion11 and not request.content.is_eof()
    if waits and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _receive(request: web.BaseRequest, settings: GatewaySettings, limit: int) -> bytes:
    chunks: list[bytes] = []
    received = 0
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        while not request.content.at_eof():
            async with asyncio.timeout_at(started + settings.body_seconds + received / settings.body_bytes_per_second):
                chunk = await request.content.readany()
            received += len(chunk)
            if received > limit:
                raise TooLargeError(f"the body has more than {limit} bytes, the limit")
            chunks.append(chunk)
    except TimeoutError:
        raise RequestTimeoutError(
            f"{received} bytes of the body came in {loop.time() - started:.0f} s; "
            f"the slowest pace is {settings.body_bytes_per_second} bytes/s after {settings.body_seconds:.0f} s"
        ) from None
    except RequestPayloadError:
        raise BodyBrokenError(f"the framing of the body is broken after {received} bytes") from None
    return b"".join(chunks)


def _decode_all(data: bytes, encodings: list[str], limit: int) -> bytes:
    for encoding in reversed(encodings):
        data = decode(data, encoding, limit)
    return data


def decode(data: bytes, encoding: str, limit: int) -> bytes:
    """Undo one content encoding; memory stays at ``limit`` and a step whatever the bytes promise."""
    decoder = _DECODERS.get(encoding)
    if decoder is None:
        raise EncodingUnsupportedError(
            f"the content encoding {encoding[:32]!r} is not known; known are {', '.join(sorted(_DECODERS))}"
        )
    decoded: list[bytes] = []
    size = 0
    try:
        for chunk in decoder(data):
            size += len(chunk)
            if size > limit:
                raise TooLargeError(f"the body decodes to more than {limit} bytes, the limit")
            decoded.append(chunk)
    except (zlib.error, zstandard.ZstdError, brotli.error, EOFError, ValueError):
        raise EncodingUnsupportedError(f"the body is not {encoding}") from None
    return b"".join(decoded)


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def gunzip(read: _Read) -> Iterator[bytes]:
    """Unzip what ``read`` gives, in steps. Members may follow each other, and zeros the last one.

    Raise ValueError, EOFError or zlib.error for what is no gzip, or has members without end.
    """
    piece, members = read(_PIECE), 0
    while piece:
        members += 1
        if members > _MOST_MEMBERS:
            raise ValueError(f"more than {_MOST_MEMBERS} members")
        piece = yield from _inflate(zlib.decompressobj(wbits=31), read, piece)
        piece = piece.lstrip(b"\0")
        while not piece and (more := read(_PIECE)):
            piece = more.lstrip(b"\0")


def _gzip(data: bytes) -> Iterator[bytes]:
    yield from gunzip(io.BytesIO(data).read)


def _deflate(data: bytes) -> Iterator[bytes]:
    """With the zlib header that the standard asks for, or raw, as some clients send it."""
    has_header = len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
    yield from _inflate(zlib.decompressobj(wbits=15 if has_header else -15), io.BytesIO(data).read)


def _inflate(inflater: _Inflater, read: _Read, piece: bytes = b"") -> Generator[bytes, None, bytes]:
    """Inflate a stream that begins with ``piece``, in steps; return what was read beyond its end.

    Pieces keep what zlib copies small.
    """
    while not inflater.eof:
        piece = piece or read(_PIECE)
        is_starved = not piece
        chunk = inflater.decompress(piece, _STEP)
        piece = inflater.unconsumed_tail
        if chunk:
            yield chunk
        elif is_starved and not inflater.eof:
            raise EOFError
    return inflater.unused_data


def _brotli(data: bytes) -> Iterator[bytes]:
    decompressor = brotli.Decompressor()
    yield decompressor.process(data, output_buffer_limit=_STEP)
    while not decompressor.is_finished():
        chunk = decompressor.process(b"", output_buffer_limit=_STEP)
        if not chunk and not decompressor.is_finished():
            raise EOFError
        yield chunk


def _zstd(data: bytes) -> Iterator[bytes]:
    """Frames may follow each other. Pieces are so small that none comes to more than 8 MiB."""
    # The window is bounded: a frame may ask for gigabytes of memory.
    decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
    position = frames = 0
    while position < len(data):
        frames += 1
        if frames > _MOST_MEMBERS:
            raise ValueError(f"more than {_MOST_MEMBERS} frames")
        frame = decompressor.decompressobj()
        while not frame.eof:
            piece = data[position : position + _ZSTD_PIECE]
            if not piece:
                raise EOFError
            position += len(piece)
            yield frame.decompress(piece)
        position -= len(frame.unused_data)


_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
