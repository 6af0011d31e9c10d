"""Campaigns over gRPC."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import grpc
import pytest

from svc_runtime.rpc_status import error_from_rpc
from tests.contract.attribution.memory_store import MemoryCampaignStore
from tests.contract.attribution.rpc import CREDENTIALS, Metadata, Replica, caller_of, running_replica
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2
from trellis.type.v1 import predicate_pb2

pytestmark = pytest.mark.loopback
CODE = grpc.StatusCode


@pytest.fixture
def store() -> MemoryCampaignStore:
    """An empty store."""
    return MemoryCampaignStore()


@pytest.fixture
async def replica(store: MemoryCampaignStore) -> AsyncIterator[Replica]:
    """A server on it."""
    async with running_replica(store) as replica:
        yield replica


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """Return the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_campaign_is_created_with_defaults_and_read_back(replica: Replica) -> None:
    before = datetime.now(UTC)
    created = await replica.create("summer_sale")
    assert created.campaign_id.startswith("cmp_")
    assert len(created.campaign_id) == 26
    assert created.campaign_id.isascii()
    assert created.campaign_id[4:].isalnum()
    assert before <= created.create_time.ToDatetime(UTC) <= datetime.now(UTC)
    assert created == pb.Campaign(
        campaign_id=created.campaign_id,
        organization_id="org_a",
        slug="summer_sale",
        name="summer_sale",
        status=pb.CAMPAIGN_STATUS_ACTIVE,
        destination_url="https://shop.example/",
        parameter_policy=rule_pb2.PARAMETER_POLICY_MERGE,
        version=1,
        create_time=created.create_time,
        update_time=created.create_time,
        action=rule_pb2.Action(
            destinations=[rule_pb2.Destination(destination_id="d1", url="https://shop.example/", weight=100)],
            redirect_type=rule_pb2.REDIRECT_TYPE_FOUND,
            parameter_policy=rule_pb2.PARAMETER_POLICY_MERGE,
        ),
    )
    request = pb.GetCampaignRequest(campaign_id=created.campaign_id)
    assert (await replica.stub.GetCampaign(request, metadata=caller_of("org_a"))).campaign == created


async def test_everything_can_be_chosen(replica: Replica) -> None:
    response = await replica.stub.CreateCampaign(
        pb.CreateCampaignRequest(
            campaign_id="Mine-1",
            slug="s.1~",
            name="Mine",
            status=pb.CAMPAIGN_STATUS_PAUSED,
            destination_url="HTTPS://Shop.Example/ä",
            parameter_policy=rule_pb2.PARAMETER_POLICY_NONE,
            fallback_url="https://shop.example/closed",
        ),
        metadata=caller_of("org_a"),
    )
    campaign = response.campaign
    assert (campaign.campaign_id, campaign.slug, campaign.name) == ("Mine-1", "s.1~", "Mine")
    assert campaign.status == pb.CAMPAIGN_STATUS_PAUSED
    assert campaign.destination_url == "https://shop.example/%C3%A4"
    assert campaign.parameter_policy == rule_pb2.PARAMETER_POLICY_NONE
    assert campaign.fallback_url == "https://shop.example/closed"


RULES = [
    rule_pb2.Rule(
        name="TikTok",
        priority=100,
        predicate=predicate_pb2.Predicate(
            condition=predicate_pb2.Condition(
                field="referer", operator=predicate_pb2.OPERATOR_CONTAINS, values=["tiktok.com"]
            )
        ),
        action=rule_pb2.Action(
            destinations=[
                rule_pb2.Destination(url="https://A.example/?s={source|none}", weight=70),
                rule_pb2.Destination(url="https://b.example/", weight=30),
            ],
            tags=["tiktok", "organic"],
        ),
    )
]


