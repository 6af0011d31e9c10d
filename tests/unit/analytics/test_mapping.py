from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from analytics_svc.mappings.mapping import (
    FIELDS,
    ActiveMapping,
    FieldRule,
    Span,
    WantedMapping,
    checked,
    span_of,
    version_of,
)
from enrichment.aliases import DEFAULT
from ingress_gateway.openapi.mappings import SCHEMAS
from svc_runtime.errors import InvalidArgumentError

MARCH = datetime(2026, 3, 3, tzinfo=UTC)
WANTED = WantedMapping(name="Zones", rules=(FieldRule("zoneid", "placement"), FieldRule("p3", "external_id")))
VALID = ", ".join(FIELDS)


def test_what_is_wanted_is_folded_and_trimmed() -> None:
    wanted = replace(WANTED, name="  Zones ", source=" PropellerAds\u0130 ")
    assert checked(wanted) == replace(WANTED, name="Zones", source="propellerads\u0130".lower())


def test_a_parameters_name_stays_as_it_was_written_and_is_read_by_in_lower_case() -> None:
    # Only ASCII letters: `Ä` and `ä` are two names to a sender.
    rules = (FieldRule("ZoneÄ ID", "placement"),)
    version = version_of(
        checked(replace(WANTED, rules=rules)), organization_id="o", mapping_id="m", version=3, actor="a", now=MARCH
    )
    assert version.rules == rules
    assert not version.is_active
    assert version.as_active() == ActiveMapping("m", 3, "", {"placement": "zoneÄ id"})
    assert version.as_active().label == "m/3"


def test_every_field_has_aliases_and_is_named_by_the_document() -> None:
    assert set(FIELDS) <= set(DEFAULT)
    rule = SCHEMAS["NewMapping"]["properties"]["rules"]["items"]
    assert rule["properties"]["field"]["enum"] == list(FIELDS)


@pytest.mark.parametrize(
    ("change", "violations"),
    [
        ({"rules": ()}, {"rules": "is empty, must be 1 to 50"}),
        ({"rules": tuple(FieldRule(f"p{n}", "cost") for n in range(51))}, {"rules": "has 51 rules, 50 are allowed"}),
        ({"rules": (FieldRule("", "cost"),)}, {"rules[0].parameter": "is empty, must be 1 to 256 bytes"}),
        ({"rules": (FieldRule("ä" * 129, "cost"),)}, {"rules[0].parameter": "has 258 bytes, 256 are allowed"}),
        ({"rules": (FieldRule("a", "Cost"),)}, {"rules[0].field": f"'Cost' is no field; there are: {VALID}"}),
        (
            {"rules": (FieldRule("a", "x" * 1000),)},
            {"rules[0].field": f"{'x' * 60!r}… is no field; there are: {VALID}"},
        ),
        (
            {"rules": (FieldRule("a", "cost"), FieldRule("b", "cost"))},
            {"rules[1].field": "'cost' is given in rules[0] already; a field has one rule"},
        ),
        ({"name": "x" * 201}, {"name": "has 201 characters, 200 are allowed"}),
        ({"name": "a\nb"}, {"name": "has a control character"}),
        ({"source": "x" * 513}, {"source": "has 513 characters, 512 are allowed"}),
        (
            {"start_time": MARCH, "end_time": MARCH},
            {"end_time": "is 2026-03-03T00:00:00Z, not after the start 2026-03-03T00:00:00Z"},
        ),
        (
            {"start_time": datetime(1969, 12, 31, tzinfo=UTC)},
            {"start_time": "is 1969-12-31T00:00:00Z, must be from 1970-01-01T00:00:00Z to 2200-01-01T00:00:00Z"},
        ),
        (
            {"end_time": datetime(2200, 1, 2, tzinfo=UTC)},
            {"end_time": "is 2200-01-02T00:00:00Z, must be from 1970-01-01T00:00:00Z to 2200-01-01T00:00:00Z"},
        ),
        (
            {"name": "\0", "rules": (FieldRule("", "nope"),)},
            {
                "name": "has a control character",
                "rules[0].parameter": "is empty, must be 1 to 256 bytes",
                "rules[0].field": f"'nope' is no field; there are: {VALID}",
            },
        ),
    ],
)
def test_everything_wrong_is_named(change: dict[str, object], violations: dict[str, str]) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        checked(replace(WANTED, **change))  # type: ignore[arg-type]  # the changes of the table, one after the other
    assert {violation.field: violation.description for violation in refused.value.violations} == violations


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x" * 200, "source": "ö" * 512},
        {"rules": tuple(FieldRule("ä" * 128, field) for field in FIELDS)},
        {"start_time": MARCH},
        {"end_time": MARCH},
        {"start_time": MARCH, "end_time": MARCH + timedelta(milliseconds=1)},
    ],
)
def test_the_largest_of_everything_passes(change: dict[str, object]) -> None:
    wanted = replace(WANTED, **change)  # type: ignore[arg-type]  # the changes of the table, one after the other
    assert checked(wanted) == wanted


def test_the_span_of_two_versions_has_what_either_may_match() -> None:
    def between(start: int | None, end: int | None) -> ActiveMapping:
        day = timedelta(days=1)
        return ActiveMapping(
            "m", 1, "", {}, None if start is None else MARCH + start * day, None if end is None else MARCH + end * day
        )

    assert span_of([between(1, 3), between(2, 9)]) == Span(MARCH + timedelta(days=1), MARCH + timedelta(days=9))
    assert span_of([between(1, None), between(None, 9)]) == Span(None, None)
    assert span_of([between(1, 3)]) == Span(MARCH + timedelta(days=1), MARCH + timedelta(days=3))
