"""The reading as it was known at an instant: whose each event was then, and what it counted for."""

from analytics_svc.store.overlay import ACTIVE, VERDICT_VALUES, winners
from analytics_svc.store.touches import CAMPAIGN, JUDGED, NIL, TAKES_TRAFFIC, own_values

_OWN = "organization_id = {organization:String}"
_THEN = "fromUnixTimestamp64Milli({as_of_ms:Int64}, 'UTC')"


def known_events(prewhere: str) -> str:
    """Return the SELECT of the events ``prewhere`` as they were known, over the parameters organization and as_of_ms.

    What was received before the instant; by the claims and the verdicts that held then. Which click a conversion goes
    back to, and what the enrichment makes of an event, is as it is now.
    """
    active = ACTIVE.format(where=f"{_OWN} AND activate_time <= {_THEN}")
    chosen = (
        f"{_OWN} AND event_time < {_THEN}"  # noqa: S608 - our own text
        f" AND (campaign_id, version) IN (SELECT campaign_id, version FROM ({active}))"
    )
    names = [name for name in JUDGED if name != "told"]
    verdicts = (
        f"SELECT event_id AS v_id, {', '.join(f'{VERDICT_VALUES[name]} AS v_{name}' for name in names)}, 1 AS is_judged"  # noqa: S608 - our own text
        f" FROM verdicts WHERE {_OWN} AND event_time < {_THEN} AND verdict_time <= {_THEN}"
        " ORDER BY revision DESC LIMIT 1 BY v_id"
    )
    own = own_values()
    # Names of their own: a name that two sides of a join have would not be the events' any more.
    holders = f"SELECT event_id AS w_id, {', '.join(f'{name} AS w_{name}' for name in CAMPAIGN)}"
    values = {
        **{name: f"if(w_campaign_id != '', w_{name}, routed_{name})" for name in CAMPAIGN},
        **{name: f"if(is_judged = 1, v_{name}, own_{name})" for name in names},
    }
    rows = (
        f"SELECT *, {', '.join(f'routed_{name}' for name in CAMPAIGN)},"  # noqa: S608 - our own text
        f" {', '.join(f'{own[name]} AS own_{name}' for name in names)},"
        # A conversion that has its campaign from its click follows it.
        f" if(touch_event_id = {NIL}, event_id, if({TAKES_TRAFFIC}, touch_event_id, {NIL})) AS subject"
        f" FROM events PREWHERE {prewhere} AND event_time < {_THEN}"
    )
    replaced = ", ".join(f"{value} AS {name}" for name, value in values.items())
    return (
        f"SELECT e.* REPLACE ({replaced}) FROM ({rows}) AS e"  # noqa: S608 - our own text
        f" LEFT ANY JOIN ({holders} FROM ({winners(active, chosen)})) AS w ON w_id = subject"
        f" LEFT ANY JOIN ({verdicts}) AS v ON v_id = event_id"
    )
