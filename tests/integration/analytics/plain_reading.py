"""What a row should be, written down once more, plainly: one event after the other and nothing remembered."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from analytics_svc.mappings.mapping import ActiveMapping
from enrichment.bots import bot_reasons
from enrichment.channel import read_traffic
from enrichment.conversions import ORDER_NAMES, STATUS_NAMES, Happening, happening_of
from enrichment.geo import Geo
from enrichment.languages import read_language
from enrichment.money import read_currency, read_money
from enrichment.parameters import DEFAULT_ALIASES, Parameters, from_pairs
from enrichment.referrers import host_of
from enrichment.status import Status, read_status
from enrichment.times import read_time
from enrichment.user_agent import UserAgents
from enrichment.version import ENRICHMENT_VERSION
from trellis.capture.v1 import event_pb2

Columns = dict[str, Any]
_AGENTS = UserAgents(cache_size=0)


def plain_row(event: event_pb2.Event, mappings: Sequence[ActiveMapping], geo: Geo) -> Columns:
    """Return the columns of an event: texts as bytes, money in micros, instants in milliseconds."""
    headers: dict[bytes, bytes] = {}
    for line in event.headers.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name:
            headers.setdefault(name.lower(), value.strip(b" \t"))
    target, _, query = event.target.partition(b"?")
    pairs = _query(query)
    if event.body:
        pairs += _body(event.body, headers.get(b"content-type", b""))
    params: dict[bytes, bytes] = {}
    for name, value in pairs:
        params.setdefault(name, value)
    parameters = from_pairs(pairs)
    if not event.body and b"%25" not in query:
        parameters = Parameters(parameters.first, parameters.macros, [])
    marks = list(event.marks)
    marks += ["literal_macro"] * bool(parameters.macros) + ["double_encoded"] * bool(parameters.double_encoded)

    said = headers.get(b"referer", b"").strip()
    own_hosts = {host_of(b"//" + event.host)}
    referrer = said
    if event.route != "in":
        own_hosts.add(host_of(said))
        told = DEFAULT_ALIASES.resolve(parameters).get("referrer")
        referrer = told.value if told else b""
        ref = parameters.get(b"ref")
        if ref.lower().startswith((b"http://", b"https://", b"//", b"android-app://", b"ios-app://")):
            referrer = referrer or ref
            rest = {name: pair for name, pair in parameters.first.items() if name != b"ref"}
            parameters = Parameters(rest, parameters.macros, parameters.double_encoded)
    own_hosts.discard("")
    aliases = DEFAULT_ALIASES
    traffic = read_traffic(aliases.resolve(parameters), parameters, referrer, own_hosts)
    chosen = []
    for mapping in mappings:
        begins = mapping.start_time is None or mapping.start_time.timestamp() * 1000 <= event.event_time_ms
        ends = mapping.end_time is not None and mapping.end_time.timestamp() * 1000 <= event.event_time_ms
        if mapping.source in ("", traffic.source) and begins and not ends:
            chosen.append(mapping)
            aliases = aliases.preferring({name: [parameter] for name, parameter in mapping.parameters.items()})
    found = aliases.resolve(parameters)
    traffic = read_traffic(found, parameters, referrer, own_hosts)
    values = {name: one.value for name, one in found.items()}
    is_server = event.route in ("postback", "events", "batch", "rpc")
    is_silent = event.route == "postback" and traffic.rule not in ("tagged", "click_mark")

    agent = _AGENTS.read(headers.get(b"user-agent", b""))
    reasons = list(bot_reasons(agent.bot_reasons, headers))
    if is_server:
        reasons = [reason for reason in reasons if reason not in ("library_client", "empty_user_agent")]
    device_type = "other" if is_server and agent.device_type == "bot" and not reasons else str(agent.device_type)
    place = geo.look_up(event.ip)

    currency = values.get("currency", b"")
    cost, cost_currency, is_odd = _money(values.get("cost", b""), currency)
    marks += ["cost_unread"] * is_odd
    client_time = None
    if "client_time" in values:
        instant = read_time(values["client_time"], received_ms=event.event_time_ms)
        if instant.unix_ms is not None:
            client_time = None if instant.flag else instant.unix_ms
            marks += ["client_time_implausible"] * bool(instant.flag)
    row: Columns = {
        "organization_id": event.organization_id.encode(),
        "event_id": event.event_id,
        "event_time": event.event_time_ms,
        "client_time": client_time,
        "event_type": event.event_type,
        "route": event.route.encode(),
        "click_id": event.click_id.encode(),
        "user_id": event.user_id.encode(),
        "session_id": b"",
        "external_click_id": _external(event, found, chosen),
        "source": b"" if is_silent else traffic.source.encode(),
        "medium": b"" if is_silent else traffic.medium.encode(),
        "channel": b"" if is_silent else traffic.channel.encode(),
        "traffic_rule": b"" if is_silent else traffic.rule.encode(),
        "campaign": traffic.campaign.encode(),
        "referer_host": traffic.referrer_host.encode(),
        "referer": referrer,
        "campaign_id": event.campaign_id.encode(),
        "campaign_version": event.campaign_version,
        "rule_id": event.rule_id.encode(),
        "destination_id": event.destination_id.encode(),
        "tags": [tag.encode() for tag in event.tags],
        "partner_id": event.partner_id.encode(),
        "network": event.network.encode(),
        **{name: values.get(name, b"")[:512] for name in ("source_campaign_id", "term", "content", "placement")},
        "country": place.country,
        "region": place.region,
        "city": place.city,
        "asn": place.asn,
        "device_type": device_type.encode(),
        "device": agent.device.encode(),
        "os": agent.os.encode(),
        "os_version": agent.os_version.encode(),
        "browser": agent.browser.encode(),
        "browser_version": agent.browser_version.encode(),
        "language": read_language(headers.get(b"accept-language", b"")).encode(),
        "is_bot": int(bool(reasons)),
        "bot_reasons": [reason.encode() for reason in reasons],
        "fraud_score": 100.0 * bool(reasons),
        "scheme": event.scheme.encode(),
        "host": event.host.lower(),
        "path": _path(target),
        "url": event.scheme.encode() + b"://" + event.host + event.target if event.target[:1] == b"/" else event.target,
        "user_agent": headers.get(b"user-agent", b""),
        "ip": event.ip.encode(),
        "params": params,
        "headers": headers,
        "cost": cost,
        "cost_currency": cost_currency,
        "trace_id": event.trace_id.encode(),
        "enrichment_version": ENRICHMENT_VERSION,
        "mapping_versions": [mapping.label.encode() for mapping in chosen],
    }
    row |= _conversion(event, found, aliases, parameters, client_time, marks)
    row["marks"] = [mark.encode() for mark in dict.fromkeys(marks)]
    return row


def _conversion(
    event: event_pb2.Event, found: Any, aliases: Any, parameters: Parameters, client_time: int | None, marks: list[str]
) -> Columns:
    nothing: Columns = {
        "conversion_event": b"",
        "conversion_status": b"",
        "is_conversion": 0,
        "value": None,
        "currency": b"",
        "order_id": b"",
        "conversion_time": None,
        "references": [],
    }
    is_postback = event.route == "postback"
    happening = happening_of(event.event_type)
    value, currency, is_odd = _money(
        found["payout"].value if "payout" in found else b"", found["currency"].value if "currency" in found else b""
    )
    order = found.get("transaction_id")
    has_order = order is not None and order.name.lower() in ORDER_NAMES
    is_one = is_postback or (
        happening is not Happening.STEP and (happening is Happening.CONVERSION or value is not None or has_order)
    )
    if not is_one or {"refused_sender", "refused_signature"} & set(event.marks):
        return nothing
    marks += ["value_unread"] * is_odd
    told = found.get("status")
    status = ""
    if told and (is_postback or told.name.lower() in STATUS_NAMES):
        status = str(read_status(told.value).status)
        if status == "unmapped" and told.name.lower() in (b"event", b"et", b"type", b"action", b"name"):
            status = ""
    word = event.event_type.strip().lower()
    if is_postback and told and word in (b"", b"conversion"):
        word = told.value.lower()
    word = word[:128] or b"conversion"
    is_test = "test" in event.marks or word == b"test" or (told is not None and told.value.lower() == b"test")
    references: list[bytes] = []
    for candidate in (
        event.click_id.encode(),
        *(one.value for one in aliases.candidates(parameters, "click_id")),
        event.external_click_id,
        *(one.value for one in aliases.candidates(parameters, "external_id")),
    ):
        if candidate and candidate[:512] not in references:
            references.append(candidate[:512])
    if order is not None and order.name.lower() in (b"transaction_id", b"tid"):
        plain = (b"txid", b"order_id", b"orderid", b"oid", b"invoice_id", b"invoiceid")
        for other in aliases.candidates(parameters, "transaction_id"):
            if other.name.lower() in plain:
                order = other
                break
    is_key = order is not None and order.name.lower() in (b"event_id", b"action_id")
    return {
        "conversion_event": word,
        "conversion_status": status.encode(),
        "is_conversion": int(status != Status.REJECTED and not is_test),
        "value": value,
        "currency": currency,
        "order_id": order.value[:512] if order and (is_postback or not is_key) else b"",
        "conversion_time": event.event_time_ms if client_time is None else client_time,
        "references": references[:16],
    }


def _money(raw: bytes, named: bytes) -> tuple[int | None, bytes, bool]:
    money = read_money(raw, named)
    if money.micros is not None and abs(money.micros) < 10**18:
        return money.micros, (money.currency or read_currency(named) or "").encode(), False
    return None, b"", money.micros is not None or money.reason not in ("empty", "macro")


def _external(event: event_pb2.Event, found: Any, chosen: Sequence[ActiveMapping]) -> bytes:
    told = found.get("external_id")
    value: bytes = told.value[:512] if told else b""
    if told and told.name.lower().decode() in [mapping.parameters.get("external_id") for mapping in chosen]:
        return value
    return event.external_click_id[:512] or value


def _path(target: bytes) -> bytes:
    if target[:1] == b"/" or b"://" not in target:
        return target
    return b"/" + target.partition(b"://")[2].partition(b"/")[2]


def _query(query: bytes) -> list[tuple[bytes, ...]]:
    pairs: list[tuple[bytes, ...]] = []
    for piece in query.replace(b"+", b" ").split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def _body(body: bytes, content_type: bytes) -> list[tuple[bytes, ...]]:
    if content_type.split(b";")[0].strip().lower() == b"application/x-www-form-urlencoded":
        return _query(body)
    try:
        value = json.loads(body.decode().removeprefix("\ufeff"), parse_float=Raw, parse_int=Raw, parse_constant=Raw)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    pairs = _members(value, "", 1)
    for name in ("properties", "event_properties", "params", "parameters", "payload", "data", "custom_data"):
        if isinstance(value.get(name), dict):
            pairs += _members(value[name], "", 2)
    return pairs


class Raw(str):
    """A number as it came."""


def _members(value: dict[str, Any], prefix: str, depth: int) -> list[tuple[bytes, ...]]:
    pairs: list[tuple[bytes, ...]] = []
    for name, member in value.items():
        if isinstance(member, dict):
            pairs += _members(member, f"{prefix}{name}.", depth + 1) if depth < 4 else []
        elif member is not None:
            text = member if isinstance(member, str) else _json(member)
            pairs.append(((prefix + name).encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass")))
    return pairs


def _json(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
