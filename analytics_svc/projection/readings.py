"""What each different thing of a batch reads as: rows of RowBinary for the tables of ``scratch``.

The rules are those of ``enrichment``, asked with the very values, or with values that stand for all of their kind.
"""

from collections.abc import Callable, Mapping, Sequence

from analytics_svc.mappings.mapping import ActiveMapping
from analytics_svc.projection import row_binary as rb
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.row_binary import Reader
from enrichment.channel import read_traffic
from enrichment.click_marks import CLICK_MARKS
from enrichment.conversions import ORDER_NAMES, happening_of
from enrichment.languages import read_language
from enrichment.parameters import DEFAULT_ALIASES, Found, Parameters, from_pairs
from enrichment.referrers import host_of
from enrichment.requests import hostname
from enrichment.times import EARLIEST_SANE_MS, read_time
from enrichment.values import amount_of

PICKS = (
    "source", "medium", "campaign", "source_campaign_id", "term", "content", "placement", "external_id", "cost",
    "currency", "client_time", "referrer",
)  # fmt: skip
"""The fields of which a shape says the position."""
_STAND_INS = {ord("u"): b"u", ord("e"): b"", ord("m"): b"{m}"}
_LATEST_SANE_MS = 4_102_444_800_000  # 2100: a column holds no instant that is far from any event
_shape_row = [rb.uint8, rb.uint8, rb.uint8, rb.text, *[rb.uint16] * (1 + len(PICKS))]


def shape(reader: Reader) -> bytes:
    """Read names and codes of a query: where it has what, whatever the values are."""
    key, names, codes = reader.take(16), reader.texts(), reader.text()
    if len(set(names)) != len(names) or len(names) > 0xFFFF:
        return key + _shape(is_odd=True)
    parameters = from_pairs([(name, _STAND_INS[code]) for name, code in zip(names, codes, strict=True)])
    found = DEFAULT_ALIASES.resolve(parameters)
    position = {name: place for place, name in enumerate(names, start=1)}
    ref = parameters.first[b"ref"][0] if parameters.get(b"ref") else b""
    order = found.get("transaction_id")
    return key + _shape(
        has_macro=bool(parameters.macros),
        carries="payout" in found or (order is not None and order.name.lower() in ORDER_NAMES),
        mark=_strongest_mark(parameters),
        ref=position.get(ref, 0) if ref else 0,
        places=[position[found[name].name] if name in found else 0 for name in PICKS],
    )


def _shape(
    *,
    is_odd: bool = False,
    has_macro: bool = False,
    carries: bool = False,
    mark: bytes = b"",
    ref: int = 0,
    places: Sequence[int] = (0,) * len(PICKS),
) -> bytes:
    values = (int(is_odd), int(has_macro), int(carries), mark, ref, *places)
    return b"".join([encode(value) for encode, value in zip(_shape_row, values, strict=True)])


def _strongest_mark(parameters: Parameters) -> bytes:
    return next((name for name in CLICK_MARKS if parameters.get(name)), b"")


def kind(reader: Reader) -> bytes:
    """Read the word for an event."""
    event_type = reader.text()
    return rb.text(event_type) + rb.text(happening_of(event_type).value)


def language(reader: Reader) -> bytes:
    """Read an Accept-Language."""
    header = reader.text()
    return rb.text(header) + rb.text(read_language(header))


def amount(reader: Reader) -> bytes:
    """Read an amount and the currency beside it."""
    key, raw, named = reader.take(16), reader.text(), reader.text()
    micros, currency, is_unread = amount_of(raw, named)
    return key + _nullable_int64(micros) + rb.text(currency) + rb.uint8(is_unread)


def client_time(reader: Reader) -> bytes:
    """Read an instant; whether it is ahead of the event's own clock is seen with the event."""
    raw = reader.text()
    unix_ms = read_time(raw, received_ms=0).unix_ms
    is_implausible = unix_ms is not None and not EARLIEST_SANE_MS <= unix_ms < _LATEST_SANE_MS
    return rb.text(raw) + _nullable_int64(None if is_implausible else unix_ms) + rb.uint8(is_implausible)


def agent_of(enricher: Enricher) -> Callable[[Reader], bytes]:
    """Return how to read a user agent."""

    def agent(reader: Reader) -> bytes:
        header = reader.text()
        read = enricher.user_agent(header)
        told: tuple[bytes | str, ...] = (
            header,
            read.browser,
            read.browser_version,
            read.os,
            read.os_version,
            read.device,
            read.device_type,
        )
        return b"".join(map(rb.text, told)) + rb.texts(read.bot_reasons)

    return agent


def place_of(enricher: Enricher) -> Callable[[Reader], bytes]:
    """Return how to read an address."""

    def place(reader: Reader) -> bytes:
        ip = reader.text()
        read = enricher.place(ip.decode("utf-8", "replace"))
        texts = b"".join(map(_nullable_text, (read.country, read.region, read.city)))
        return rb.text(ip) + texts + _nullable_uint32(read.asn)

    return place


def traffic_of(mappings: Mapping[str, Sequence[ActiveMapping]]) -> Callable[[Reader], bytes]:
    """Return how to read where a visitor came from, and whether a mapping of the organisation may speak of it."""

    def traffic(reader: Reader) -> bytes:
        key, organization_id = reader.take(16), reader.text()
        source, medium, campaign, mark, referrer, host, page = [reader.text() for _ in range(7)]
        given = {"source": source, "medium": medium, "campaign": campaign}
        found = {name: Found(value, b"", False) for name, value in given.items() if value}
        parameters = Parameters({mark: (mark, b"u")} if mark else {}, [], [])
        own_hosts = {own for own in (hostname(host), host_of(page) if page else "") if own}
        read = read_traffic(found, parameters, referrer, own_hosts)
        own = mappings.get(organization_id.decode("utf-8", "replace"), ())
        is_mapped = any(mapping.source in ("", read.source) for mapping in own)
        told: tuple[str, ...] = (read.source, read.medium, read.channel, read.rule, read.campaign, read.referrer_host)
        return key + b"".join(map(rb.text, told)) + rb.uint8(is_mapped)

    return traffic


_nullable_text = rb.nullable(rb.text)
_nullable_int64 = rb.nullable(rb.int64)
_nullable_uint32 = rb.nullable(rb.uint32)
