"""Answers of the capture routes, made once for both lanes."""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

SERVER = "trellis"
"""The Server header of an answer that has one: no versions."""
PIXEL = base64.b64decode("R0lGODlhAQABAIABAAAAAP///yH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==")

_NO_STORE = (
    ("Cache-Control", "no-store, no-cache, must-revalidate, private"),
    ("Pragma", "no-cache"),
    ("Expires", "0"),
    ("X-Robots-Tag", "noindex, nofollow"),
)


class Preset:
    """Header lines that many answers share, serialised once."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.pairs = pairs
        self.block = "".join(f"{name}: {value}\r\n" for name, value in pairs)


REDIRECT = Preset(*_NO_STORE, ("Referrer-Policy", "strict-origin-when-cross-origin"))
REFRESH = Preset(*_NO_STORE, ("Referrer-Policy", "no-referrer"), ("Content-Type", "text/html; charset=utf-8"))
IMAGE = Preset(
    *_NO_STORE,
    ("Content-Type", "image/gif"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Timing-Allow-Origin", "*"),
)
JSON = Preset(*_NO_STORE, ("Content-Type", "application/json; charset=utf-8"))
TEXT = Preset(*_NO_STORE, ("Content-Type", "text/plain; charset=utf-8"))
PAGE = Preset(*_NO_STORE, ("Content-Type", "text/html; charset=utf-8"))


@dataclass(slots=True)
class Answer:
    """A status, headers and a body. Header values hold no control characters: they are ours, or percent-encoded."""

    status: int
    preset: Preset
    headers: Sequence[tuple[str, str]]
    body: bytes = b""


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_date: tuple[int, str] = (0, "")


def serialize(answer: Answer, *, closes: bool) -> bytes:
    """Return the whole HTTP/1.1 response."""
    lines = ""
    for name, value in answer.headers:
        lines += f"{name}: {value}\r\n"
    connection = "Connection: close\r\n" if closes else ""
    head = (
        f"{_STATUS_LINES[answer.status]}{answer.preset.block}{lines}{connection}"
        f"Date: {_http_date()}\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    )
    return head.encode("latin-1") + answer.body


def _http_date() -> str:
    global _date
    now = int(time.time())
    if _date[0] != now:
        t = time.gmtime(now)
        text = (
            f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
            f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
        )
        _date = (now, text)
    return _date[1]
