"""The warehouse as an organisation has it: `trellis up --demo`, its traffic, and every question over HTTP."""

import contextlib
import dataclasses
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib import error, request
from urllib.parse import quote, urlencode

import pyarrow.ipc
import pyarrow.parquet
import pytest

from tests.e2e.api import SOON_SECONDS, Api, settled, trellis, until
from tests.mesh.up import Up, all_gone, start
from tests.unit.sql_guard.specification import NAMES, WRITES, parameters, text_of
from trellisctl import demo

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

_EVENTS = 1500
_DRAIN_SECONDS = 25.0
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
_FINGERPRINT = "SELECT count(), uniqExact(event_id), sum(cityHash64(toString(tuple(*)))) FROM events"
_PUSH = {
    "name": "push",
    "source": "pushnet",
    "rules": [{"parameter": "spot", "field": "placement"}, {"parameter": "p3", "field": "external_id"}],
}
"""What the partner `pushnet` means by its parameters."""
_OF_PUSHNET = "SELECT placement, external_click_id FROM events WHERE source = 'pushnet' ORDER BY params['n']"
_REPORTS = (
    *("timeseries?granularity=hour", "timeseries?granularity=day&dimension=source", "breakdown?dimensions=source"),
    *("breakdown?dimensions=param.utm_source,device_type", "campaigns", "sources", "geo", "devices?level=browser"),
    *("funnel?step=click&step=purchase&window=7d", "cohorts", "retention", "paths?dimension=source", "journeys"),
)


