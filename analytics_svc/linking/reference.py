"""What a reference may mean that is no click's id: how it may have been changed on its way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote, unquote

from analytics_svc.linking.touch import COLUMNS, ReadEvent, unix_ms
from analytics_svc.statement import ORGANIZATION, Statement

MOST_MATCHES = 5
SHORTEST_PREFIX = 8
"""Bytes: a shorter beginning fits too much."""
_TIMES_PER_ID = 8
# Lengths of beginnings that are looked up at once; ids of one kind often begin alike, so longer ones are better.
_HEADS = (24, 16, SHORTEST_PREFIX)


class MatchKind(StrEnum):
    """In what a reference and an id differ."""

    EXACT = "exact"
    ENCODED = "encoded"
    CASE = "case"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Reference:
    """What should be the id of a click."""

    organization_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """A click that a reference may mean."""

    kind: MatchKind
    matched_id: str
    click: ReadEvent


@dataclass(frozen=True, slots=True)
class Found:
    """What one reference may mean, the best first."""

    matches: tuple[Match, ...] = ()
    has_more: bool = False


def encodings_of(text: str) -> tuple[str, ...]:
    """Return what ``text`` would be with one or two percent-encodings less, and with one more."""
    forms, form = [], text
    for _ in range(2):
        try:
            form = unquote(form, errors="strict")
        except UnicodeDecodeError:
            break
        forms.append(form)
    forms.append(quote(text, safe=""))
    return tuple(form for form in dict.fromkeys(forms) if form not in (text, ""))


def kind_of(text: str, found_id: str) -> MatchKind:
    """Return in what an id that ``compile_alike`` found for ``text`` differs from it."""
    if _lower(text) == _lower(found_id):
        return MatchKind.CASE
    return MatchKind.PREFIX


def compile_clicks(organization_id: str, ids: Iterable[str]) -> Statement:
    """Return the statement for the last click of each of these ids: rows of the id and ``touch.COLUMNS``."""
    # The last few times of an id: keys are hints, and that of the last click may be of one that is not there.
    times = (
        "SELECT event_time FROM click_keys"  # noqa: S608 - our own text
        f" WHERE key IN (SELECT sipHash64({{{ORGANIZATION}:String}}, arrayJoin({{ids:Array(String)}})))"
        f" ORDER BY key, event_time DESC LIMIT {_TIMES_PER_ID} BY key"
    )
    return Statement(
        f"SELECT arrayJoin(arrayIntersect([click_id, external_click_id], {{ids:Array(String)}})) AS id, {COLUMNS}"  # noqa: S608 - our own text
        f" FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}} AND event_time IN ({times})"
        " WHERE event_type = 'click'"
        " AND (click_id IN {ids:Array(String)} OR external_click_id IN {ids:Array(String)})"
        " ORDER BY event_time DESC, event_id LIMIT 1 BY id",
        {ORGANIZATION: organization_id, "ids": list(ids)},
    )


def compile_alike(organization_id: str, texts: Sequence[str], *, start_time: datetime) -> Statement:
    """Return the statement for ids that differ in case from a text, or that begin with it.

    It goes through the organisation's clicks since ``start_time`` once, whatever the number of texts. Rows of the text
    and up to one id more than ``MOST_MATCHES``.
    """
    parameters: dict[str, object] = {
        ORGANIZATION: organization_id,
        "start_ms": unix_ms(start_time),
        "texts": list(texts),
        "whole": [_lower(text) for text in texts],
    }
    heads = ["lower(id) IN {whole:Array(String)}"]
    for size, beginnings in _beginnings(texts).items():
        parameters[f"head{size}"] = beginnings
        heads.append(f"substring(id, 1, {size}) IN {{head{size}:Array(String)}}")
    return Statement(
        f"SELECT text, groupUniqArray({MOST_MATCHES + 1})(id) FROM ("  # noqa: S608 - our own text
        "SELECT id, arrayJoin(arrayFilter(text -> lower(text) = lower(id)"
        f" OR (length(text) >= {SHORTEST_PREFIX} AND startsWith(id, text)), {{texts:Array(String)}})) AS text"
        " FROM (SELECT arrayJoin([click_id, external_click_id]) AS id FROM events"
        f" PREWHERE organization_id = {{{ORGANIZATION}:String}}"
        " AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
        " WHERE event_type = 'click')"
        f" WHERE isValidUTF8(id) AND ({' OR '.join(heads)})) GROUP BY text",
        parameters,
    )


def _beginnings(texts: Iterable[str]) -> dict[int, list[str]]:
    """Return beginnings of texts, by the number of their bytes: the longest of ``_HEADS`` that each has."""
    found: dict[int, list[str]] = {}
    for text in texts:
        encoded = text.encode()
        size = next((head for head in _HEADS if len(encoded) >= head), 0)
        # A beginning that ends within a character is not text: the next shorter one.
        while size and _text(encoded[:size]) is None:
            size = next((head for head in _HEADS if head < size), 0)
        if size:
            found.setdefault(size, []).append(encoded[:size].decode())
    return found


def _text(encoded: bytes) -> str | None:
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return None


def _lower(text: str) -> str:
    """Return the text with ASCII letters in lower case, as ClickHouse's ``lower``."""
    return text.encode().lower().decode()
