"""The realtime page: once, and as a stream of server-sent events that disturbs nobody and ends when it should."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from ingress_gateway.routes.analytics import realtime
from svc_runtime.errors import InvalidArgumentError, UnavailableError, Violation
from tests.contract.gateway_api.fake_analytics import now
from tests.contract.gateway_api.fakes import HOST, OTHER_KEY, SECRET_KEY
from tests.contract.gateway_api.mesh import Mesh, running_mesh
from trellis.auth.v1 import auth_service_pb2 as auth_pb

pytestmark = pytest.mark.loopback

PATH = "/api/v1/analytics/realtime"


class Stream:
    """A stream of events as a browser reads it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        """Return the lines up to the next empty one by name; a comment's name is empty."""
        found: dict[str, str] = {}
        async with asyncio.timeout(5):
            while (line := (await self.response.content.readline()).decode()) != "\n":
                assert line.endswith("\n"), "the stream ended within an event"
                name, _, value = line.rstrip("\n").partition(":")
                found[name] = value.strip()
        return found

    async def event(self) -> Any:
        """Return the next event's data."""
        return orjson.loads((await self.block())["data"])

    async def ended(self) -> bytes:
        """Return what is left, once the stream ends."""
        async with asyncio.timeout(5):
            return await self.response.content.read()


@contextlib.asynccontextmanager
async def opened(mesh: Mesh, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    sent = {"Authorization": f"Bearer {SECRET_KEY}", "Accept": "text/event-stream", **headers}
    async with mesh.session.get(f"{mesh.url}{PATH}{query}", headers=sent) as response:
        assert response.status == 200, await response.read()
        yield Stream(response)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "LOOK_SECONDS", 0.02)


async def test_the_numbers_of_now_have_the_names_of_the_specification(tmp_path: Path) -> None:
    async with running_mesh(tmp_path) as mesh:
        answer = await mesh.get(
            f"{PATH}?time_zone=Europe/Berlin&campaign_id=summer&include_bots=true&limit=3&org_id=any"
        )
        assert answer.status == 200
        found = answer.json
        assert (found["clicks_last_hour"], found["clicks_change"], found["conversions_today"]) == (412, 8.42, 61)
        assert b'"revenue_today":6021.390001,' in answer.body
        assert found["traffic_timeline"] == [
            {"minute": "2026-11-03T12:00:00Z", "clicks": 12, "conversions": 1, "revenue": 99.99}
        ]
        assert found["top_today"]["source"][0]["value"] == "facebook"
        assert found["last_updated"] == "2026-11-03T10:00:00Z"
        (request,) = mesh.analytics.requests
        assert (request.time_zone, request.campaign_id, request.includes_bots, request.top_limit) == (
            "Europe/Berlin",
            "summer",
            True,
            3,
        )
        other = await mesh.get(f"{PATH}?org_id=org_acmecorp", key=OTHER_KEY)
        assert other.status == 200
        assert mesh.analytics.does.callers[-1].organization_id == "org_other", "the key decides"