def click(url: str, **parameters: str) -> None:
    """Follow the demo link, without going where it leads."""

    class Stay(request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    headers = {"Host": demo.HOST, "User-Agent": _BROWSER, "Accept-Language": "de"}
    asked = request.Request(f"{url}/in/{demo.CAMPAIGN_ID}?{urlencode(parameters)}", None, headers)
    with pytest.raises(error.HTTPError) as redirect:
        request.build_opener(Stay).open(asked, timeout=30)
    with redirect.value as answer:
        assert answer.code == 302


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """How much went in."""

    events: int
    clicks: int


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    run = start(tmp_path_factory.mktemp("warehouse") / "data", workers=1)
    yield run
    if run.is_running:
        run.send(signal.SIGINT)
        assert run.wait() == 0


@pytest.fixture(scope="module")
def sent(up: Up) -> Sent:
    """The demo's traffic, and three clicks of a partner with parameters of its own, all of them in the reading."""
    told = trellis(up, "demo", "traffic", "--events", str(_EVENTS), "--seed", "7")
    for number in range(3):
        click(up.url, source="pushnet", spot=f"s{number}", p3=f"x{number}", click_id=f"c{number}", n=str(number))
    found = re.search(r"(\d+) clicks", told)
    assert found, told
    counts = Sent(_EVENTS + 3, int(found[1]) + 3)
    until(lambda: Api(up.url).sql("SELECT count() FROM events") == [[str(counts.events)]])
    return counts


@pytest.fixture
def api(up: Up, sent: Sent) -> Api:
    return Api(up.url)


def test_every_event_is_in_sql_once(api: Api, sent: Sent) -> None:
    counted = api.sql("SELECT count(), uniqExact(event_id), countIf(event_type = 'click') FROM events")
    assert counted == [[str(sent.events), str(sent.events), str(sent.clicks)]]
    ledger = api.ok("/ledger")
    assert (ledger["received"], ledger["stored"], ledger["unaccounted"]) == (sent.events, sent.events, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_of_the_specification_runs_as_it_is_written(api: Api, sent: Sent, name: str) -> None:
    sql = text_of(name)
    found = api.ok("/query", {"sql": sql, "parameters": parameters(sql)} if parameters(sql) else {"sql": sql})
    assert found["columns"]
    assert found["row_count"] == len(found["rows"])
    assert found["watermark"] is not None
    if name == "realtime":
        assert sum(int(row[1]) for row in found["rows"]) == sent.events
    if name in ("journeys", "fraud", "suspicious"):
        assert found["rows"]


@pytest.mark.parametrize("name", WRITES)
def test_a_statement_that_writes_is_refused(api: Api, name: str) -> None:
    answer = api.call("/query", {"sql": text_of(name)})
    assert (answer.status, answer.json["reason"]) == (400, "SQL_REFUSED")


def test_an_answer_comes_in_the_form_that_is_asked_for(api: Api, sent: Sent) -> None:
    body = {"sql": "SELECT event_type, count() AS events FROM events GROUP BY event_type ORDER BY event_type"}
    rows = [(row[0], int(row[1])) for row in api.ok("/query", body)["rows"]]
    csv = api.call("/query", body, Accept="text/csv").body.decode().splitlines()
    assert [tuple(line.replace('"', "").split(",")) for line in csv[1:]] == [(name, str(count)) for name, count in rows]
    arrow = pyarrow.ipc.open_stream(api.call("/query", body, Accept="application/vnd.apache.arrow.stream").body)
    parquet = api.call("/query", body, Accept="application/vnd.apache.parquet").body
    for table in (arrow.read_all(), pyarrow.parquet.read_table(pyarrow.BufferReader(parquet))):
        assert [tuple(_text(value) for value in row.values()) for row in table.to_pylist()] == rows
    assert sum(count for _, count in rows) == sent.events


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def test_reports_agree_with_sql(api: Api) -> None:
    people = "FROM events WHERE is_bot = 0"
    ((clicks, conversions, revenue),) = api.sql(
        f"SELECT countIf(event_type = 'click'), countIf(is_conversion = 1), sumIf(value, is_conversion = 1) {people}"
    )
    expected = {"clicks": int(clicks), "conversions": int(conversions), "revenue": float(revenue)}
    asked = "metrics=clicks,conversions,revenue"
    for name in ("breakdown?dimensions=source", "campaigns?", "sources?", "geo?", "devices?"):
        report = api.report(f"{name}&{asked}")
        assert report["totals"] == expected, name
        assert sum(row["metrics"]["clicks"] for row in report["rows"]) == expected["clicks"], name
    for granularity in ("minute", "hour", "day"):
        (series,) = api.report(f"timeseries?granularity={granularity}&{asked}")["series"]
        assert series["totals"] == expected
        assert sum(point["metrics"]["conversions"] for point in series["points"]) == expected["conversions"]
    narrowed = json.dumps({"field": "source", "operator": "equals", "value": "facebook"})
    (of_facebook,) = api.report(f"sources?{asked}&filter={quote(narrowed)}")["rows"]
    assert [[str(of_facebook["metrics"]["clicks"])]] == api.sql(
        f"SELECT count() {people} AND source = 'facebook' AND event_type = 'click'"
    )


def test_behaviour_agrees_with_sql(api: Api) -> None:
    visitors = "FROM events WHERE is_bot = 0 AND user_id != ''"
    ((clickers,),) = api.sql(f"SELECT uniqExact(user_id) {visitors} AND event_type = 'click'")
    (funnel,) = api.report("funnel?step=click&step=purchase&window=7d")["funnels"]
    assert funnel["steps"][0]["count"] == int(clickers)
    assert 0 < funnel["steps"][1]["count"] < int(clickers)
    for name in ("cohorts", "retention"):
        assert sum(cohort["size"] for cohort in api.report(f"{name}?start_events=click")["cohorts"]) == int(clickers)
    ((user_id, events),) = api.sql(
        f"SELECT user_id, count() {visitors} GROUP BY user_id ORDER BY count() DESC, user_id LIMIT 1"
    )
    (journey,) = api.report(f"journeys?user_id={user_id}")["journeys"]
    assert (journey["event_count"], len(journey["touches"])) == (int(events), int(events))
    assert sum(path["conversion_count"] for path in api.report("paths?dimension=source&limit=1000")["paths"]) > 0
    metrics = {metric["name"] for metric in api.ok("/analytics/catalog")["metrics"]}
    assert {"clicks", "conversion_rate", "revenue"} <= metrics


def test_a_campaign_answers_as_the_specification_shows_it(api: Api) -> None:
    page = api.report(f"campaigns?campaign_id={demo.CAMPAIGN_ID}")
    assert page["campaign_id"] == demo.CAMPAIGN_ID
    assert {"clicks", "conversions", "conversion_rate", "revenue", "device_breakdown"} <= page["metrics"].keys()
    assert sum(page["metrics"]["device_breakdown"].values()) == page["metrics"]["clicks"] > 0


def test_models_credit_every_conversion_side_by_side(api: Api) -> None:
    models = ("first_touch", "last_touch", "linear", "time_decay", "markov")
    found = api.report(f"attribution?group_by=source&model={','.join(models)}")
    ((conversions, revenue),) = api.sql(
        "SELECT countIf(is_conversion = 1), sumIf(conversion_value, currency = 'USD') FROM events"
        " WHERE (is_conversion = 1 OR is_adjustment = 1) AND is_bot = 0"
    )
    assert (found["conversions"], round(found["revenue"], 2)) == (int(conversions), round(float(revenue), 2))
    for place, model in enumerate(models):
        credited = [row["credits"][place] for row in found["rows"]]
        nobodys = found["unattributed"][place]
        assert credited[0]["model"] == nobodys["model"] == model
        total = sum(each["revenue"] for each in credited) + nobodys["revenue"]
        assert round(total, 2) == round(found["revenue"], 2)
        assert round(sum(each["conversions"] for each in credited) + nobodys["conversions"], 3) == found["conversions"]
    table = api.call("/analytics/attribution?group_by=source&model=linear", Accept="text/csv").body.decode()
    assert table.startswith("row,source,linear_conversions,linear_revenue,")


def test_a_conversion_and_a_number_are_explained(api: Api) -> None:
    ((event_id, value),) = api.sql(
        "SELECT event_id, conversion_value FROM events WHERE is_conversion = 1 AND is_bot = 0 AND user_id != ''"
        " AND conversion_value > 0 ORDER BY event_time DESC LIMIT 1"
    )
    found = api.ok(f"/conversions/{event_id}/explain?model=linear")
    inside = [each for each in found["candidates"] if each["verdict"] == "in"]
    credited = sum(each["attributed_value"] for each in inside) + found["unattributed_value"]
    assert round(credited, 6) == round(float(value), 6) == found["conversion"]["value"]
    assert {each["weight"] for each in inside} <= {"1"}
    cell = api.ok("/analytics:explain", {"metric": "clicks", "cell": {"source": "facebook"}})
    ((clicks,),) = api.sql(
        "SELECT count() FROM events WHERE event_type = 'click' AND is_bot = 0 AND source = 'facebook'"
    )
    assert cell["value"] == cell["value_of_events"] == cell["event_count"] == int(clicks)


def test_which_model_holds_is_set_for_all_of_history(up: Up, api: Api) -> None:
    settings = {"types": [{"type": "", "model": "linear", "lookback_days": 7}]}
    asked = request.Request(
        f"{up.url}/api/v1/attribution/settings",
        json.dumps(settings).encode(),
        {"Authorization": f"Bearer {demo.SECRET_KEY}", "Content-Type": "application/json"},
        method="PUT",
    )
    with request.urlopen(asked, timeout=30) as answer:
        assert json.loads(answer.read())["version"] == 1
    found = api.report("attribution")
    assert [model["model"] for model in found["models"]] == ["linear"]
    assert (found["lookbacks"][0]["days"], found["settings_version"]) == (7.0, 1)


def test_realtime_tells_of_a_click_once_and_as_it_happens(api: Api) -> None:
    before = api.ok("/analytics/realtime?org_id=somebody_else")
    assert len(before["traffic_timeline"]) == 60
    assert before["clicks_last_hour"] == sum(minute["clicks"] for minute in before["traffic_timeline"]) > 0
    with api.stream() as states:
        count = next(states)["clicks_last_hour"]
        assert count == before["clicks_last_hour"]
        began = time.monotonic()
        click(api.url, source="live")
        while next(states)["clicks_last_hour"] != count + 1:
            assert time.monotonic() - began < SOON_SECONDS
    assert api.sql("SELECT count() FROM events WHERE source = 'live'") == [["1"]]


def test_another_organisation_sees_nothing_of_it(up: Up, api: Api) -> None:
    trellis(up, "org", "create", "Other", "--id", "org_other")
    made = json.loads(trellis(up, "key", "create", "--org", "org_other", "--name", "e2e", "--role", "owner", "--json"))
    other = Api(up.url, made["secret"])
    # Gateways hear of a key within seconds.
    until(lambda: other.call("/query", {"sql": "SELECT 1"}).status == 200)
    assert other.sql("SELECT count() FROM events") == [["0"]]
    assert other.sql(f"SELECT count() FROM events WHERE organization_id = '{demo.ORGANIZATION_ID}'") == [["0"]]
    assert other.report("sources?metrics=events")["totals"] == {"events": 0}
    assert other.ok("/analytics/realtime")["clicks_last_hour"] == 0
    assert other.call(f"/analytics/campaigns?campaign_id={demo.CAMPAIGN_ID}").status == 404
    assert api.ok("/operations")["operations"] is not None


def test_a_mapping_is_previewed_applied_to_history_and_undone(api: Api) -> None:
    before = api.sql(_FINGERPRINT)
    assert api.sql(_OF_PUSHNET) == [["", f"c{number}"] for number in range(3)]
    preview = api.ok("/mappings", {**_PUSH, "dry_run": True})
    assert (preview["matched_count"], preview["changed_count"], len(preview["samples"])) == (3, 3, 3)
    assert api.sql(_FINGERPRINT) == before

    applied = api.ok("/mappings", _PUSH)
    settled(api, applied["operation"])
    assert api.sql(_OF_PUSHNET) == [[f"s{number}", f"x{number}"] for number in range(3)]
    assert api.report("breakdown?dimensions=placement&metrics=clicks&source=pushnet")["totals"] == {"clicks": 3}

    mapping_id = applied["mapping"]["mapping_id"]
    undone = api.ok(f"/mappings/{mapping_id}/versions/0:activate", {})
    settled(api, undone["operation"])
    assert api.sql(_FINGERPRINT) == before
    assert [version["is_active"] for version in api.ok(f"/mappings/{mapping_id}")["versions"]] == [False]


def test_a_rebuild_leaves_every_number_as_it_was(up: Up, api: Api) -> None:
    rows, reports = api.sql(_FINGERPRINT), {name: api.report(name) for name in _REPORTS}
    made = json.loads(trellis(up, "rebuild", "--json"))
    assert made["state"].endswith("SUCCEEDED"), made
    assert int(made["done_event_count"]) == int(rows[0][0])
    assert api.sql(_FINGERPRINT) == rows
    for name, report in reports.items():
        assert api.report(name) == report, name


def test_ctrl_c_ends_streams_and_queries_within_seconds(up: Up, api: Api) -> None:
    pids = list(up.children().values())
    heavy = {"sql": "SELECT count() FROM events a, events b, events c, events d WHERE a.url != b.ip"}
    answers: list[int] = []

    def ask() -> None:
        with contextlib.suppress(OSError):
            answers.append(api.call("/query", heavy).status)

    asking = threading.Thread(target=ask)
    with api.stream() as states:
        next(states)
        asking.start()
        time.sleep(1)
        assert asking.is_alive(), f"the query is over already: {answers}"
        began = time.monotonic()
        up.send(signal.SIGINT)
        for _ in states:
            pass
        print(f"the stream ended after {time.monotonic() - began:.1f} s")
    assert up.wait() == 0
    took = time.monotonic() - began
    print(f"all ended after {took:.1f} s\n{up.output[-2000:]}")
    asking.join(10)
    assert not asking.is_alive()
    assert all_gone(pids, 1)
    assert took < _DRAIN_SECONDS
