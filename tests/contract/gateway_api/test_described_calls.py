"""The document, the page and the gateway tell one story: every call works as they show it, and refuses what they do
not name."""

import html
import re
import shlex
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from ingress_gateway.openapi.conversions import CONVERSION_ID
from ingress_gateway.openapi.document import openapi_document
from ingress_gateway.openapi.page import render_page
from ingress_gateway.openapi.webhook_parts import DELIVERY_ID, WEBHOOK_ID
from tests.contract.gateway_api.description import Description
from tests.contract.gateway_api.fakes import ACME, OTHER_KEY, PUBLISHABLE_KEY, SECRET_KEY, key_with, key_without, stamp
from tests.contract.gateway_api.mesh import Answer, Mesh
from trellis.analytics.v1 import projection_service_pb2 as projection_pb
from trellis.attribution.v1 import conversion_service_pb2 as conversion_pb
from trellis.attribution.v1 import webhook_service_pb2 as webhook_pb
from trellis.auth.v1 import auth_service_pb2 as auth_pb
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

OPERATIONS = Description(openapi_document()).operations()
API = [found for found in OPERATIONS if found[1].startswith("/api/")]


def _named(operations: list[tuple[str, str, Any]]) -> Any:
    return pytest.mark.parametrize(
        ("method", "path", "operation"), operations, ids=[found[2]["operationId"] for found in operations]
    )


def _commands() -> list[str]:
    page = render_page(openapi_document()).html.decode()
    commands = re.findall(r"<pre[^>]*><code>(curl.*?)</code></pre>", page, re.DOTALL)
    return sorted({html.unescape(re.sub(r"<[^>]+>", "", command)) for command in commands})


def example_path(description: Description, path: str, operation: Any) -> str:
    for parameter in map(description.resolved, operation.get("parameters", ())):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    return path


def example_target(description: Description, path: str, operation: Any) -> str:
    """Return path and query of the document's example."""
    found = list(map(description.resolved, operation.get("parameters", ())))
    examples = {p["name"]: p["example"] for p in found if p["in"] == "query" and "example" in p}
    return example_path(description, path, operation) + (f"?{urlencode(examples)}" if examples else "")


def example_body(operation: Any) -> bytes | None:
    """Return the body of the document's example; None where a call takes none."""
    if "requestBody" not in operation:
        return None
    (content,) = operation["requestBody"]["content"].values()
    return orjson.dumps(content["example"])


@pytest.fixture
def furnished(mesh: Mesh) -> Mesh:
    """A mesh that has what the document's examples name."""
    mesh.warden.put_key(ACME, "7hGtR2mVbqk3NfLr8XzPaQ")
    mesh.warden.domains["go.acmecorp.com"] = ACME
    mesh.warden.entries.append(
        auth_pb.AuditEntry(
            entry_id=1, organization_id=ACME, actor="operator", action="key.create", target="k",
            details_json='{"name":"k"}', create_time=stamp(),
        )
    )  # fmt: skip
    mesh.capture.events.append(
        event_pb2.Event(
            organization_id=ACME, event_id="01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f", event_time_ms=1_760_000_000_123,
            event_type=b"click", method="GET", target=b"/in/a?b=%ff", http_version="1.1", headers=b"Host: a\r\n",
            external_click_id=b"\xff", scheme="http", host=b"a",
        )
    )  # fmt: skip
    mesh.projection.put_mapping(ACME, "map_7hGtR2mVbqk3NfLr8XzPaQ")
    mesh.overlay.operations[ACME, "op_01930f2e7c2b7d429f0a3a5b1c2d4e5f"] = "cmp_1"
    mesh.projection.put_operation(
        ACME, "op_01930f2e7c2b7d429f0a3a5b1c2d4e5f", state=projection_pb.OPERATION_STATE_SUCCEEDED, end_time=stamp()
    )
    mesh.conversions.put(ACME, CONVERSION_ID)
    mesh.partners.put(ACME, "ptr_9f2c4e81d05b7a36")
    mesh.webhooks.put(ACME, WEBHOOK_ID, kind=webhook_pb.WEBHOOK_KIND_WEBHOOK)
    mesh.webhooks.put_delivery(ACME, WEBHOOK_ID, DELIVERY_ID)
    mesh.conversions.policies[ACME, "purchase"] = conversion_pb.ConversionPolicy(
        conversion_type="purchase", choice=conversion_pb.POLICY_CHOICE_FIRST, lookback_days=30
    )
    return mesh


