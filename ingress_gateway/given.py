"""What a client of the management and query APIs gave, by name: read with care, every problem told at once."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import unquote_to_bytes

import orjson

from ingress_gateway.instants import parse_instant
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.paging import LARGEST_PAGE_SIZE

_MOST_VIOLATIONS = 20
_LONGEST_SHOWN = 60
_DIGITS = re.compile(r"[0-9]{1,18}")
_TRUTHS = {"true": True, "false": False}
_NOTHING: Any = object()
"""What was not given, or is refused already."""
ChoiceT = TypeVar("ChoiceT")


class Given:
    """The named values of one request.

    Used as a context: ask for every name that the call knows, then leave the block. Leaving it raises
    InvalidArgumentError with everything that was wrong, values and names that nobody asked for.
    """

    def __init__(self, values: Mapping[str, Any], *, noun: str, violations: tuple[Violation, ...] = ()) -> None:
        self._values = values
        self._noun = noun
        self._violations = list(violations)
        self._known: list[str] = []

    @classmethod
    def of_query(cls, query: bytes, *, may_repeat: Callable[[str], bool] = lambda _name: False) -> Self:
        """Take the parameters of a raw query; bytes that are not UTF-8 are kept as surrogates.

        The values of a name that may repeat are a list of texts.
        """
        values: dict[str, Any] = {}
        repeated: dict[str, int] = {}
        for piece in query.split(b"&"):
            if piece:
                name, value = (_decoded(part) for part in piece.partition(b"=")[::2])
                if may_repeat(name):
                    values.setdefault(name, []).append(value)
                    continue
                repeated[name] = repeated.get(name, 0) + 1
                values[name] = value
        violations = [Violation(shown(n), f"is given {c} times; once is enough") for n, c in repeated.items() if c > 1]
        return cls(values, noun="parameter", violations=tuple(violations))

    @classmethod
    def of_json(cls, body: bytes) -> Self:
        """Take the members of a JSON object; raise InvalidArgumentError where it is none, saying where it broke."""
        try:
            value = orjson.loads(body.decode())
        except UnicodeDecodeError as error:
            before = body[: error.start]
            where = f"line {before.count(10) + 1}, column {error.start - before.rfind(10)}"
            raise InvalidArgumentError.of([Violation("body", f"is not UTF-8 at {where}")]) from None
        except orjson.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise InvalidArgumentError.of([Violation("body", f"is not JSON at {where}: {_cause(error)}")]) from None
        if not isinstance(value, dict):
            raise InvalidArgumentError.of([Violation("body", f"is {_kind(value)}, must be a JSON object")])
        return cls(value, noun="field")

    def __enter__(self) -> Self:
        """Begin to ask."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise InvalidArgumentError if anything was wrong."""
        if error is None:
            self._check()

    def _check(self) -> None:
        known = ", ".join(dict.fromkeys(self._known)) or "none"
        for name in self._values:
            if name not in self._known:
                self.refuse(shown(name), f"is not a {self._noun} of this call; there are: {known}")
        if self._violations:
            raise InvalidArgumentError.of(self._violations[:_MOST_VIOLATIONS])

    def refuse(self, name: str, description: str) -> None:
        """Note that something is wrong with a value."""
        self._violations.append(Violation(name, description))

    def has(self, name: str) -> bool:
        """Whether the name was given at all."""
        return name in self._values

    def text(self, name: str, *, is_required: bool = False) -> str | None:
        """Return a text; None when it was not given."""
        value = self._take(name, is_required=is_required)
        if value is _NOTHING:
            return None
        if not isinstance(value, str):
            self.refuse(name, f"is {_kind(value)}, must be a text")
            return None
        problem = text_problem(value)
        if problem:
            self.refuse(name, problem)
            return None
        return value

    def anything(self, name: str) -> Any:
        """Return a value of any kind; None when it was not given."""
        value = self._take(name)
        return None if value is _NOTHING else value

    def octets(self, name: str) -> bytes | None:
        """Return a query value as its bytes, which may be any."""
        value = self._take(name)
        return None if value is _NOTHING else value.encode("utf-8", "surrogateescape")

    def number(self, name: str, lowest: int, highest: int) -> int | None:
        """Return a whole number in the range, both ends included."""
        value = self._take(name)
        if value is _NOTHING:
            return None
        if isinstance(value, str) and self._noun == "parameter" and _DIGITS.fullmatch(value):
            value = int(value)
        if type(value) is not int or not lowest <= value <= highest:
            self.refuse(name, f"is {shown_value(value)}, must be a whole number from {lowest} to {highest}")
            return None
        return value

    def page_size(self) -> int:
        """Return how many items are wanted; 0 when it was not given: the service's own default."""
        return self.number("page_size", 1, LARGEST_PAGE_SIZE) or 0

    def page_token(self) -> str:
        """Return where the page begins; empty: at the beginning."""
        return self.text("page_token") or ""

    def flag(self, name: str) -> bool | None:
        """Return true or false."""
        value = self._take(name)
        if value is _NOTHING:
            return None
        if isinstance(value, str) and self._noun == "parameter":
            value = _TRUTHS.get(value, value)
        if not isinstance(value, bool):
            self.refuse(name, f"is {shown_value(value)}, must be true or false")
            return None
        return value

    def choice(self, name: str, choices: Mapping[str, ChoiceT], *, is_required: bool = False) -> ChoiceT | None:
        """Return what one of a few words stands for."""
        value = self._take(name, is_required=is_required)
        if value is _NOTHING:
            return None
        if not isinstance(value, str) or value not in choices:
            self.refuse(name, f"is {shown_value(value)}, must be one of: {', '.join(choices)}")
            return None
        return choices[value]

    def instant(self, name: str) -> datetime | None:
        """Return an instant, aware, in UTC."""
        value = self._take(name)
        if value is _NOTHING:
            return None
        found = parse_instant(value) if isinstance(value, str) else None
        if found is None:
            self.refuse(name, f"is {shown_value(value)}, must be RFC 3339, for example 2026-11-03T10:00:00Z")
        return found

    def texts(self, name: str, *, is_required: bool = False) -> list[str]:
        """Return a list of texts; empty when it was not given."""
        value = self._take(name, is_required=is_required)
        if value is _NOTHING:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.refuse(name, f"is {_kind(value)}, must be a list of texts")
            return []
        for index, item in enumerate(value):
            if problem := text_problem(item):
                self.refuse(f"{name}[{index}]", problem)
        return value

    def records(self, name: str, fields: Sequence[str]) -> list[dict[str, str]]:
        """Return a list of objects, each with a text for every one of ``fields``; empty when it was not given."""
        value = self._take(name)
        if value is _NOTHING:
            return []
        if not isinstance(value, list):
            self.refuse(name, f"is {_kind(value)}, must be a list of objects with {' and '.join(fields)}")
            return []
        return [self._record(f"{name}[{index}]", item, fields) for index, item in enumerate(value)]

    def _record(self, path: str, value: Any, fields: Sequence[str]) -> dict[str, str]:
        if not isinstance(value, dict):
            self.refuse(path, f"is {_kind(value)}, must be an object with {' and '.join(fields)}")
            return {}
        for name in value.keys() - set(fields):
            self.refuse(f"{path}.{shown(name)}", f"is not a field of it; there are: {', '.join(fields)}")
        for name in fields:
            if name not in value:
                self.refuse(f"{path}.{name}", "is required")
            elif not isinstance(value[name], str):
                self.refuse(f"{path}.{name}", f"is {_kind(value[name])}, must be a text")
            elif problem := text_problem(value[name]):
                self.refuse(f"{path}.{name}", problem)
        return {name: value[name] for name in fields if isinstance(value.get(name), str)}

    def _take(self, name: str, *, is_required: bool = False) -> Any:
        self._known.append(name)
        if name not in self._values:
            if is_required:
                self.refuse(name, "is required")
            return _NOTHING
        value = self._values[name]
        if value == "" and self._noun == "parameter" and name != "page_token":
            # A script whose variable is empty must not get a list of everything.
            self.refuse(name, "is empty; give a value or leave it out")
            return _NOTHING
        return value


def text_problem(text: str) -> str:
    """Say why a text cannot be passed on: it holds NUL, or came as bytes that are not UTF-8. Empty when it can."""
    if "\0" in text:
        return "must not hold the character NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must be UTF-8"
    return ""


def shown(name: str) -> str:
    """Return a client's own name for something as it may stand in an answer: valid text, not too long."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_LONGEST_SHOWN]


def shown_value(value: Any) -> str:
    """Return a client's value as it may stand in an answer."""
    if value is None or isinstance(value, list | dict):
        return _kind(value)
    text = repr(value) if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _decoded(part: bytes) -> str:
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _cause(error: orjson.JSONDecodeError) -> str:
    return error.msg.partition(": line ")[0]


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
