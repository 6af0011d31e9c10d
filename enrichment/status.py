"""Maps what a network calls the state of a conversion to what we call it."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from enrichment.macros import is_macro

LONGEST_BYTES = 256


class Status(StrEnum):
    """The state of a conversion."""

    SALE = "sale"
    LEAD = "lead"
    REJECTED = "rejected"
    REFUNDED = "refunded"
    """Only by words of a network's own: the words below leave it to whoever keeps the conversion."""
    UNMAPPED = "unmapped"


_SALE = "approved approve confirmed confirm sale sell rebill paid payed ftd first_dep onetime autosell accepted buyout"
_LEAD = "pending reg registration lead hold wait waiting new created install processing"
_REJECTED = (
    "rejected reject trash declined cancel cancelled canceled fail duplicate double denied invalid spam refused "
    "unsubscribe"
)
VOCABULARY: Mapping[Status, frozenset[str]] = MappingProxyType(
    {
        Status.SALE: frozenset(_SALE.split()),
        Status.LEAD: frozenset(_LEAD.split()),
        Status.REJECTED: frozenset(_REJECTED.split()),
    }
)
"""Words that mean the same at every network, in lower case.

Not here, on purpose: numbers and single letters (each network has its own), and ``dep``, ``subscribe`` and ``accept``,
which are a sale to some and a lead to others. An organisation says once per network what they are.
"""

_GLOBAL: Mapping[str, Status] = {word: status for status, words in VOCABULARY.items() for word in words}
_NONE: Mapping[str, Status] = MappingProxyType({})


class StatusReading(NamedTuple):
    """What a status text means."""

    status: Status
    reason: str
    """Why it is unmapped: ``empty``, ``macro``, ``unknown``, ``code`` or ``conflicting_list``. Else empty."""


def compile_overrides(words_by_status: Mapping[Status, str | Iterable[str]]) -> dict[str, Status]:
    """Compile a network's own words, each a list or a text such as ``approved,1`` (``2%2C5`` as well).

    Raise ValueError when a word is given two meanings.
    """
    overrides: dict[str, Status] = {}
    for status, words in words_by_status.items():
        for word in _words(words if isinstance(words, str) else ",".join(words)):
            if overrides.setdefault(word, status) is not status:
                raise ValueError(f"{word!r} cannot be both {overrides[word]} and {status}")
    return overrides


def read_status(raw: bytes, overrides: Mapping[str, Status] = _NONE) -> StatusReading:
    """Map a decoded status text, without case; a network's own words come first."""
    if is_macro(raw):
        return StatusReading(Status.UNMAPPED, "macro")
    words = _words(raw[:LONGEST_BYTES].decode("utf-8", "replace"))
    if not words:
        return StatusReading(Status.UNMAPPED, "empty")
    readings = {_word(word, overrides) for word in words}
    return readings.pop() if len(readings) == 1 else StatusReading(Status.UNMAPPED, "conflicting_list")


def _word(word: str, overrides: Mapping[str, Status]) -> StatusReading:
    status = overrides.get(word) or _GLOBAL.get(word)
    if status is not None:
        return StatusReading(status, "")
    is_code = len(word) == 1 or word.lstrip("+-").isdecimal()
    return StatusReading(Status.UNMAPPED, "code" if is_code else "unknown")


def _words(text: str) -> list[str]:
    separated = text.replace("%2C", ",").replace("%2c", ",").split(",")
    return [word for piece in separated if (word := piece.strip().lower())]
