"""What has to be written when a group of events has changed, or its rules have: conversions, news of them, verdicts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from attribution_svc.conversions.conversion import Conversion, Share
from attribution_svc.conversions.decide import is_outside
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.fold import fold
from attribution_svc.conversions.kept import Kept, Match
from attribution_svc.conversions.rules import Rules


class ChangeKind(StrEnum):
    """What happened to a conversion; of several things the first of these."""

    CREATED = "created"
    POLICY = "policy"
    """Other rules hold."""
    REFUND = "refund"
    STATUS = "status"
    VALUE = "value"
    MATCHED = "matched"
    """Its click, or its campaign, is another."""


@dataclass(frozen=True, slots=True)
class Change:
    """News of a conversion."""

    kind: ChangeKind
    before: Kept | None
    after: Kept


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an event counts for, where the reading would say something else."""

    event: ConversionEvent
    share: Share


@dataclass(slots=True)
class Settlement:
    """What has to be written."""

    kept: list[Kept] = field(default_factory=list)
    inherited: list[Kept] = field(default_factory=list)
    """Those of ``kept`` that have the click of one that is part of them now."""
    changes: list[Change] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def own_share(event: ConversionEvent) -> Share:
    """Return what the reading counts an event for, by itself."""
    if not event.is_read:
        return Share()
    value = event.value_micros if event.is_counted else None
    return Share(event.is_counted, False, value, event.currency if value is not None else "", event.status)


def settle(
    settlement: Settlement,
    events: Iterable[ConversionEvent],
    rules: Rules,
    present: Mapping[str, Kept],
    told: Mapping[str, Share],
    *,
    is_new_rules: bool = False,
) -> None:
    """Add what has to be written for one group to ``settlement``.

    ``present`` are the conversions of the group as they are kept, by id; ``told`` what the reading was told of its
    events, by id.
    """
    events = list(events)
    folded = fold(events, rules)
    for event in events:
        share = folded.shares[event.event_id]
        if share != told.get(event.event_id, own_share(event)):
            settlement.verdicts.append(Verdict(event, share))
    home = {event_id: made.conversion_id for made in folded.conversions for event_id in made.event_ids}
    standing = {made.conversion_id for made in folded.conversions}
    merged = {conversion_id: before for conversion_id, before in present.items() if conversion_id not in standing}
    for made in folded.conversions:
        before = present.get(made.conversion_id)
        _put(settlement, before, made, _inherited(before, made, merged, rules), is_new_rules=is_new_rules)
    for conversion_id, before in merged.items():
        into = home.get(conversion_id, "")
        if before.merged_into != into:
            _write(settlement, before, replace(before, merged_into=into), is_new_rules=is_new_rules)


def leave_out(settlement: Settlement, events: Iterable[ConversionEvent], rules: Rules) -> None:
    """Add what has to be written of new events that are not folded: they count for nothing."""
    for event in events:
        share = Share(status=rules.status(event))
        if share != own_share(event):
            settlement.verdicts.append(Verdict(event, share))


def _inherited(before: Kept | None, made: Conversion, merged: Mapping[str, Kept], rules: Rules) -> Match | None:
    """Return the click that somebody accepted for one that is part of ``made`` now, where nobody did for itself."""
    if before is not None and before.match.is_accepted:
        return None
    parts = (merged[event_id].match for event_id in made.event_ids if event_id in merged)
    match = next((match for match in parts if match.is_accepted), None)
    if match is None or match.touch is None:
        return None
    return replace(match, is_outside_window=is_outside(match.touch, made, {made.organization_id: rules}))


def _put(
    settlement: Settlement, before: Kept | None, made: Conversion, inherited: Match | None, *, is_new_rules: bool
) -> None:
    if before is None:
        after = Kept(made, inherited or Match())
        settlement.kept.append(after)
        settlement.changes.append(Change(ChangeKind.CREATED, None, after))
    elif before.conversion != made or before.merged_into or inherited:
        after = replace(before, conversion=made, match=inherited or before.match, merged_into="")
        _write(settlement, before, after, is_new_rules=is_new_rules)
    else:
        return
    if inherited:
        settlement.inherited.append(after)


def _write(settlement: Settlement, before: Kept, after: Kept, *, is_new_rules: bool) -> None:
    settlement.kept.append(after)
    kind = _kind(before, after)
    if kind is not None:
        settlement.changes.append(Change(ChangeKind.POLICY if is_new_rules else kind, before, after))


def _kind(before: Kept, after: Kept) -> ChangeKind | None:
    """Say what happened; None where nothing is worth telling, as of another event that says the same again."""
    old, new = before.conversion, after.conversion
    if (before.merged_into, old.is_counted) != (after.merged_into, new.is_counted):
        return ChangeKind.STATUS
    if old.refunded_micros != new.refunded_micros:
        return ChangeKind.REFUND
    if old.status != new.status:
        return ChangeKind.STATUS
    if (old.value_micros, old.currency) != (new.value_micros, new.currency):
        return ChangeKind.VALUE
    if before.match != after.match:
        return ChangeKind.MATCHED
    return None