async def test_a_stream_tells_at_once_and_of_every_change(tmp_path: Path, quick: None) -> None:
    async with running_mesh(tmp_path) as mesh, opened(mesh, "?limit=3", **{"Last-Event-ID": "1793700000000"}) as stream:
        head = stream.response.headers
        assert head["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "no-store" in head["Cache-Control"]
        assert (head["Server"], head["X-Accel-Buffering"]) == ("trellis", "no")
        first = await stream.block()
        assert (first["retry"], first["id"], first["event"]) == ("3000", "1793700000000", "realtime")
        assert orjson.loads(first["data"])["clicks_last_hour"] == 412
        for number in (1, 2):
            mesh.analytics.states.put_nowait(now(number))
            block = await stream.block()
            assert block["id"] == str(1793700000000 + number * 1000)
            assert orjson.loads(block["data"])["clicks_last_hour"] == 412 + number
        assert mesh.analytics.requests[-1].query.top_limit == 3


async def test_a_quiet_stream_has_a_heart_that_beats(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "HEARTBEAT_SECONDS", 0.05)
    async with running_mesh(tmp_path) as mesh, opened(mesh) as stream:
        await stream.event()
        assert await stream.block() == {"": ""}
        mesh.analytics.states.put_nowait(now(1))
        while not (block := await stream.block()).get("data"):
            assert block == {"": ""}
        assert orjson.loads(block["data"])["clicks_last_hour"] == 413


async def test_a_client_that_leaves_cancels_the_call(tmp_path: Path, quick: None) -> None:
    async with running_mesh(tmp_path) as mesh:
        async with opened(mesh) as stream:
            await stream.event()
            assert (mesh.analytics.watcher_count, mesh.gateway.streams.count) == (1, 1)
            stream.response.close()
        await until(lambda: mesh.analytics.watcher_count == 0 and mesh.gateway.streams.count == 0)
        assert mesh.gateway.counters.server_error_count == 0
        assert not mesh.gateway.streams._subjects


async def test_a_client_that_does_not_read_is_let_go(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "WRITE_SECONDS", 0.1)
    async with running_mesh(tmp_path) as mesh:
        port = int(mesh.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(
            f"GET {PATH} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET_KEY}\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        await reader.readline()
        assert mesh.gateway.streams.count == 1
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # the way to be a client that does not read
        number = 0
        async with asyncio.timeout(20):
            while mesh.gateway.streams.count:
                number += 1
                state = now(number)
                state.top_today[0].items[0].value = "x" * 200_000
                mesh.analytics.states.put_nowait(state)
                await asyncio.sleep(0.01)
        await until(lambda: mesh.analytics.watcher_count == 0)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_refusal_before_the_first_event_is_a_problem(tmp_path: Path) -> None:
    async with running_mesh(tmp_path) as mesh:
        mesh.analytics.does.error = InvalidArgumentError.of([Violation("query.top_limit", "is no good")])
        stream = {"Accept": "text/event-stream"}
        answer = await mesh.get(PATH, headers=stream)
        assert (answer.status, answer.violations) == (400, {"limit": "is no good"})
        answer = await mesh.get(PATH, headers=stream, key=None)
        assert (answer.status, answer.reason) == (401, "CREDENTIAL_MISSING")
        await mesh.servers["analytics"].stop()
        answer = await mesh.get(PATH, headers=stream)
        assert (answer.status, answer.reason) == (503, "UNAVAILABLE")
        assert mesh.gateway.streams.count == 0


async def test_a_service_that_fails_ends_the_stream_and_the_client_may_come_again(tmp_path: Path, quick: None) -> None:
    async with running_mesh(tmp_path) as mesh:
        async with opened(mesh) as stream:
            await stream.event()
            mesh.analytics.states.put_nowait(UnavailableError("the store is away"))
            assert await stream.ended() == b""
        async with opened(mesh) as stream:
            assert (await stream.event())["clicks_last_hour"] == 412
        assert mesh.gateway.counters.server_error_count == 0


async def test_a_key_that_is_revoked_ends_its_streams(tmp_path: Path, quick: None) -> None:
    async with running_mesh(tmp_path) as mesh, opened(mesh) as stream:
        await stream.event()
        key_id = mesh.analytics.does.callers[-1].actor.removeprefix("key:")
        mesh.gateway.organisations.apply(auth_pb.WatchKeysResponse(revision=2, removed_key_ids=[key_id]))
        assert await stream.ended() == b""


async def test_a_worker_that_leaves_ends_its_streams_at_once(tmp_path: Path, quick: None) -> None:
    loop = asyncio.get_running_loop()
    headers = {"Authorization": f"Bearer {SECRET_KEY}", "Accept": "text/event-stream"}
    # Not the mesh's own session, which is closed before the gateway leaves.
    async with aiohttp.ClientSession() as session, contextlib.AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(running_mesh(tmp_path))
        async with session.get(f"{mesh.url}{PATH}", headers=headers) as response:
            stream = Stream(response)
            await stream.event()
            began = loop.time()
            leaving = asyncio.create_task(stack.aclose())
            assert await stream.ended() == b"", "a whole answer, and no broken connection"
            await leaving
            assert loop.time() - began < 4, "a drain waits 5 s for who does not end"


async def test_streams_are_bounded_by_organisation_and_worker(tmp_path: Path, quick: None) -> None:
    async with running_mesh(tmp_path, max_streams=2, max_streams_per_organization=1) as mesh:
        async with opened(mesh) as mine:
            await mine.event()
            answer = await mesh.get(PATH, headers={"Accept": "text/event-stream"})
            assert (answer.status, answer.reason, answer.headers["Retry-After"]) == (429, "RATE_LIMITED", "10")
            async with opened(mesh, Authorization=f"Bearer {OTHER_KEY}") as theirs:
                await theirs.event()
                answer = await mesh.get(PATH, headers={"Accept": "text/event-stream"})
                assert answer.json["detail"] == "2 streams are open, the limit of this gateway"
            assert (await mesh.get(PATH)).status == 200, "asking once is no stream"
        await until(lambda: mesh.gateway.streams.count == 0)
        async with opened(mesh) as mine:
            await mine.event()


async def test_streams_of_one_question_are_written_once(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    view = realtime.realtime_view
    monkeypatch.setattr(realtime, "realtime_view", lambda state: written.append(state) or view(state))
    async with running_mesh(tmp_path) as mesh, contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(opened(mesh)) for _ in range(5)]
        for stream in streams:
            await stream.event()
        assert len(written) == 1


async def test_people_are_redirected_while_pages_are_watched(tmp_path: Path, quick: None) -> None:
    async with running_mesh(tmp_path) as mesh, contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            await (await stack.enter_async_context(opened(mesh))).event()
        clicked = await mesh.get("/in/summer_sale", key=None, headers={"Host": HOST})
        assert (clicked.status, clicked.headers["X-Trellis-Outcome"]) == (302, "stored")