@pytest.mark.parametrize("command", _commands())
async def test_every_command_on_the_page_works(furnished: Mesh, command: str) -> None:
    if '-d \'{"host"' in command:
        furnished.warden.domains.pop("go.acmecorp.com")
    answer = await _run(furnished, command)
    assert answer.status in (200, 201, 202, 204, 302), answer.body


@_named([found for found in API if found[0] == "get"])
async def test_a_query_call_refuses_what_is_not_described_and_names_what_is(
    mesh: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    answer = await mesh.get(example_path(description, path, operation) + "?nonsense=1&page_siez=2")
    assert answer.status == 400
    parameters = [description.resolved(parameter) for parameter in operation.get("parameters", ())]
    known = ", ".join(p["name"] for p in parameters if p["in"] == "query") or "none"
    assert _sorted_names(answer.violations["nonsense"]) == _sorted_names(
        f"is not a parameter of this call; there are: {known}"
    )
    assert "page_siez" in answer.violations


@_named([found for found in API if "application/json" in found[2].get("requestBody", {}).get("content", ())])
async def test_a_body_refuses_what_is_not_described_and_names_what_is(
    mesh: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    mesh.warden.put_key(ACME, "7hGtR2mVbqk3NfLr8XzPaQ")
    schema = description.resolved(operation["requestBody"]["content"]["application/json"]["schema"])
    answer = await mesh.call(method.upper(), example_path(description, path, operation), json={"nonsense": 1})
    assert answer.status == 400
    known = ", ".join(schema["properties"]) or "none"
    assert _sorted_names(answer.violations["nonsense"]) == _sorted_names(
        f"is not a field of this call; there are: {known}"
    )
    assert set(schema.get("required", ())) <= set(answer.violations), "what is required is told in the same answer"


@_named([found for found in API if "application/json" in found[2].get("requestBody", {}).get("content", ())])
async def test_a_call_with_a_body_takes_no_query(
    mesh: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    target = example_path(description, path, operation) + "?dry_run=true"
    answer = await mesh.call(method.upper(), target, json={})
    assert answer.status == 400
    assert answer.violations == {"dry_run": "is not a parameter of this call; there are: none"}


@_named([found for found in API if "application/json" in found[2].get("requestBody", {}).get("content", ())])
async def test_a_malformed_body_is_told_by_its_position(
    mesh: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    for body, problem in (
        (b'{"name":\n  "x",}', "is not JSON at line 2, column 6: trailing comma is not allowed"),
        (b'{"name": "\xff"}', "is not UTF-8 at line 1, column 11"),
        (b'{"name": "\\ud800"}', "is not JSON at line 1, column 11: no low surrogate in string"),
        (b"[" * 10_000, "is not JSON at line 1, column 1026: depth limit exceeded"),
        (b"[]", "is a list, must be a JSON object"),
        (b"name=x", "is not JSON at line 1, column 1"),
    ):
        answer = await mesh.call(method.upper(), example_path(description, path, operation), body=body)
        assert answer.status == 400
        assert list(answer.violations) == ["body"]
        assert answer.violations["body"].split(":")[0] == problem.split(":")[0]


@_named(API)
async def test_a_call_needs_the_scope_that_is_described(
    mesh: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    (scope,) = operation["security"][0]["secret_key"]
    target = example_path(description, path, operation)
    answer = await mesh.call(method.upper(), target, key=key_without(scope), body=b"{" if method != "get" else None)
    assert (answer.status, answer.reason) == (403, "SCOPE_MISSING"), "asked before the request is looked at"
    assert scope in answer.json["detail"]


@_named(API)
async def test_a_call_needs_no_other_scope(
    furnished: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    (scope,) = operation["security"][0]["secret_key"]
    content = operation.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("example")
    text = content.get("text/csv", {}).get("example", "").encode() or None
    if method == "post":
        del furnished.warden.domains["go.acmecorp.com"]
    target = example_target(description, path, operation)
    answer = await furnished.call(method.upper(), target, key=key_with(scope), json=body, body=text)
    assert answer.status in (200, 201, 202, 204), answer.body


@_named(API)
async def test_a_call_without_a_good_key_says_why(
    mesh: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    target = example_path(description, path, operation)
    for key, status, reason in (
        (None, 401, "CREDENTIAL_MISSING"),
        ("wdn_sk_live_nobody", 401, "KEY_UNKNOWN"),
        ("nonsense", 401, "KEY_MALFORMED"),
        ("wdn_sk_live_revoked_key", 401, "KEY_REVOKED"),
        ("wdn_sk_live_expired_key", 401, "KEY_EXPIRED"),
        (PUBLISHABLE_KEY, 403, "SCOPE_MISSING"),
        ("wdn_sk_live_suspended_key", 403, "ORGANIZATION_SUSPENDED"),
    ):
        answer = await mesh.call(method.upper(), target, key=key)
        assert (answer.status, answer.reason) == (status, reason)


@_named([found for found in API if "{" in found[1]])
async def test_a_thing_of_another_organisation_is_like_none(
    furnished: Mesh, description: Description, method: str, path: str, operation: Any
) -> None:
    target = example_path(description, path, operation)
    theirs = await furnished.call(method.upper(), target, key=OTHER_KEY, body=example_body(operation))
    furnished.warden.keys.clear()
    furnished.warden.domains.clear()
    furnished.attribution.campaigns.clear()
    furnished.capture.events.clear()
    furnished.projection.mappings.clear()
    furnished.projection.operations.clear()
    furnished.partners.partners.clear()
    furnished.webhooks.webhooks.clear()
    furnished.webhooks.deliveries.clear()
    missing = await furnished.call(method.upper(), target, key=OTHER_KEY, body=example_body(operation))
    assert (theirs.status, theirs.reason) == (404, "NOT_FOUND")
    assert theirs.body == missing.body


@_named([found for found in API if "{" in found[1]])
async def test_a_name_in_the_path_that_no_store_takes_is_refused(
    mesh: Mesh, method: str, path: str, operation: Any
) -> None:
    body = example_body(operation)
    answer = await mesh.call(method.upper(), re.sub(r"\{\w+\}", "a%00b", path), body=body)
    assert answer.status == 400
    assert list(answer.violations.values()) == ["must not hold the character NUL"]
    answer = await mesh.call(method.upper(), re.sub(r"\{\w+\}", "a%ffb", path), body=body)
    assert (answer.status, answer.reason) == (404, "NOT_FOUND")


async def _run(mesh: Mesh, command: str) -> Answer:
    """Do what a shell and curl would."""
    words = iter(shlex.split(command.replace("$TRELLIS_KEY", SECRET_KEY).replace("\\\n", " ")))
    assert next(words) == "curl"
    method, headers, body, target = "", {}, None, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            body = next(words).encode()
        elif not word.startswith("-s"):
            target = word.removeprefix("http://127.0.0.1:8080")
    return await mesh.call(method or ("GET" if body is None else "POST"), target, key=None, headers=headers, body=body)


def _sorted_names(text: str) -> tuple[str, list[str]]:
    start, _, names = text.partition(": ")
    return start, sorted(names.split(", "))
