import asyncio
import base64
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from ingress_gateway.event_view import event_view
from ingress_gateway.routes import stored_events
from tests.contract.gateway_api.fakes import ACME, HOST, OTHER, OTHER_KEY
from tests.contract.gateway_api.mesh import Mesh
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

ID = "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f"


def put(mesh: Mesh, event_id: str = ID, organization_id: str = ACME, **fields: object) -> event_pb2.Event:
    event = event_pb2.Event(organization_id=organization_id, event_id=event_id, event_time_ms=1_793_700_000_120)
    event.MergeFrom(event_pb2.Event(**fields))  # type: ignore[arg-type]  # the fields that a test wants
    mesh.capture.events.append(event)
    return event


async def eventually(mesh: Mesh, path: str) -> dict[str, object]:
    """Ask until an event is there, as the journal takes its time."""
    async with asyncio.timeout(10):
        while True:
            events = (await mesh.get(path)).json["events"]
            if events:
                found: dict[str, object] = events[0]
                return found
            await asyncio.sleep(0.01)


async def test_a_click_is_found_by_its_id_and_by_the_sources(mesh: Mesh) -> None:
    clicked = await mesh.get(
        "/in/summer_sale?click_id=fb_Case&source=facebook&a=1&a=%32",
        key=None,
        headers={"Host": HOST, "User-Agent": "Mozilla/5.0", "Referer": "https://www.facebook.com/", "X-Odd": "  é "},
    )
    assert clicked.status == 302
    event = await eventually(mesh, "/api/v1/events?click_id=fb_Case")
    assert event["event_id"] == clicked.headers["X-Trellis-Event-Id"]
    assert event["external_click_id"] == "fb_Case"
    assert event["campaign_id"] == "summer_sale"
    assert event["url"] == f"http://{HOST}/in/summer_sale?click_id=fb_Case&source=facebook&a=1&a=%32"
    assert event["params"] == [["click_id", "fb_Case"], ["source", "facebook"], ["a", "1"], ["a", "2"]]
    assert ["User-Agent", "Mozilla/5.0"] in event["headers"]  # type: ignore[operator]  # a list
    assert (event["user_agent"], event["referer"]) == ("Mozilla/5.0", "https://www.facebook.com/")
    assert (event["ip"], event["status"], event["outcome"]) == ("127.0.0.1", 302, "stored")
    assert event["location"] == clicked.headers["Location"]
    assert (await eventually(mesh, f"/api/v1/events?click_id={event['click_id']}"))["event_id"] == event["event_id"]


async def test_a_request_comes_back_byte_for_byte(mesh: Mesh) -> None:
    body = bytes(range(256)) * 4
    sent = await mesh.call("POST", "/events?x=%FF&y", body=body, headers={"Host": HOST, "X-Odd": "a"}, key=None)
    event_id = sent.headers["X-Trellis-Event-Id"]
    await eventually(mesh, "/api/v1/events")
    raw = await mesh.get(f"/api/v1/events/{event_id}/raw")
    assert raw.status == 200
    assert raw.headers["Content-Type"] == "message/http; msgtype=request"
    assert raw.headers["Content-Disposition"] == f'attachment; filename="{event_id}.http"'
    assert raw.headers["X-Content-Type-Options"] == "nosniff"
    head, _, kept = raw.body.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /events?x=%FF&y HTTP/1.1\r\nHost: track.acmecorp.com\r\nX-Odd: a\r\n")
    assert kept == body
    whole = (await mesh.get(f"/api/v1/events/{event_id}")).json
    assert base64.b64decode(whole["body_base64"]) == body
    assert base64.b64decode(whole["target_base64"]) == b"/events?x=%FF&y"
    assert base64.b64decode(whole["headers_base64"]) == head.partition(b"\r\n")[2] + b"\r\n"
    assert whole["body"] == body.decode("utf-8", "replace")
    assert whole["params"] == [["x", "\ufffd"], ["y", ""]]
    assert whole["ingest_time"] == "2026-11-03T12:00:00Z"


