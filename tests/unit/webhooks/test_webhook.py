"""The rules of making and changing a webhook."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from attribution_svc.webhooks.vault import ROTATION_OVERLAP, SecretLostError, Vault
from attribution_svc.webhooks.webhook import (
    Definition,
    EventKind,
    Header,
    WebhookChange,
    WebhookKind,
    changed,
    normalised,
)
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError
from tests.contract.webhooks.things import EVERYTHING, NOW, make_webhook

POSTBACK, WEBHOOK = WebhookKind.POSTBACK, WebhookKind.WEBHOOK
URL = "https://a.example/"


def violations(kind: WebhookKind = POSTBACK, **wanted: Any) -> dict[str, str]:
    """Return what is wrong with a definition, by field."""
    with pytest.raises(InvalidArgumentError) as caught:
        normalised(kind, Definition(**{"url": URL, **wanted}))
    return {violation.field: violation.description for violation in caught.value.violations}


@pytest.mark.parametrize(
    ("kind", "method", "body", "expected"),
    [
        (POSTBACK, "", "", "GET"),
        (POSTBACK, "", "a=1", "POST"),
        (POSTBACK, "PUT", "a=1", "PUT"),
        (POSTBACK, "POST", "", "POST"),
        (WEBHOOK, "", "", "POST"),
    ],
)
def test_a_method_follows_from_what_is_sent(kind: WebhookKind, method: str, body: str, expected: str) -> None:
    assert normalised(kind, Definition(URL, method=method, body=body)).method == expected


def test_a_url_gets_its_normal_form_and_keeps_its_macros() -> None:
    found = normalised(POSTBACK, Definition("HTTPS://A.Example?c={click_id}&t={tid|none}"))
    assert found.url == "https://a.example?c={click_id}&t={tid|none}"


@pytest.mark.parametrize(
    ("wanted", "field", "problem"),
    [
        ({"url": ""}, "url", "must begin with http:// or https://"),
        ({"url": "ftp://a.example/"}, "url", "must begin with http:// or https://"),
        ({"url": "https://u:p@a.example/"}, "url", "has user information before the host"),
        ({"url": "https://a.example/{click_id}/"}, "url", "has a macro outside the values of its query"),
        ({"url": "https://a.example/?c={colour}"}, "url", "has the macro {colour}"),
        ({"method": "DELETE"}, "method", "is 'DELETE', must be one of GET, POST, PUT"),
        ({"method": "GET", "body": "a=1"}, "body", "is given, but the method is GET"),
        ({"name": "x" * 201}, "name", "has 201 characters, 200 are allowed"),
        ({"name": "a\nb"}, "name", "has a control character"),
        ({"headers": (Header("X Y", "1"),)}, "headers[0].name", "must be 1 to 128 characters of a header's name"),
        ({"headers": (Header("Host", "1"),)}, "headers[0].name", "'host' is ours to say"),
        ({"headers": (Header("Webhook-Signature", "1"),)}, "headers[0].name", "'webhook-signature' is ours to say"),
        ({"headers": (Header("A", "1"), Header("a", "2"))}, "headers[1].name", "'a' is given twice"),
        ({"headers": (Header("A", ""),)}, "headers[0].value", "is required"),
        ({"headers": (Header("A", "", is_secret=True),)}, "headers[0].value", "is required"),
        ({"headers": (Header("A", "x\r\nB: y"),)}, "headers[0].value", "must be printable ASCII"),
        ({"headers": (Header("A", "ü"),)}, "headers[0].value", "must be printable ASCII"),
        ({"headers": (Header("A", "x" * 2049),)}, "headers[0].value", "is longer than 2048 bytes"),
        ({"headers": tuple(Header(f"A{at}", "1") for at in range(21))}, "headers", "has 21, 20 are allowed"),
        ({"event_kinds": ()}, "event_kinds", "is empty; there are conversion.created"),
        ({"event_kinds": (EventKind.TEST,)}, "event_kinds[0]", "'webhook.test' is given twice, or is nothing"),
        ({"statuses": ("",)}, "statuses[0]", "has 0 characters, must be 1 to 200"),
        ({"campaign_ids": ("a",) * 101}, "campaign_ids", "has 101 values, 100 are allowed"),
        ({"max_attempts": 51}, "max_attempts", "is 51, must be 1 to 50"),
        ({"max_age": timedelta(seconds=59)}, "max_age_duration", "is 59 s, must be 60 to 2592000 s"),
        ({"rate_per_second": 1001}, "rate_per_second", "is 1001, must be 0 (no limit) to 1000"),
    ],
)
def test_what_is_wrong_is_told_with_the_value_and_the_limit(wanted: dict[str, Any], field: str, problem: str) -> None:
    assert violations(**wanted)[field].startswith(problem)


def test_a_webhooks_body_and_method_are_ours() -> None:
    assert set(violations(WEBHOOK, method="GET", body="a=1")) == {"method", "body"}
    assert "url" in violations(WEBHOOK, url="https://a.example/?c={click_id}")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = violations(url="x", method="DELETE", max_attempts=0, headers=(Header("Host", "x"),), statuses=("",))
    assert set(found) == {"url", "method", "max_attempts", "headers[0].name", "statuses[0]"}


def test_a_secret_value_is_not_repeated() -> None:
    assert "s3cret" not in str(violations(headers=(Header("A", "s3cret\n", is_secret=True),)))
    assert "s3cret" not in repr(Header("A", "s3cret", is_secret=True))


def test_a_change_makes_a_version_and_no_change_makes_none() -> None:
    webhook = make_webhook()
    assert changed(webhook, WebhookChange(), now=NOW) is webhook
    assert changed(webhook, WebhookChange(define=lambda present: present), now=NOW) is webhook
    renamed = changed(webhook, WebhookChange(define=lambda present: replace(present, name="b")), now=NOW)
    assert (renamed.version, renamed.definition.name) == (2, "b")
    with pytest.raises(FailedPreconditionError, match="has version 1, not 7"):
        changed(webhook, WebhookChange(expected_version=7), now=NOW)


@pytest.mark.parametrize(
    "url",
    ["https://b.example/hook", "http://a.example/hook", "https://a.example:8443/hook", "https://a.example.b/hook"],
)
def test_a_secret_header_does_not_go_to_another_place_than_it_was_given_for(url: str) -> None:
    kept = Header("X-Key", "", is_secret=True)
    webhook = make_webhook(url="https://a.example/hook?c={click_id}")
    webhook = replace(
        webhook, definition=replace(webhook.definition, headers=(kept,)), sealed_headers={"x-key": b"sealed"}
    )

    def moved(url: str, header: Header) -> Definition:
        change = WebhookChange(define=lambda present: replace(present, url=url, headers=(header,)))
        return changed(webhook, change, now=NOW).definition

    for same in ("https://a.example/other", "https://A.example:443/"):
        assert moved(same, kept).headers == (kept,)
    with pytest.raises(InvalidArgumentError) as caught:
        moved(url, kept)
    assert [found.field for found in caught.value.violations] == ["headers[0].value"]
    assert "'X-Key' is secret" in caught.value.violations[0].description
    assert moved(url, replace(kept, value="again")).url == url


def test_turning_it_on_again_forgets_why_it_was_off() -> None:
    off = replace(make_webhook(is_enabled=False), disable_reason="410")
    assert changed(off, WebhookChange(is_enabled=True), now=NOW).disable_reason == ""


def test_a_clock_that_is_behind_makes_nothing_younger() -> None:
    earlier = NOW - timedelta(days=1)
    assert changed(make_webhook(), WebhookChange(is_enabled=False), now=earlier).update_time == NOW


def test_a_secret_header_keeps_its_value_and_opens_for_its_own_webhook_only() -> None:
    vault = Vault("m" * 32)
    wanted = replace(EVERYTHING, headers=(Header("X-Key", "s3cret", is_secret=True), Header("X-Static", "a")))
    definition, sealed = vault.seal_headers("org_a", "wh_1", wanted, {})
    webhook = replace(make_webhook(), definition=definition, sealed_headers=sealed)
    assert "s3cret" not in repr(webhook)
    assert vault.open_headers(webhook) == {"X-Key": "s3cret"}
    kept, again = vault.seal_headers("org_a", "wh_1", definition, sealed)
    assert (kept, again) == (definition, sealed)
    for other in (replace(webhook, webhook_id="wh_2"), replace(webhook, organization_id="org_b")):
        with pytest.raises(SecretLostError):
            vault.open_headers(other)
    with pytest.raises(SecretLostError):
        Vault("n" * 32).open_headers(webhook)


def test_after_a_rotation_two_secrets_sign_and_then_one() -> None:
    vault = Vault("m" * 32)
    first, signing = vault.new_signing("org_a", "wh_1")
    webhook = make_webhook(kind=WEBHOOK, url=URL, secrets=(signing,))
    assert vault.open_signing(webhook, NOW) == [first]
    second, rotated = vault.rotated(webhook, now=NOW)
    assert vault.open_signing(rotated, NOW) == [second, first]
    assert vault.open_signing(rotated, NOW + ROTATION_OVERLAP) == [second]
    third, again = vault.rotated(rotated, now=NOW)
    assert vault.open_signing(again, NOW) == [third, second]
