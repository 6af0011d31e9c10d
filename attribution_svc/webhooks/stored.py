"""Webhooks and changes as JSON, for the store: what was written by one release is read by the next."""

import base64
from dataclasses import fields
from datetime import datetime, timedelta

from attribution_svc.webhooks.change import Change, Click, Conversion, Json
from attribution_svc.webhooks.webhook import Definition, EventKind, Header, SigningSecret
from rule_language.parse import predicate_from_json, predicate_to_json
from svc_runtime.errors import Violation

UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)
"""What reading raises."""
_TIMES = frozenset({"conversion_time", "touch_time"})


def definition_to_json(definition: Definition) -> dict[str, Json]:
    """Write what a JSON writer takes. Secret headers are named, their values are not written."""
    return {
        "name": definition.name,
        "url": definition.url,
        "method": definition.method,
        "headers": [
            {"name": header.name, "value": "" if header.is_secret else header.value, "is_secret": header.is_secret}
            for header in definition.headers
        ],
        "body": definition.body,
        "event_kinds": [kind.value for kind in definition.event_kinds],
        "campaign_ids": list(definition.campaign_ids),
        "conversion_types": list(definition.conversion_types),
        "statuses": list(definition.statuses),
        "condition": None if definition.condition is None else predicate_to_json(definition.condition),
        "waits_for_click": definition.waits_for_click,
        "follows_redirects": definition.follows_redirects,
        "max_attempts": definition.max_attempts,
        "max_age_seconds": int(definition.max_age.total_seconds()),
        "rate_per_second": definition.rate_per_second,
    }


def definition_from_json(value: dict[str, Json]) -> Definition:
    """Read what ``definition_to_json`` wrote."""
    violations: list[Violation] = []
    condition = None
    if value["condition"] is not None:
        condition = predicate_from_json(value["condition"], path="condition", violations=violations)
        if condition is None:
            # A webhook whose condition is lost would tell of everything.
            raise ValueError(f"a stored condition cannot be read: {violations[0].description}")
    return Definition(
        name=value["name"],
        url=value["url"],
        method=value["method"],
        headers=tuple(Header(found["name"], found["value"], found["is_secret"]) for found in value["headers"]),
        body=value["body"],
        event_kinds=tuple(EventKind(kind) for kind in value["event_kinds"]),
        campaign_ids=tuple(value["campaign_ids"]),
        conversion_types=tuple(value["conversion_types"]),
        statuses=tuple(value["statuses"]),
        condition=condition,
        waits_for_click=value.get("waits_for_click", False),
        follows_redirects=value["follows_redirects"],
        max_attempts=value["max_attempts"],
        max_age=timedelta(seconds=value["max_age_seconds"]),
        rate_per_second=value["rate_per_second"],
    )


def secrets_to_json(secrets: tuple[SigningSecret, ...], sealed_headers: dict[str, bytes]) -> dict[str, Json]:
    """Write what is sealed."""
    return {
        "signing": [{"sealed": _text(found.sealed), "expire_time": _written(found.expire_time)} for found in secrets],
        "headers": {name: _text(sealed) for name, sealed in sealed_headers.items()},
    }


def secrets_from_json(value: dict[str, Json]) -> tuple[tuple[SigningSecret, ...], dict[str, bytes]]:
    """Read what ``secrets_to_json`` wrote."""
    signing = tuple(
        SigningSecret(base64.b64decode(found["sealed"]), _instant(found["expire_time"])) for found in value["signing"]
    )
    return signing, {name: base64.b64decode(sealed) for name, sealed in value["headers"].items()}


def change_to_json(change: Change) -> dict[str, Json]:
    """Write a change; whose it is stands beside it."""
    return {
        "change_id": change.change_id,
        "kind": change.kind.value,
        "change_time": _written(change.change_time),
        "conversion": _conversion_to_json(change.conversion),
        "previous": None if change.previous is None else _conversion_to_json(change.previous),
        "click": {"values": dict(change.click.values), "params": dict(change.click.params)},
    }


def change_from_json(organization_id: str, value: dict[str, Json]) -> Change:
    """Read what ``change_to_json`` wrote. Raise as ``conversion_from_json``."""
    return Change(
        organization_id=organization_id,
        change_id=value["change_id"],
        kind=EventKind(value["kind"]),
        change_time=datetime.fromisoformat(value["change_time"]),
        conversion=conversion_from_json(value["conversion"]),
        previous=conversion_from_json(value["previous"]) if value.get("previous") else None,
        click=Click(value["click"]["values"], value["click"]["params"]),
    )


def conversion_from_json(value: dict[str, Json]) -> Conversion:
    """Read what this or another release wrote of a conversion: what is new there is left out, what is missing is empty.

    Raise KeyError, TypeError, ValueError or AttributeError for what is none.
    """
    known = {found.name for found in fields(Conversion)} & value.keys()
    found: dict[str, Json] = {name: _instant(value[name]) if name in _TIMES else value[name] for name in known}
    return Conversion(**found)


def _conversion_to_json(conversion: Conversion) -> dict[str, Json]:
    found = {known.name: getattr(conversion, known.name) for known in fields(Conversion)}
    return {name: _written(value) if name in _TIMES else value for name, value in found.items()}


def _text(sealed: bytes) -> str:
    return base64.b64encode(sealed).decode()


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
