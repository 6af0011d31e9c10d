"""The catalogue: which fields there are, of which kind, and which operators a kind has."""

import enum
from dataclasses import dataclass

from rule_language.predicate import Operator

PARAM = "param."
HEADER = "header."
LONGEST_NAME_BYTES = 256
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class Kind(enum.Enum):
    """What a field's fact is."""

    TEXT = "a text"
    NAMED = "a text that may hold a number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    ADDRESS = "an address"
    HOUR = "an hour"
    WEEKDAY = "a weekday"
    DATE = "a date"


TIME_KINDS = frozenset({Kind.HOUR, Kind.WEEKDAY, Kind.DATE})


@dataclass(frozen=True, slots=True)
class Field:
    """What can be asked for."""

    name: str
    kind: Kind
    folds_case: bool = False
    """Its ASCII letters are compared without case."""
    absent_is_missing: bool = False
    """No fact means that it is not there; otherwise, that nobody could tell."""
    zero_is_missing: bool = False

    @property
    def is_parameter(self) -> bool:
        """It is ``param.<name>``."""
        return self.name.startswith(PARAM)

    @property
    def key(self) -> str:
        """The name of the parameter or header."""
        return self.name.partition(".")[2]


_FOLDED = ("source", "medium", "country", "region", "city", "device_type", "os", "browser", "language", "event_type")
_EXACT = ("campaign", "referer", "url", "path", "user_agent")
FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        *(Field(name, Kind.TEXT, folds_case=True) for name in _FOLDED),
        *(Field(name, Kind.TEXT) for name in _EXACT),
        Field("ip", Kind.ADDRESS),
        Field("asn", Kind.NUMBER, zero_is_missing=True),
        Field("value", Kind.NUMBER, absent_is_missing=True),
        Field("is_bot", Kind.BOOLEAN),
        Field("hour", Kind.HOUR),
        Field("weekday", Kind.WEEKDAY),
        Field("date", Kind.DATE),
    )
}
"""Every field but the parameters and headers."""

_EQUAL = (Operator.EQUALS, Operator.NOT_EQUALS)
_LISTED = (Operator.IN, Operator.NOT_IN)
_THERE = (Operator.EXISTS, Operator.NOT_EXISTS)
ORDERED = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN)
"""The operators that compare numbers."""
_PARTS = (
    Operator.CONTAINS,
    Operator.NOT_CONTAINS,
    Operator.STARTS_WITH,
    Operator.ENDS_WITH,
    Operator.MATCHES,
)
OPERATORS: dict[Kind, tuple[Operator, ...]] = {
    Kind.TEXT: (*_EQUAL, *_PARTS, *_LISTED, *_THERE),
    Kind.NAMED: (*_EQUAL, *_PARTS, *_LISTED, *_THERE, *ORDERED),
    Kind.NUMBER: (*_EQUAL, *_LISTED, *_THERE, *ORDERED),
    Kind.BOOLEAN: (*_EQUAL, *_THERE),
    Kind.ADDRESS: (*_EQUAL, *_LISTED, *_THERE, Operator.CIDR),
    Kind.HOUR: (*_EQUAL, *_LISTED, *ORDERED),
    Kind.WEEKDAY: (*_EQUAL, *_LISTED),
    Kind.DATE: (*_EQUAL, *_LISTED, *ORDERED),
}


def field_of(name: str) -> Field | None:
    """Find a field; None when there is none of that name, or the parameter's or header's name cannot be one."""
    if name.startswith(PARAM):
        key = name.removeprefix(PARAM).encode(errors="replace")
        return Field(name, Kind.NAMED, absent_is_missing=True) if 0 < len(key) <= LONGEST_NAME_BYTES else None
    if name.startswith(HEADER):
        name = name.lower()
        key_text = name.removeprefix(HEADER)
        is_token = 0 < len(key_text) <= LONGEST_NAME_BYTES and _TOKEN.issuperset(key_text)
        return Field(name, Kind.NAMED, absent_is_missing=True) if is_token else None
    return FIELDS.get(name)
