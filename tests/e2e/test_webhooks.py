"""From a partner's postback to a stranger's server, through `trellis up --demo`."""

import base64
import hashlib
import hmac
import http.client
import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.api import Api, until
from tests.mesh.up import Up, start
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]


class Receiver(ThreadingHTTPServer):
    """Acknowledges everything and keeps it: target, headers by lower-case name, body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                self.send_response(204)
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - the library looks for methods by these names

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    def of(self, path: str) -> list[tuple[str, dict[str, str], bytes]]:
        """Return what came to a path."""
        return [found for found in self.requests if urlsplit(found[0]).path == path]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Iterator[Up]:
    monkeypatch.setenv("ATTRIBUTION_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.1/32")
    monkeypatch.setenv("ATTRIBUTION_WEBHOOK_ALLOWED_PORTS", str(receiver.server_port))
    run = start(tmp_path_factory.mktemp("webhooks") / "data", workers=1)
    yield run
    if run.is_running:
        run.send(signal.SIGINT)
        assert run.wait() == 0


def visit(url: str, path: str, host: str) -> int:
    """Send a GET and return the status; a redirect is not followed."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", path, headers={"Host": host})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_partners_postback_reaches_the_source_and_our_own_signed_webhook(up: Up, receiver: Receiver) -> None:
    api, place = Api(up.url), f"http://127.0.0.1:{receiver.server_port}"
    url = f"{place}/pb?cid={{external_click_id}}&p={{payout}}&zone={{param:zone}}&campaign={{campaign_id}}"
    assert api.call("/webhooks", {"kind": "postback", "url": url}).status == 201
    signed = api.call("/webhooks", {"kind": "webhook", "url": f"{place}/hook"}).json
    link = "/in/summer_sale?click_id=fb_wh_1&source=facebook&medium=cpc&zone=z%209"
    assert visit(up.url, link, demo.HOST) == 302
    assert visit(up.url, "/postback?click_id=fb_wh_1&status=sale&payout=12.50&order_id=W-1", demo.HOST) == 200

    until(lambda: receiver.of("/pb") and receiver.of("/hook"))
    ((target, _, _),) = receiver.of("/pb")
    assert parse_qs(urlsplit(target).query) == {
        "cid": ["fb_wh_1"], "p": ["12.50"], "zone": ["z 9"], "campaign": ["summer_sale"],
    }  # fmt: skip
    ((_, headers, body),) = receiver.of("/hook")
    key = base64.b64decode(signed["secret"].removeprefix("whsec_"))
    told = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(body)["data"]["order_id"] == "W-1"

    def is_logged() -> bool:
        (delivery,) = api.ok(f"/webhooks/{signed['webhook_id']}/deliveries")["deliveries"]
        return (delivery["delivery_id"], delivery["state"]) == (headers["webhook-id"], "succeeded")

    until(is_logged)
    refused = api.call("/webhooks", {"kind": "webhook", "url": f"http://[::1]:{receiver.server_port}/"})
    assert (refused.status, refused.json["reason"]) == (400, "INVALID_ARGUMENT")
