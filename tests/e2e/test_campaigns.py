"""Campaigns and conversions as an organisation has them: promise P7, and the specification's first example."""

import itertools
import json
import random
import signal
from collections.abc import Iterator
from typing import Any
from urllib import error, request
from urllib.parse import urlencode

import pytest

from tests.e2e.api import Api, settled, trellis, until
from tests.mesh.up import Up, start
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

_PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5"
    " Mobile/15E148 Safari/604.1"
)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    _PHONE,
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
)
_REFERRERS = ("", "https://www.tiktok.com/@somebody", "https://vm.tiktok.com/ZM1", "https://news.example/")
_PATHS = ("/in/spring", "/in", "/in/nobody_knows", "/in/other")
_SPRING = {
    "campaign_id": "spring",
    "name": "Spring",
    "retroactive": True,
    "destination_url": "https://shop.example.com/spring",
    "rules": [
        {
            "rule_id": "from_tiktok",
            "priority": 100,
            "conditions": [
                {"field": "referer", "operator": "contains", "value": "tiktok.com"},
                {"field": "device_type", "operator": "equals", "value": "mobile"},
            ],
            "action": {"destination": "https://shop.example.com/tiktok", "tags": ["tiktok", "social"]},
        },
        {
            "rule_id": "paid",
            "priority": 50,
            "conditions": [
                {"field": "medium", "operator": "in", "value": ["cpc", "paid"]},
                {"field": "param.zone", "operator": "not_equals", "value": "7"},
            ],
            "action": {"destination": "https://shop.example.com/paid?n={param:n}"},
        },
    ],
}
_OTHER = {"campaign_id": "other", "destination_url": "https://shop.example.com/other"}
_WHOSE = (
    "SELECT params['n'], rule_id, arraySort(tags) FROM events"
    " WHERE campaign_id = 'spring' AND params['n'] != '' ORDER BY params['n']"
)


class _Stay(request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def visit(url: str, host: str, path: str, agent: str, referrer: str, **parameters: str) -> int:
    """Ask for a link without following it; return the status."""
    headers = {"Host": host, "User-Agent": agent, **({"Referer": referrer} if referrer else {})}
    asked = request.Request(f"{url}{path}?{urlencode(parameters)}", None, headers)
    try:
        with request.build_opener(_Stay).open(asked, timeout=30) as answer:
            return int(answer.status)
    except error.HTTPError as redirect:
        with redirect:
            return redirect.code


def requests_of_a_day() -> list[tuple[str, str, str, dict[str, str]]]:
    """Return links with their browsers: every kind of path, browser, referrer and medium, in an order of its own."""
    chooser = random.Random(20261120)
    kinds = list(itertools.product(_PATHS, _AGENTS, _REFERRERS, ("", "cpc", "email"), ("", "7")))
    chooser.shuffle(kinds)
    made = []
    for number, (path, agent, referrer, medium, zone) in enumerate(kinds):
        given = {"n": f"{number:04d}", "medium": medium, "zone": zone}
        made.append((path, agent, referrer, {name: value for name, value in given.items() if value}))
    return made


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    run = start(tmp_path_factory.mktemp("campaigns") / "data", workers=1)
    yield run
    if run.is_running:
        run.send(signal.SIGINT)
        assert run.wait() == 0


def organisation(up: Up, name: str) -> tuple[Api, str]:
    """Make an organisation with a tracking host and a key that gateways know."""
    host = f"{name.removeprefix('org_')}.example.com"
    trellis(up, "org", "create", name, "--id", name)
    trellis(up, "domain", "add", "--org", name, host)
    made = json.loads(trellis(up, "key", "create", "--org", name, "--name", "e2e", "--role", "owner", "--json"))
    api = Api(up.url, made["secret"])
    until(lambda: api.call("/query", {"sql": "SELECT 1"}).status == 200)
    return api, host


def counted(api: Api, count: int) -> None:
    until(lambda: api.sql("SELECT count() FROM events WHERE params['n'] != ''") == [[str(count)]], seconds=60)


def whose(api: Api) -> list[list[Any]]:
    return api.sql(_WHOSE)


def test_a_campaign_claims_afterwards_exactly_what_it_routes_live(up: Up) -> None:
    """P7, with the whole mesh between: the same requests, the campaign before them and after them."""
    (live, live_host), (later, later_host) = organisation(up, "org_live"), organisation(up, "org_later")
    for api in (live, later):
        api.created("/campaigns", _OTHER)
    settled(live, live.created("/campaigns", _SPRING))
    until(lambda: visit(up.url, live_host, "/in/spring", _AGENTS[0], "") == 302)
    until(lambda: visit(up.url, later_host, "/in/other", _AGENTS[0], "") == 302)
    asked = requests_of_a_day()
    statuses: dict[str, list[int]] = {"live": [], "later": []}
    for path, agent, referrer, parameters in asked:
        statuses["live"].append(visit(up.url, live_host, path, agent, referrer, **parameters))
        statuses["later"].append(visit(up.url, later_host, path, agent, referrer, **parameters))
    for api in (live, later):
        counted(api, len(asked))
    routed = whose(live)
    assert 0 < len(routed) < len(asked)
    assert {row[1] for row in routed} == {"", "from_tiktok", "paid"}
    assert statuses["live"].count(302) == len(routed) + sum(path == "/in/other" for path, *_ in asked)

    assert whose(later) == []
    preview = later.ok("/campaigns", {**_SPRING, "dry_run": True})
    assert preview["event_count"] == len(routed)
    assert later.call("/campaigns/spring").status == 404
    settled(later, later.created("/campaigns", _SPRING))
    assert whose(later) == routed

    settled(later, later.ok("/campaigns/spring/versions/0:activate", {}))
    assert whose(later) == []
    settled(later, later.ok("/campaigns/spring/versions/1:activate", {}))
    assert whose(later) == routed


def test_the_first_example_from_the_click_to_the_conversion(up: Up) -> None:
    api = Api(up.url)
    status = visit(
        up.url,
        demo.HOST,
        "/in/summer_sale",
        _PHONE,
        "https://www.facebook.com/",
        click_id="fb_123abc",
        source="facebook",
        medium="cpc",
        utm_campaign="summer2024",
    )
    assert status == 302
    body = {"click_id": "fb_123abc", "event": "purchase", "value": 99.99, "currency": "USD", "order_id": "ORD-456789"}
    for _ in range(3):
        asked = request.Request(
            f"{up.url}/postback",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {demo.SECRET_KEY}", "Content-Type": "application/json"},
        )
        with request.urlopen(asked, timeout=30) as answer:
            assert answer.status == 200
    found: dict[str, Any] = {}

    def is_matched() -> bool:
        found.update(api.ok("/conversions?click_id=fb_123abc"))
        return [one["campaign_id"] for one in found["conversions"]] == [demo.CAMPAIGN_ID]

    until(is_matched)
    (conversion,) = found["conversions"]
    assert (conversion["value"], conversion["currency"], conversion["order_id"]) == (99.99, "USD", "ORD-456789")
    # Three postbacks of one order: one conversion, in reports too.
    until(
        lambda: (
            api.sql("SELECT countIf(is_conversion = 1), sum(value) FROM events WHERE order_id = 'ORD-456789'")
            == [["1", "99.99"]]
        )
    )
    explained = api.ok(f"/conversions/{conversion['conversion_id']}/explain?model=last_touch")
    assert [(one["verdict"], one["attributed_value"]) for one in explained["candidates"]] == [
        ("in", 99.99),
        *[("no_touch", 0.0)] * 2,
    ]
