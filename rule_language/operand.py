"""What the values of a condition, and the texts that they are compared with, stand for."""

import re
import socket
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from rule_language.field import Kind

NUMBER_PATTERN = "[ \t\r\n]*([+-]?[0-9]{1,38}(?:[.][0-9]{1,18})?)[ \t\r\n]*"
"""A number in a text, in a form that Python's regular expressions and RE2 read alike; group 1 is the number."""
FRACTION_DIGITS = 18
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ADDRESS_BITS = 128
_IPV4_BITS = 32
_MAPPED = 0xFFFF << _IPV4_BITS
_number = re.compile(NUMBER_PATTERN.encode()).fullmatch
_is_prefix = re.compile(r"[0-9]{0,3}").fullmatch
# Not the machine's own zone, and none of those that count leap seconds: ClickHouse has neither.
_is_zone = re.compile(r"(?!localtime$|posixrules$|Factory$|posix/|right/)[A-Za-z0-9_+/-]{1,64}").fullmatch
_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


def number_in(text: bytes) -> Decimal | None:
    """Read a number, exactly; None when the text is none."""
    found = _number(text)
    return Decimal(found[1].decode()) if found else None


def address_in(text: bytes) -> int | None:
    """Read an address as 128 bits, IPv4 as the IPv6 address that maps it; None when the text is none."""
    written = text.decode("latin-1")
    try:
        if ":" in written:
            return int.from_bytes(socket.inet_pton(socket.AF_INET6, written))
        return _MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, written))
    except (OSError, ValueError):  # ValueError: a NUL, or characters that are not ASCII
        return None


def number_from(value: str) -> Decimal:
    """Read a rule's number. Raise ValueError when it is none."""
    number = number_in(value.encode())
    if number is None:
        raise ValueError("is no number: a sign, 1 to 38 digits and perhaps a point with 1 to 18 more, no exponent")
    return number


def address_from(value: str) -> int:
    """Read a rule's address. Raise ValueError when it is none."""
    address = address_in(value.encode())
    if address is None:
        raise ValueError("is no IPv4 or IPv6 address")
    return address


def network_from(value: str) -> tuple[int, int]:
    """Read a rule's network as its first address and its prefix's bits of 128. Raise ValueError when it is none."""
    address, _, prefix = value.partition("/")
    written = address_in(address.encode())
    try:
        network = ip_network(value, strict=False) if _is_prefix(prefix) else None
    except ValueError:
        network = None
    if network is None or written is None:
        raise ValueError("is no network: an IPv4 or IPv6 address, `/` and the number of bits")
    first, bits = int(network.network_address), network.prefixlen
    if network.version == 4:
        first, bits = first | _MAPPED, bits + ADDRESS_BITS - _IPV4_BITS
    if written != first:
        raise ValueError(f"is an address within a network; the network is {network}")
    return first, bits


def boolean_from(value: str) -> bool:
    """Read a rule's truth value. Raise ValueError when it is none."""
    try:
        return {"true": True, "false": False}[value.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def hour_from(value: str) -> int:
    """Read a rule's hour. Raise ValueError when it is none."""
    if not (value.isascii() and value.isdigit() and len(value) <= 2 and int(value) <= 23):
        raise ValueError("is no hour: 0 to 23")
    return int(value)


def weekday_from(value: str) -> int:
    """Read a rule's weekday as 1, monday, to 7, sunday. Raise ValueError when it is none."""
    try:
        return WEEKDAYS.index(value.lower()) + 1
    except ValueError:
        raise ValueError(f"is no weekday: {', '.join(WEEKDAYS)}") from None


def date_from(value: str) -> int:
    """Read a rule's date as the number YYYYMMDD. Raise ValueError when it is none."""
    try:
        found = date.fromisoformat(value) if _is_date(value) else None
    except ValueError:
        found = None
    if found is None:
        raise ValueError("is no date: YYYY-MM-DD")
    return found.year * 10_000 + found.month * 100 + found.day


def zone_from(name: str) -> ZoneInfo:
    """Read the name of an IANA time zone. Raise ValueError when there is none of that name."""
    if not _is_zone(name):
        raise ValueError(f"there is no time zone `{name[:64]}`; it is a name such as UTC or Europe/Berlin")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"there is no time zone `{name[:64]}`; it is a name such as UTC or Europe/Berlin") from None


NUMERIC: dict[Kind, Callable[[str], int | Decimal]] = {
    Kind.NAMED: number_from,
    Kind.NUMBER: number_from,
    Kind.HOUR: hour_from,
    Kind.WEEKDAY: weekday_from,
    Kind.DATE: date_from,
}
"""How to read a value that is compared as a number, by the kind of its field."""


def networks_by_prefix(values: Iterable[str]) -> dict[int, frozenset[int]]:
    """Group the networks by the bits of their prefix, so that one look-up answers for all of a length."""
    grouped: dict[int, set[int]] = {}
    for first, bits in map(network_from, values):
        grouped.setdefault(bits, set()).add(first)
    return {bits: frozenset(grouped[bits]) for bits in sorted(grouped)}
