"""Predicates and events that meet: both are put together from the same few pieces, the nasty ones among them.

Hypothesis draws the seed; the volume that it takes to find what one rule in ten thousand gets wrong comes from here.
"""

from decimal import Decimal
from ipaddress import ip_address
from random import Random
from typing import Any

import re2

from rule_language.evaluate import Facts
from rule_language.field import FIELDS, OPERATORS, ORDERED, Field, Kind, field_of
from rule_language.operand import NUMERIC, WEEKDAYS
from rule_language.predicate import Operator

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
_PIECES = (
    *(
        "a",
        "A",
        "b",
        "facebook",
        "FaceBook",
        "https://",
        "tiktok.com",
        "?x=1&y=",
        "/",
        ".",
        "%",
        "_",
        "\\",
        "'",
        "{p0:x}",
    ),
    *("\0", "\n", "\r\n", "\t", " ", "é", "É", "ſ", "K", "İ", "😀", "NULL", "\\N", "\ufeff"),  # noqa: RUF001 - the Kelvin sign and the long s fold to ASCII letters
)
_NUMBERS = (
    *("0", "-0", "5", " 5 ", "+5", "5.0", "05", "4.999999999999999999", "-5", "0.1", "0.10", "1e400", "1e3", "NaN"),
    *("inf", "5.", ".5", "1,5", "\u0665", "0x5", "9" * 38, "9" * 39, "0." + "0" * 17 + "1", "5\n", "5\v", "5\0"),
    str(2**64),
)  # fmt: skip
_RULE_NUMBERS = ("0", "5", "-5", "0.1", "5.0", "4.999999999999999999", "9" * 38, "64512", "0." + "0" * 17 + "1", "7.25")
_BAD_BYTES = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80")
_ADDRESSES = (
    *("192.0.2.1", "192.0.2.200", "10.1.2.3", "::ffff:192.0.2.1", "::FFFF:c000:201", "2001:db8::1", "2001:DB8:0::1"),
    *("::", "::1", "0.0.0.0", "255.255.255.255", "fe80::1"),
)
_NO_ADDRESSES = (
    *("", "x", "192.0.2", "192.0.2.01", "010.1.2.3", "::ffff:192.0.2.01", "192.0.2.1 ", "fe80::1%eth0", "[::1]"),
    *("192.0.2.1\0", "192.0.2.1:80", "1.2.3.4.5", "256.1.1.1", "12345::", "::1::", "é"),
)
_NETWORKS = (
    *("192.0.2.0/24", "192.0.2.1/32", "192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1"),
    *("::ffff:192.0.2.0/120", "::ffff:0:0/96", "fe80::/10", "192.0.2.128/25"),
)
_EXPRESSIONS = (
    *("a", "^a", "a$", "^$", "a.b", "(?-s)a.b", "(?m)^b", "[^a]", ".", r"\C", "(?i)FACE", "FACE", "(?P<n>face)book"),
    *(
        r"\x66acebook",
        r"\bx\b",
        "a|b|tiktok",
        r"tiktok\.com",
        r"\Q?x=\E",
        r"\pL",
        r"^\PL+$",
        "é",
        "[À-ÿ]",
        "(?:a{2})?b",
    ),
    *(r"^[^/]*//[^/]*tiktok", "\0", r"\x00", r"\s", r"\z", "(a|)", r"https?://", "k", "(?i)s", r"(?i)^\w+$"),
)
_DAYS = ("2024-03-30", "2024-03-31", "2024-04-01", "2024-10-27", "2024-11-03", "1970-01-01", "2011-12-30", "2036-02-29")
_INSTANTS = (  # daylight saving begins or ends in one of the zones, or a day is missing, around these
    *(1711846800, 1729990800, 1710054000, 1730613600, 1712415600, 1728142200, 1325239200, 0, 951782400, 2147483647),
)
_PARAMS = ("a", "A", "zone id", "é", "x'{p0:String}", "\0")
_HEADERS = ("referer", "x-a")
_TEXT_NAMES = [name for name, field in FIELDS.items() if field.kind is Kind.TEXT]
_FIELD_NAMES = [
    *(name for name in FIELDS if name not in _TEXT_NAMES),
    *_TEXT_NAMES,
    *(f"param.{name}" for name in _PARAMS),
    *(f"header.{name}" for name in _HEADERS),
]
_EXACT = frozenset({Operator.EQUALS, Operator.NOT_EQUALS, Operator.IN, Operator.NOT_IN})


