"""A rule is told the same of a click while it is routed as it is told of it in history: half of P7.

The other half is that both evaluators say the same of the same facts: tests/integration/rule_language.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_svc.projection.arrival import Arrival as StoredArrival
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.read import read_event
from analytics_svc.projection.row import Row
from enrichment.geo import Geo
from ingress_gateway.facts import READERS, Click, ClickReader
from rule_language.evaluate import Fact
from rule_language.field import FIELDS, TIME_KINDS
from tests.integration.enrich.networks import CITIES, write
from tests.unit.gateway.arrivals import arrival

NOW_MS = 1_770_000_000_000


def _text(column: str) -> Callable[[Row], Fact]:
    def read(row: Row) -> Fact:
        value = getattr(row, column)
        return value.encode() if isinstance(value, str) else value

    return read


COLUMNS: Mapping[str, Callable[[Row], Fact]] = {
    **{name: _text(name) for name in READERS},
    "is_bot": lambda row: bool(row.is_bot),
}
NAMES = st.sampled_from(
    ["source", "utm_source", "UTM_Medium", "medium", "campaign", "gclid", "fbclid", "ref", "zoneid", "click_id", "a b"]
)
VALUES = st.sampled_from(
    ["facebook", "Facebook", "cpc", "{source}", "", "%7Bclickid%7D", "a+b", "%C3%A4", "%ff", "x%2520y", "(none)", "1,5"]
) | st.text(alphabet="abcäß%&=+?#{}[] \u2028", max_size=8)
QUERIES = st.lists(st.tuples(NAMES, VALUES), max_size=5).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).replace(" ", "%20").replace("#", "%23")
)
AGENTS = st.sampled_from(
    [
        "",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
        "curl/8.5.0",
        "Ünknown \udcff agent",
    ]
)
REFERERS = st.sampled_from(
    [
        None,
        "",
        "https://www.google.com/search?q=x",
        "https://l.facebook.com/",
        "https://track.acmecorp.com/in/other",
        "android-app://com.linkedin.android/",
        "https://vm.tiktok.com/ZM/",
        "nonsense \udc80",
    ]
)
LANGUAGES = st.sampled_from([None, "en-US,en;q=0.9", "*", "zh_hant_tw", "de", "x" * 300])
PURPOSES = st.sampled_from([None, "prefetch;prerender", "nothing"])
ADDRESSES = st.sampled_from(["81.2.69.160", "203.0.113.9", "2a02:d280::1", "10.1.2.3"])
HOSTS = st.sampled_from(["track.acmecorp.com", "Track.AcmeCorp.com:8080", ""])


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClickReader, Enricher]]:
    """Both readers, over the same GeoIP file."""
    path: Path = write(tmp_path_factory.mktemp("geo") / "cities.mmdb", CITIES)
    geo = Geo([path])
    geo.refresh()
    yield ClickReader(geo), Enricher([path])
    geo.close()


def test_every_field_of_the_rule_language_is_read() -> None:
    times = {name for name, field in FIELDS.items() if field.kind in TIME_KINDS}
    assert set(READERS) == set(FIELDS) - times


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(QUERIES, AGENTS, REFERERS, LANGUAGES, PURPOSES, ADDRESSES, HOSTS)
def test_live_and_history_are_told_the_same(
    cities: tuple[ClickReader, Enricher],
    query: str,
    agent: str,
    referer: str | None,
    language: str | None,
    purpose: str | None,
    address: str,
    host: str,
) -> None:
    reader, enricher = cities
    given_headers = {"Host": host, "User-Agent": agent, "Referer": referer, "Accept-Language": language}
    headers = [(name, value) for name, value in (given_headers | {"Sec-Purpose": purpose}).items() if value is not None]
    live = arrival(f"/in/summer_sale?{query}", *headers, ("Referer", "https://second.example/"), peer=address)
    click = Click(live, NOW_MS, reader)
    stored = StoredArrival(
        organization_id="org_a",
        event_id=str(uuid.uuid4()),
        event_time_ms=NOW_MS,
        event_type=b"click",
        route="in",
        target=live.target,
        headers=live.header_block(),
        ip=live.ip,
        scheme=live.scheme(),
        host=live.host.encode("utf-8", "surrogateescape"),
    )
    row = read_event(stored, (), enricher)
    assert {name: click.facts.fields[name] for name in READERS} == {name: read(row) for name, read in COLUMNS.items()}
    for name in (*row.params, b"missing"):
        assert click.facts.params.get(name) == row.params.get(name)
    for name in (*row.headers, b"missing"):
        assert click.facts.headers.get(name) == row.headers.get(name)
