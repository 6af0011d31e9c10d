"""Reads amounts of money: text to integer micros and ISO 4217, exactly; what is unclear stays unread, with a reason."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from enrichment.currencies import MINOR_DIGITS, SYMBOLS
from enrichment.macros import is_macro

MICROS = 1_000_000
LARGEST_MICROS = 2**63 - 1
LONGEST_BYTES = 64
_MICRO_DIGITS = 6

# What people group thousands with beside points and commas: one blank to us.
_BLANKS = dict.fromkeys(map(ord, "\t\r\n'\u00a0\u2009\u2019\u202f"), " ")
_AMOUNT = re.compile(
    r"(?P<sign>[+-]?)(?P<before>[^\d.,+\- ]{0,4}) ?(?P<inner_sign>[+-]?)"
    r"(?P<number>[0-9]+(?:[., ][0-9]+)*[.,]?|[.,][0-9]+)(?P<exponent>[eE][+-]?[0-9]{1,2})?"
    r" ?(?P<after>[^\d.,+\- ]{0,4})"
)

Separator = Literal["", ".", ","]


class Money(NamedTuple):
    """An amount, or why there is none."""

    micros: int | None
    """Millionths of the unit of ``currency``."""
    currency: str | None
    """ISO 4217, upper case. None when nobody named one."""
    reason: str = ""
    """Why there is no amount: ``empty``, ``macro``, ``not_an_amount``, ``ambiguous_separator``, ``too_large``,
    ``unknown_currency`` or ``currency_conflict``. Else empty."""
    is_currency_assumed: bool = False
    """The currency is the default, or one of several with that symbol."""
    is_rounded: bool = False
    """There were more than six decimals: rounded half to even."""


def read_money(
    raw: bytes,
    currency: bytes = b"",
    *,
    default_currency: str | None = None,
    is_minor: bool = False,
    decimal: Separator = "",
) -> Money:
    """Read a decoded amount such as ``99.99``, ``99,99``, ``1.234,56``, ``$99.99`` or ``99.99USD``.

    ``currency`` is what the sender's currency parameter says; the amount's own must agree with it. ``is_minor`` reads
    the amount in minor units (cents; by the currency, two digits when there is none). ``decimal`` is the decimal
    separator where a mapping names it: without one, ``1,234`` is ambiguous.
    """
    return _read(raw[: LONGEST_BYTES + 1], currency[: LONGEST_BYTES + 1], default_currency, is_minor, decimal)


@lru_cache(20_000)
def _read(raw: bytes, currency: bytes, default_currency: str | None, is_minor: bool, decimal: Separator) -> Money:
    text = raw.decode("utf-8", "replace").translate(_BLANKS).strip() if len(raw) <= LONGEST_BYTES else "?"
    if not text:
        return Money(None, None, "empty")
    if is_macro(raw):
        return Money(None, None, "macro")
    found = _AMOUNT.fullmatch(text)
    if found is None or (found["sign"] and found["inner_sign"]):
        return Money(None, None, "not_an_amount")
    code, is_assumed, reason = _currency(found["before"], found["after"], currency, default_currency)
    if reason:
        return Money(None, None, reason)
    digits = _plain(found["number"], decimal)
    if not digits[0].isdigit():
        return Money(None, code, digits)
    shift = int((found["exponent"] or "e0")[1:]) - (_minor_digits(code) if is_minor else 0)
    micros, is_rounded = _micros(digits, shift)
    if micros > LARGEST_MICROS:
        return Money(None, code, "too_large")
    is_negative = "-" in (found["sign"], found["inner_sign"])
    return Money(-micros if is_negative else micros, code, "", is_assumed, is_rounded)


def read_currency(raw: bytes) -> str | None:
    """Return the ISO 4217 code that a decoded currency text names, in upper case, or None."""
    if len(raw) > LONGEST_BYTES:
        return None
    text = raw.decode("utf-8", "replace").strip().upper()
    if text in MINOR_DIGITS:
        return text
    codes = SYMBOLS.get(text)
    return codes[0] if codes else None


def _currency(before: str, after: str, named: bytes, default: str | None) -> tuple[str | None, bool, str]:
    """Return the code, whether it is assumed, and why there is none."""
    told = read_currency(named)
    if not before and not after:
        if told is None and named.strip() and not is_macro(named):
            return None, False, "unknown_currency"
        return (told, False, "") if told else (default, default is not None, "")
    codes = [code for code in _codes(before or after) if not (before and after) or code in _codes(after)]
    if not codes:
        return None, False, "not_an_amount"
    if told is None:
        return default if default in codes else codes[0], len(codes) > 1, ""
    return (told, False, "") if told in codes else (None, False, "currency_conflict")


def _codes(text: str) -> tuple[str, ...]:
    code = text.upper()
    return (code,) if code in MINOR_DIGITS else SYMBOLS.get(code, ())


def _minor_digits(code: str | None) -> int:
    return MINOR_DIGITS.get(code, 2) if code else 2


def _plain(number: str, decimal: Separator) -> str:
    """Return the number with at most a point in it, or the reason why not."""
    dots, commas = number.count("."), number.count(",")
    grouping = " "
    if " " in number:
        if dots + commas > 1:
            return "not_an_amount"
        decimal = "," if commas else "."
    else:
        decimal = decimal or _decimal_separator(number, dots, commas)
        if not decimal:
            return "ambiguous_separator"
        grouping = "," if decimal == "." else "."
        if number.count(decimal) > 1:  # repeated, so it groups, and nothing else may
            return _ungrouped(number, decimal) if grouping not in number else "not_an_amount"
    whole, _, fraction = number.partition(decimal)
    if grouping in fraction:
        return "not_an_amount"
    whole = _ungrouped(whole, grouping) if grouping in whole else whole or "0"
    return f"{whole}.{fraction}" if fraction and whole[0].isdigit() else whole


def _decimal_separator(number: str, dots: int, commas: int) -> Separator:
    if dots and commas:
        return "." if number.rfind(".") > number.rfind(",") else ","
    if commas == 1:
        whole, _, fraction = number.partition(",")
        is_grouping_possible = len(fraction) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0"
        return "" if is_grouping_possible else ","
    return "," if commas else "."


def _ungrouped(whole: str, grouping: str) -> str:
    """Return the digits of ``1.234.567``, or of the Indian ``12,34,567``."""
    first, *groups, last = whole.split(grouping)
    is_western = all(len(group) == 3 for group in groups)
    is_indian = all(len(group) == 2 for group in groups) and len(first) <= 2
    if len(last) != 3 or not 1 <= len(first) <= 3 or first[0] == "0" or not (is_western or is_indian):
        return "not_an_amount"
    return whole.replace(grouping, "")


def _micros(digits: str, shift: int) -> tuple[int, bool]:
    """Return ``digits`` times ten to ``shift`` in micros, and whether that was rounded."""
    whole, _, fraction = digits.partition(".")
    number, exponent = int(whole + fraction), shift + _MICRO_DIGITS - len(fraction)
    if exponent >= 0:
        return number * 10**exponent, False
    divisor = 10**-exponent
    quotient, remainder = divmod(number, divisor)
    rounds_up = 2 * remainder > divisor or (2 * remainder == divisor and quotient % 2 == 1)
    return quotient + rounds_up, remainder != 0
