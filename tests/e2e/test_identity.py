"""One person on two devices: `trellis up --demo`, clicks with cookies, a login on both, a sale, to one journey."""

import http.client
import re
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.api import Api, until
from tests.mesh.up import Up, start
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    run = start(tmp_path_factory.mktemp("identity") / "data", workers=1)
    yield run
    if run.is_running:
        run.send(signal.SIGINT)
        assert run.wait() == 0


@pytest.fixture(scope="module")
def api(up: Up) -> Api:
    return Api(up.url)


class Device:
    """A browser with a cookie."""

    def __init__(self, up: Up) -> None:
        self._netloc = urlsplit(up.url).netloc
        self.user_id = ""

    def get(self, path: str) -> None:
        """Go somewhere."""
        cookie = {"Cookie": f"_tl_v={self.user_id}"} if self.user_id else {}
        connection = http.client.HTTPConnection(self._netloc, timeout=30)
        connection.request("GET", path, headers={"Host": demo.HOST, "User-Agent": BROWSER, **cookie})
        answer = connection.getresponse()
        assert answer.status in (200, 302), answer.read()
        if found := re.search(r"_tl_v=(usr_\d+)", answer.headers.get("Set-Cookie", "")):
            self.user_id = found[1]
        connection.close()


def test_a_journey_goes_on_from_one_device_to_the_other_until_the_edge_is_revoked(up: Up, api: Api) -> None:
    phone, laptop = Device(up), Device(up)
    phone.get(f"/in/{demo.CAMPAIGN_ID}?source=facebook&medium=cpc")
    phone.get("/pixel?event=login&customer_id=C-4711")
    laptop.get(f"/in/{demo.CAMPAIGN_ID}?source=email&medium=newsletter")
    laptop.get("/pixel?event=login&email=Jo%40shop.de&customer_id=C-4711")
    laptop.get("/pixel?event=purchase&value=149.99&currency=USD&order_id=O-1")
    assert phone.user_id
    assert laptop.user_id != phone.user_id

    def person(user_id: str) -> Any:
        answer = api.call(f"/identity/persons/{user_id}")
        return answer.json if answer.status == 200 else {"user_ids": [], "ends": []}

    both = sorted((phone.user_id, laptop.user_id))
    until(lambda: person(phone.user_id)["user_ids"] == both and len(person(phone.user_id)["ends"]) == 3)
    found = person(laptop.user_id)
    assert sorted(end["kind"] for end in found["ends"]) == ["email", "login", "order"]
    assert "4711" not in str(found)
    assert "shop.de" not in str(found)
    assert {device["user_id"] for device in found["devices"]} == set(both)

    def sources(**query: str) -> list[tuple[str, float]]:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        points = api.ok(f"/analytics/attribution?user_id={laptop.user_id}&model=linear&{asked}")["touchpoints"]
        return [(point["source"], point["attributed_value"]) for point in points if point["attributed_value"]]

    assert sources() == [("email", 149.99)]
    assert sources(identity="person") == [("facebook", 75.0), ("email", 74.99)]
    journey = api.ok(f"/analytics/journeys?user_id={phone.user_id}&identity=person")["journeys"][0]
    assert (journey["conversion_count"], journey["user_ids"]) == (1, both)

    edge = next(
        edge["edge_id"]
        for edge in found["edges"]
        if {"login", phone.user_id} <= {edge["ends"][0]["kind"], edge["ends"][1]["value"]}
    )
    assert api.call(f"/identity/edges/{edge}:revoke", {}).json["is_revoked"]
    assert person(laptop.user_id)["user_ids"] == [laptop.user_id]
    assert sources(identity="person") == [("email", 149.99)]
    api.call(f"/identity/edges/{edge}:restore", {})
    assert person(laptop.user_id)["user_ids"] == both


def test_a_server_that_names_the_customer_alone_is_told_the_click_that_may_have_led_there(up: Up, api: Api) -> None:
    laptop = Device(up)
    laptop.get(f"/in/{demo.CAMPAIGN_ID}?source=email&medium=newsletter")
    laptop.get("/pixel?event=login&customer_id=C-77")
    connection = http.client.HTTPConnection(urlsplit(up.url).netloc, timeout=30)
    connection.request("GET", f"/postback?k={demo.PUBLISHABLE_KEY}&status=sale&txid=O-77&payout=20&customer_id=C-77")
    assert connection.getresponse().status == 200
    connection.close()

    def suggestions() -> list[Any]:
        found = api.ok("/conversions?order_id=O-77")["conversions"]
        return found[0]["suggestions"] if found else []

    until(suggestions)
    (suggestion,) = suggestions()
    assert (suggestion["reason"], suggestion["click"]["user_id"]) == ("same_person", laptop.user_id)
