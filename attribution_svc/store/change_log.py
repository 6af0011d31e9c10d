"""Reads the log of changes to conversions, as their store writes it (``conversion.kept.facts_of``)."""

import json
from datetime import datetime

import asyncpg

from attribution_svc.webhooks.change import Change, Conversion, Json
from attribution_svc.webhooks.webhook import EventKind

_KINDS = {kind.value.removeprefix("conversion."): kind for kind in EventKind if kind is not EventKind.TEST}


def change_of(row: asyncpg.Record) -> Change | None:
    """Read a row; None for a kind that nobody can be told of."""
    kind = _KINDS.get(row["kind"])
    if kind is None:
        return None
    before = json.loads(row["before"]) if row["before"] is not None else None
    return Change(
        organization_id=row["organization_id"],
        change_id=row["change_id"],
        kind=kind,
        change_time=row["change_time"],
        conversion=_conversion(row["conversion_id"], json.loads(row["after"])),
        previous=_conversion(row["conversion_id"], before) if before else None,
    )


def _conversion(conversion_id: str, value: dict[str, Json]) -> Conversion:
    return Conversion(
        conversion_id=conversion_id,
        conversion_type=value["conversion_type"],
        event_type=value["event_type"],
        status=value["status"],
        value_micros=value["value_micros"],
        gross_micros=value["gross_micros"],
        refunded_micros=value["refunded_micros"],
        currency=value["currency"],
        order_id=value["order_id"],
        conversion_time=datetime.fromisoformat(value["conversion_time"]),
        click_id=value["click_id"],
        external_click_id=value["external_click_id"],
        touch_event_id=value["touch_event_id"],
        touch_time=datetime.fromisoformat(value["touch_time"]) if value["touch_time"] else None,
        campaign_id=value["campaign_id"],
        rule_id=value["rule_id"],
        destination_id=value["destination_id"],
        source=value["source"],
        medium=value["medium"],
        channel=value["channel"],
        network=value["network"],
        user_id=value["user_id"],
        orphan_reason=value["orphan_reason"],
        merged_into=value["merged_into"],
        is_counted=value["is_counted"],
        is_test=value["is_test"],
    )
