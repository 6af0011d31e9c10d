"""A campaign over traffic that nobody had: previewed, applied, undone, redone, and routing by its rules afterwards."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib import error, request

import pytest

from tests.e2e.api import Api, settled, trellis, until
from tests.mesh.up import Up, start
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]
_CAMPAIGN = "tiktok_organic"
_REFERERS = (
    "https://www.tiktok.com/",
    "https://vm.tiktok.com/x",
    "https://example.com/?tiktok.com",
    "",
    "https://x.example/",
)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    run = start(tmp_path_factory.mktemp("retroactive") / "data", workers=1)
    yield run
    if run.is_running:
        run.send(signal.SIGINT)
        assert run.wait() == 0


@pytest.fixture(scope="module")
def truth(up: Up, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a campaign must find in the demo's traffic, all of which is in the reading."""
    path: Path = tmp_path_factory.mktemp("truth") / "truth.json"
    trellis(up, "demo", "traffic", "--events", "80", "--tiktok", "120", "--truth", str(path), "--seed", "3")
    known: dict[str, Any] = json.loads(path.read_text())
    expected = 80 + known["event_count"] + known["other_unattributed_click_count"]
    until(lambda: Api(up.url).sql("SELECT count() FROM events") == [[str(expected)]])
    return known


def wanted(truth: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the specification's campaign, over today."""
    now = datetime.now(UTC)
    return {
        "campaign_id": _CAMPAIGN,
        "name": "TikTok Organic",
        "status": "active",
        "retroactive": True,
        "time_range": {"start": f"{now - timedelta(days=1):%F}", "end": f"{now + timedelta(days=1):%F}"},
        "rules": [
            {
                "rule_id": "tiktok",
                "type": "custom",
                "priority": 100,
                "conditions": [truth["rule"]],
                "action": {
                    "type": "redirect",
                    "destination": "https://shop.acmecorp.com/tiktok-landing",
                    "tags": ["tiktok", "organic", "social"],
                },
            }
        ],
        **more,
    }


def of_campaign(api: Api) -> tuple[int, int]:
    """Return the campaign's clicks and conversions."""
    rows = api.sql(
        "SELECT countIf(event_type = 'click'), countIf(is_conversion = 1) FROM events "
        f"WHERE campaign_id = '{_CAMPAIGN}'"
    )
    return int(rows[0][0]), int(rows[0][1])


def follow(url: str, path: str, referer: str) -> int:
    """Follow a link of the demo's host; return the status."""

    class Stay(request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    headers = {
        "Host": demo.HOST,
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    }
    if referer:
        headers["Referer"] = referer
    try:
        with request.build_opener(Stay).open(request.Request(f"{url}{path}", None, headers), timeout=30) as answer:
            return int(answer.status)
    except error.HTTPError as refused:
        with refused:
            return refused.code


def wave(up: Up, name: str) -> dict[str, int]:
    """Send the same clicks once more; return the status by path."""
    paths = [
        (f"/in{slug}?wave={name}&n={n}", _REFERERS[n % 5]) for n, slug in enumerate(["", "/", "/gone", "/x/y"] * 5)
    ]
    return {path.partition("&n=")[2]: follow(up.url, path, referer) for path, referer in paths}


def claimed(api: Api, name: str, campaign_id: str = _CAMPAIGN) -> set[str]:
    """Return the numbers of a wave's clicks that a campaign has."""
    found = api.sql(f"SELECT params['n'] FROM events WHERE params['wave'] = '{name}' AND campaign_id = '{campaign_id}'")
    return {row[0] for row in found}


def all_read(api: Api, name: str) -> bool:
    """Whether all of a wave is in the reading."""
    return api.sql(f"SELECT count() FROM events WHERE params['wave'] = '{name}'") == [["20"]]


def test_a_campaign_over_history_is_previewed_applied_undone_redone_and_routes_on(
    up: Up, truth: dict[str, Any]
) -> None:
    api = Api(up.url)
    assert set(wave(up, "before").values()) == {404}
    until(lambda: all_read(api, "before"))
    before = {str(n) for n in range(20) if "tiktok.com" in _REFERERS[n % 5]}

    preview = api.call("/campaigns", wanted(truth, dry_run=True))
    assert preview.status == 200, preview.body
    assert preview.json["click_count"] == truth["click_count"] + len(before)
    assert preview.json["conversion_count"] == truth["conversion_count"]
    assert preview.json["revenue"] == [{"currency": "USD", "amount": float(truth["revenue"]["USD"])}]
    assert [found["campaign_id"] for found in preview.json["taken_from"]] == [None]
    assert api.call(f"/campaigns/{_CAMPAIGN}").status == 404
    assert of_campaign(api) == (0, 0)

    made = api.call("/campaigns", wanted(truth))
    assert made.status == 201, made.body
    until(lambda: api.ok(f"/campaigns/{_CAMPAIGN}")["claim"]["state"] == "taken")
    settled(api, api.ok(f"/campaigns/{_CAMPAIGN}"))
    counts = (truth["click_count"] + len(before), truth["conversion_count"])
    until(lambda: of_campaign(api) == counts)

    # Live is retroactive: the same clicks once more go where those of before were claimed.
    until(lambda: follow(up.url, "/in/probe?wave=probe", _REFERERS[0]) == 302)
    after = wave(up, "after")
    assert {number for number, status in after.items() if status == 302} == before
    until(lambda: all_read(api, "after"))
    assert claimed(api, "before") == claimed(api, "after") == before

    undone = api.ok(f"/campaigns/{_CAMPAIGN}/versions/0:activate", {})
    assert (undone["retroactive"], undone["status"], undone["version"]) == (False, "paused", 2)
    until(lambda: api.ok(f"/campaigns/{_CAMPAIGN}")["claim"]["state"] == "taken")
    settled(api, api.ok(f"/campaigns/{_CAMPAIGN}"))
    until(lambda: claimed(api, "before") == set())
    until(lambda: follow(up.url, "/in/probe?wave=probe", _REFERERS[0]) == 404)

    redone = api.ok(f"/campaigns/{_CAMPAIGN}/versions/1:activate", {})
    assert (redone["retroactive"], redone["status"], redone["restored_version"]) == (True, "active", 1)
    until(lambda: api.ok(f"/campaigns/{_CAMPAIGN}")["claim"]["state"] == "taken")
    settled(api, api.ok(f"/campaigns/{_CAMPAIGN}"))
    until(lambda: claimed(api, "before") == before)


def test_a_claimed_event_is_explained(up: Up, truth: dict[str, Any]) -> None:
    api = Api(up.url)
    rows = api.sql(
        f"SELECT toString(event_id) FROM events WHERE params['wave'] = 'before' AND campaign_id = '{_CAMPAIGN}' LIMIT 1"
    )
    answer = api.ok(f"/campaigns/{_CAMPAIGN}:explain", {"event_id": rows[0][0]})
    assert (answer["rule_id"], answer["event"]["campaign_id"]) == ("tiktok", None)
    assert (answer["claims"]["campaign_id"], answer["claims"]["routed_campaign_id"]) == (_CAMPAIGN, None)
    assert answer["rules"][0]["when"]["of"][0]["actual"]["value"].endswith("tiktok.com/")


def test_rules_and_versions_tell_of_it(up: Up, truth: dict[str, Any]) -> None:
    api = Api(up.url)
    rules = api.ok(f"/campaigns/{_CAMPAIGN}/rules")["rules"]
    assert (rules[0]["rule_id"], rules[0]["conversions"]) == ("tiktok", truth["conversion_count"])
    assert rules[0]["clicks"] > truth["click_count"]
    versions = api.ok(f"/campaigns/{_CAMPAIGN}/versions")["versions"]
    assert [version["version"] for version in versions] == [3, 2, 1]


def test_an_empty_range_is_a_plain_zero(up: Up, truth: dict[str, Any]) -> None:
    api = Api(up.url)
    empty = wanted(truth, campaign_id="empty", time_range={"start": "2024-03-01", "end": "2024-06-01"}, dry_run=True)
    answer = api.ok("/campaigns", empty)
    assert (answer["event_count"], answer["days"], answer["revenue"]) == (0, [], [])


def test_a_kill_of_attribution_svc_in_the_middle_of_an_apply_loses_and_doubles_nothing(
    up: Up, truth: dict[str, Any]
) -> None:
    api = Api(up.url)
    before = claimed(api, "before")
    assert before, "the campaign of the tests before has them"
    undone(api, _CAMPAIGN)
    kept = 0
    for number, delay in enumerate((0.0, 0.01, 0.03, 0.1)):
        campaign_id = f"killed_{number}"
        answers: list[int] = []
        body = wanted(truth, campaign_id=campaign_id)
        asking = threading.Thread(target=lambda body=body, to=answers: to.append(api.call("/campaigns", body).status))
        asking.start()
        time.sleep(delay)
        os.kill(up.children()["attribution_svc"], signal.SIGKILL)
        asking.join()
        up.wait_for("attribution_svc: ready")
        until(lambda found=campaign_id: api.call(f"/campaigns/{found}").status in (200, 404))
        if api.call(f"/campaigns/{campaign_id}").status == 404:
            # It was killed before anything was kept: the client was told so, and history knows nothing of it.
            assert answers != [201]
            assert claimed(api, "before", campaign_id) == set()
            continue
        kept += 1
        taken(api, campaign_id)
        assert claimed(api, "before", campaign_id) == before
        campaign = api.ok(f"/campaigns/{campaign_id}")
        assert (campaign["version"], campaign["claim"]["version"]) == (1, 1)
        undone(api, campaign_id)
        assert claimed(api, "before", campaign_id) == set()
    assert kept, "no kill came after the campaign was kept: nothing was tested"


def test_what_is_undone_while_it_is_being_applied_is_undone(up: Up, truth: dict[str, Any]) -> None:
    api = Api(up.url)
    for number in range(3):
        campaign_id = f"hasty_{number}"
        assert api.call("/campaigns", wanted(truth, campaign_id=campaign_id)).status == 201
        undone(api, campaign_id)
        assert claimed(api, "before", campaign_id) == set()


def taken(api: Api, campaign_id: str) -> None:
    """Wait until history is as a campaign says."""
    until(lambda: api.ok(f"/campaigns/{campaign_id}")["claim"]["state"] == "taken", seconds=60)
    settled(api, api.ok(f"/campaigns/{campaign_id}"))


def undone(api: Api, campaign_id: str) -> None:
    """Take a campaign's claim back."""
    api.ok(f"/campaigns/{campaign_id}/versions/0:activate", {})
    taken(api, campaign_id)
