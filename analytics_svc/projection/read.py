"""What a row is: the meaning of one raw event, in plain Python. Pure, but for the GeoIP files behind ``Enricher``."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from uuid import NAMESPACE_OID, UUID, uuid5

from analytics_svc.mappings.mapping import ActiveMapping
from analytics_svc.projection.arrival import Arrival
from analytics_svc.projection.conversion import conversion_of
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.row import Row
from enrichment.bots import EMPTY_USER_AGENT, LIBRARY_CLIENT, bot_reasons
from enrichment.channel import Traffic, read_traffic
from enrichment.device_type import DeviceType
from enrichment.languages import read_language
from enrichment.parameters import (
    DEFAULT_ALIASES,
    Aliases,
    Found,
    Pair,
    Parameters,
)
from enrichment.referrers import host_of
from enrichment.requests import first_values, header_pairs, hostname, path_of, sent_parameters, url_of
from enrichment.values import LONGEST_ID_BYTES, amount_of, client_time_of, id_of
from enrichment.version import ENRICHMENT_VERSION

LINK_ROUTE = "in"
"""A visitor comes from the Referer here; on every other route the Referer is the page that sends."""
SERVER_ROUTES = frozenset({"postback", "events", "batch", "rpc"})
"""Programs may send these."""
UNREADABLE = "unreadable"
EARLIEST_MS, LATEST_MS = 1_577_836_800_000, 4_102_444_799_999
"""2020 and 2099: capture_svc stores no other time, and one would make a partition of its own."""
_SCHEMES = (b"http://", b"https://", b"android-app://", b"ios-app://", b"//")


def read_event(arrival: Arrival, mappings: Sequence[ActiveMapping], enricher: Enricher) -> Row:
    """Return the row of an event; ``mappings`` are those of its organisation, the oldest first.

    Raise ValueError for a time that no gateway's clock has.
    """
    if not EARLIEST_MS <= arrival.event_time_ms <= LATEST_MS:
        raise ValueError("an event of no time")
    headers = first_values(header_pairs(arrival.headers))
    pairs, parameters = sent_parameters(arrival.target, arrival.body, headers.get(b"content-type", b""))
    referrer, page, parameters = _referrer(arrival, headers, parameters)
    own_hosts = {host for host in (hostname(arrival.host), host_of(page)) if host}
    found = DEFAULT_ALIASES.resolve(parameters)
    traffic = read_traffic(found, parameters, referrer, own_hosts)
    chosen = matching(mappings, traffic.source, arrival.event_time_ms)
    aliases = DEFAULT_ALIASES
    if chosen:
        aliases = preferring(chosen)
        found = aliases.resolve(parameters)
        traffic = read_traffic(found, parameters, referrer, own_hosts)
    row = _plain(arrival, headers, pairs)
    row.referer = referrer
    _put_external_click_id(row, arrival, found, chosen)
    row.mapping_versions = tuple(mapping.label for mapping in chosen)
    _put_traffic(row, traffic)
    _put_client(row, arrival, headers, enricher)
    for name in ("term", "content", "placement", "source_campaign_id"):
        setattr(row, name, id_of(found.get(name)))
    marks = [*arrival.marks, *marks_of(parameters)]
    marks += _put_cost(row, found)
    marks += _put_client_time(row, arrival, found)
    marks += conversion_of(row, arrival, parameters, aliases, found)
    row.marks = tuple(dict.fromkeys(marks))
    return row


def unreadable(arrival: Arrival) -> Row:
    """Return the row of an event whose reading failed: what the gateway said of it, in a form that a column takes."""
    row = _plain(arrival, {}, [])
    try:
        row.event_id = str(UUID(arrival.event_id))
    except ValueError:
        row.event_id = str(uuid5(NAMESPACE_OID, f"{arrival.organization_id}/{arrival.event_id}"))
    row.event_time = min(max(arrival.event_time_ms, EARLIEST_MS), LATEST_MS)
    row.external_click_id = arrival.external_click_id[:LONGEST_ID_BYTES]
    row.marks = tuple(dict.fromkeys([*arrival.marks, UNREADABLE]))
    return row


def _plain(arrival: Arrival, headers: Mapping[bytes, bytes], pairs: Sequence[Pair]) -> Row:
    return Row(
        organization_id=arrival.organization_id,
        event_id=arrival.event_id,
        event_time=arrival.event_time_ms,
        event_type=arrival.event_type,
        route=arrival.route,
        click_id=arrival.click_id,
        user_id=arrival.user_id,
        campaign_id=arrival.campaign_id,
        campaign_version=arrival.campaign_version,
        rule_id=arrival.rule_id,
        destination_id=arrival.destination_id,
        tags=arrival.tags,
        partner_id=arrival.partner_id,
        network=arrival.network,
        scheme=arrival.scheme,
        host=arrival.host.lower(),
        path=path_of(arrival.target),
        url=url_of(arrival.scheme, arrival.host, arrival.target),
        user_agent=headers.get(b"user-agent", b""),
        ip=arrival.ip,
        params=first_values(list(pairs)),
        headers=headers,
        trace_id=arrival.trace_id,
        enrichment_version=ENRICHMENT_VERSION,
    )


def _referrer(
    arrival: Arrival, headers: Mapping[bytes, bytes], parameters: Parameters
) -> tuple[bytes, bytes, Parameters]:
    """Return who sent the visitor, the page that sends the event, and the parameters that speak of the source.

    A `ref` that is a URL says where a page's visitor came from; any other names a source.
    """
    said = headers.get(b"referer", b"").strip()
    if arrival.route == LINK_ROUTE:
        return said, b"", parameters
    told = DEFAULT_ALIASES.resolve(parameters).get("referrer")
    ref = parameters.get(b"ref")
    if not is_url(ref):
        return (told.value if told else b""), said, parameters
    first = {name: pair for name, pair in parameters.first.items() if name != b"ref"}
    return (told.value if told else ref), said, Parameters(first, parameters.macros, parameters.double_encoded)


def is_url(value: bytes) -> bool:
    """True for what a browser gives as a referrer."""
    return value.lower().startswith(_SCHEMES)


def matching(mappings: Sequence[ActiveMapping], source: str, event_time_ms: int) -> tuple[ActiveMapping, ...]:
    """Return the mappings that speak of an event, whose source is the one by our own names."""
    if not mappings:
        return ()
    event_time = datetime.fromtimestamp(event_time_ms / 1000, UTC)
    return tuple(
        mapping
        for mapping in mappings
        if mapping.source in ("", source)
        and (mapping.start_time is None or mapping.start_time <= event_time)
        and (mapping.end_time is None or event_time < mapping.end_time)
    )


def preferring(mappings: tuple[ActiveMapping, ...]) -> Aliases:
    """Return our names with those of the mappings before them, the latest first."""
    names: dict[str, list[str]] = {}
    for mapping in reversed(mappings):
        for name, parameter in mapping.parameters.items():
            names.setdefault(name, []).append(parameter)
    return _preferring(tuple((name, tuple(parameters)) for name, parameters in sorted(names.items())))


@lru_cache(500)
def _preferring(names: tuple[tuple[str, tuple[str, ...]], ...]) -> Aliases:
    return DEFAULT_ALIASES.preferring(dict(names))


def marks_of(parameters: Parameters) -> list[str]:
    """Return what is odd about the parameters."""
    odd = {"literal_macro": parameters.macros, "double_encoded": parameters.double_encoded}
    return [mark for mark, names in odd.items() if names]


def _put_external_click_id(
    row: Row, arrival: Arrival, found: Mapping[str, Found], chosen: Sequence[ActiveMapping]
) -> None:
    """A mapping knows best; then the gateway, which read it from the whole request."""
    told, by_gateway = found.get("external_id"), arrival.external_click_id[:LONGEST_ID_BYTES]
    mapped = {mapping.parameters["external_id"].encode() for mapping in chosen if "external_id" in mapping.parameters}
    if told and told.name.lower() in mapped:
        row.external_click_id, row.gateway_click_id = id_of(told), by_gateway
    else:
        row.external_click_id = by_gateway or id_of(told)


def _put_traffic(row: Row, traffic: Traffic) -> None:
    row.campaign, row.referer_host = traffic.campaign, traffic.referrer_host
    if row.route == "postback" and traffic.rule not in ("tagged", "click_mark"):
        # No visitor stands behind the call itself: where one came from is the click's.
        return
    row.source, row.medium = traffic.source, traffic.medium
    row.channel, row.traffic_rule = traffic.channel.value, traffic.rule


def _put_client(row: Row, arrival: Arrival, headers: Mapping[bytes, bytes], enricher: Enricher) -> None:
    agent, place = enricher.user_agent(row.user_agent), enricher.place(arrival.ip)
    reasons, device_type = bot_reasons(agent.bot_reasons, headers), agent.device_type
    if arrival.route in SERVER_ROUTES:
        reasons = tuple(reason for reason in reasons if reason not in (LIBRARY_CLIENT, EMPTY_USER_AGENT))
        if device_type is DeviceType.BOT and not reasons:
            device_type = DeviceType.OTHER
    row.bot_reasons, row.is_bot = reasons, int(bool(reasons))
    row.device_type, row.device = device_type.value, agent.device
    row.os, row.os_version = agent.os, agent.os_version
    row.browser, row.browser_version = agent.browser, agent.browser_version
    row.country, row.region, row.city, row.asn = place
    row.language = read_language(headers.get(b"accept-language", b""))


def _put_cost(row: Row, found: Mapping[str, Found]) -> list[str]:
    cost = found.get("cost")
    if cost is None:
        return []
    named = found["currency"].value if "currency" in found else b""
    row.cost, row.cost_currency, is_unread = amount_of(cost.value, named)
    return ["cost_unread"] if is_unread else []


def _put_client_time(row: Row, arrival: Arrival, found: Mapping[str, Found]) -> list[str]:
    row.client_time, is_implausible = client_time_of(found, event_time_ms=arrival.event_time_ms)
    return ["client_time_implausible"] if is_implausible else []
