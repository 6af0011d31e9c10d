from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.currencies import MINOR_DIGITS, SYMBOLS
from enrichment.money import LARGEST_MICROS, MICROS, Money, read_currency, read_money


@pytest.mark.parametrize(
    ("text", "micros", "currency"),
    [
        ("99.99", 99_990_000, None),
        ("99,99", 99_990_000, None),
        ("1.234,56", 1_234_560_000, None),
        ("1,234.56", 1_234_560_000, None),
        ("$99.99", 99_990_000, "USD"),
        ("99.99USD", 99_990_000, "USD"),
        ("99.99 usd", 99_990_000, "USD"),
        ("US$ 1,000,000.01", 1_000_000_010_000, "USD"),
        ("$99.99 USD", 99_990_000, "USD"),
        ("€1.234.567,8", 1_234_567_800_000, "EUR"),
        ("1 234,56 €", 1_234_560_000, "EUR"),
        ("1\u202f234,567\u00a0€", 1_234_567_000, "EUR"),
        ("1'234.50", 1_234_500_000, None),
        ("12,34,567.50", 1_234_567_500_000, None),
        ("1.234.567", 1_234_567_000_000, None),
        ("1,234,567", 1_234_567_000_000, None),
        ("-5.00", -5_000_000, None),
        ("-$5", -5_000_000, "USD"),
        ("$-5", -5_000_000, "USD"),
        ("+.5", 500_000, None),
        (",5", 500_000, None),
        ("5.", 5_000_000, None),
        ("0,001", 1_000, None),
        ("0.000001", 1, None),
        ("1e-05", 10, None),
        ("1.5E3", 1_500_000_000, None),
        ("1.234", 1_234_000, None),
        ("¥500", 500_000_000, "JPY"),
        ("R$10", 10_000_000, "BRL"),
        ("100zł", 100_000_000, "PLN"),
        ("0", 0, None),
    ],
)
def test_amounts_as_people_write_them(text: str, micros: int, currency: str | None) -> None:
    money = read_money(text.encode())
    assert (money.micros, money.currency, money.reason) == (micros, currency, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("{payout}", "macro"),
        ("NaN", "macro"),
        ("Infinity", "not_an_amount"),
        ("free", "not_an_amount"),
        ("12abc", "not_an_amount"),
        ("1,2,3", "not_an_amount"),
        ("1.234.56", "not_an_amount"),
        ("1,234.567,89", "not_an_amount"),
        ("12.34,567", "not_an_amount"),
        ("10 20", "not_an_amount"),
        ("1..2", "not_an_amount"),
        ("--5", "not_an_amount"),
        ("-$-5", "not_an_amount"),
        ("5-", "not_an_amount"),
        ("0x10", "not_an_amount"),
        ("٣", "not_an_amount"),
        ("1,234", "ambiguous_separator"),
        ("123,456", "ambiguous_separator"),
        ("9223372036855", "too_large"),
        ("1e99", "too_large"),
        ("1" * 65, "not_an_amount"),
        ("$5€", "not_an_amount"),
    ],
)
def test_what_is_no_clear_amount_stays_unread_with_a_reason(text: str, reason: str) -> None:
    money = read_money(text.encode())
    assert (money.micros, money.reason) == (None, reason)


@pytest.mark.parametrize(
    ("separator", "micros"),
    [(".", 1_234_000_000), (",", 1_234_000)],
)
def test_a_named_separator_decides_what_is_ambiguous(separator: str, micros: int) -> None:
    assert read_money(b"1,234", decimal=separator).micros == micros  # type: ignore[arg-type]  # a table of literals


