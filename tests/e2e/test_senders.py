"""Who may send conversions: `trellis up --demo`, partners, a file, and the conversions that come of them."""

import signal
import time
from collections.abc import Iterator
from typing import Any
from urllib import error, request

import pytest

from tests.e2e.api import Api, trellis, until
from tests.mesh.up import Up, start
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]
KNOWN_SECONDS = 5.0
"""How long a change of a partner may take to be known everywhere: what the contract says."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    run = start(tmp_path_factory.mktemp("senders") / "data", workers=2)
    yield run
    if run.is_running:
        run.send(signal.SIGINT)
        assert run.wait() == 0


@pytest.fixture(scope="module")
def api(up: Up) -> Api:
    return Api(up.url)


def get(url: str, *, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    asked = request.Request(url, data, headers)
    try:
        with request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read()
    except error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def conversions_of(api: Api, click_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ok(f"/conversions?click_id={click_id}")["conversions"]
    return found


def test_a_partner_is_known_sends_a_conversion_and_is_ended(up: Up, api: Api) -> None:
    made = api.call("/partners", {"name": "CJ Affiliate", "network": "cj", "return_text": "thanks"})
    assert made.status == 201, made.body
    token, partner_id = made.json["token"], made.json["partner_id"]
    postback = f"{up.url}/postback/{token}?click_id=partner_click_1&status=sale&payout=12.50&currency=USD&order_id=P-1"
    # Each worker learns by itself: all of them, several times in a row.
    until(lambda: all(get(postback) == (200, b"thanks") for _ in range(6)), seconds=KNOWN_SECONDS)

    until(lambda: conversions_of(api, "partner_click_1"))
    (conversion,) = conversions_of(api, "partner_click_1")
    assert (conversion["network"], conversion["order_id"]) == ("cj", "P-1")
    event = api.ok(f"/events/{conversion['conversion_id']}")
    assert (event["partner_id"], event["network"]) == (partner_id, "cj")
    assert token not in str(event)

    by_network = f"SELECT DISTINCT network FROM events WHERE partner_id = '{partner_id}'"
    until(lambda: api.sql(by_network) == [["cj"]])

    assert api.call(f"/partners/{partner_id}:revoke", {}).status == 200
    ended = time.monotonic()
    until(lambda: all(get(postback)[0] == 401 for _ in range(6)), seconds=KNOWN_SECONDS)
    assert time.monotonic() - ended < KNOWN_SECONDS
    actions = [entry["action"] for entry in api.ok("/audit")["entries"] if entry["target"] == partner_id]
    assert actions == ["partner.revoke", "partner.create"]


def test_the_command_adds_a_partner_too(up: Up, api: Api) -> None:
    told = trellis(up, "partner", "create", "--org", demo.ORGANIZATION_ID, "--name", "Awin", "--network", "awin")
    token = next(line for line in told.splitlines() if line.startswith("wdn_pt_"))
    until(lambda: get(f"{up.url}/{token}/postback?subid=awin_click&payout=1")[0] == 200, seconds=KNOWN_SECONDS)
    until(lambda: conversions_of(api, "awin_click"))


def test_a_file_becomes_conversions_once(up: Up, api: Api) -> None:
    rows = "".join(f"file_click_{n},sale,{n}.50,USD,F-{n}\n" for n in range(1, 201))
    body = f"click_id,status,payout,currency,order_id\n{rows}file_click_0,sale,much,USD,F-0\n".encode()
    url = f"{up.url}/api/v1/conversions:upload"
    headers = {"Authorization": f"Bearer {demo.SECRET_KEY}", "Content-Type": "text/csv"}
    for _ in range(2):
        status, answer = get(url, data=body, **headers)
        assert status == 200, answer
        assert b'"stored":200,"refused":1' in answer
    until(lambda: conversions_of(api, "file_click_200"))
    (last,) = conversions_of(api, "file_click_200")
    assert (last["order_id"], last["value"]) == ("F-200", 200.5)
    counted = "SELECT count(), sum(value) FROM events WHERE has(marks, 'upload') AND is_conversion = 1"
    until(lambda: api.sql(counted) == [["200", "20200"]])
