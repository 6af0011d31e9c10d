"""Tests and rules of campaigns over gRPC, with counts that are known."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import grpc
import pytest

from attribution_svc.campaigns.campaign import CampaignChange, Definition, NewCampaign, changed, new_campaign
from attribution_svc.campaigns.rule import Action, Destination
from attribution_svc.experiments.experiment import RuleCount
from attribution_svc.experiments.reports import ExperimentReports, Period
from attribution_svc.experiments.servicer import ExperimentServicer
from attribution_svc.models.experiment import Arm
from svc_runtime.clock import SystemClock
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller
from svc_runtime.rpc_status import error_from_rpc
from tests.contract.attribution.memory_store import MemoryCampaignStore
from tests.contract.attribution.rpc import MESH, caller_of
from tests.contract.attribution.store_contract import NOW
from tests.contract.attribution.test_campaign_rpcs import CODE, refusal
from trellis.attribution.v1 import experiment_service_pb2 as pb
from trellis.attribution.v1 import experiment_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback
LATER = datetime(2026, 11, 20, 9, tzinfo=UTC)
METADATA = caller_of("org_a", "analytics:read")


class Numbers:
    """Has counts, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Period]] = []

    async def arms(
        self, caller: Caller, campaign_id: str, rule_id: str, period: Period
    ) -> tuple[Mapping[str, Arm], datetime | None]:
        """See ``CampaignNumbers.arms``."""
        self.asked.append((caller.organization_id, rule_id, period))
        return {"d1": Arm(200, 1000), "d2": Arm(250, 1000)}, NOW

    async def rules(
        self, caller: Caller, campaign_id: str, period: Period
    ) -> tuple[Mapping[str, RuleCount], datetime | None]:
        """See ``CampaignNumbers.rules``."""
        self.asked.append((caller.organization_id, "", period))
        return {"": RuleCount(10, 8, 2, 2, NOW, {"USD": 5_000_000})}, None


@pytest.fixture
def numbers() -> Numbers:
    """Nothing was asked."""
    return Numbers()


def action(*weights: int, host: str = "a") -> Action:
    """Return a split."""
    return Action(tuple(Destination(f"https://{host}.example/{weight}", "", weight) for weight in weights))


@pytest.fixture
async def stub(numbers: Numbers) -> "AsyncIterator[pb_grpc.ExperimentServiceAsyncStub]":
    """A server: `split` was shared out anew in version 2, and got other URLs in version 3."""
    store = MemoryCampaignStore()

    wanted = NewCampaign(campaign_id="split", definition=Definition(action=action(30, 70)))
    await store.insert(new_campaign(wanted, organization_id="org_a", minted_id="", now=NOW), actor="key:1")
    for found in (action(50, 50), action(50, 50, host="b")):
        change = CampaignChange(define=lambda _, found=found: Definition(action=found))
        await store.update("org_a", "split", lambda c, change=change: changed(c, change, now=LATER), actor="key:1")
    server = GrpcServer(MESH, service_names=[])
    servicer = ExperimentServicer(ExperimentReports(store, numbers, clock=SystemClock()))
    server.add(lambda s: pb_grpc.add_ExperimentServiceServicer_to_server(servicer, s))
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.ExperimentServiceStub(channel)
    await server.stop()


async def test_a_test_begins_when_its_split_did(stub: "pb_grpc.ExperimentServiceAsyncStub", numbers: Numbers) -> None:
    answer = await stub.GetExperiment(pb.GetExperimentRequest(campaign_id="split"), metadata=METADATA)
    assert numbers.asked[0][:2] == ("org_a", "")
    assert numbers.asked[0][2].start_time == LATER
    assert (answer.version, answer.control_destination_id, answer.is_split_broken) == (3, "d1", False)
    control, other = answer.arms
    assert not control.HasField("p_value")
    assert (round(other.z, 4), round(other.difference, 4)) == (2.6774, 0.05)


async def test_rules_of_the_last_30_days_are_told(stub: "pb_grpc.ExperimentServiceAsyncStub", numbers: Numbers) -> None:
    answer = await stub.GetRuleReport(pb.GetRuleReportRequest(campaign_id="split"), metadata=METADATA)
    period = numbers.asked[0][2]
    assert (period.end_time - period.start_time).days == 30
    (rest,) = answer.rules
    assert (rest.rule_id, rest.click_count, rest.share, rest.revenue[0].amount_micros) == ("", 10, 1.0, 5_000_000)


async def test_what_is_wrong_is_an_error_with_its_reason(stub: "pb_grpc.ExperimentServiceAsyncStub") -> None:
    for request, metadata, code in (
        (pb.GetExperimentRequest(campaign_id="none"), METADATA, CODE.NOT_FOUND),
        (pb.GetExperimentRequest(campaign_id="split"), caller_of("org_b", "analytics:read"), CODE.NOT_FOUND),
        (pb.GetExperimentRequest(campaign_id="split", rule_id="r"), METADATA, CODE.NOT_FOUND),
        (pb.GetExperimentRequest(campaign_id="split", confidence=2), METADATA, CODE.INVALID_ARGUMENT),
        (pb.GetExperimentRequest(campaign_id="split"), caller_of("org_a"), CODE.PERMISSION_DENIED),
    ):
        error = await refusal(stub.GetExperiment(request, metadata=metadata))
        assert error.code() is code, error_from_rpc(error).message