async def test_a_campaign_can_be_rules_alone(replica: Replica) -> None:
    request = pb.CreateCampaignRequest(campaign_id="tiktok", rules=RULES, priority=3)
    request.caps.add(kind=rule_pb2.CAP_KIND_CLICKS, period=rule_pb2.CAP_PERIOD_DAY, limit=10)
    request.schedule.time_zone = "Europe/Berlin"
    request.schedule.windows.add(weekdays=["Monday"], start_minute=540, end_minute=1020)
    campaign = (await replica.stub.CreateCampaign(request, metadata=caller_of("org_a"))).campaign
    (rule,) = campaign.rules
    assert (rule.rule_id, rule.priority, rule.predicate) == ("r1", 100, RULES[0].predicate)
    assert [(found.destination_id, found.url, found.weight) for found in rule.action.destinations] == [
        ("d1", "https://a.example/?s={source|none}", 70),
        ("d2", "https://b.example/", 30),
    ]
    assert campaign.destination_url == ""
    assert not campaign.HasField("action")
    assert campaign.caps == request.caps
    assert campaign.schedule.windows[0].weekdays == ["monday"]
    read = await replica.stub.GetCampaign(pb.GetCampaignRequest(campaign_id="tiktok"), metadata=caller_of("org_a"))
    assert read.campaign == campaign


async def test_rules_are_replaced_as_a_whole_and_everything_else_stays(replica: Replica) -> None:
    created = await replica.create("sale", fallback_url="https://shop.example/closed")
    change = pb.UpdateCampaignRequest(campaign_id=created.campaign_id, rules=pb.RuleList(rules=RULES))
    with_rules = (await replica.stub.UpdateCampaign(change, metadata=caller_of("org_a"))).campaign
    assert len(with_rules.rules) == 1
    assert (with_rules.action, with_rules.fallback_url) == (created.action, created.fallback_url)
    clear = pb.UpdateCampaignRequest(campaign_id=created.campaign_id, rules=pb.RuleList())
    without = (await replica.stub.UpdateCampaign(clear, metadata=caller_of("org_a"))).campaign
    assert not without.rules
    assert without.version == 3
    take_away = pb.UpdateCampaignRequest(campaign_id=created.campaign_id, action=rule_pb2.Action())
    error = error_from_rpc(await refusal(replica.stub.UpdateCampaign(take_away, metadata=caller_of("org_a"))))
    assert [violation.field for violation in error.violations] == ["destination_url"]


async def test_what_is_wrong_with_rules_is_named_by_its_path(replica: Replica) -> None:
    request = pb.CreateCampaignRequest(slug="s", rules=RULES)
    request.rules[0].predicate.condition.operator = predicate_pb2.OPERATOR_MATCHES
    request.rules[0].predicate.condition.values[:] = ["("]
    bad = request.rules.add(rule_id="r 1", priority=10**7)
    bad.predicate.condition.CopyFrom(predicate_pb2.Condition(field="nope", operator=1, values=["x"]))
    error = error_from_rpc(await refusal(replica.stub.CreateCampaign(request, metadata=caller_of("org_a"))))
    assert [violation.field for violation in error.violations] == [
        "rules[0].predicate.condition.values[0]",
        "rules[1].predicate.condition.field",
    ]
    request = pb.CreateCampaignRequest(slug="s", rules=RULES)
    request.rules[0].action.destinations[0].weight = 60
    request.rules.add(rule_id="r 1", priority=10**7).action.destinations.add(url="https://{host}/")
    error = error_from_rpc(await refusal(replica.stub.CreateCampaign(request, metadata=caller_of("org_a"))))
    assert [(violation.field, violation.description) for violation in error.violations][:2] == [
        ("rules[0].action.destinations", "have weights that sum to 90, must be 100"),
        ("rules[1].rule_id", "must be 1 to 64 of A-Z a-z 0-9 _ -"),
    ]
    assert [violation.field for violation in error.violations][2:] == [
        "rules[1].priority",
        "rules[1].action.destinations[0].url",
    ]


def to_campaign(campaign_id: str) -> rule_pb2.Fallback:
    return rule_pb2.Fallback(campaign_id=campaign_id)


