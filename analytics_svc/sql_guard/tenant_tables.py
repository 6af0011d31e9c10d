"""The tables of tenant SQL, over ``analytics.events`` (DESIGN §8)."""

from analytics_svc.sql_guard.schema import ROW, Column, Table, TenantSchema

_PLAIN = """
event_id event_time event_type click_id external_click_id session_id user_id source country region city device_type os
browser language ip user_agent referer url tags params headers conversion_value conversion_time currency order_id
fraud_score is_bot
"""
_OPTIONAL = ("medium", "campaign", "campaign_id", "conversion_event")
"""The specification reads "not known" as NULL: `campaign_id IS NULL`."""
_SPELLINGS = {"timestamp": "event_time", "ip_address": "ip", "query_params": "params"}
"""The specification's other names for a column."""

_EVENTS = (
    *(Column(name) for name in _PLAIN.split()),
    *(Column(name, f"nullIf({ROW}.{name}, '')") for name in _OPTIONAL),
    *(Column(name, f"{ROW}.{other}") for name, other in _SPELLINGS.items()),
)

_CLICKS = f"countIf({ROW}.event_type = 'click')"
_CONVERSIONS = f"countIf({ROW}.conversion_value > 0)"
_REVENUE = f"sumIf(toFloat64({ROW}.conversion_value), {ROW}.conversion_value > 0)"
_DATE = f"toDate({ROW}.event_time, 'UTC')"
# Not NULL here: the specification joins these tables by source and medium, and NULL joins with nothing.
_DIMENSIONS = {
    name: f"ifNull({ROW}.{name}, '')" for name in ("source", "medium", "country", "device_type", "campaign_id")
}

_PERFORMANCE = (
    Column("date", _DATE),
    *(Column(name, expression) for name, expression in _DIMENSIONS.items()),
    Column("clicks", _CLICKS),
    Column("conversions", _CONVERSIONS),
    Column("conversion_rate", f"if({_CLICKS} = 0, NULL, {_CONVERSIONS} / {_CLICKS})"),
    Column("conversion_value", f"if({_CONVERSIONS} = 0, NULL, {_REVENUE} / {_CONVERSIONS})"),
    Column("revenue", _REVENUE),
)

_DAYS = 28
_PROJECTIONS = (
    Column("source", _DIMENSIONS["source"]),
    Column("medium", _DIMENSIONS["medium"]),
    Column("estimated_daily_traffic", f"{_CLICKS} / {_DAYS}"),
)


def tenant_schema(database: str = "analytics") -> TenantSchema:
    """Return the tenants' tables over ``{database}.events``.

    - ``events``: one row per event. It needs the physical columns of DESIGN §8; those in ``_OPTIONAL`` may hold '' or
      NULL where nothing is known, ``conversion_value`` is a number of the currency's units.
    - ``campaign_performance_daily``: clicks, conversions (events with a value), revenue, the rate of conversions per
      click (NULL without clicks) and the average value of a conversion (NULL without one), per UTC day, source, medium,
      country, device type and campaign.
    - ``traffic_projections``: clicks per day, the average of the last 28 complete UTC days, per source and medium.
    """
    return TenantSchema.of(
        (
            Table("events", _EVENTS, database, "events"),
            Table(
                "campaign_performance_daily",
                _PERFORMANCE,
                database,
                "events",
                group_by=(_DATE, *_DIMENSIONS.values()),
            ),
            Table(
                "traffic_projections",
                _PROJECTIONS,
                database,
                "events",
                where=f"{ROW}.event_time >= today() - {_DAYS} AND {ROW}.event_time < today()",
                group_by=(_DIMENSIONS["source"], _DIMENSIONS["medium"]),
            ),
        )
    )
