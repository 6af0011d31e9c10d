"""Parameter mappings: what an organisation's senders mean by their parameters. Pure: no clock, no store."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from svc_runtime.errors import InvalidArgumentError, NotFoundError, Violation

FIELDS = (
    "click_id",
    "external_id",
    "placement",
    "source",
    "medium",
    "campaign",
    "term",
    "content",
    "cost",
    "payout",
    "currency",
    "transaction_id",
    "status",
    "source_campaign_id",
)
"""What a parameter can be: the canonical fields of ``enrichment.aliases``."""

MOST_RULES = 50
MOST_MAPPINGS = 1_000
"""Of an organisation."""
LONGEST_NAME_CHARACTERS = 200
LONGEST_SOURCE_CHARACTERS = 512
LONGEST_PARAMETER_BYTES = 256
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""No mapping begins or ends outside: nothing is ever received there."""
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ActiveMapping:
    """The version of a mapping that holds, as the projection needs it."""

    mapping_id: str
    version: int
    source: str
    """Only events whose source by our own names is this one, in lower case; empty: of any source."""
    parameters: Mapping[str, str]
    """The parameter's name, in lower case, by field."""
    start_time: datetime | None = None
    """Only events received at or after this instant."""
    end_time: datetime | None = None
    """Only events received before this instant."""

    @property
    def label(self) -> str:
        """As a row names it: ``id/version``."""
        return f"{self.mapping_id}/{self.version}"


ActiveMappings = Mapping[str, tuple[ActiveMapping, ...]]
"""By organisation; the oldest mapping first. Of two that name the same field the later one wins."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Gives a parameter one of our names."""

    parameter: str
    """As it was written; compared without case (ASCII)."""
    field: str


@dataclass(frozen=True, slots=True)
class WantedMapping:
    """What a caller wants a mapping to be."""

    mapping_id: str = ""
    """Empty: a new one."""
    name: str = ""
    source: str = ""
    rules: tuple[FieldRule, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class MappingVersion:
    """One version of a mapping. It is never changed."""

    organization_id: str
    mapping_id: str
    version: int
    """From 1."""
    name: str
    source: str
    rules: tuple[FieldRule, ...]
    start_time: datetime | None
    end_time: datetime | None
    actor: str
    create_time: datetime
    is_active: bool = False
    """It is the version that holds."""

    def as_active(self) -> ActiveMapping:
        """Return it as the projection reads by it."""
        return ActiveMapping(
            self.mapping_id,
            self.version,
            self.source,
            {rule.field: _ascii_lower(rule.parameter) for rule in self.rules},
            self.start_time,
            self.end_time,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """The events that something is about, by when they were received. None: without that end."""

    start_time: datetime | None
    end_time: datetime | None


def span_of(mappings: Iterable[ActiveMapping]) -> Span:
    """Return the shortest span that has everything that any of the mappings, of which there is one, may match."""
    starts, ends = zip(*((mapping.start_time, mapping.end_time) for mapping in mappings), strict=True)
    return Span(
        None if None in starts else min(start for start in starts if start is not None),
        None if None in ends else max(end for end in ends if end is not None),
    )


def no_such_mapping(mapping_id: str) -> NotFoundError:
    """The one error for a mapping that is not there, or that is another organisation's."""
    return NotFoundError(f"no mapping {mapping_id[:64]!r}")


def no_such_version(mapping_id: str, version: int) -> NotFoundError:
    """The error for a version that one of the caller's own mappings does not have."""
    return NotFoundError(f"mapping {mapping_id[:64]!r} has no version {version}")


def checked(wanted: WantedMapping) -> WantedMapping:
    """Return what is wanted in normal form, or raise InvalidArgumentError with every violation."""
    normal = replace(wanted, name=wanted.name.strip(), source=wanted.source.strip().lower())
    if violations := [*_text_violations(normal), *_rule_violations(normal.rules), *_time_violations(normal)]:
        raise InvalidArgumentError.of(violations)
    return normal


def version_of(
    wanted: WantedMapping, *, organization_id: str, mapping_id: str, version: int, actor: str, now: datetime
) -> MappingVersion:
    """Return what was ``checked`` as a version that does not hold yet."""
    return MappingVersion(
        organization_id=organization_id,
        mapping_id=mapping_id,
        version=version,
        name=wanted.name,
        source=wanted.source,
        rules=wanted.rules,
        start_time=wanted.start_time,
        end_time=wanted.end_time,
        actor=actor,
        create_time=now,
    )


def _text_violations(wanted: WantedMapping) -> Iterator[Violation]:
    for field, text, longest in (
        ("name", wanted.name, LONGEST_NAME_CHARACTERS),
        ("source", wanted.source, LONGEST_SOURCE_CHARACTERS),
    ):
        if len(text) > longest:
            yield Violation(field, f"has {len(text)} characters, {longest} are allowed")
        if any(unicodedata.category(character) == "Cc" for character in text):
            yield Violation(field, "has a control character")


def _rule_violations(rules: tuple[FieldRule, ...]) -> Iterator[Violation]:
    if not rules:
        yield Violation("rules", f"is empty, must be 1 to {MOST_RULES}")
    elif len(rules) > MOST_RULES:
        # Not one by one: what is wrong is the whole list.
        yield Violation("rules", f"has {len(rules)} rules, {MOST_RULES} are allowed")
        return
    places: dict[str, int] = {}
    for index, rule in enumerate(rules):
        path = f"rules[{index}]"
        if not rule.parameter:
            yield Violation(f"{path}.parameter", f"is empty, must be 1 to {LONGEST_PARAMETER_BYTES} bytes")
        elif (size := len(rule.parameter.encode())) > LONGEST_PARAMETER_BYTES:
            yield Violation(f"{path}.parameter", f"has {size} bytes, {LONGEST_PARAMETER_BYTES} are allowed")
        if rule.field not in FIELDS:
            yield Violation(f"{path}.field", f"{_shown(rule.field)} is no field; there are: {', '.join(FIELDS)}")
        elif (first := places.setdefault(rule.field, index)) != index:
            yield Violation(f"{path}.field", f"{rule.field!r} is given in rules[{first}] already; a field has one rule")


def _time_violations(wanted: WantedMapping) -> Iterator[Violation]:
    start, end = wanted.start_time, wanted.end_time
    for field, instant in (("start_time", start), ("end_time", end)):
        if instant is not None and not EARLIEST <= instant <= LATEST:
            yield Violation(field, f"is {instant:%FT%TZ}, must be from {EARLIEST:%FT%TZ} to {LATEST:%FT%TZ}")
    if start is not None and end is not None and end <= start:
        yield Violation("end_time", f"is {end:%FT%TZ}, not after the start {start:%FT%TZ}")


def _ascii_lower(text: str) -> str:
    return text.encode().lower().decode()


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]!r}…"
