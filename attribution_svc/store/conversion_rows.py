"""Rows of conversions: to JSON, which PostgreSQL takes apart by the columns of a table, and back from records."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import asyncpg

from attribution_svc.conversions.conversion import Conversion, Share
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.kept import Kept, Match, MatchState, OrphanReason, Suggestion, Touch, facts_of
from attribution_svc.conversions.rules import Choice, Policy, Rules
from attribution_svc.conversions.settle import Change, Verdict
from enrichment.status import Status

EVENT_FIELDS = tuple(column.name for column in fields(ConversionEvent))
CONVERSION_FIELDS = tuple(column.name for column in fields(Conversion))
_TUPLES = ("click_references", "marks", "event_ids")
_TOUCH_COLUMNS = {
    "event_id": "touch_event_id",
    "event_time": "touch_time",
    "click_id": "touch_click_id",
    "external_click_id": "touch_external_click_id",
    "campaign_version": "campaign_version",
    "rule_id": "rule_id",
    "destination_id": "destination_id",
    "user_id": "touch_user_id",
    "source": "source",
    "medium": "medium",
    "channel": "channel",
}


def json_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows for ``json_populate_recordset``."""
    return json.dumps(list(rows), default=_text_of)


def _text_of(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON of {type(value).__name__}")


def event_row(event: ConversionEvent, *, is_beyond: bool) -> dict[str, Any]:
    """Return the columns of an event."""
    row = {name: getattr(event, name) for name in EVENT_FIELDS}
    return {**row, "group_key": event.group_key, "is_beyond": is_beyond}


def event_of(record: asyncpg.Record) -> ConversionEvent:
    """Read an event."""
    return ConversionEvent(**_picked(record, EVENT_FIELDS))


def conversion_row(kept: Kept) -> dict[str, Any]:
    """Return the columns of a conversion that follow from its events."""
    row = {name: getattr(kept.conversion, name) for name in CONVERSION_FIELDS}
    return {**row, "merged_into": kept.merged_into}


def kept_of(record: asyncpg.Record) -> Kept:
    """Read a conversion."""
    return Kept(
        conversion=Conversion(**_picked(record, CONVERSION_FIELDS)),
        match=_match(record),
        merged_into=record["merged_into"],
        revision=record["revision"],
        update_time=record["update_time"],
    )


def match_row(kept: Kept) -> dict[str, Any]:
    """Return the columns that say which click a conversion goes back to."""
    match = kept.match
    touch = asdict(match.touch) if match.touch else {}
    empty: dict[str, Any] = {"event_time": None, "campaign_version": 0}
    return {
        "organization_id": kept.conversion.organization_id,
        "conversion_id": kept.conversion.conversion_id,
        "match_state": match.state.value,
        "orphan_reason": match.reason,
        "campaign_id": match.campaign_id,
        "is_outside_window": match.is_outside_window,
        "is_accepted": match.is_accepted,
        "suggestions": [asdict(suggestion) for suggestion in match.suggestions],
        **{column: touch.get(name, empty.get(name, "")) for name, column in _TOUCH_COLUMNS.items()},
    }


def change_row(change: Change) -> dict[str, Any]:
    """Return the columns of a change."""
    conversion = change.after.conversion
    return {
        "organization_id": conversion.organization_id,
        "conversion_id": conversion.conversion_id,
        "kind": change.kind.value,
        "before": facts_of(change.before) if change.before else None,
        "after": facts_of(change.after),
    }


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """Return the columns of a verdict."""
    event = verdict.event
    key = {"organization_id": event.organization_id, "event_id": event.event_id, "event_time": event.event_time}
    return {**key, **asdict(verdict.share)}


def share_of(record: asyncpg.Record) -> Share:
    """Read what the reading was told of an event."""
    return Share(**{column.name: record[column.name] for column in fields(Share)})


def rules_of(policies: str, vocabularies: str, currencies: str) -> Rules:
    """Read an organisation's rules."""
    return Rules(
        policies={
            name: Policy(Choice(policy["choice"]), policy["lookback_days"])
            for name, policy in json.loads(policies).items()
        },
        vocabularies={
            network: {word: Status(status) for word, status in words.items()}
            for network, words in json.loads(vocabularies).items()
        },
        currencies=json.loads(currencies),
    )


def _match(record: asyncpg.Record) -> Match:
    touch = None
    if record["touch_event_id"]:
        told = {name: record[column] for name, column in _TOUCH_COLUMNS.items()}
        touch = Touch(**told, campaign_id=record["campaign_id"])
    return Match(
        state=MatchState(record["match_state"]),
        reason=record["orphan_reason"],
        touch=touch,
        campaign_id=record["campaign_id"],
        is_outside_window=record["is_outside_window"],
        is_accepted=record["is_accepted"],
        suggestions=tuple(_suggestion(told) for told in json.loads(record["suggestions"])),
    )


def _suggestion(told: dict[str, Any]) -> Suggestion:
    touch = {**told["touch"], "event_time": datetime.fromisoformat(told["touch"]["event_time"])}
    return Suggestion(OrphanReason(told["reason"]), told["reference"], Touch(**touch))


def _picked(record: asyncpg.Record, names: Iterable[str]) -> dict[str, Any]:
    return {name: tuple(record[name]) if name in _TUPLES else record[name] for name in names}
