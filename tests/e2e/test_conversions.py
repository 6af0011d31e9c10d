"""From postbacks to conversions and to the reports that count them, through `trellis up --demo`."""

import json
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib import request
from urllib.parse import urlencode

import pytest

from tests.e2e.api import Api, until
from tests.mesh.up import Up, start
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]
_SETTLE_SECONDS = 60.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    run = start(tmp_path_factory.mktemp("conversions") / "data", workers=1)
    yield run
    if run.is_running:
        run.send(signal.SIGINT)
        assert run.wait() == 0


@pytest.fixture
def api(up: Up) -> Api:
    return Api(up.url)


class _Stay(request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """Follow nobody."""


def click(up: Up, click_id: str) -> None:
    """Follow the demo link as a person does."""
    url = f"{up.url}/in/{demo.CAMPAIGN_ID}?{urlencode({'click_id': click_id, 'source': 'facebook', 'medium': 'cpc'})}"
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    asked = request.Request(url, headers={"Host": demo.HOST, "User-Agent": agent})
    with pytest.raises(request.HTTPError) as answer:
        request.build_opener(_Stay).open(asked, timeout=30)
    answer.value.close()
    assert answer.value.code == 302


def postback(up: Up, **parameters: object) -> str:
    """Send a postback; return the id of its event."""
    url = f"{up.url}/postback?{urlencode({'k': demo.PUBLISHABLE_KEY, **parameters})}"
    with request.urlopen(url, timeout=30) as answer:
        assert answer.status == 200
        event_id: str = answer.headers["X-Trellis-Event-Id"]
        return event_id


def conversions(api: Api, **wanted: str) -> list[dict[str, Any]]:
    """Return all that are wanted."""
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = api.ok(f"/conversions?{urlencode({**wanted, **token, 'page_size': '1000'})}")
        found += page["conversions"]
        if not page["next_page_token"]:
            return found
        token = {"page_token": page["next_page_token"]}


def test_the_specifications_postback_is_a_conversion_of_its_click(up: Up, api: Api) -> None:
    click(up, "fb_123abc")
    body = {"click_id": "fb_123abc", "event": "purchase", "value": 99.99, "currency": "USD", "order_id": "ORD-456789"}
    headers = {"Authorization": f"Bearer {demo.SECRET_KEY}", "Content-Type": "application/json"}
    asked = request.Request(f"{up.url}/postback", json.dumps(body).encode(), headers)
    with request.urlopen(asked, timeout=30) as answer:
        event_id = answer.headers["X-Trellis-Event-Id"]
    until(lambda: conversions(api, click_id="fb_123abc"))
    (found,) = conversions(api, click_id="fb_123abc")
    assert (found["conversion_id"], found["value"], found["currency"]) == (event_id, 99.99, "USD")
    until(lambda: conversions(api, click_id="fb_123abc", campaign_id=demo.CAMPAIGN_ID))
    whole = api.ok(f"/conversions/{event_id}")
    assert whole["click"]["external_click_id"] == "fb_123abc"
    assert [event["amount_text"] for event in whole["events"]] == ["99.99"]


def test_the_same_postback_a_hundred_times_at_once_is_one_conversion(up: Up, api: Api) -> None:
    with ThreadPoolExecutor(20) as pool:
        sent = list(pool.map(lambda _: postback(up, txid="same", payout="5", cur="CHF"), range(100)))
    until(lambda: sum(len(found["event_ids"]) for found in conversions(api, order_id="same")) == 100)
    (found,) = conversions(api, order_id="same")
    assert set(found["event_ids"]) == set(sent)
    assert found["value"] == 5.0


def test_a_conversion_before_its_click_is_matched_when_the_click_comes(up: Up, api: Api) -> None:
    postback(up, txid="early", click_id="late_click", payout="1", cur="CHF")
    until(lambda: conversions(api, order_id="early", orphans="true"))
    click(up, "late_click")
    until(lambda: conversions(api, order_id="early", campaign_id=demo.CAMPAIGN_ID), seconds=_SETTLE_SECONDS)


def test_a_postback_with_nothing_usable_is_kept_marked_and_listed(up: Up, api: Api) -> None:
    event_id = postback(up, click_id="{clickid}", whatever="1")
    until(lambda: [found for found in conversions(api) if found["conversion_id"] == event_id])
    found = api.ok(f"/conversions/{event_id}")
    assert {"literal_macro", "no_reference"} <= set(found["marks"])
    assert (found["value"], found["order_id"]) == (None, "")


def test_a_click_of_another_case_is_suggested_and_accepted(up: Up, api: Api) -> None:
    click(up, "CaseMatters1")
    postback(up, txid="case", click_id="casematters1", payout="1", cur="CHF")
    until(lambda: conversions(api, order_id="case", orphan_reason="wrong_case"), seconds=_SETTLE_SECONDS)
    (found,) = conversions(api, order_id="case")
    (suggestion,) = found["suggestions"]
    assert suggestion["click"]["external_click_id"] == "CaseMatters1"
    assert "wrong_case" in {told["reason"] for told in api.ok("/conversions/orphans")["orphans"]}
    made = api.ok(f"/conversions/{found['conversion_id']}:match", {"click_id": "CaseMatters1"})
    assert (made["match_state"], made["campaign_id"]) == ("matched", demo.CAMPAIGN_ID)


def test_reports_add_up_to_the_conversions_under_any_policy(up: Up, api: Api) -> None:
    chance = random.Random(11)
    sent = 0
    for _ in range(150):
        order = f"sum{chance.randrange(40)}"
        status = chance.choice(["lead", "approved", "approved", "rejected", "7", "refund"])
        amount = chance.choice(["5", "7.25", "12.5", ""])
        postback(up, txid=order, status=status, payout=amount, cur="EUR", source="adnet")
        sent += 1
    until(lambda: len(_events(api)) == sent, seconds=_SETTLE_SECONDS)
    _must_agree(api)
    for change in (
        ("/conversions/statuses", {"network": "adnet", "words": [{"word": "7", "status": "rejected"}]}),
        ("/conversions/policies", {"conversion_type": "*", "policy": "sum"}),
        ("/conversions/policies", {"conversion_type": "*", "policy": "per_event"}),
        ("/conversions/policies", {"conversion_type": "*", "policy": "first"}),
    ):
        _put(api, *change)
        until(lambda: api.ok("/conversions/policies")["operations"][0]["state"] == "done", seconds=_SETTLE_SECONDS)
        _must_agree(api)


def _events(api: Api) -> set[str]:
    return {
        event_id for found in conversions(api) if found["order_id"].startswith("sum") for event_id in found["event_ids"]
    }


def _must_agree(api: Api) -> None:
    seen: list[Any] = []

    def agree() -> bool:
        seen[:] = [_sums_of_reading(api), _sums_of_conversions(api)]
        return seen[0] == seen[1]

    try:
        until(agree, seconds=_SETTLE_SECONDS)
    except AssertionError:
        raise AssertionError(f"reading and conversions do not agree: {seen}") from None


def _sums_of_conversions(api: Api) -> tuple[int, Decimal]:
    of_orders = [found for found in conversions(api) if found["order_id"].startswith("sum")]
    value = sum((Decimal(str(found["value"] or 0)) for found in of_orders), Decimal())
    return sum(found["is_counted"] for found in of_orders), value


def _sums_of_reading(api: Api) -> tuple[int, Decimal]:
    report = api.report(
        "timeseries?granularity=day&metrics=conversions,revenue&currency=EUR&include_bots=true&source=adnet"
    )
    (totals,) = [series["totals"] for series in report["series"]] or [{"conversions": 0, "revenue": 0}]
    return totals["conversions"], Decimal(str(totals["revenue"]))


def _put(api: Api, path: str, body: Any) -> None:
    headers = {"Authorization": f"Bearer {demo.SECRET_KEY}", "Content-Type": "application/json"}
    asked = request.Request(f"{api.url}/api/v1{path}", json.dumps(body).encode(), headers, method="PUT")
    with request.urlopen(asked, timeout=30) as answer:
        assert answer.status == 202
