"""The statements that make rows of ``events`` of the tables of ``scratch``, as text by the tables' prefix."""

from analytics_svc.projection.arrival import ARRIVAL_FIELDS
from analytics_svc.projection.readings import PICKS
from analytics_svc.projection.scratch import quoted, trimmed
from enrichment.times import LARGEST_SKEW_MS
from enrichment.values import LONGEST_ID_BYTES
from enrichment.version import ENRICHMENT_VERSION

_SCHEMES = quoted(r"^(?i:https?://|android-app://|ios-app://|//)")


def _header(name: str) -> str:
    return f"header_values[indexOf(header_names, '{name}')]"


def _pick(name: str) -> str:
    return f"trimmed_values[shapes.{name}]"


def _up_to_path(url: str) -> str:
    """Cut a URL where its host is over: the rest tells nothing, and one host has many."""
    start = f"substring({url}, 1, 512)"
    return f"substring({start}, 1, if(position({start}, '/', 16) = 0, 512, position({start}, '/', 16) - 1))"


# Who reads them in Python is `readings`.
DISTINCT = {
    "shapes": "SELECT shape, any(names), any(codes) FROM {prefix}_arrivals WHERE is_plain GROUP BY shape",
    "kinds": "SELECT DISTINCT event_type FROM {prefix}_arrivals WHERE is_plain",
    "agents": "SELECT DISTINCT user_agent FROM {prefix}_picked",
    "places": "SELECT DISTINCT ip FROM {prefix}_picked",
    "languages": "SELECT DISTINCT accept_language FROM {prefix}_picked WHERE accept_language != ''",
    "traffics": f"""
        SELECT traffic, any(if(organization_id IN {{mapped}}, organization_id, '')), any(source), any(medium),
            any(campaign), any(mark), any({_up_to_path("referer")}), any(host), any({_up_to_path("page")})
        FROM {{prefix}}_picked GROUP BY traffic
    """,  # noqa: S608 - our own text
    "amounts": "SELECT amount, any(cost), any(currency) FROM {prefix}_picked WHERE cost != '' GROUP BY amount",
    "times": "SELECT DISTINCT time FROM {prefix}_picked WHERE time != ''",
}  # the tables of `scratch`, and what of a batch each has a row for; `{mapped}`: organisations with mappings
DISTINCT = {name: " ".join(text.split()) for name, text in DISTINCT.items()}

_IS_LINK = "route = 'in'"
_PICKED_BY_SHAPE = ", ".join(
    f"{_pick(name)} AS {'time' if name == 'client_time' else name}" for name in PICKS if name != "referrer"
)
PICK = f"""
INSERT INTO {{prefix}}_picked
SELECT organization_id, event_id, event_time_ms, event_type, route,
    if(path_bytes = 0, target, substring(target, 1, path_bytes - 1)) AS path,
    target, ip, scheme, host, click_id, external_click_id, user_id, campaign_id, campaign_version, rule_id,
    destination_id, tags, marks, trace_id,
    mapFromArrays(names, values) AS params, mapFromArrays(header_names, header_values) AS headers, has_macro,
    {_header("user-agent")} AS user_agent, {_header("accept-language")} AS accept_language,
    if({_IS_LINK}, {trimmed(_header("referer"))}, {_pick("referrer")}) AS referer,
    if({_IS_LINK}, '', {trimmed(_header("referer"))}) AS page,
    mark, source, medium, campaign, source_campaign_id, term, content, placement, external_id, cost, currency, time,
    reinterpretAsUInt128(sipHash128(
        if(organization_id IN {{mapped}}, organization_id, ''), source, medium, campaign, mark,
        {_up_to_path("referer")}, host, {_up_to_path("page")}
    )) AS traffic,
    reinterpretAsUInt128(sipHash128(cost, currency)) AS amount
FROM (
    SELECT arrivals.*, shapes.has_macro AS has_macro, shapes.mark AS mark, shapes.referrer AS referrer,
        {_PICKED_BY_SHAPE}
    FROM {{prefix}}_arrivals AS arrivals
    ANY LEFT JOIN {{prefix}}_shapes AS shapes ON arrivals.shape = shapes.key
    ANY LEFT JOIN {{prefix}}_kinds AS kinds ON arrivals.event_type = kinds.key
    WHERE is_plain AND NOT shapes.is_odd AND kinds.happening != 'conversion'
        AND (kinds.happening = 'step' OR NOT shapes.carries)
        AND NOT ({_IS_LINK} = 0 AND shapes.ref > 0 AND match({_pick("ref")}, {_SCHEMES}))
)
"""  # noqa: S608 - our own text
PICK = PICK.replace(_pick("referrer"), "trimmed_values[referrer]")
"""Takes the plain events over, with the values that their shapes name."""

