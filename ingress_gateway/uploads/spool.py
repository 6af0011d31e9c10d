"""Receives a file to disk: of a plain or a multipart body, gzipped or not, within its bounds."""

import asyncio
import contextlib
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import BinaryIO, cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from ingress_gateway.bodies import BodyBrokenError, EncodingUnsupportedError, RequestTimeoutError, give_word, gunzip
from ingress_gateway.settings import GatewaySettings
from svc_runtime.errors import InvalidArgumentError, TooLargeError, UnavailableError, Violation
from svc_runtime.logs import get_logger

_PIECE = 256 * 1024
_FRAMING = 64 * 1024
"""Bytes of a body around the file: a multipart's boundaries and headers."""
_GZIP = b"\x1f\x8b"
_log = get_logger(__name__)


@contextlib.asynccontextmanager
async def spooled(request: web.BaseRequest, settings: GatewaySettings) -> AsyncIterator[BinaryIO]:
    """Give the file of a body, unzipped, at its beginning; nothing of it is left after the block.

    Raise TooLargeError, RequestTimeoutError, BodyBrokenError, EncodingUnsupportedError, InvalidArgumentError.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise EncodingUnsupportedError(f"the content encoding {encoding[:32]!r} is not taken here; gzip is")
    directory, limit = settings.data_dir, settings.max_upload_bytes
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > limit + _FRAMING:
        raise TooLargeError(f"the body has {int(length)} bytes; the limit of a file is {limit}")
    give_word(request)
    file = await asyncio.to_thread(_temporary, directory)
    try:
        await _receive(request, settings, file)
        plain = await asyncio.to_thread(_unzipped, file, directory, limit)
        try:
            yield plain
        finally:
            _close(plain)
    finally:
        _close(file)


async def _receive(request: web.BaseRequest, settings: GatewaySettings, file: BinaryIO) -> None:
    loop, received, started = asyncio.get_running_loop(), 0, asyncio.get_running_loop().time()
    limit = settings.max_upload_bytes

    async def timely(step: Coroutine[object, object, bytes]) -> bytes:
        async with asyncio.timeout_at(started + settings.body_seconds + received / settings.body_bytes_per_second):
            return await step

    try:
        read = await _reader(request, timely, seconds=settings.body_seconds)
        while piece := await read():
            received += len(piece)
            if received > limit:
                raise TooLargeError(f"the file has more than {limit} bytes, the limit")
            await asyncio.to_thread(_write, file, piece)
    except TimeoutError:
        raise RequestTimeoutError(
            f"{received} bytes of the file came in {loop.time() - started:.0f} s; the slowest pace is"
            f" {settings.body_bytes_per_second} bytes/s after {settings.body_seconds:.0f} s"
        ) from None
    except (RequestPayloadError, HttpProcessingError, RuntimeError, ValueError):
        raise BodyBrokenError(f"the framing of the body is broken after {received} bytes of the file") from None


async def _reader(
    request: web.BaseRequest,
    timely: Callable[[Coroutine[object, object, bytes]], Coroutine[object, object, bytes]],
    *,
    seconds: float,
) -> Callable[[], Coroutine[object, object, bytes]]:
    """Return how to read the next piece of the file: of the body, or of its first part that is a file."""
    if not request.headers.get("Content-Type", "").lower().startswith("multipart/"):
        return lambda: timely(request.content.readany())
    framing = _Framing(request.content)
    async with asyncio.timeout(seconds):
        file = await _file_of(MultipartReader(request.headers, cast("StreamReader", framing)))
    framing.end()
    return lambda: timely(file.read_chunk(_PIECE))


async def _file_of(parts: MultipartReader) -> BodyPartReader:
    while (part := await parts.next()) is not None:
        if isinstance(part, BodyPartReader) and (part.filename or part.name == "file"):
            return part
    raise InvalidArgumentError.of([Violation("body", "has no part that is a file")])


class _Framing:
    """The bytes of a body as a MultipartReader takes them: only so many may come before the file."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._room: int | None = _FRAMING

    def end(self) -> None:
        """Let all through from now on: the file begins."""
        self._room = None

    async def read(self, size: int = -1) -> bytes:
        return self._counted(await self._content.read(size))

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        return self._counted(await self._content.readline(max_line_length=max_line_length))

    def at_eof(self) -> bool:
        return self._content.at_eof()

    def unread_data(self, data: bytes) -> None:
        self._content.unread_data(data)
        if self._room is not None:
            self._room += len(data)

    def _counted(self, data: bytes) -> bytes:
        if self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                raise TooLargeError(f"the form has more than {_FRAMING} bytes before its file, the limit")
        return data


def _temporary(directory: Path) -> BinaryIO:
    """Make a file that has no name, so that a killed process leaves none."""
    return tempfile.TemporaryFile(dir=directory)


def _unzipped(file: BinaryIO, directory: Path, limit: int) -> BinaryIO:
    """Return the file, or what it holds where it is a gzip, at the beginning."""
    file.seek(0)
    is_gzip = file.read(2) == _GZIP
    file.seek(0)
    if not is_gzip:
        return file
    plain = _temporary(directory)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(_close, plain)
        _unzip(file, plain, limit)
        on_failure.pop_all()
    plain.seek(0)
    return plain


def _unzip(file: BinaryIO, plain: BinaryIO, limit: int) -> None:
    size = 0
    try:
        for piece in gunzip(file.read):
            size += len(piece)
            if size > limit:
                raise TooLargeError(f"the file unzips to more than {limit} bytes, the limit")
            _write(plain, piece)
    except (ValueError, EOFError, zlib.error):
        raise EncodingUnsupportedError("the file is not gzip, as its first bytes say") from None


def _close(file: BinaryIO) -> None:
    """Close a file, whatever the disk says to what is left of it in memory."""
    with contextlib.suppress(OSError):
        file.close()


def _write(file: BinaryIO, piece: bytes) -> None:
    """Write a piece as far as the system; raise UnavailableError where the disk does not take it."""
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        _log.warning("an upload does not fit on the disk", error=repr(error))
        raise UnavailableError("the gateway's disk does not take the file now", retry_after_seconds=30.0) from None
