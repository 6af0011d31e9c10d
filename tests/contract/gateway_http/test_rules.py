"""Campaigns with rules over the wire, in both lanes: where a click goes, how, and what is kept of why."""

import html
import re

import pytest

from tests.contract.gateway_http.test_redirects import _fast, _location, _slow
from tests.contract.gateway_http.wire import request
from tests.contract.gateway_http.worker import SHOP, Worker

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
BOTH = pytest.mark.parametrize("ask", [_fast, _slow], ids=["fast", "slow"])
PHONE = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
TIKTOK = "Referer: https://vm.tiktok.com/ZM/"


@BOTH
@pytest.mark.parametrize(
    ("target", "header", "location", "rule_id", "tags"),
    [
        ("/in/ruled", "Accept: */*", "https://shop.acmecorp.com/rest?click_id=<ours>", "", []),
        ("/in/ruled?a=1", TIKTOK, "https://tiktok.acmecorp.com/?click_id=<ours>", "tiktok", []),
        (
            "/in/ruled?source=Face%26book&zone=%23x",
            PHONE,
            "https://phone.acmecorp.com/?from=face%26book&zone=%23x&source=Face%26book&click_id=<ours>",
            "phones",
            ["phone", "ä"],
        ),
        ("/in/rules_alone", TIKTOK, "https://tiktok.acmecorp.com/?click_id=<ours>", "tiktok", []),
    ],
)
async def test_the_rule_that_decides_is_kept_with_the_event(
    worker: Worker, ask: object, target: str, header: str, location: str, rule_id: str, tags: list[str]
) -> None:
    response = await ask(worker, target, header)  # type: ignore[operator]  # either lane
    assert (response.status, _location(response)) == (302, location)
    event = await worker.event()
    assert (event.rule_id, event.destination_id, list(event.tags)) == (rule_id, "d1", tags)
    assert (event.campaign_id, event.campaign_version) == (target[4:].partition("?")[0], 3)
    assert event.location.decode() == response.location


@BOTH
async def test_a_redirect_may_be_another_one(worker: Worker, ask: object) -> None:
    response = await ask(worker, "/in/moved?a=1")  # type: ignore[operator]  # either lane
    assert (response.status, _location(response)) == (301, f"{SHOP}?a=1&click_id=<ours>")
    assert "no-store" in (response.header("Cache-Control") or "")
    assert (await worker.event()).status == 301


@BOTH
async def test_a_page_that_refreshes_hides_the_referrer_and_escapes_the_place(worker: Worker, ask: object) -> None:
    response = await ask(worker, "/in/refreshed?a=%22%3E&b='<script>")  # type: ignore[operator]  # either lane
    assert response.status == 200
    assert response.header("Referrer-Policy") == "no-referrer"
    assert response.header("Location") is None
    page = response.body.decode()
    event = await worker.event()
    assert event.status == 200
    (place,) = re.findall(r'content="0;url=([^"]*)"', page)
    assert html.unescape(place) == event.location.decode()
    assert "<script" not in page


async def test_what_no_rule_matches_and_nothing_else_takes_is_kept(worker: Worker) -> None:
    response = await worker.ask(request("/in/rules_alone"))
    assert response.status == 404
    event = await worker.event()
    assert (event.campaign_id, event.status) == ("rules_alone", 404)
    assert list(event.marks) == ["no_rule_matched"]


@pytest.mark.parametrize("path", ["/in", "/in/", "/in/no_such_link", "/in/no/such/link"])
async def test_a_click_that_no_link_takes_goes_by_the_rules_of_an_open_campaign(worker: Worker, path: str) -> None:
    response = await worker.ask(request(f"{path}?wanted=yes&b=%ff"))
    assert (response.status, _location(response)) == (
        302,
        "https://open.acmecorp.com/?wanted=yes&b=%ff&click_id=<ours>",
    )
    event = await worker.event()
    assert (event.campaign_id, event.campaign_version, event.rule_id) == ("open", 3, "wanted")
    assert (list(event.tags), list(event.marks), event.status) == (["found"], [], 302)


@pytest.mark.parametrize("target", ["/in?wanted=no", "/in/no_such_link", "/in/paused?wanted=yes"])
async def test_what_no_open_campaign_wants_or_a_link_has_already_is_left_alone(worker: Worker, target: str) -> None:
    response = await worker.ask(request(target))
    assert response.status == 404
    assert (await worker.event()).rule_id == ""


async def test_a_destination_that_leads_back_to_us_is_not_followed(worker: Worker) -> None:
    response = await worker.ask(request("/in/back?a=1"))
    assert response.status == 404
    event = await worker.event()
    assert (event.campaign_id, list(event.marks)) == ("back", ["own_host"])
