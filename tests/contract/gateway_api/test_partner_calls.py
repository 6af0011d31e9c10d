"""Partners over HTTP: what is shown once, what is passed on, and what is refused."""

from typing import Any

import pytest

from ingress_gateway.openapi.postbacks import EXAMPLE_TOKEN
from tests.contract.gateway_api.fake_partners import SIGNING_SECRET
from tests.contract.gateway_api.fakes import ACME
from tests.contract.gateway_api.mesh import Mesh

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
PARTNER = "/api/v1/partners/ptr_1"


async def test_a_new_partner_is_shown_its_secrets_this_once(mesh: Mesh) -> None:
    wanted = {"name": "CJ", "network": "cj", "addresses": ["10.0.0.0/8"], "return_text": "1", "is_signed": True}
    made = await mesh.post("/api/v1/partners", wanted)
    assert made.status == 201
    assert wanted.items() <= made.json.items()
    assert (made.json["token"], made.json["signing_secret"]) == (EXAMPLE_TOKEN, SIGNING_SECRET)
    assert made.headers["Cache-Control"].startswith("no-store")
    (listed,) = (await mesh.get("/api/v1/partners")).json["partners"]
    assert listed == {name: value for name, value in made.json.items() if name not in ("token", "signing_secret")}
    assert (await mesh.get(f"/api/v1/partners/{listed['partner_id']}")).json == listed


async def test_what_is_given_of_a_partner_is_changed_and_nothing_else(mesh: Mesh) -> None:
    mesh.partners.put(ACME, "ptr_1", addresses=["10.0.0.0/8"], return_text="yes")
    changed = await mesh.patch(PARTNER, {"is_enabled": False, "network": "awin"})
    assert (changed.json["is_enabled"], changed.json["network"]) == (False, "awin")
    assert (changed.json["addresses"], changed.json["return_text"]) == (["10.0.0.0/8"], "yes")
    emptied = await mesh.patch(PARTNER, {"addresses": [], "return_text": ""})
    assert (emptied.json["addresses"], emptied.json["return_text"]) == ([], "")


async def test_tokens_and_secrets_are_made_anew_and_partners_revoked(mesh: Mesh) -> None:
    mesh.partners.put(ACME, "ptr_1")
    rotated = await mesh.post(f"{PARTNER}:rotate", {"overlap_seconds": 0})
    assert rotated.json["token"] == EXAMPLE_TOKEN
    signing = await mesh.post(f"{PARTNER}:signature", {"is_signed": True})
    assert (signing.json["is_signed"], signing.json["signing_secret"]) == (True, SIGNING_SECRET)
    silent = await mesh.post(f"{PARTNER}:signature", {"is_signed": False})
    assert (silent.json["is_signed"], silent.json["signing_secret"]) == (False, "")
    assert (await mesh.post(f"{PARTNER}:revoke")).json["revoke_time"] is not None
    assert (await mesh.get("/api/v1/partners")).json["partners"] == []
    assert len((await mesh.get("/api/v1/partners?include_revoked=true")).json["partners"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "fields"),
    [
        ("POST", "/api/v1/partners", {}, ["name", "network"]),
        ("POST", "/api/v1/partners", {"name": "x", "network": "x", "addresses": "10.0.0.1"}, ["addresses"]),
        ("POST", "/api/v1/partners", {"name": "x", "network": "x", "is_signed": "yes"}, ["is_signed"]),
        ("POST", "/api/v1/partners", {"name": "x", "network": "x", "token": "mine"}, ["token"]),
        ("PATCH", PARTNER, {"is_enabled": 1, "addresses": [1]}, ["is_enabled", "addresses"]),
        ("POST", f"{PARTNER}:rotate", {"overlap_seconds": 2_592_001}, ["overlap_seconds"]),
        ("POST", f"{PARTNER}:signature", {"is_signed": None}, ["is_signed"]),
    ],
)
async def test_what_cannot_be_is_refused(
    mesh: Mesh, method: str, path: str, body: dict[str, Any], fields: list[str]
) -> None:
    answer = await mesh.call(method, path, json=body)
    assert answer.status == 400
    assert list(answer.violations) == fields
    assert not mesh.partners.does.callers
