"""Values as every reading keeps them: ids cut, amounts in micros, instants that can be."""

from collections.abc import Mapping

from enrichment.money import Money, read_currency, read_money
from enrichment.parameters import Found
from enrichment.times import EARLIEST_SANE_MS, LARGEST_SKEW_MS, read_time

LONGEST_ID_BYTES = 512
"""Of ids and labels of the sender; the whole value stays in ``params``."""
LARGEST_MICROS = 10**18 - 1
"""Of Decimal(18, 6)."""
_NOT_TOLD = frozenset({"", "empty", "macro"})


def id_of(found: Found | None) -> bytes:
    """Return what a sender calls something; empty where it does not."""
    return found.value[:LONGEST_ID_BYTES] if found else b""


def amount_of(raw: bytes, named: bytes) -> tuple[int | None, str, bool]:
    """Return an amount in micros, its currency, and whether there is one that cannot be read.

    ``named`` is what a parameter beside it says of the currency.
    """
    return amount_in(read_money(raw, named), named)


def amount_in(money: Money, named: bytes) -> tuple[int | None, str, bool]:
    """Return what ``amount_of`` does, of money that was read."""
    if money.micros is None or abs(money.micros) > LARGEST_MICROS:
        return None, "", money.reason not in _NOT_TOLD or money.micros is not None
    return money.micros, money.currency or read_currency(named) or "", False


def client_time_of(found: Mapping[str, Found], *, event_time_ms: int) -> tuple[int | None, bool]:
    """Return the instant that a sender gives an event, in Unix milliseconds, and whether it gives one that cannot be.

    ``event_time_ms`` is when the event was received.
    """
    told = found.get("client_time")
    unix_ms = read_time(told.value, received_ms=event_time_ms).unix_ms if told else None
    if unix_ms is None:
        return None, False
    if not EARLIEST_SANE_MS <= unix_ms <= event_time_ms + LARGEST_SKEW_MS:
        return None, True
    return unix_ms, False