async def test_fallbacks_may_be_campaigns_but_go_round_in_no_circle(replica: Replica) -> None:
    await replica.create(campaign_id="a")
    for campaign_id, fallback in (("b", "a"), ("c", "b")):
        await replica.stub.CreateCampaign(
            pb.CreateCampaignRequest(
                campaign_id=campaign_id,
                destination_url="https://shop.example/",
                over_cap_fallback=to_campaign(fallback),
            ),
            metadata=caller_of("org_a"),
        )
    for fallback, text in (
        ("c", "comes back to where it began: a -> c -> b -> a"),
        ("a", "is the campaign 'a' itself"),
        ("nope", "there is no campaign 'nope'"),
    ):
        change = pb.UpdateCampaignRequest(campaign_id="a", paused_fallback=to_campaign(fallback))
        error = error_from_rpc(await refusal(replica.stub.UpdateCampaign(change, metadata=caller_of("org_a"))))
        assert error.reason == "INVALID_ARGUMENT"
        assert text in error.message
    other = pb.CreateCampaignRequest(slug="x", rules=RULES, expired_fallback=to_campaign("a"))
    error = error_from_rpc(await refusal(replica.stub.CreateCampaign(other, metadata=caller_of("org_b"))))
    assert "there is no campaign 'a'" in error.message


async def test_every_wrong_field_is_named_at_once(replica: Replica) -> None:
    request = pb.CreateCampaignRequest(slug="a/b", name="\n", destination_url="https://u@h:0/{x}")
    error = error_from_rpc(await refusal(replica.stub.CreateCampaign(request, metadata=caller_of("org_a"))))
    assert error.reason == "INVALID_ARGUMENT"
    fields = [violation.field for violation in error.violations]
    assert fields == ["slug", "name", "name", "destination_url", "destination_url", "destination_url"]
    assert "has the macro {x}" in error.message


@pytest.mark.parametrize(
    "request_",
    [
        pb.CreateCampaignRequest(destination_url="https://shop.example/", status=9),  # type: ignore[arg-type]  # as a newer client may
        pb.CreateCampaignRequest(destination_url="https://shop.example/", parameter_policy=9),  # type: ignore[arg-type]  # as above
    ],
)
async def test_an_enum_value_that_we_do_not_know_is_refused(
    replica: Replica, request_: pb.CreateCampaignRequest
) -> None:
    error = await refusal(replica.stub.CreateCampaign(request_, metadata=caller_of("org_a")))
    assert error.code() is CODE.INVALID_ARGUMENT
    assert "9 is no" in (error.details() or "")


async def test_a_taken_id_or_slug_already_exists(replica: Replica) -> None:
    await replica.create("sale", campaign_id="one")
    for fields in ({"campaign_id": "one"}, {"slug": "sale"}):
        request = pb.CreateCampaignRequest(destination_url="https://shop.example/", **fields)  # type: ignore[arg-type]  # texts only
        error = await refusal(replica.stub.CreateCampaign(request, metadata=caller_of("org_a")))
        assert error_from_rpc(error).reason == "ALREADY_EXISTS"


async def test_only_what_is_set_changes(replica: Replica) -> None:
    created = await replica.create("sale", fallback_url="https://shop.example/closed")
    update = pb.UpdateCampaignRequest(campaign_id=created.campaign_id, status=pb.CAMPAIGN_STATUS_PAUSED)
    updated = (await replica.stub.UpdateCampaign(update, metadata=caller_of("org_a"))).campaign
    expected = pb.Campaign()
    expected.CopyFrom(created)
    expected.status, expected.version = pb.CAMPAIGN_STATUS_PAUSED, 2
    expected.update_time.CopyFrom(updated.update_time)
    assert updated == expected
    clear = pb.UpdateCampaignRequest(campaign_id=created.campaign_id, fallback_url="", expected_version=2)
    assert (await replica.stub.UpdateCampaign(clear, metadata=caller_of("org_a"))).campaign.fallback_url == ""


async def test_an_old_expected_version_or_an_archived_campaign_fails(replica: Replica) -> None:
    campaign_id = (await replica.create("sale")).campaign_id
    for update, text in (
        (pb.UpdateCampaignRequest(campaign_id=campaign_id, name="x", expected_version=3), "has version 1, not 3"),
        (pb.UpdateCampaignRequest(campaign_id=campaign_id, status=pb.CAMPAIGN_STATUS_ARCHIVED), ""),
        (pb.UpdateCampaignRequest(campaign_id=campaign_id, status=pb.CAMPAIGN_STATUS_ACTIVE), "is archived"),
    ):
        call = replica.stub.UpdateCampaign(update, metadata=caller_of("org_a"))
        if not text:
            await call
            continue
        error = await refusal(call)
        assert error.code() is CODE.FAILED_PRECONDITION
        assert text in (error.details() or "")


