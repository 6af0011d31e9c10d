"""Values as the columns have them."""

from enrichment.money import read_currency, read_money
from enrichment.parameters import Found

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
    money = read_money(raw, named)
    if money.micros is None or abs(money.micros) > LARGEST_MICROS:
        return None, "", money.reason not in _NOT_TOLD or money.micros is not None
    return money.micros, money.currency or read_currency(named) or "", False
