"""Who has each event, written plainly: every event looked at by the live evaluator, one claim after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from analytics_svc.claims.claim import Claim, MadeClaim
from analytics_svc.verdict import Verdict
from rule_language.evaluate import Fact, Facts, compile_test
from tests.integration.analytics.settled_reference import NIL, settled

Row = dict[str, Any]
_TEXTS = ("source", "medium", "campaign", "country", "region", "city", "device_type", "os", "browser", "language",
          "event_type")  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """Events, claims and verdicts, and what was assigned when."""

    rows: list[Row] = field(default_factory=list)
    made: dict[tuple[str, str, int], MadeClaim] = field(default_factory=dict)
    assigned: dict[tuple[str, str, int], dict[UUID, int]] = field(default_factory=dict)
    """By version, the number of the rule by event."""
    active: dict[tuple[str, str], int] = field(default_factory=dict)
    verdicts: dict[UUID, Verdict] = field(default_factory=dict)

    def holding(self, organization_id: str) -> list[MadeClaim]:
        """Return the claims that hold, in the order in which they were made."""
        found = [self.made[(*key, version)] for key, version in self.active.items() if version]
        own = [made for made in found if made.organization_id == organization_id]
        return sorted(own, key=lambda made: (made.claim_time, made.claim.campaign_id))

    def arrive(self, rows: Sequence[Row]) -> None:
        """Take events in, as they come."""
        for row in rows:
            holder, rank = row["campaign_id"], None
            for made in self.holding(row["organization_id"]):
                number = rule_number(made.claim, row)
                if not number or (holder and holder not in made.claim.yielding):
                    continue
                self._assign(made, row, number)
                if rank is None or made.rank < rank:
                    holder, rank = made.claim.campaign_id, made.rank
        self.rows += rows

    def apply(self, made: MadeClaim) -> None:
        """Let a new version hold, over everything that is there."""
        claim, key = made.claim, (made.organization_id, made.claim.campaign_id)
        before = self.state()
        for row in self.rows:
            if row["organization_id"] != made.organization_id or before[row["event_id"]]["touch_event_id"] != NIL:
                continue
            holder = self._holder(row, without=claim.campaign_id)
            number = rule_number(claim, row)
            if number and (not holder or holder in claim.yielding):
                self._assign(made, row, number)
        self.made[(*key, claim.version)] = made
        self.active[key] = claim.version

    def _assign(self, made: MadeClaim, row: Row, number: int) -> None:
        key = (made.organization_id, made.claim.campaign_id, made.claim.version)
        self.assigned.setdefault(key, {})[row["event_id"]] = number

    def _winner(self, row: Row, *, without: str = "") -> tuple[MadeClaim, int] | None:
        found = [
            (made, self.assigned[(made.organization_id, made.claim.campaign_id, made.claim.version)][row["event_id"]])
            for made in self.holding(row["organization_id"])
            if made.claim.campaign_id != without
            and row["event_id"]
            in self.assigned.get((made.organization_id, made.claim.campaign_id, made.claim.version), {})
        ]
        return min(found, key=lambda one: one[0].rank) if found else None

    def _holder(self, row: Row, *, without: str) -> str:
        winner = self._winner(row, without=without)
        return winner[0].claim.campaign_id if winner else str(row["campaign_id"])

    def state(self) -> dict[UUID, Row]:
        """Return every row as it must be, by event id."""
        claimed = []
        for row in self.rows:
            winner = self._winner(row)
            changed: Row = {}
            if winner is not None:
                rule = winner[0].claim.rule_of(winner[1])
                claim = winner[0].claim
                changed = {
                    "campaign_id": claim.campaign_id,
                    "campaign_version": claim.version,
                    "rule_id": rule.rule_id,
                    "tags": list(rule.tags),
                }
            claimed.append({**row, **changed})
        plain = settled(self.rows)
        laid = {row["event_id"]: row for row in claimed}
        # A conversion with a click has nothing of its own from a claim.
        own = [row if plain[row["event_id"]]["touch_event_id"] != NIL else laid[row["event_id"]] for row in self.rows]
        done = settled(own)
        for event_id, row in done.items():
            row["routed_campaign_id"] = plain[event_id]["campaign_id"]
            row["is_adjustment"] = 0
            if verdict := self.verdicts.get(event_id):
                micros = verdict.value_micros
                row.update(
                    is_conversion=int(verdict.is_conversion),
                    is_adjustment=int(verdict.is_adjustment),
                    value=None if micros is None else Decimal(micros) / 1_000_000,
                    currency=verdict.currency,
                )
        return done


def rule_number(claim: Claim, row: Row) -> int:
    """Return the number of the rule by which a claim is about an event; 0: it is not."""
    time = row["event_time"]
    is_within = (claim.start_time is None or time >= claim.start_time) and (
        claim.end_time is None or time < claim.end_time
    )
    if claim.close_time is not None and time >= claim.close_time:
        return 0
    if not is_within and not (claim.forward_start_time is not None and time >= claim.forward_start_time):
        return 0
    local = time.astimezone(ZoneInfo(claim.time_zone))
    minute = local.hour * 60 + local.minute
    if claim.windows and not any(
        (not window.weekdays or local.isoweekday() in window.weekdays)
        and window.start_minute <= minute < window.end_minute
        for window in claim.windows
    ):
        return 0
    facts = facts_of(row)
    for number, rule in enumerate(claim.rules, 1):
        if rule.predicate is None or compile_test(rule.predicate, time_zone=claim.time_zone)(facts) is True:
            return number
    is_link = row["event_type"] == "click" and row["route"] == "in" and row["path"] == f"/in/{claim.slug}"
    return len(claim.rules) + 1 if claim.slug and is_link else 0


def facts_of(row: Row) -> Facts:
    """Return what live routing would know of the event."""
    fields: dict[str, Fact] = {name: None if row[name] is None else str(row[name]).encode() for name in _TEXTS}
    marks = row["bot_reasons"]
    is_server = bool(marks) and set(marks) <= {"library_client", "empty_user_agent"}
    is_conversion = bool(row["conversion_event"]) and row["event_type"] != "click"
    is_excused = is_server and is_conversion and row["route"] in ("postback", "rpc", "events", "batch")
    fields |= {
        "asn": row["asn"],
        "is_bot": bool(row["is_bot"]) and not is_excused,
        "value": row["value"],
        "path": row["path"].encode(),
    }
    return Facts((row["event_time"] - _EPOCH) // timedelta(milliseconds=1), fields)