@pytest.mark.parametrize("campaign_id", ["missing", "", "a\x00b", "x" * 5000, "ünknown"])
async def test_a_missing_campaign_and_another_organisations_are_told_in_the_same_words(
    replica: Replica, store: MemoryCampaignStore, campaign_id: str
) -> None:
    theirs = (await replica.create("sale")).campaign_id
    texts = []
    for wanted, organization_id in ((campaign_id, "org_a"), (theirs, "org_b")):
        for call in (
            replica.stub.GetCampaign(pb.GetCampaignRequest(campaign_id=wanted), metadata=caller_of(organization_id)),
            replica.stub.UpdateCampaign(
                pb.UpdateCampaignRequest(campaign_id=wanted, name="x"), metadata=caller_of(organization_id)
            ),
        ):
            error = await refusal(call)
            assert error.code() is CODE.NOT_FOUND
            texts.append((error.details() or "").replace(repr(wanted[:64]), "ID"))
    assert set(texts) == {"no campaign ID"}


async def test_lists_are_paged_newest_first_and_are_the_callers_own(replica: Replica) -> None:
    created = [(await replica.create(f"slug{number}")).slug for number in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListCampaignsRequest(page_size=2, page_token=token)
        page = await replica.stub.ListCampaigns(request, metadata=caller_of("org_a"))
        seen += [campaign.slug for campaign in page.campaigns]
        assert len(page.campaigns) <= 2
        token = page.next_page_token
        if not token:
            break
    assert seen == created[::-1]
    assert not (await replica.stub.ListCampaigns(pb.ListCampaignsRequest(), metadata=caller_of("org_b"))).campaigns


async def test_a_page_that_ends_the_list_exactly_has_no_token(replica: Replica) -> None:
    for number in range(4):
        await replica.create(f"slug{number}")
    first = await replica.stub.ListCampaigns(pb.ListCampaignsRequest(page_size=2), metadata=caller_of("org_a"))
    second = await replica.stub.ListCampaigns(
        pb.ListCampaignsRequest(page_size=2, page_token=first.next_page_token), metadata=caller_of("org_a")
    )
    assert (len(second.campaigns), second.next_page_token) == (2, "")


async def test_a_token_is_good_for_its_own_list_alone(replica: Replica) -> None:
    for number in range(2):
        await replica.create(f"slug{number}")
    list_campaigns = replica.stub.ListCampaigns
    token = (await list_campaigns(pb.ListCampaignsRequest(page_size=1), metadata=caller_of("org_a"))).next_page_token
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    for request, caller in (
        (pb.ListCampaignsRequest(page_token=flipped), caller_of("org_a")),
        (pb.ListCampaignsRequest(page_token="garbage"), caller_of("org_a")),
        (pb.ListCampaignsRequest(page_token=token, status=pb.CAMPAIGN_STATUS_PAUSED), caller_of("org_a")),
        (pb.ListCampaignsRequest(page_token=token), caller_of("org_b")),
    ):
        error = error_from_rpc(await refusal(list_campaigns(request, metadata=caller)))
        assert error.reason == "INVALID_ARGUMENT"
        assert [violation.field for violation in error.violations] == ["page_token"]


async def test_a_page_has_a_largest_size_and_a_list_a_known_status(replica: Replica) -> None:
    for request, field in (
        (pb.ListCampaignsRequest(page_size=1001), "page_size"),
        (pb.ListCampaignsRequest(status=9), "status"),  # type: ignore[arg-type]  # as a newer client may
    ):
        call = replica.stub.ListCampaigns(request, metadata=caller_of("org_a"))
        error = error_from_rpc(await refusal(call))
        assert [violation.field for violation in error.violations] == [field]


CALLS: dict[str, Callable[[Replica, Metadata], Awaitable[object]]] = {
    "create": lambda r, m: r.stub.CreateCampaign(
        pb.CreateCampaignRequest(destination_url="https://shop.example/"), metadata=m
    ),
    "get": lambda r, m: r.stub.GetCampaign(pb.GetCampaignRequest(campaign_id="x"), metadata=m),
    "list": lambda r, m: r.stub.ListCampaigns(pb.ListCampaignsRequest(), metadata=m),
    "update": lambda r, m: r.stub.UpdateCampaign(pb.UpdateCampaignRequest(campaign_id="x"), metadata=m),
    "watch": lambda r, m: r.stub.WatchRouting(pb.WatchRoutingRequest(), metadata=m).read(),
}


@pytest.mark.parametrize(
    ("call", "metadata", "code"),
    [
        *((call, (), CODE.UNAUTHENTICATED) for call in CALLS),
        *((call, (("authorization", "Bearer x.y.z"),), CODE.UNAUTHENTICATED) for call in CALLS),
        ("create", caller_of("org_a", "campaigns:read"), CODE.PERMISSION_DENIED),
        ("update", caller_of("org_a", "campaigns:read"), CODE.PERMISSION_DENIED),
        ("get", caller_of("org_a", "campaigns:write"), CODE.PERMISSION_DENIED),
        ("list", caller_of("org_a", "campaigns:write"), CODE.PERMISSION_DENIED),
        ("watch", caller_of("org_a"), CODE.PERMISSION_DENIED),
        ("create", CREDENTIALS.as_service(), CODE.PERMISSION_DENIED),
        ("list", CREDENTIALS.as_service(), CODE.PERMISSION_DENIED),
    ],
)
async def test_a_caller_without_the_right_is_refused(
    replica: Replica, call: str, metadata: Metadata, code: grpc.StatusCode
) -> None:
    assert (await refusal(CALLS[call](replica, metadata))).code() is code


@pytest.mark.parametrize("call", ["create", "get", "list", "update"])
async def test_while_the_store_is_down_calls_are_unavailable_and_work_again_after(
    replica: Replica, store: MemoryCampaignStore, call: str
) -> None:
    store.stop()
    error = await refusal(CALLS[call](replica, caller_of("org_a")))
    assert error.code() is CODE.UNAVAILABLE
    assert error_from_rpc(error).retry_after_seconds
    store.start()
    assert (await replica.create("sale")).version == 1


class Hosts:
    """Knows the tracking hosts of org_a."""

    async def of(self, organization_id: str) -> frozenset[str]:
        """See ``OwnHosts.of``."""
        return frozenset({"track.acmecorp.com"} if organization_id == "org_a" else ())


OWN = "https://Track.acmecorp.com:8443/in/other?s={source}"


async def test_a_destination_on_an_own_tracking_host_is_refused_by_its_path(store: MemoryCampaignStore) -> None:
    request = pb.CreateCampaignRequest(campaign_id="a", rules=[rule_pb2.Rule(priority=1), rule_pb2.Rule(priority=2)])
    request.rules[0].action.destinations.add(url="https://shop.example/")
    request.rules[1].action.destinations.add(url="https://shop.example/", weight=50)
    request.rules[1].action.destinations.add(url=OWN, weight=50)
    request.paused_fallback.url = "http://track.acmecorp.com/"
    async with running_replica(store, hosts=Hosts()) as replica:
        error = await refusal(replica.stub.CreateCampaign(request, metadata=caller_of("org_a")))
        assert error.code() is CODE.INVALID_ARGUMENT
        found = {violation.field: violation.description for violation in error_from_rpc(error).violations}
        assert set(found) == {"rules[1].action.destinations[1].url", "fallback_url"}
        assert found["fallback_url"].startswith("leads to track.acmecorp.com, a tracking host of your own")
        await replica.stub.CreateCampaign(request, metadata=caller_of("org_b"))
        await replica.create("b", campaign_id="b")
        change = pb.UpdateCampaignRequest(campaign_id="b", destination_url=OWN)
        refused = await refusal(replica.stub.UpdateCampaign(change, metadata=caller_of("org_a")))
        assert error_from_rpc(refused).violations[0].field == "destination_url"


async def test_a_campaign_whose_host_became_ours_since_can_still_be_paused(store: MemoryCampaignStore) -> None:
    async with running_replica(store) as replica:
        await replica.create("a", campaign_id="a", destination_url=OWN)
    async with running_replica(store, hosts=Hosts()) as replica:
        change = pb.UpdateCampaignRequest(campaign_id="a", status=pb.CAMPAIGN_STATUS_PAUSED)
        paused = await replica.stub.UpdateCampaign(change, metadata=caller_of("org_a"))
        assert paused.campaign.status == pb.CAMPAIGN_STATUS_PAUSED
