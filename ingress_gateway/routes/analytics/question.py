"""What a report was asked for: alike from the parameters of a query and from the members of a JSON body."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from google.protobuf import duration_pb2

from ingress_gateway.given import Given, shown, shown_value, text_problem
from ingress_gateway.instants import parse_instant
from rule_language.check import time_zone_violations
from rule_language.field import HEADER, PARAM
from rule_language.parse import predicate_from_json, predicate_to_pb
from rule_language.predicate import Condition, Operator, Predicate
from svc_runtime.errors import Violation
from trellis.type.v1 import predicate_pb2

DIMENSIONS = (
    "event_type", "source", "medium", "channel", "campaign", "campaign_id", "rule_id", "destination_id",
    "source_campaign_id", "term", "content", "placement", "country", "region", "city", "asn", "device_type", "device",
    "os", "os_version", "browser", "browser_version", "language", "host", "path", "referer_host", "conversion_event",
    "conversion_status", "partner_id", "network", "is_bot", "hour", "weekday", "date",
)  # fmt: skip
"""Dimensions that are parameters of a query too. ``currency`` is none of them: that parameter says what amounts are in;
``where`` has it. A test compares them with those of analytics_svc."""
REPEATED = frozenset({*DIMENSIONS, "step"})
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NAMED = (PARAM, HEADER)
_EMPTY = "is empty; give a value or leave it out"


class Question(Given):
    """``Given`` with what reports take beside it."""

    @classmethod
    def of(cls, query: bytes) -> "Question":
        """Take the parameters of a raw query, of which dimensions and steps may repeat."""
        return cls.of_query(query, may_repeat=lambda name: name in REPEATED or name.startswith(_NAMED))

    @property
    def is_query(self) -> bool:
        """True for parameters of a query, false for members of a body."""
        return self._noun == "parameter"

    def words(self, name: str, default: Sequence[str] = ()) -> list[str]:
        """Return a list of names: ``a,b,c`` in a query, a list of texts in a body; ``default`` when not given."""
        if not self.is_query:
            return self.texts(name) or list(default)
        text = self.text(name)
        return [word.strip() for word in text.split(",")] if text else list(default)

    def many(self, name: str) -> list[str]:
        """Return the values of a parameter that may repeat; none may be empty."""
        self._known.append(name)
        values: list[str] = self._values.get(name, [])
        return [value for value in values if self._is_text(name, value)]

    def _is_text(self, name: str, value: str) -> bool:
        problem = text_problem(name) or text_problem(value) or ("" if value else _EMPTY)
        if problem:
            self.refuse(shown(name), problem)
        return not problem

    def named(self) -> dict[str, list[str]]:
        """Return the values of all ``param.<name>`` and ``header.<name>``."""
        found = {name: self.many(name) for name in self._values if name.startswith(_NAMED)}
        self._known += [f"{start}<name>" for start in _NAMED]
        return found

    def json(self, name: str) -> Any:
        """Return JSON: a parameter's text, parsed, or a member as it is; None when it was not given or is none."""
        if not self.is_query:
            self._known.append(name)
            return self._values.get(name)
        text = self.text(name)
        if text is None:
            return None
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.refuse(name, f"is not JSON at character {error.pos + 1}")
            return None

    def predicate(self, name: str) -> predicate_pb2.Predicate | None:
        """Return a rule (docs/rules.md); None when it was not given or is refused."""
        value = self.json(name)
        return None if value is None else self.predicate_of(value, name)

    def events(self, name: str) -> predicate_pb2.Predicate | None:
        """Return which events are meant: an event type, or a rule; None when it was not given or is refused."""
        if not self.is_query:
            value = self.json(name)
            return None if value is None else self.events_of(value, name)
        text = self.text(name)
        return None if text is None else self.events_of(text, name)

    def events_of(self, value: Any, path: str) -> predicate_pb2.Predicate | None:
        """Read one value as ``events`` does; ``path`` is its name in a refusal."""
        if isinstance(value, str):
            if not is_json(value):
                return self._pb(Condition("event_type", Operator.EQUALS, (value,)), path) if value else None
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                self.refuse(path, f"is neither an event type nor JSON: it ends at character {error.pos + 1}")
                return None
        return self.predicate_of(value, path)

    def predicate_of(self, value: Any, path: str) -> predicate_pb2.Predicate | None:
        """Read a rule from JSON; ``path`` is its name in a refusal."""
        violations: list[Violation] = []
        predicate = predicate_from_json(value, path=path, violations=violations)
        for violation in violations:
            self.refuse(violation.field, violation.description)
        return None if predicate is None else self._pb(predicate, path)

    def _pb(self, predicate: Predicate, path: str) -> predicate_pb2.Predicate | None:
        try:
            return predicate_to_pb(predicate)
        except (UnicodeEncodeError, ValueError):
            self.refuse(path, "must be UTF-8")
            return None

    def zone(self) -> ZoneInfo:
        """Return the time zone; UTC when it was not given or is refused."""
        name = self.text("time_zone") or "UTC"
        for violation in (problems := time_zone_violations(name, "time_zone")):
            self.refuse(violation.field, violation.description)
        return ZoneInfo("UTC" if problems else name)

    def moment(self, name: str, zone: ZoneInfo) -> datetime | None:
        """Return an instant: RFC 3339, or a date, which is the midnight that it begins with in ``zone``."""
        text = self.text(name)
        if text is None:
            return None
        found = _midnight(text, zone) if _DATE.fullmatch(text) else parse_instant(text)
        if found is None:
            self.refuse(
                name, f"is {shown_value(text)}, must be a date such as 2026-11-03, or RFC 3339: 2026-11-03T10:00:00Z"
            )
        return found

    def duration(self, name: str) -> duration_pb2.Duration | None:
        """Return a length of time such as ``30m``, ``24h``, ``7d``."""
        text = self.text(name)
        if text is None:
            return None
        found = _DURATION.fullmatch(text)
        if found is None:
            self.refuse(name, f"is {shown_value(text)}, must be a number with s, m, h, d or w, for example 7d")
            return None
        duration = duration_pb2.Duration()
        duration.FromTimedelta(timedelta(seconds=int(found[1]) * _SECONDS[found[2]]))
        return duration

    def numbers(self, name: str, lowest: int, highest: int) -> list[int]:
        """Return a list of whole numbers: ``1,7,30`` in a query, a list in a body."""
        values: Collection[Any]
        if self.is_query:
            values = [int(word) if word.isascii() and word.isdigit() else word for word in self.words(name)]
        else:
            given = self.json(name)
            values = given if isinstance(given, list) else [] if given is None else [given]
        for value in values:
            if type(value) is not int or not lowest <= value <= highest:
                self.refuse(name, f"has {shown_value(value)}, must be whole numbers from {lowest} to {highest}")
                return []
        return list(values)

    def ignored(self, name: str) -> None:
        """Take a parameter that says nothing here."""
        self._known.append(name)


def is_json(text: str) -> bool:
    """Tell a rule from the name of an event type."""
    return text.lstrip().startswith(("{", "["))


def _midnight(text: str, zone: ZoneInfo) -> datetime | None:
    try:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
