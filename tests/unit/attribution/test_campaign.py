"""Making and changing a campaign."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from attribution_svc.campaigns.campaign import (
    Campaign,
    CampaignChange,
    CampaignStatus,
    Definition,
    NewCampaign,
    changed,
    new_campaign,
    plain_definition,
)
from attribution_svc.campaigns.rule import Action, Destination, ParameterPolicy
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
SHOP = plain_definition("https://shop.example/")
WANTED = NewCampaign(slug="summer_sale", definition=SHOP)


def to(definition: Definition) -> CampaignChange:
    return CampaignChange(define=lambda _: definition)


def make(wanted: NewCampaign = WANTED) -> Campaign:
    return new_campaign(wanted, organization_id="org_a", minted_id="cmp_minted", now=NOW)


def test_what_is_not_given_gets_its_default() -> None:
    assert make(NewCampaign(definition=SHOP)) == Campaign(
        organization_id="org_a",
        campaign_id="cmp_minted",
        slug="cmp_minted",
        name="cmp_minted",
        status=CampaignStatus.ACTIVE,
        definition=Definition(action=Action((Destination("https://shop.example/", "d1", 100),))),
        version=1,
        create_time=NOW,
        update_time=NOW,
    )


def test_the_name_follows_the_slug_and_the_slug_the_wanted_id() -> None:
    assert (make().name, make().slug) == ("summer_sale", "summer_sale")
    named = make(NewCampaign(campaign_id="Camp-1", definition=SHOP))
    assert (named.campaign_id, named.slug, named.name) == ("Camp-1", "Camp-1", "Camp-1")


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (replace(WANTED, campaign_id="a b"), ["campaign_id"]),
        (replace(WANTED, campaign_id="a" * 65), ["campaign_id"]),
        (replace(WANTED, campaign_id="ok\n"), ["campaign_id"]),
        (replace(WANTED, slug="a/b"), ["slug"]),
        (replace(WANTED, slug="ü"), ["slug"]),
        (replace(WANTED, slug="a" * 129), ["slug"]),
        (replace(WANTED, slug=".."), ["slug"]),
        (replace(WANTED, slug="."), ["slug"]),
        (replace(WANTED, name="n" * 201), ["name"]),
        (replace(WANTED, name="  "), ["name"]),
        (replace(WANTED, name="a\x00b"), ["name"]),
        (replace(WANTED, status=CampaignStatus.ARCHIVED), ["status"]),
        (replace(WANTED, definition=Definition()), ["destination_url"]),
        (
            replace(WANTED, definition=plain_definition("https://shop.example/", fallback_url="nowhere")),
            ["fallback_url"],
        ),
        (
            NewCampaign(
                campaign_id="!",
                slug="!",
                name="\n",
                status=CampaignStatus.ARCHIVED,
                definition=plain_definition("https://u@h h:0/", fallback_url="x"),
            ),
            ["campaign_id", "status", "slug", "name", "name", *["destination_url"] * 4, "fallback_url"],
        ),
    ],
)
def test_every_violation_is_named_at_once(wanted: NewCampaign, fields: list[str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make(wanted)
    assert [violation.field for violation in caught.value.violations] == fields


def test_both_urls_are_stored_in_their_normal_form() -> None:
    campaign = make(
        replace(WANTED, definition=plain_definition("HTTPS://Shop.Example/ä", fallback_url="http://BÜCHER.example"))
    )
    assert campaign.destination_url == "https://shop.example/%C3%A4"
    assert campaign.fallback_url == "http://xn--bcher-kva.example"


@pytest.mark.parametrize(
    "change",
    [
        CampaignChange(slug="winter"),
        CampaignChange(name="Winter"),
        CampaignChange(status=CampaignStatus.PAUSED),
        CampaignChange(status=CampaignStatus.ARCHIVED),
        to(plain_definition("https://shop.example/winter")),
        to(plain_definition("https://shop.example/", ParameterPolicy.NONE)),
        to(plain_definition("https://shop.example/", fallback_url="https://shop.example/closed")),
        CampaignChange(name="Winter", expected_version=1),
    ],
)
def test_a_change_makes_the_next_version_and_changes_nothing_else(change: CampaignChange) -> None:
    before = make()
    wanted = {field: value for field in ("slug", "name", "status") if (value := getattr(change, field)) is not None}
    if change.define is not None:
        wanted["definition"] = make(replace(WANTED, definition=change.define(before.definition))).definition
        assert wanted["definition"] != before.definition
    assert changed(before, change, now=LATER) == replace(before, version=2, update_time=LATER, **wanted)


def test_an_empty_fallback_takes_it_away() -> None:
    closed = plain_definition("https://shop.example/", fallback_url="https://shop.example/closed")
    before = make(replace(WANTED, definition=closed))
    assert before.fallback_url == "https://shop.example/closed"
    assert changed(before, to(SHOP), now=LATER).fallback_url == ""


@pytest.mark.parametrize(
    "change",
    [
        CampaignChange(),
        CampaignChange(slug="summer_sale", status=CampaignStatus.ACTIVE),
        to(plain_definition("https://SHOP.example/")),
    ],
)
def test_a_change_that_changes_nothing_makes_no_version(change: CampaignChange) -> None:
    before = make()
    assert changed(before, change, now=LATER) is before


def test_a_clock_that_is_behind_makes_no_campaign_younger() -> None:
    before = make()
    assert changed(before, CampaignChange(name="x"), now=NOW - timedelta(hours=1)).update_time == NOW


_ALLOWED = {
    ("active", "paused"),
    ("paused", "active"),
    ("active", "archived"),
    ("paused", "archived"),
}


@pytest.mark.parametrize("before", CampaignStatus)
@pytest.mark.parametrize("after", CampaignStatus)
def test_status_goes_both_ways_until_it_is_archived_for_good(before: CampaignStatus, after: CampaignStatus) -> None:
    campaign = replace(make(), status=before)
    change = CampaignChange(status=after)
    if before is CampaignStatus.ARCHIVED:
        with pytest.raises(FailedPreconditionError, match="archived"):
            changed(campaign, change, now=LATER)
    elif before is after:
        assert changed(campaign, change, now=LATER) is campaign
    else:
        assert (before.value, after.value) in _ALLOWED
        assert changed(campaign, change, now=LATER).status is after


def test_nothing_of_an_archived_campaign_changes() -> None:
    with pytest.raises(FailedPreconditionError, match="archived"):
        changed(replace(make(), status=CampaignStatus.ARCHIVED), CampaignChange(name="x"), now=LATER)


@pytest.mark.parametrize("expected", [2, 7])
def test_another_version_than_expected_is_refused_with_the_present_one(expected: int) -> None:
    with pytest.raises(FailedPreconditionError, match=f"has version 1, not {expected}"):
        changed(make(), CampaignChange(name="x", expected_version=expected), now=LATER)


def test_a_change_to_something_invalid_is_refused() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        changed(make(), replace(to(plain_definition("")), slug="", name=""), now=LATER)
    assert [violation.field for violation in caught.value.violations] == ["slug", "name", "destination_url"]
