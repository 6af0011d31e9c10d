"""What was reported of a conversion: one event of the feed, as it was read when it came. Never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from enrichment.conversion_reading import ConversionReading, Sent, read_conversion, reading_of
from enrichment.conversions import REFUSED_MARKS
from enrichment.parameters import DEFAULT_ALIASES
from enrichment.requests import first_values, header_pairs, sent_parameters
from enrichment.values import LONGEST_ID_BYTES, client_time_of

_REFUND_WORDS = frozenset(
    ["refund", "refunded", "orderrefunded", "chargeback", "chargedback", "reversal", "ordercancelled", "ordercanceled"]
)
"""Words for an event that take money back; letters and digits alone, in lower case."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A raw event, as far as conversions have a use for it: the fields of ``trellis.capture.v1.Event``."""

    organization_id: str
    event_id: str
    event_time_ms: int
    event_type: bytes = b""
    route: str = ""
    target: bytes = b""
    headers: bytes = b""
    body: bytes = b""
    click_id: str = ""
    external_click_id: bytes = b""
    user_id: str = ""
    marks: Sequence[str] = ()
    network: str = ""


@dataclass(frozen=True, slots=True)
class ConversionEvent:
    """What one event says of a conversion. Bytes that are not UTF-8 are written ``\\xNN``."""

    organization_id: str
    event_id: str
    event_time: datetime
    """When it was received."""
    conversion_time: datetime
    """When it happened, by the sender; else ``event_time``."""
    event_type: str
    """The word for it, in lower case."""
    is_type_status: bool
    """The word is what was sent for the status: nobody named the event itself."""
    status_text: str
    """What was sent for the status."""
    status_name: str
    """The parameter that it came from, in lower case."""
    status: str
    """What the status means to everybody; empty where nobody speaks of one."""
    amount_text: str
    """What was sent for the amount."""
    value_micros: int | None
    currency: str
    """ISO 4217; empty where nobody named one."""
    is_currency_assumed: bool
    order_id: str
    """Order or transaction id; empty where there is none."""
    click_references: tuple[str, ...]
    """What may be the id of the click, the best first."""
    network: str
    """Who sent it, in lower case: the label of the partner whose token it had, else the source that it names."""
    route: str
    user_id: str
    marks: tuple[str, ...]
    is_test: bool
    is_read: bool
    """The reading takes it for a conversion; of others only refunds are kept."""
    is_counted: bool
    """The reading counts it, for what it says of itself."""

    @property
    def group_key(self) -> str:
        """What it shares with the events of its order; a key of its own without an order."""
        return f"o:{self.order_id}" if self.order_id and not self.is_test else f"e:{self.event_id}"

    @property
    def is_refund_word(self) -> bool:
        """The word for it takes money back."""
        return folded(self.event_type) in _REFUND_WORDS


def conversion_event_of(arrived: Arrived) -> ConversionEvent | None:
    """Read an event; None where it speaks of no conversion and of no refund, or its sender was not believed."""
    if not REFUSED_MARKS.isdisjoint(arrived.marks):
        return None
    headers = first_values(header_pairs(arrived.headers))
    _, parameters = sent_parameters(arrived.target, arrived.body, headers.get(b"content-type", b""))
    found = DEFAULT_ALIASES.resolve(parameters)
    sent = Sent(arrived.event_type, arrived.route, arrived.marks, arrived.click_id, arrived.external_click_id)
    reading = read_conversion(sent, parameters, DEFAULT_ALIASES, found)
    is_read = reading is not None
    if reading is None:
        if not speaks_of_refund(arrived.event_type):
            return None
        reading = reading_of(sent, parameters, DEFAULT_ALIASES, found)
    client_ms, _ = client_time_of(found, event_time_ms=arrived.event_time_ms)
    source = found["source"].value[:LONGEST_ID_BYTES] if "source" in found else b""
    network = arrived.network.encode() or source
    return _event(
        arrived,
        reading,
        conversion_time=_instant(arrived.event_time_ms if client_ms is None else client_ms),
        network=text_of(network.strip()).lower(),
        marks=(*arrived.marks, *_odd(reading, has_macros=bool(parameters.macros))),
        is_read=is_read,
    )


def _event(
    arrived: Arrived,
    reading: ConversionReading,
    *,
    conversion_time: datetime,
    network: str,
    marks: tuple[str, ...],
    is_read: bool,
) -> ConversionEvent:
    return ConversionEvent(
        organization_id=arrived.organization_id,
        event_id=arrived.event_id,
        event_time=_instant(arrived.event_time_ms),
        conversion_time=conversion_time,
        event_type=text_of(reading.event),
        is_type_status=reading.is_event_from_status,
        status_text=text_of(reading.status_text[:LONGEST_ID_BYTES]),
        status_name=text_of(reading.status_name[:LONGEST_ID_BYTES]),
        status=reading.status,
        amount_text=text_of(reading.amount_text[:LONGEST_ID_BYTES]),
        value_micros=reading.value,
        currency=reading.currency,
        is_currency_assumed=reading.is_currency_assumed,
        order_id=text_of(reading.order_id),
        click_references=tuple(text_of(reference) for reference in reading.references),
        network=network,
        route=arrived.route,
        user_id=text_of(arrived.user_id.encode()),
        marks=tuple(dict.fromkeys(text_of(mark.encode()) for mark in marks)),
        is_test=reading.is_test,
        is_read=is_read,
        is_counted=is_read and reading.is_counted,
    )


def _odd(reading: ConversionReading, *, has_macros: bool) -> list[str]:
    """Return what is odd about it."""
    odd = {
        "value_unread": reading.is_value_unread,
        "literal_macro": has_macros,
        "currency_assumed": reading.is_currency_assumed,
        "no_reference": not reading.references,
    }
    return [mark for mark, holds in odd.items() if holds]


@lru_cache(4_096)
def speaks_of_refund(event_type: bytes) -> bool:
    """Say whether the word for an event takes money back."""
    return folded(event_type[:128].decode("utf-8", "replace").lower()) in _REFUND_WORDS


def folded(word: str) -> str:
    """Return letters and digits alone: `Order Refunded`, `order_refunded` and `orderRefunded` are one word."""
    return "".join(filter(str.isalnum, word.lower()))


def text_of(raw: bytes) -> str:
    """Return bytes as a text that a database takes; what is not UTF-8, and NUL, is written ``\\xNN``."""
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _instant(unix_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=unix_ms)
