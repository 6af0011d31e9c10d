"""Credits as people are shown them: in what the currency can pay."""

from collections.abc import Sequence

from attribution_svc.models.allocate import in_units
from enrichment.currencies import MINOR_DIGITS

_MICROS = 1_000_000


def in_minor_units(parts: Sequence[int], currency: str) -> list[int]:
    """Round micros to what the currency can pay; they still add up. Refunds and sales together stay as they are."""
    unit = _MICROS // 10 ** MINOR_DIGITS.get(currency, 2)
    if unit <= 1 or not parts or (min(parts) < 0 < max(parts)):
        return list(parts)
    return in_units(parts, unit)
