"""Reads the log of changes to conversions, as their store writes it (``conversion.kept.facts_of``)."""

import json

import asyncpg

from attribution_svc.webhooks.change import Change, Conversion, Json
from attribution_svc.webhooks.stored import UNREADABLE, conversion_from_json
from attribution_svc.webhooks.webhook import EventKind
from svc_runtime.logs import get_logger

_KINDS = {kind.value.removeprefix("conversion."): kind for kind in EventKind if kind is not EventKind.TEST}
_log = get_logger(__name__)


def change_of(row: asyncpg.Record) -> Change | None:
    """Read a row; None for a kind that nobody can be told of, and for one that cannot be read: the others go on."""
    kind = _KINDS.get(row["kind"])
    if kind is None:
        return None
    try:
        before = json.loads(row["before"]) if row["before"] is not None else None
        return Change(
            organization_id=row["organization_id"],
            change_id=row["change_id"],
            kind=kind,
            change_time=row["change_time"],
            conversion=_conversion(row["conversion_id"], json.loads(row["after"])),
            previous=_conversion(row["conversion_id"], before) if before else None,
        )
    except UNREADABLE as error:
        _log.error("a change cannot be read", change_id=row["change_id"], error=type(error).__name__)
        return None


def _conversion(conversion_id: str, value: dict[str, Json]) -> Conversion:
    return conversion_from_json({**value, "conversion_id": conversion_id})