@pytest.mark.parametrize(
    ("amount", "named", "default", "money"),
    [
        (b"5", b"eur", None, Money(5_000_000, "EUR")),
        (b"5", b"", "EUR", Money(5_000_000, "EUR", is_currency_assumed=True)),
        (b"5", b"GBP", "EUR", Money(5_000_000, "GBP")),
        (b"5", b"{currency}", "EUR", Money(5_000_000, "EUR", is_currency_assumed=True)),
        (b"5", b"rub,usd,eur", "EUR", Money(None, None, "unknown_currency")),
        (b"5", b"XXX", None, Money(None, None, "unknown_currency")),
        (b"$5", b"", None, Money(5_000_000, "USD", is_currency_assumed=True)),
        (b"$5", b"", "CAD", Money(5_000_000, "CAD", is_currency_assumed=True)),
        (b"$5", b"", "EUR", Money(5_000_000, "USD", is_currency_assumed=True)),
        (b"$5", b"AUD", None, Money(5_000_000, "AUD")),
        (b"$5", b"EUR", None, Money(None, None, "currency_conflict")),
        (b"5USD", b"usd", None, Money(5_000_000, "USD")),
        (b"5USD", b"EUR", None, Money(None, None, "currency_conflict")),
    ],
)
def test_the_currency_is_the_amounts_own_then_the_senders_then_the_default(
    amount: bytes, named: bytes, default: str | None, money: Money
) -> None:
    assert read_money(amount, named, default_currency=default) == money


@pytest.mark.parametrize(
    ("amount", "currency", "micros"),
    [
        (b"9999", b"USD", 99_990_000),
        (b"9999", b"", 99_990_000),
        (b"9999", b"JPY", 9_999_000_000),
        (b"9999", b"KWD", 9_999_000),
        (b"-1", b"EUR", -10_000),
        (b"0.5", b"EUR", 5_000),
    ],
)
def test_minor_units_are_those_of_the_currency(amount: bytes, currency: bytes, micros: int) -> None:
    assert read_money(amount, currency, is_minor=True).micros == micros


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0.0000005", 0), ("0.0000015", 2), ("0.00000051", 1), ("-0.0000015", -2), ("99.9900000001", 99_990_000)],
)
def test_more_than_six_decimals_are_rounded_half_to_even_and_say_so(text: str, micros: int) -> None:
    money = read_money(text.encode())
    assert (money.micros, money.is_rounded) == (micros, True)
    assert not read_money(b"0.000001").is_rounded


@given(st.integers(-LARGEST_MICROS, LARGEST_MICROS))
def test_every_amount_comes_back_to_the_micro(micros: int) -> None:
    sign, (whole, rest) = "-" if micros < 0 else "", divmod(abs(micros), MICROS)
    for text in (f"{sign}{whole}.{rest:06}", f"{sign}{whole:,}.{rest:06}"):
        assert read_money(text.encode()) == Money(micros, None)
    european = f"{whole:,}".replace(",", ".")
    assert read_money(f"{sign}{european},{rest:06}".encode()) == Money(micros, None)


@given(st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=9))
def test_rounding_is_that_of_decimals(number: Decimal) -> None:
    expected = int((number * MICROS).quantize(Decimal(1), ROUND_HALF_EVEN))
    assert read_money(f"{number:f}".encode()).micros == expected


AMOUNT_LIKE = st.text(alphabet="0123456789.,- $€eE'USD").map(str.encode)


@given(st.one_of(st.binary(max_size=80), AMOUNT_LIKE), st.binary(max_size=8))
def test_no_bytes_are_too_odd_to_be_refused(raw: bytes, currency: bytes) -> None:
    for is_minor in (False, True):
        money = read_money(raw, currency, is_minor=is_minor, default_currency="USD")
        assert (money.micros is None) == bool(money.reason)
        assert money.micros is None or -LARGEST_MICROS <= money.micros <= LARGEST_MICROS
        assert money.currency is None or money.currency in MINOR_DIGITS


def test_every_symbol_stands_for_codes_that_exist() -> None:
    assert all(code in MINOR_DIGITS for codes in SYMBOLS.values() for code in codes)
    assert read_currency(" zł ".encode()) == "PLN"
    assert read_currency(b"dollar") is None
