"""Whose an event is, and was: the claims that were made on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from analytics_svc.statement import ORGANIZATION, Statement
from analytics_svc.store import ReadingReader
from analytics_svc.store.touches import NIL
from svc_runtime.errors import NotFoundError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_OWN = f"organization_id = {{{ORGANIZATION}:String}}"
_EVENT = f"""
SELECT toString(campaign_id), toString(rule_id), routed_campaign_id, routed_rule_id,
    if(touch_event_id = {NIL}, '', toString(touch_event_id)), toUnixTimestamp64Milli(event_time),
    ifNull(toUnixTimestamp64Milli(touch_time), 0)
FROM events PREWHERE {_OWN} AND event_id = {{event:UUID}} LIMIT 1
"""  # noqa: S608 - our own text
_CLAIMS = f"""
SELECT a.campaign_id, a.version, a.rule_id, h.priority, toUnixTimestamp64Milli(h.claim_time), h.is_active
FROM (
    SELECT DISTINCT toString(campaign_id) AS campaign_id, version, toString(rule_id) AS rule_id FROM claim_assignments
    WHERE {_OWN} AND event_time = fromUnixTimestamp64Milli({{time_ms:Int64}}, 'UTC') AND event_id = {{event:UUID}}
) AS a
INNER JOIN (
    SELECT campaign_id, version, any(priority) AS priority, any(claim_time) AS claim_time,
        max((campaign_id, revision) IN (
            SELECT campaign_id, max(revision) FROM claim_activations WHERE {_OWN} GROUP BY campaign_id
        )) AS is_active
    FROM claim_activations WHERE {_OWN} AND version != 0 GROUP BY campaign_id, version
) AS h USING (campaign_id, version)
ORDER BY h.claim_time DESC, a.campaign_id, a.version DESC
"""  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class EventClaim:
    """A claim on one event."""

    campaign_id: str
    version: int
    rule_id: str
    priority: int
    claim_time: datetime
    is_active: bool


@dataclass(frozen=True, slots=True)
class EventOwner:
    """Whose an event is, and was."""

    campaign_id: str
    rule_id: str
    routed_campaign_id: str
    routed_rule_id: str
    touch_event_id: str
    """The click that it follows; empty: none."""
    claims: Sequence[EventClaim]
    """On it, or on the click that it follows; the last first."""


class EventOwners:
    """Tells whose events are."""

    def __init__(self, reader: ReadingReader) -> None:
        self._reader = reader

    async def owner(self, event_id: UUID, *, organization_id: str) -> EventOwner:
        """Tell whose an event is. Raise NotFoundError, UnavailableError."""
        asked = {ORGANIZATION: organization_id, "event": event_id}
        found = (await self._reader.rows(Statement(_EVENT, asked))).rows
        if not found:
            raise NotFoundError(f"no event {str(event_id)!r}")
        campaign_id, rule_id, routed_campaign_id, routed_rule_id, touch, time_ms, touch_ms = found[0]
        subject = {"event": UUID(touch) if touch else event_id, "time_ms": touch_ms if touch else time_ms}
        rows = (await self._reader.rows(Statement(_CLAIMS, {ORGANIZATION: organization_id, **subject}))).rows
        claims = [
            EventClaim(str(name), version, str(rule), priority, _EPOCH + claim_ms * _MILLISECOND, bool(is_active))
            for name, version, rule, priority, claim_ms, is_active in rows
        ]
        return EventOwner(campaign_id, rule_id, routed_campaign_id, routed_rule_id, touch, claims)
