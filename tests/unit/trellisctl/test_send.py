import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from trellisctl.traffic.send import Summary, send
from trellisctl.traffic.visits import Request, Site, Visitor, make_visitors

pytestmark = pytest.mark.loopback

HEADERS = (("User-Agent", "test"),)


class Gateway:
    """Answers as the gateway does and remembers what came."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.status = 302
        self.url = ""
        self.concurrent = 0
        self.most_concurrent = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        await request.read()
        await asyncio.sleep(0.002)
        self.seen.append(request)
        self.concurrent -= 1
        headers = {"Set-Cookie": f"_tl_v=usr_{len(self.seen)}; Path=/; Secure; HttpOnly"}
        if request.path.startswith("/in/"):
            return web.Response(
                status=self.status, headers={**headers, "Location": f"https://shop/?click_id=c%2B{len(self.seen)}"}
            )
        return web.Response(status=200 if self.status == 302 else self.status, headers=headers)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def click(**more: Any) -> Request:
    return Request("click", "GET", "/in/summer_sale?click_id=a%20b", HEADERS, source="facebook", **more)


async def run(gateway: Gateway, *visitors: Visitor) -> Summary:
    return await send(visitors, url=gateway.url, host="track.example.com", concurrency=4)


async def test_a_visitor_keeps_the_first_cookie_it_was_given_up_to_the_next(gateway: Gateway) -> None:
    await run(gateway, Visitor(is_bot=False, is_returning=True, requests=[click(), click(), click()]))
    assert [request.headers.get("Cookie") for request in gateway.seen] == [None, "_tl_v=usr_1", "_tl_v=usr_2"]


async def test_a_bot_keeps_no_cookie(gateway: Gateway) -> None:
    await run(gateway, Visitor(is_bot=True, is_returning=False, requests=[click(), click()]))
    assert [request.headers.get("Cookie") for request in gateway.seen] == [None, None]


async def test_a_postback_carries_the_click_id_of_the_redirect_and_no_cookie(gateway: Gateway) -> None:
    postback = Request("postback", "GET", "/postback?status=sale&click_id={click_id}", HEADERS)
    await run(gateway, Visitor(is_bot=False, is_returning=False, requests=[click(), postback]))
    assert gateway.seen[1].raw_path == "/postback?status=sale&click_id=c%2B1"
    assert "Cookie" not in gateway.seen[1].headers


async def test_a_target_arrives_as_it_was_written_under_the_tracking_host(gateway: Gateway) -> None:
    await run(gateway, Visitor(is_bot=False, is_returning=False, requests=[click()]))
    assert gateway.seen[0].raw_path == "/in/summer_sale?click_id=a%20b"
    assert gateway.seen[0].headers["Host"] == "track.example.com"


async def test_the_summary_counts_what_was_sent(gateway: Gateway) -> None:
    visitors = make_visitors(200, Site("summer_sale", "wdn_pk_x"), seed=3)
    summary = await run(gateway, *visitors)
    assert summary.sent_count == 200 == len(gateway.seen)
    assert summary.visitors.total() == len(visitors)
    assert summary.answers.total() == 200
    assert summary.failure_count == 0
    assert summary.text().startswith("sent      200 in ")
    assert 1 < gateway.most_concurrent <= 4


async def test_bad_answers_and_missing_ones_are_failures(gateway: Gateway) -> None:
    gateway.status = 503
    summary = await run(gateway, Visitor(is_bot=False, is_returning=False, requests=[click()]))
    assert summary.failure_count == 1
    gateway.url = "http://127.0.0.1:1"
    summary = await run(gateway, Visitor(is_bot=False, is_returning=False, requests=[click(), click()]))
    assert summary.failure_count == 2
    assert "ClientConnectorError" in summary.text()
