"""Which media type a client takes (RFC 9110, 12.5.1)."""

import re
from collections.abc import Sequence

from svc_runtime.errors import Code, TrellisError

_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class NotAcceptableError(TrellisError):
    """The client takes none of the media types that there are."""

    code = Code.NOT_ACCEPTABLE


def chosen(accept: str, offered: Sequence[str]) -> str:
    """Return the offered media type that an Accept header likes best, the first of those liked alike.

    Without a header, the first. Raise NotAcceptableError, listing them, where none is taken.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _liking(media_type, ranges))
    if not _liking(best, ranges):
        raise NotAcceptableError(f"Accept names none of {', '.join(offered)}")
    return best


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next(
        (value.strip() for key, _, value in (p.partition("=") for p in parameters) if key.strip() == "q"), "1"
    )
    return name, float(quality) if _QUALITY.fullmatch(quality) else 0.0


def _liking(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality of the range that fits best; 0 where none fits."""
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        found = [quality for given, quality in ranges if given == name]
        if found:
            return max(found)
    return 0.0