_TOO_LATE = f"toUnixTimestamp64Milli(times.client_time) > event_time_ms + {LARGEST_SKEW_MS}"
_COLUMNS = {
    "organization_id": "organization_id",
    "event_id": "toUUID(event_id)",
    "event_time": "fromUnixTimestamp64Milli(event_time_ms, 'UTC')",
    "client_time": f"if(ifNull({_TOO_LATE}, 0), NULL, times.client_time)",
    "event_type": "event_type",
    "route": "route",
    "marks": f"""arrayDistinct(arrayConcat(marks, if(has_macro, ['literal_macro'], []),
        if(amounts.is_unread, ['cost_unread'], []),
        if(times.is_implausible OR ifNull({_TOO_LATE}, 0), ['client_time_implausible'], [])))""",
    "click_id": "click_id",
    "external_click_id": (
        f"substring(if(external_click_id != '', external_click_id, external_id), 1, {LONGEST_ID_BYTES})"
    ),
    "user_id": "user_id",
    "source": "traffics.source",
    "medium": "traffics.medium",
    "channel": "traffics.channel",
    "traffic_rule": "traffics.rule",
    "campaign": "traffics.campaign",
    "campaign_id": "campaign_id",
    "campaign_version": "campaign_version",
    "rule_id": "rule_id",
    "destination_id": "destination_id",
    "tags": "tags",
    **{
        name: f"substring({name}, 1, {LONGEST_ID_BYTES})"
        for name in ("source_campaign_id", "term", "content", "placement")
    },
    **{name: f"places.{name}" for name in ("country", "region", "city", "asn")},
    **{name: f"agents.{name}" for name in ("device_type", "device", "os", "os_version", "browser", "browser_version")},
    "language": "languages.language",
    "is_bot": "notEmpty(agents.bot_reasons)",
    "bot_reasons": "agents.bot_reasons",
    "scheme": "scheme",
    "host": "lower(host)",
    "path": "path",
    "url": "concat(scheme, '://', host, target)",
    "referer": "referer",
    "referer_host": "traffics.referrer_host",
    "user_agent": "user_agent",
    "ip": "ip",
    "params": "params",
    "headers": "headers",
    "cost": "amounts.amount",
    "cost_currency": "amounts.currency",
    "trace_id": "trace_id",
    "enrichment_version": str(ENRICHMENT_VERSION),
}
PUT = f"""
INSERT INTO {{target}} ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS.values())}
FROM {{prefix}}_picked AS picked
ANY LEFT JOIN {{prefix}}_traffics AS traffics ON picked.traffic = traffics.key
ANY LEFT JOIN {{prefix}}_agents AS agents ON picked.user_agent = agents.key
ANY LEFT JOIN {{prefix}}_places AS places ON picked.ip = places.key
ANY LEFT JOIN {{prefix}}_languages AS languages ON picked.accept_language = languages.key
ANY LEFT JOIN {{prefix}}_amounts AS amounts ON picked.amount = amounts.key
ANY LEFT JOIN {{prefix}}_times AS times ON picked.time = times.key
WHERE NOT traffics.is_mapped
"""  # noqa: S608 - our own text
"""Writes the rows of the plain events that no mapping speaks of."""

OTHERS = f"""
SELECT {", ".join(ARRIVAL_FIELDS)} FROM {{prefix}}_arrivals
WHERE event_id NOT IN (
    SELECT event_id FROM {{prefix}}_picked AS picked
    ANY LEFT JOIN {{prefix}}_traffics AS traffics ON picked.traffic = traffics.key
    WHERE NOT traffics.is_mapped
)
"""  # noqa: S608 - our own text
"""Gives the events whose rows are left to Python."""
