"""Overlays on rows that are being settled: who has each event by the claims that hold, and what verdicts say of it.

It is done before clicks are looked for: conversions take from their click what it has now. What a row was before stays
in ``routed`` and ``told``, so the overlay can be taken away again, and laid anew, whatever was laid before.
"""

from typing import TYPE_CHECKING

from analytics_svc.store.touches import CAMPAIGN, JUDGED

if TYPE_CHECKING:
    from analytics_svc.store.settling import Page, Settling

ACTIVE = """
SELECT organization_id, campaign_id, argMax(version, revision) AS version, argMax(priority, revision) AS priority,
    argMax(claim_time, revision) AS claim_time
FROM claim_activations WHERE {where} GROUP BY organization_id, campaign_id HAVING version != 0
"""
"""The versions that hold, of the activations ``where``."""
_ORGANIZATIONS = "organization_id IN {organizations:Array(String)}"
_FIRST = "(-toInt64(priority), claim_time, campaign_id)"
_AT_ONCE = {"mutations_sync": "1"}


def winners(active: str, chosen: str) -> str:
    """Return the SELECT of who has each claimed event: of the claims ``active`` and the assignments ``chosen``.

    Columns: organization_id, event_id, event_time, campaign_id, campaign_version, rule_id, tags.
    """
    return (
        "SELECT organization_id, event_id, at AS event_time, best.1 AS campaign_id, best.2 AS campaign_version,"  # noqa: S608 - our own text
        " best.3 AS rule_id, best.4 AS tags FROM ("
        " SELECT organization_id, event_id, any(event_time) AS at, argMin((toString(campaign_id), version,"
        f" toString(rule_id), CAST(tags, 'Array(String)')), {_FIRST}) AS best"
        f" FROM (SELECT * FROM claim_assignments WHERE {chosen}) AS a"
        f" INNER JOIN ({active}) AS h USING (organization_id, campaign_id, version)"
        " GROUP BY organization_id, event_id)"
    )


def lay(settling: "Settling", page: "Page") -> bool:
    """Change the staged rows that have an overlay; tell whether their organisations have any."""
    claimed, judged = settling.rows(
        f"SELECT (SELECT count() FROM claim_activations WHERE {_ORGANIZATIONS}),"  # noqa: S608 - our own text
        f" (SELECT count() FROM (SELECT 1 FROM verdicts WHERE {_ORGANIZATIONS} LIMIT 1))",
        {"organizations": page.organization_ids},
    )[0]
    if claimed:
        _claim(settling, page)
    if judged:
        _judge(settling, page)
    return bool(claimed or judged)


def _claim(settling: "Settling", page: "Page") -> None:
    values = _between(page)
    columns = ("organization_id", "event_id", "event_time", *CAMPAIGN, "tags")
    active = ACTIVE.format(where=_ORGANIZATIONS)
    chosen = f"{_STAGED} AND (campaign_id, version) IN (SELECT campaign_id, version FROM ({active}))"  # noqa: S608 - our own text
    settling.run(
        f"INSERT INTO <claimed> ({', '.join(columns)}) SELECT {', '.join(columns)} FROM ({winners(active, chosen)})",  # noqa: S608 - our own text
        values,
    )
    if settling.count("claimed"):
        _update(
            settling,
            "claimed",
            {
                "routed": "arrayConcat([toString(campaign_id), toString(campaign_version), toString(rule_id)],"
                " CAST(tags, 'Array(String)'))",
                **_looked_up(settling, "claimed", (*CAMPAIGN, "tags")),
            },
        )


def _judge(settling: "Settling", page: "Page") -> None:
    names = [name for name in JUDGED if name != "told"]
    settling.run(
        f"INSERT INTO <verdicts> (organization_id, event_id, event_time, {', '.join(names)})"  # noqa: S608 - our own text
        f" SELECT organization_id, event_id, event_time, {', '.join(VERDICT_VALUES[name] for name in names)}"
        f" FROM verdicts WHERE {_STAGED} ORDER BY revision DESC LIMIT 1 BY organization_id, event_id",
        _between(page),
    )
    if settling.count("verdicts"):
        _update(settling, "verdicts", {"told": TOLD_OF.format(*_OF_ITSELF), **_looked_up(settling, "verdicts", names)})


VERDICT_VALUES = {name: "status" if name == "conversion_status" else name for name in JUDGED}
"""By column of ``events`` the column of ``verdicts``."""
TOLD_OF = "[toString({}), CAST({}, 'Nullable(String)'), CAST({}, 'Nullable(String)'), CAST({}, 'Nullable(String)')]"
"""What a row says of itself, as ``told`` keeps it: of is_conversion, value, currency and conversion_status."""
_OF_ITSELF = ("is_conversion", "value", "currency", "conversion_status")
_STAGED = (
    f"{_ORGANIZATIONS} AND event_time >= fromUnixTimestamp64Milli({{start_ms:Int64}}, 'UTC')"  # noqa: S608 - our own text
    " AND event_time <= fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
    " AND event_id IN (SELECT event_id FROM <staged>)"
)


def _between(page: "Page") -> dict[str, object]:
    return {
        "organizations": page.organization_ids,
        "start_ms": int(page.start_time.timestamp() * 1000),
        "end_ms": int(page.end_time.timestamp() * 1000),
    }


def _looked_up(settling: "Settling", name: str, columns: "tuple[str, ...] | list[str]") -> dict[str, str]:
    return {column: f"joinGet('{settling.table(name)}', '{column}', event_id)" for column in columns}


def _update(settling: "Settling", name: str, values: dict[str, str]) -> None:
    changes = ", ".join(f"{column} = {value}" for column, value in values.items())
    settling.client.command(
        settling.text(f"ALTER TABLE <staged> UPDATE {changes} WHERE event_id IN (SELECT event_id FROM <{name}>)"),  # noqa: S608 - our own text
        settings=_AT_ONCE,
    )
