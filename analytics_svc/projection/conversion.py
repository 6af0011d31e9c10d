"""What an event brought: whether it is a conversion, and what it says of itself."""

from collections.abc import Mapping

from analytics_svc.projection.arrival import Arrival
from analytics_svc.projection.row import Row
from analytics_svc.projection.values import LONGEST_ID_BYTES, amount_of, id_of
from enrichment.conversions import KEY_NAMES, ORDER_NAMES, STATUS_NAMES, Happening, happening_of
from enrichment.parameters import Aliases, Found, Parameters
from enrichment.status import Status, read_status

POSTBACK = "postback"
DEFAULT_EVENT = b"conversion"
_LONGEST_EVENT_BYTES = 128
_MOST_REFERENCES = 16
_TYPE_NAMES = frozenset({b"event", b"et", b"type", b"action", b"name"})


def conversion_of(
    row: Row, arrival: Arrival, parameters: Parameters, aliases: Aliases, found: Mapping[str, Found]
) -> list[str]:
    """Fill the columns of a conversion where the event is one; return what is odd about it."""
    happening, is_postback = happening_of(arrival.event_type), arrival.route == POSTBACK
    if happening is Happening.STEP and not is_postback:
        return []
    payout, order, status = found.get("payout"), found.get("transaction_id"), found.get("status")
    named = found["currency"].value if "currency" in found else b""
    value, currency, is_unread = amount_of(payout.value if payout else b"", named)
    carries = value is not None or (order is not None and order.name.lower() in ORDER_NAMES)
    if not (is_postback or happening is Happening.CONVERSION or carries):
        return []
    row.value, row.currency = value, currency
    row.conversion_status = _status(status, is_postback=is_postback)
    row.conversion_event = _event(arrival, status, is_postback=is_postback)
    row.is_conversion = int(row.conversion_status != Status.REJECTED and not _is_test(row, arrival, status))
    row.conversion_time = row.client_time if row.client_time is not None else row.event_time
    if order is not None and (is_postback or order.name.lower() not in KEY_NAMES):
        row.order_id = id_of(order)
    row.references = tuple(_references(arrival, parameters, aliases))
    return ["value_unread"] if is_unread else []


def _status(told: Found | None, *, is_postback: bool) -> str:
    if told is None or not (is_postback or told.name.lower() in STATUS_NAMES):
        return ""
    reading = read_status(told.value)
    # `event=purchase` is no status that nobody mapped.
    is_silent = reading.status is Status.UNMAPPED and told.name.lower() in _TYPE_NAMES
    return "" if is_silent else reading.status.value


def _event(arrival: Arrival, status: Found | None, *, is_postback: bool) -> bytes:
    word = arrival.event_type.strip().lower()
    if is_postback and word in (b"", DEFAULT_EVENT) and status is not None:
        word = status.value.lower()
    return word[:_LONGEST_EVENT_BYTES] or DEFAULT_EVENT


def _is_test(row: Row, arrival: Arrival, status: Found | None) -> bool:
    return "test" in arrival.marks or b"test" in (row.conversion_event, status.value.lower() if status else b"")


def _references(arrival: Arrival, parameters: Parameters, aliases: Aliases) -> list[bytes]:
    """Return what may be the id of the click, the best first."""
    clicks = (found.value for found in aliases.candidates(parameters, "click_id"))
    others = (found.value for found in aliases.candidates(parameters, "external_id"))
    values = (arrival.click_id.encode(), *clicks, arrival.external_click_id, *others)
    return list(dict.fromkeys(value[:LONGEST_ID_BYTES] for value in values if value))[:_MOST_REFERENCES]
