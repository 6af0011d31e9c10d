"""The tables in memory that a derivation works on, and what the engine makes of a raw event by itself."""

from enrichment.macros import LONGEST_BYTES as LONGEST_MACRO
from enrichment.macros import MACRO_PATTERNS
from enrichment.requests import BLANKS


def quoted(value: str) -> str:
    """Return a text as an SQL literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in escaped) + "'"


_BLANKS = quoted(BLANKS.decode())
_MACRO = quoted(f"^(?:{'|'.join(MACRO_PATTERNS)})\\z")
_BAD_ESCAPE = quoted(r"%(?:[0-9A-Fa-f]?\z|[^0-9A-Fa-f]|[0-9A-Fa-f][^0-9A-Fa-f])")
_AHEAD = "['sec-purpose', 'purpose', 'x-purpose', 'x-moz']"


def trimmed(text: str) -> str:
    """Return the expression that cuts blanks off both ends."""
    return f"trim(BOTH {_BLANKS} FROM {text})"


def _code(value: str) -> str:
    """What a value is to who resolves names: empty, a macro that arrived literally, or usable."""
    is_macro = f"length({value}) <= {LONGEST_MACRO} AND match({value}, {_MACRO})"
    return f"multiIf({value} = '', 'e', {is_macro}, 'm', 'u')"


# Columns beside the raw ones are filled by the engine as a batch comes in.
_ARRIVALS = f"""
    organization_id String, event_id String, event_time_ms Int64, event_type String, route String, target String,
    headers String, body String, ip String, scheme String, host String, click_id String, external_click_id String,
    user_id String, campaign_id String, campaign_version UInt32, rule_id String, destination_id String,
    tags Array(String), marks Array(String), trace_id String, partner_id String, network String,

    path_bytes UInt64 DEFAULT position(target, '?'),
    query String DEFAULT if(path_bytes = 0, '', substring(target, path_bytes + 1)),
    pieces Array(String) DEFAULT arrayFilter(piece -> piece != '', splitByChar('&', query)),
    names Array(String) DEFAULT arrayMap(piece -> decodeURLFormComponent(
        substring(piece, 1, if(position(piece, '=') = 0, length(piece), position(piece, '=') - 1))), pieces),
    values Array(String) DEFAULT arrayMap(piece -> decodeURLFormComponent(
        if(position(piece, '=') = 0, '', substring(piece, position(piece, '=') + 1))), pieces),
    trimmed_values Array(String) DEFAULT arrayMap(value -> {trimmed("value")}, values),
    codes String DEFAULT arrayStringConcat(arrayMap(value -> {_code("value")}, trimmed_values)),
    shape UInt128 DEFAULT reinterpretAsUInt128(sipHash128(names, codes)),

    lines Array(String) DEFAULT arrayFilter(line -> position(line, ':') > 1, splitByString('\\r\\n', headers)),
    header_names Array(String) DEFAULT arrayMap(line -> lower(substring(line, 1, position(line, ':') - 1)), lines),
    header_values Array(String) DEFAULT arrayMap(
        line -> trim(BOTH ' \\t' FROM substring(line, position(line, ':') + 1)), lines),

    is_plain UInt8 DEFAULT body = '' AND route IN ('in', 'track', 'pixel') AND startsWith(target, '/')
        AND event_time_ms BETWEEN 1577836800000 AND 4102444799999
        AND (position(query, '%') = 0
            OR (position(query, '%25') = 0 AND isValidUTF8(query) AND NOT match(query, {_BAD_ESCAPE})))
        AND length(arrayDistinct(header_names)) = length(header_names) AND NOT hasAny(header_names, {_AHEAD})
"""

_PICKED = """
    organization_id String, event_id String, event_time_ms Int64, event_type String, route String, path String,
    target String, ip String, scheme String, host String, click_id String, external_click_id String, user_id String,
    campaign_id String, campaign_version UInt32, rule_id String, destination_id String, tags Array(String),
    marks Array(String), trace_id String,
    params Map(String, String), headers Map(String, String), has_macro UInt8,
    user_agent String, accept_language String, referer String, page String, mark String,
    source String, medium String, campaign String, source_campaign_id String, term String, content String,
    placement String, external_id String, cost String, currency String, time String,
    traffic UInt128, amount UInt128
"""

TABLES = {
    "arrivals": _ARRIVALS,
    "picked": _PICKED,
    "shapes": """
        key UInt128, is_odd UInt8, has_macro UInt8, carries UInt8, mark String, ref UInt16, source UInt16,
        medium UInt16, campaign UInt16, source_campaign_id UInt16, term UInt16, content UInt16, placement UInt16,
        external_id UInt16, cost UInt16, currency UInt16, client_time UInt16, referrer UInt16
    """,
    "kinds": "key String, happening String",
    "agents": """
        key String, browser String, browser_version String, os String, os_version String, device String,
        device_type String, bot_reasons Array(String)
    """,
    "places": """
        key String, country Nullable(String), region Nullable(String), city Nullable(String), asn Nullable(UInt32)
    """,
    "languages": "key String, language String",
    "traffics": """
        key UInt128, source String, medium String, channel String, rule String, campaign String, referrer_host String,
        is_mapped UInt8
    """,
    "amounts": "key UInt128, amount Nullable(Decimal(18, 6)), currency String, is_unread UInt8",
    "times": "key String, client_time Nullable(DateTime64(3, 'UTC')), is_implausible UInt8",
}
"""Columns by table."""


def create(prefix: str) -> list[str]:
    """Return the statements that make the tables, empty; what a killed process left in them is gone."""
    return [f"CREATE OR REPLACE TABLE {prefix}_{name} ({columns}) ENGINE = Memory" for name, columns in TABLES.items()]


def truncate(prefix: str) -> list[str]:
    """Return the statements that empty the tables."""
    return [f"TRUNCATE TABLE {prefix}_{name}" for name in TABLES]
