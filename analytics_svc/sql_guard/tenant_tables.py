"""The tables of tenant SQL, over ``analytics.events`` (DESIGN §8).

``campaign_performance_daily`` and ``traffic_projections`` are made of ``events`` with each question: they split by
several dimensions at once, and the day roll-up has one for each row.
"""

from analytics_svc.sql_guard.schema import ROW, Column, Table, TenantSchema

_PLAIN = """
event_id event_time client_time event_type route marks click_id external_click_id session_id user_id source channel
traffic_rule campaign_version rule_id destination_id source_campaign_id term content placement tags country region
city asn device_type device os os_version browser browser_version language is_bot bot_reasons fraud_score host path
url referer referer_host user_agent ip params headers conversion_status is_conversion is_adjustment value currency
order_id conversion_time touch_time cost cost_currency partner_id network enrichment_version mapping_versions
"""
_OPTIONAL = ("medium", "campaign", "campaign_id", "conversion_event")
"""The specification reads "not known" as NULL: `campaign_id IS NULL`."""
_SPELLINGS = {"timestamp": "event_time", "ip_address": "ip", "query_params": "params"}
"""The specification's other names for a column."""
_NO_EVENT = "toUUID('00000000-0000-0000-0000-000000000000')"

_EVENTS = (
    *(Column(name) for name in _PLAIN.split()),
    *(Column(name, f"nullIf({ROW}.{name}, '')") for name in _OPTIONAL),
    *(Column(name, f"{ROW}.{other}") for name, other in _SPELLINGS.items()),
    Column("conversion_value", f"ifNull({ROW}.value, toDecimal64(0, 6))"),
    Column("routed_campaign_id", f"nullIf({ROW}.routed_campaign_id, '')"),
    Column("touch_event_id", f"nullIf({ROW}.touch_event_id, {_NO_EVENT})"),
)

_PEOPLE = f"{ROW}.is_bot = 0"
_CLICKS = f"countIf({ROW}.event_type = 'click')"
_CONVERSIONS = f"countIf({ROW}.is_conversion = 1)"
_PAID = f"{ROW}.is_conversion = 1 AND isNotNull({ROW}.value)"
# Money of two currencies is never added up: a row's amounts are those of the currency that most of its sales have.
_AMOUNTS = f"sumMapIf(map({ROW}.currency, toDecimal128(assumeNotNull({ROW}.value), 6)), {_PAID})"
_SALES = f"sumMapIf(map({ROW}.currency, toUInt64(1)), {_PAID})"
_CURRENCY = f"arraySort(sale -> (-toInt64(sale.2), sale.1), arrayZip(mapKeys({_SALES}), mapValues({_SALES})))[1].1"
_REVENUE = f"{_AMOUNTS}[{_CURRENCY}]"
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
    Column("currency", _CURRENCY),
    Column("revenue", _REVENUE),
    Column("conversion_value", f"if({_CURRENCY} = '', NULL, toFloat64({_REVENUE}) / {_SALES}[{_CURRENCY}])"),
    Column("revenue_by_currency", _AMOUNTS),
)

_DAYS = 28
_PROJECTIONS = (
    Column("source", _DIMENSIONS["source"]),
    Column("medium", _DIMENSIONS["medium"]),
    Column("estimated_daily_traffic", f"{_CLICKS} / {_DAYS}"),
)


def tenant_schema(database: str = "analytics") -> TenantSchema:
    """Return the tenants' tables over ``{database}.events``.

    - ``events``: one row per event.
    - ``campaign_performance_daily``: what people, not bots, did on a UTC day, by source, medium, country, device type
      and campaign: clicks, conversions, their rate per click (NULL without clicks), and the revenue, its currency and
      the average value of a sale (NULL without one).
    - ``traffic_projections``: people's clicks per day, the average of the last 28 complete UTC days, by source and
      medium.
    """
    return TenantSchema.of(
        (
            Table("events", _EVENTS, database, "events", description="An event: a click, a page view, a conversion."),
            Table(
                "campaign_performance_daily",
                _PERFORMANCE,
                database,
                "events",
                where=_PEOPLE,
                group_by=(_DATE, *_DIMENSIONS.values()),
                description="A UTC day of a source, medium, country, device type and campaign; without bots.",
            ),
            Table(
                "traffic_projections",
                _PROJECTIONS,
                database,
                "events",
                where=f"{_PEOPLE} AND {ROW}.event_time >= today() - {_DAYS} AND {ROW}.event_time < today()",
                group_by=(_DIMENSIONS["source"], _DIMENSIONS["medium"]),
                description="A source and medium, with its clicks per day of the last 28 complete UTC days; no bots.",
            ),
        )
    )
