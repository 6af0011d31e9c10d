"""The counts that attribution_svc asks for, by analytics_svc's own SQL over a reading whose numbers are known."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from attribution_svc.experiments.experiment import RuleCount
from attribution_svc.experiments.numbers import RemoteNumbers
from attribution_svc.experiments.reports import Period
from attribution_svc.models.experiment import Arm
from svc_runtime.errors import TrellisError
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller, CallerKind
from tests.contract.gateway_api.mesh import MESH
from tests.integration.analytics_sql.service import WATERMARK, Service
from tests.reading import ACME, OTHER, insert_events

pytestmark = [pytest.mark.loopback, pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]
START = datetime(2026, 3, 2, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(days=2))


def _event(user: str, minute: int, **fields: Any) -> dict[str, Any]:
    return {
        "event_time": START + timedelta(minutes=minute),
        "event_type": "click",
        "user_id": user,
        "campaign_id": "c",
        "rule_id": "r",
        "destination_id": "d1",
        **fields,
    }


def _purchase(user: str, minute: int, value: Any = 10, **fields: Any) -> dict[str, Any]:
    paid = {"event_type": "purchase", "is_conversion": 1, "value": value, "currency": "USD"}
    return _event(user, minute, **{**paid, **fields})


def _events() -> Iterator[dict[str, Any]]:
    yield _event("u1", 0)
    yield _event("u1", 5, destination_id="d2")  # stays in the arm of the first click
    yield _purchase("u1", 10)
    yield _purchase("u1", 11, 2.5)  # converted twice: one visitor
    yield _event("u2", 1)
    yield _event("u3", 2, destination_id="d2")
    yield _purchase("u3", 20, None, currency="", destination_id="d2")
    yield _event("u4", 3, destination_id="")  # claimed from history
    yield _event("u5", 4, rule_id="", destination_id="own")
    yield _purchase("u5", 6, 7, currency="EUR", rule_id="", destination_id="own")
    yield _purchase("u6", 7)  # whose click is not in it
    yield _purchase("u6", 30, -1.5, is_conversion=0, is_adjustment=1)  # a refund
    yield _event("bot", 8, is_bot=1)
    yield _event("u7", 60 * 48)  # after the end
    yield _event("u8", 9, campaign_id="other")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def numbers(service: Service) -> RemoteNumbers:
    """A client of the service."""
    insert_events(service.client, list(_events()))
    insert_events(service.client, [_event("u1", 0, organization_id=OTHER)])
    return RemoteNumbers(service.channel, Credentials(MESH, "attribution_svc"))


def _caller(organization_id: str = ACME, *scopes: str) -> Caller:
    return Caller(CallerKind.ORGANIZATION, "key:1", organization_id, frozenset(scopes or {"analytics:read"}))


async def test_a_visitor_is_in_the_arm_of_the_first_click_once(numbers: RemoteNumbers) -> None:
    arms, watermark = await numbers.arms(_caller(), "c", "r", PERIOD)
    assert arms == {"d1": Arm(1, 2), "d2": Arm(1, 1), "": Arm(0, 1)}
    assert watermark == WATERMARK
    assert (await numbers.arms(_caller(), "c", "", PERIOD))[0] == {"own": Arm(1, 1)}
    assert (await numbers.arms(_caller(), "nothing'; --", "r", PERIOD))[0] == {}
    assert (await numbers.arms(_caller(OTHER), "c", "r", PERIOD))[0] == {"d1": Arm(0, 1)}


async def test_each_rule_has_its_clicks_visitors_conversions_and_money(numbers: RemoteNumbers) -> None:
    rules, _ = await numbers.rules(_caller(), "c", PERIOD)
    assert rules == {
        "r": RuleCount(5, 4, 4, 2, START + timedelta(minutes=5), {"USD": 21_000_000}),
        "": RuleCount(1, 1, 1, 1, START + timedelta(minutes=4), {"EUR": 7_000_000}),
    }


async def test_who_may_not_read_reports_gets_none(numbers: RemoteNumbers) -> None:
    with pytest.raises(TrellisError) as caught:
        await numbers.rules(_caller(ACME, "campaigns:read"), "c", PERIOD)
    assert caught.value.reason == "SCOPE_MISSING"
