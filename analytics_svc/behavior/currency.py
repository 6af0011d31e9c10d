"""Which currency amounts are in."""

from decimal import Decimal

from analytics_svc.slice import Slice
from analytics_svc.statement import Rows, Statement, condition_of


def compile_currencies(part: Slice, *, has_adjustments: bool = False) -> Statement:
    """Compile to a statement with the currencies of the slice's conversions and their revenue, most used first.

    ``has_adjustments``: and of what changes the value of conversions.
    """
    earning = "(is_conversion = 1 OR is_adjustment = 1)" if has_adjustments else "is_conversion = 1"
    condition = condition_of(part)
    sql = f"""
SELECT toString(currency) AS code, sum(toDecimal128(ifNull(value, 0), 6))
FROM events PREWHERE {condition.prewhere}
WHERE {condition.where} AND {earning} AND isNotNull(value) AND currency != ''
GROUP BY code ORDER BY count() DESC, code
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, condition.parameters)


def choose_currency(part: Slice, rows: Rows) -> tuple[str, dict[str, Decimal]]:
    """Return the currency that is reported, '' where there is none, and the revenue in every other one."""
    revenue: dict[str, Decimal] = dict(map(tuple, rows.rows))
    chosen = part.currency or next(iter(revenue), "")
    return chosen, {code: amount for code, amount in sorted(revenue.items()) if code != chosen}