async def test_any_filter_reaches_the_store_as_it_was_meant(mesh: Mesh) -> None:
    query = (
        "page_size=7&start_time=2026-11-03T10:00:00%2B02:00&end_time=2026-11-03T10:00:00.5Z&event_type=%FF%00+a"
        "&click_id=%E2%9D%84&campaign_id=summer_sale&user_id=usr_1&mark=unknown_slug"
    )
    assert (await mesh.get(f"/api/v1/events?{query}")).status == 200
    (request,) = mesh.capture.requests
    assert request.page_size == 7
    assert request.start_time.ToDatetime(UTC) == datetime(2026, 11, 3, 8, tzinfo=UTC)
    assert request.end_time.ToDatetime(UTC) == datetime(2026, 11, 3, 10, 0, 0, 500_000, tzinfo=UTC)
    assert (request.event_type, request.click_id) == (b"\xff\0 a", "❄".encode())
    assert (request.campaign_id, request.user_id, request.mark) == ("summer_sale", "usr_1", "unknown_slug")


async def test_no_filter_is_no_filter(mesh: Mesh) -> None:
    assert (await mesh.get("/api/v1/events")).status == 200
    (request,) = mesh.capture.requests
    assert not request.ListFields()


@pytest.mark.parametrize(
    ("query", "violations"),
    [
        ("click_id=", {"click_id": "is empty; give a value or leave it out"}),
        ("start_time=yesterday", {"start_time": None}),
        ("start_time=2026-11-03", {"start_time": None}),
        ("start_time=2026-11-03T10:00:00", {"start_time": None}),
        ("start_time=2026-11-03T10:00:00+02:00", {"start_time": None}),
        ("start_time=2026-13-03T10:00:00Z", {"start_time": None}),
        ("start_time=0001-01-01T00:00:00%2B14:00", {"start_time": None}),
        (
            "start_time=2026-11-03T10:00:00Z&end_time=2026-11-03T10:00:00Z",
            {"end_time": "must be after start_time"},
        ),
        ("mark=%FF", {"mark": "must be UTF-8"}),
        ("page_size=0&limit=5&end_time=x", {"page_size": None, "limit": None, "end_time": None}),
    ],
)
async def test_a_bad_filter_is_never_a_wider_list(mesh: Mesh, query: str, violations: dict[str, str | None]) -> None:
    answer = await mesh.get(f"/api/v1/events?{query}")
    assert answer.status == 400
    assert answer.violations.keys() == violations.keys()
    assert all(text is None or answer.violations[field] == text for field, text in violations.items())
    assert not mesh.capture.requests


async def test_an_organisation_sees_its_own_events_alone(mesh: Mesh) -> None:
    put(mesh)
    put(mesh, "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e60", OTHER)
    mine = (await mesh.get("/api/v1/events")).json["events"]
    theirs = (await mesh.get("/api/v1/events", key=OTHER_KEY)).json["events"]
    assert [event["event_id"] for event in mine] == [ID]
    assert [event["event_id"] for event in theirs] == ["01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e60"]


async def test_events_are_written_out_off_the_loop_that_redirects(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    put(mesh)
    threads = []

    def noted(event: event_pb2.Event) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return event_view(event)

    monkeypatch.setattr(stored_events, "event_view", noted)
    assert (await mesh.get("/api/v1/events")).status == 200
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_the_ledger_accounts_for_every_event(mesh: Mesh) -> None:
    await mesh.post("/events", {"event": "a"})
    await eventually(mesh, "/api/v1/events")
    answer = await mesh.get("/api/v1/ledger")
    assert answer.json == {
        "organization_id": ACME,
        "received": 1,
        "stored": 1,
        "duplicates": 0,
        "quarantined": 0,
        "in_journal": 0,
        "unaccounted": 0,
        "as_of": "2026-11-03T12:00:00Z",
    }
