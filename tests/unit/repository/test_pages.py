"""The pages under docs/ against the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ingress_gateway.problems import problem
from svc_runtime.errors import Code, TrellisError, Violation
from tests.settings_catalogue import SERVICES, own_settings, variables
from trellis.type.v1 import error_reason_pb2

ROOT = Path(__file__).parents[3]
ERRORS = (ROOT / "docs" / "errors.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
REASONS = [name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()][1:]  # noqa: SIM118 - an enum, not a dict


def sections() -> dict[str, str]:
    parts = re.split(r"^## (\w+)$", ERRORS, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def example(reason: str) -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)\n```", sections()[reason], flags=re.DOTALL)
    assert found, reason
    body: dict[str, Any] = json.loads(found[1])
    return body


def status_in_contract(reason: str) -> tuple[str, str]:
    """Return the HTTP status and the gRPC code that the enum's comment promises."""
    proto = (ROOT / "proto" / "trellis" / "type" / "v1" / "error_reason.proto").read_text()
    comment = proto.split(f"  ERROR_REASON_{reason} = ")[0].rsplit(";", 1)[1].replace("\n  //", "")
    found = re.search(r"HTTP (\d+), *gRPC (\w+)", comment)
    assert found, reason
    return found[1], found[2]


def test_the_page_lists_exactly_the_reasons_of_the_contract_in_order() -> None:
    assert list(sections()) == REASONS


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_has_the_status_that_the_contract_gives_it(reason: str) -> None:
    http, grpc = status_in_contract(reason)
    assert f"HTTP {http}, gRPC {grpc}." in sections()[reason]
    assert example(reason)["status"] == int(http)


@pytest.mark.parametrize("reason", REASONS)
def test_an_example_is_what_the_gateway_sends(reason: str) -> None:
    shown = example(reason)
    error = TrellisError(
        shown["detail"], reason=shown["reason"], violations=[Violation(**v) for v in shown.get("violations", [])]
    )
    error.code = next(code for code in Code if code.http_status == shown["status"])
    sent = problem(error, event_id=shown.get("event_id", "")).body
    assert isinstance(sent, bytes)
    # The phrase of a status is Python's, and 3.13 words 413 anew.
    assert {**shown, "title": ""} == {**json.loads(sent), "title": ""}


@pytest.mark.parametrize("service", ["svc_runtime", *SERVICES, "trellisctl"])
def test_the_operations_page_lists_exactly_the_settings_of_a_process(service: str) -> None:
    if service == "svc_runtime":
        from svc_runtime.settings import MeshSettings, TelemetrySettings

        known = {**variables(MeshSettings), **variables(TelemetrySettings)}
    elif service == "trellisctl":
        from trellisctl.installation import InstallationSettings

        known = {**variables(InstallationSettings), "TRELLIS_HTTP_PORT": False, "TRELLIS_HTTP_HOST": False}
    else:
        known = {name: needed for settings in own_settings(service) for name, needed in variables(settings).items()}
    table = OPERATIONS.split(f"<!-- settings: {service} -->")[1].split("<!-- end -->")[0]
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|]*) \|", table, flags=re.MULTILINE))
    assert set(rows) == set(known)
    assert {name for name, default in rows.items() if default.strip() == "required"} == {
        name for name, is_required in known.items() if is_required
    }
