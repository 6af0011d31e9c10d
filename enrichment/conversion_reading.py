"""What an event says of a conversion: whether it is one, and for how much. One reading for everybody who keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enrichment.conversions import (
    CLICK_OR_ORDER_NAMES,
    KEY_NAMES,
    ORDER_NAMES,
    PLAIN_ORDER_NAMES,
    REFUSED_MARKS,
    STATUS_NAMES,
    Happening,
    happening_of,
)
from enrichment.money import Money, read_money
from enrichment.parameters import Aliases, Found, Parameters
from enrichment.status import Status, read_status
from enrichment.values import LONGEST_ID_BYTES, amount_in, id_of

POSTBACK = "postback"
DEFAULT_EVENT = b"conversion"
_LONGEST_EVENT_BYTES = 128
_MOST_REFERENCES = 16
TYPE_NAMES = frozenset({b"event", b"et", b"type", b"action", b"name"})
"""Parameters, in lower case, that name what happened before they say what became of it."""
_NO_AMOUNT = Money(None, None, "empty")


@dataclass(frozen=True, slots=True)
class Sent:
    """What is read: an event as it came."""

    event_type: bytes
    route: str
    marks: Sequence[str]
    click_id: str
    external_click_id: bytes


@dataclass(frozen=True, slots=True)
class ConversionReading:
    """What an event says. Values are as sent but for blanks around them."""

    event: bytes
    """The word for it, in lower case: `purchase`, `lead`… ``DEFAULT_EVENT`` where nobody named one."""
    status: str
    """A ``Status``; empty where nobody speaks of one."""
    status_text: bytes
    """What was sent for it."""
    status_name: bytes
    """The parameter that it came from, in lower case."""
    is_event_from_status: bool
    """``event`` is ``status_text``: nobody named the event itself."""
    amount_text: bytes
    """What was sent for the amount."""
    value: int | None
    """In micros."""
    currency: str
    """ISO 4217; empty where nobody named one."""
    is_currency_assumed: bool
    """One of several that use the symbol."""
    is_value_unread: bool
    """There is an amount that cannot be read."""
    order_id: bytes
    references: tuple[bytes, ...]
    """What may be the id of the click, the best first."""
    is_test: bool
    is_counted: bool
    """It counts as a conversion, for what it says of itself."""


def read_conversion(
    sent: Sent, parameters: Parameters, aliases: Aliases, found: Mapping[str, Found]
) -> ConversionReading | None:
    """Read an event; None where it is no conversion. ``found`` is what ``aliases`` find in ``parameters``."""
    happening, is_postback = happening_of(sent.event_type), sent.route == POSTBACK
    if (happening is Happening.STEP and not is_postback) or not REFUSED_MARKS.isdisjoint(sent.marks):
        return None
    reading, order = reading_of(sent, parameters, aliases, found), found.get("transaction_id")
    carries = reading.value is not None or (order is not None and order.name.lower() in ORDER_NAMES)
    return reading if is_postback or happening is Happening.CONVERSION or carries else None


def reading_of(sent: Sent, parameters: Parameters, aliases: Aliases, found: Mapping[str, Found]) -> ConversionReading:
    """Read what an event would say if it were a conversion."""
    is_postback = sent.route == POSTBACK
    payout, order, status = found.get("payout"), _order(parameters, aliases, found), found.get("status")
    named = found["currency"].value if "currency" in found else b""
    money = read_money(payout.value, named) if payout else _NO_AMOUNT
    value, currency, is_unread = amount_in(money, named)
    word = sent.event_type.strip().lower()
    is_event_from_status = is_postback and word in (b"", DEFAULT_EVENT) and status is not None
    if is_event_from_status and status is not None:
        word = status.value.lower()
    event = word[:_LONGEST_EVENT_BYTES] or DEFAULT_EVENT
    read_as = _status(status, is_postback=is_postback)
    is_test = "test" in sent.marks or b"test" in (event, status.value.lower() if status else b"")
    has_order = order is not None and (is_postback or order.name.lower() not in KEY_NAMES)
    return ConversionReading(
        event=event,
        status=read_as,
        status_text=status.value if status else b"",
        status_name=status.name.lower() if status else b"",
        is_event_from_status=is_event_from_status,
        amount_text=payout.value if payout else b"",
        value=value,
        currency=currency,
        is_currency_assumed=value is not None and money.is_currency_assumed,
        is_value_unread=is_unread,
        order_id=id_of(order) if has_order else b"",
        references=_references(sent, parameters, aliases),
        is_test=is_test,
        is_counted=read_as != Status.REJECTED and not is_test,
    )


def _order(parameters: Parameters, aliases: Aliases, found: Mapping[str, Found]) -> Found | None:
    """Return the order: beside what is one to everybody, what is the click to some is the click."""
    order = found.get("transaction_id")
    if order is None or order.name.lower() not in CLICK_OR_ORDER_NAMES:
        return order
    others = aliases.candidates(parameters, "transaction_id")
    return next((other for other in others if other.name.lower() in PLAIN_ORDER_NAMES), order)


def _status(told: Found | None, *, is_postback: bool) -> str:
    if told is None or not (is_postback or told.name.lower() in STATUS_NAMES):
        return ""
    reading = read_status(told.value)
    # `event=purchase` is no status that nobody mapped.
    is_silent = reading.status is Status.UNMAPPED and told.name.lower() in TYPE_NAMES
    return "" if is_silent else reading.status.value


def _references(sent: Sent, parameters: Parameters, aliases: Aliases) -> tuple[bytes, ...]:
    clicks = (found.value for found in aliases.candidates(parameters, "click_id"))
    others = (found.value for found in aliases.candidates(parameters, "external_id"))
    values = (sent.click_id.encode(), *clicks, sent.external_click_id, *others)
    return tuple(dict.fromkeys(value[:LONGEST_ID_BYTES] for value in values if value))[:_MOST_REFERENCES]