class Generator:
    """Makes rules and events of one seed from a handful of pieces, so that a rule often has an event it is about."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)
        self._pieces = random.sample(_PIECES, 4)
        self._bytes = [*(piece.encode() for piece in self._pieces), *random.sample(_BAD_BYTES, 1)]
        self._expressions = [*random.sample(_EXPRESSIONS, 8), *(escaped(piece) for piece in self._pieces)]
        self._numbers = random.sample(_RULE_NUMBERS, 4)
        self._texts_of_numbers = [*random.sample(_NUMBERS, 8), *self._numbers]
        self._addresses = [*random.sample(_ADDRESSES, 5), self._any_address()]
        self._days = random.sample(_DAYS, 4)
        self._instants = random.sample(_INSTANTS, 3)

    def _any_address(self) -> str:
        bits = self._random.choice([32, 128])
        return str(ip_address(self._random.getrandbits(bits).to_bytes(bits // 8)))

    def predicate(self, depth: int = 0) -> dict[str, Any]:
        """Make a rule in its JSON form."""
        kind = self._random.choice(["all", "any", "not", "", "", ""]) if depth < 3 else ""
        if not kind:
            return self._condition()
        if kind == "not":
            return {"not": self.predicate(depth + 1)}
        return {kind: [self.predicate(depth + 1) for _ in range(self._random.randint(1, 3))]}

    def _condition(self) -> dict[str, Any]:
        field = field_of(self._random.choice(_FIELD_NAMES))
        assert field
        operator = self._random.choice(OPERATORS[field.kind])
        if operator in {Operator.EXISTS, Operator.NOT_EXISTS}:
            return {"field": field.name, "operator": operator}
        count = 2 if operator is Operator.BETWEEN else 1 if operator in ORDERED else self._random.choice([1, 1, 2, 5])
        values = [self._value(field, operator) for _ in range(count)]
        if operator is Operator.BETWEEN:
            values.sort(key=NUMERIC[field.kind])
        return {"field": field.name, "operator": operator, "values": values}

    def _value(self, field: Field, operator: Operator) -> str:
        choice = self._random.choice
        if operator is Operator.MATCHES:
            return choice(self._expressions)
        if operator is Operator.CIDR:
            return choice(_NETWORKS)
        if field.kind is Kind.NUMBER or (operator in ORDERED and field.kind is Kind.NAMED):
            return choice(self._numbers)
        match field.kind:
            case Kind.BOOLEAN:
                return choice(["true", "false"])
            case Kind.ADDRESS:
                return choice(self._addresses)
            case Kind.HOUR:
                return str(self._random.randrange(24))
            case Kind.WEEKDAY:
                return choice(WEEKDAYS)
            case Kind.DATE:
                return choice(self._days)
            case _:
                fewest = 0 if operator in _EXACT else 1
                return "".join(self._random.choices(self._pieces, k=self._random.randint(fewest, 2)))

    def event(self) -> Facts:
        """Make the facts of one event, each of them unknown or missing now and then."""
        random = self._random
        known: dict[str, Any] = {name: self._text() for name in _TEXT_NAMES}
        known |= dict.fromkeys(random.sample(_TEXT_NAMES, 3))
        known["ip"] = random.choice([*self._addresses, *self._addresses, *_NO_ADDRESSES]).encode()
        known["asn"] = random.choice([None, 0, 5, 64512, 2**32 - 1])
        known["value"] = random.choice(
            [None, Decimal(10**32 - 1), *(Decimal(text) for text in ("0", "5", "0.1", "-5"))]
        )
        known["is_bot"] = random.choice([None, True, False])
        near = random.choice(self._instants) * 1000 + random.randint(-(10**8), 10**8)
        return Facts(
            event_time_ms=random.choice([max(near, 0), random.randrange(2**31 * 1000)]),
            fields=known,
            params={name.encode(): self._named() for name in _PARAMS if random.random() < 0.8},
            headers={name.encode(): self._named() for name in _HEADERS if random.random() < 0.8},
        )

    def _text(self) -> bytes:
        text = b"".join(self._random.choices(self._bytes, k=self._random.randint(0, 3)))
        return text.swapcase() if self._random.random() < 0.2 else text

    def _named(self) -> bytes:
        return self._text() if self._random.random() < 0.5 else self._random.choice(self._texts_of_numbers).encode()


def escaped(piece: str) -> str:
    """Write a piece as an expression that it alone matches."""
    return re2.escape(piece)
