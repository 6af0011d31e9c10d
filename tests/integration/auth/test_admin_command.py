"""``trellis org|key|domain|role|audit`` against a Warden that runs."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from svc_runtime.errors import TrellisError
from svc_runtime.keys import parse_key
from tests.integration.auth.process import SECRET, free_port, running_process, wait_until_healthy
from tests.postgres import PostgresServer
from trellisctl import admin
from trellisctl.errors import CommandError
from trellisctl.installation import Installation, write_installation

pytestmark = pytest.mark.store
app = typer.Typer()
admin.register(app)


@pytest.fixture(scope="module")
def target(postgres: PostgresServer) -> Iterator[str]:
    """Where a Warden listens."""
    dsn = asyncio.run(postgres.create_database())
    port = free_port()
    with running_process(AUTH_LISTEN=f"127.0.0.1:{port}", AUTH_POSTGRES_DSN=dsn):
        wait_until_healthy(port)
        yield f"127.0.0.1:{port}"
    asyncio.run(postgres.drop_database(dsn))


@pytest.fixture
def trellis(target: str, monkeypatch: pytest.MonkeyPatch) -> "Trellis":
    """The command, with the installation in the environment."""
    monkeypatch.setenv("TRELLIS_MESH_SECRET", SECRET)
    monkeypatch.setenv("TRELLIS_AUTH_TARGET", target)
    return Trellis()


class Trellis:
    """Runs the command in this process."""

    def __call__(self, *arguments: str) -> str:
        """Return what it prints on standard output; raise what it raises."""
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        """Return what it prints as JSON."""
        return json.loads(self(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        """Return the text of the error that it ends with."""
        with pytest.raises((TrellisError, CommandError)) as error:
            self(*arguments)
        return str(error.value)


@pytest.fixture
def org(trellis: Trellis) -> str:
    """An organisation of this test's own."""
    made = trellis.json("org", "create", "Acme [bold]Corp")
    return str(made["organization_id"])


def test_an_organisation_is_created_listed_shown_suspended_and_resumed(trellis: Trellis, org: str) -> None:
    assert org in trellis("org", "list")
    assert org in [each["organization_id"] for each in trellis.json("org", "list")]
    text = trellis("org", "show", org)
    assert "Acme [bold]Corp" in text
    assert "active" in text
    assert "suspended" in trellis("org", "suspend", org)
    assert trellis.json("org", "show", org)["status"] == "ORGANIZATION_STATUS_SUSPENDED"
    assert "active" in trellis("org", "resume", org)


def test_a_wanted_id_is_taken_once(trellis: Trellis) -> None:
    assert "org_wanted" in trellis("org", "create", "Wanted", "--id", "org_wanted")
    assert "org_wanted" in trellis.refused("org", "create", "Wanted", "--id", "org_wanted")


def test_a_key_is_shown_once_and_never_again(trellis: Trellis, org: str) -> None:
    text = trellis("key", "create", "--org", org, "--name", "Server", "--scope", "keys:read", "--scope", "audit:read")
    secret = next(line for line in text.splitlines() if line.startswith("wdn_sk_live_"))
    key_id = parse_key(secret).key_id
    assert key_id in text
    listed = trellis("key", "list", "--org", org)
    assert key_id in listed
    assert "audit:read keys:read" in listed
    for output in (listed, trellis("key", "list", "--org", org, "--json"), trellis("audit", "list", "--org", org)):
        assert secret not in output
        assert secret[34:56] not in output


def test_keys_are_rotated_and_revoked(trellis: Trellis, org: str) -> None:
    made = trellis.json(
        "key", "create", "--org", org, "--name", "k", "--role", "sender", "--environment", "test", "--expires-in", "90d"
    )
    key_id = made["key"]["key_id"]
    assert made["secret"].startswith("wdn_sk_test_")
    assert made["key"]["expire_time"]
    text = trellis("key", "rotate", key_id, "--org", org, "--overlap", "0s")
    renewed = next(line for line in text.splitlines() if line.startswith("wdn_sk_test_"))
    assert f"The old key {key_id}: expired" in text
    assert "not live" in trellis.refused("key", "rotate", key_id, "--org", org)
    renewed_id = parse_key(renewed).key_id
    assert "revoked" in trellis("key", "revoke", renewed_id, "--org", org)
    assert trellis.json("key", "list", "--org", org) == []
    assert {each["key_id"] for each in trellis.json("key", "list", "--org", org, "--all")} == {key_id, renewed_id}


def test_a_publishable_key_needs_no_scope(trellis: Trellis, org: str) -> None:
    made = trellis.json("key", "create", "--org", org, "--name", "Site", "--kind", "publishable")
    assert made["secret"].startswith("wdn_pk_live_")
    assert made["key"]["scopes"] == ["traffic:write"]


def test_domains_are_added_listed_and_removed(trellis: Trellis, org: str) -> None:
    host = f"{org.replace('_', '-')}.example.com"
    assert host in trellis("domain", "add", host.upper(), "--org", org)
    assert [each["host"] for each in trellis.json("domain", "list", "--org", org)] == [host]
    trellis("domain", "remove", host, "--org", org)
    assert trellis.json("domain", "list", "--org", org) == []


def test_partners_are_added_rotated_and_revoked(trellis: Trellis, org: str) -> None:
    made = trellis.json(
        "partner", "create", "--org", org, "--name", "CJ", "--network", "cj", "--address", "10.0.0.0/8", "--signed"
    )
    assert made["token"].startswith("wdn_pt_")
    assert made["signing_secret"].startswith("whsec_")
    partner_id = made["partner"]["partner_id"]
    listed = trellis("partner", "list", "--org", org)
    assert all(text in listed for text in (partner_id, "cj", "10.0.0.0/8", made["token"][-4:], "live"))
    assert made["token"] not in listed
    rotated = trellis("partner", "rotate", partner_id, "--org", org, "--overlap", "0s")
    assert "wdn_pt_" in rotated
    assert "revoked" in trellis("partner", "revoke", partner_id, "--org", org)
    assert trellis.json("partner", "list", "--org", org) == []
    assert len(trellis.json("partner", "list", "--org", org, "--all")) == 1


def test_roles_are_created_and_listed_after_the_built_in_ones(trellis: Trellis, org: str) -> None:
    trellis("role", "create", "helper", "--org", org, "--scope", "keys:read")
    names = [each["name"] for each in trellis.json("role", "list", "--org", org)]
    assert names == ["owner", "admin", "marketer", "analyst", "sender", "helper"]
    assert "built in" in trellis("role", "list", "--org", org)


def test_the_audit_log_says_who_did_what(trellis: Trellis, org: str) -> None:
    trellis("role", "create", "helper", "--org", org, "--scope", "keys:read")
    entries = trellis.json("audit", "list", "--org", org)
    assert [(each["actor"], each["action"], each["target"]) for each in entries] == [
        ("operator", "role.create", "helper"),
        ("operator", "organization.create", org),
    ]
    assert len(trellis.json("audit", "list", "--org", org, "--limit", "1")) == 1
    assert "role.create" in trellis("audit", "list", "--org", org)


@pytest.mark.parametrize("group", ["key", "domain", "role", "audit"])
def test_an_unknown_organisation_is_named_and_not_shown_as_empty(trellis: Trellis, group: str) -> None:
    assert "org_nowhere" in trellis.refused(group, "list", "--org", "org_nowhere")


@pytest.mark.parametrize("text", ["soon", "1y", "-1d", "1", "", "9999999d"])
def test_a_length_of_time_that_is_none_is_a_usage_error(trellis: Trellis, text: str) -> None:
    result = CliRunner().invoke(app, ["key", "rotate", "k" * 22, "--org", "org_a", "--overlap", text])
    assert result.exit_code == 2
    assert "length of time" in result.output


def test_more_items_than_a_page_are_listed_whole(trellis: Trellis, org: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellisctl.admin.session.PAGE_SIZE", 2)
    for number in range(5):
        trellis("domain", "add", f"t{number}.{org.replace('_', '-')}.example.com", "--org", org)
    assert len(trellis.json("domain", "list", "--org", org)) == 5
    assert len(trellis.json("audit", "list", "--org", org, "--limit", "3")) == 3


def test_the_data_directory_of_trellis_up_says_where_and_with_which_secret(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRELLIS_MESH_SECRET", raising=False)
    monkeypatch.delenv("TRELLIS_AUTH_TARGET", raising=False)
    write_installation(tmp_path, Installation(SECRET, target, "unused:1", "unused:2", "unused:3", "http://unused"))
    assert "org_" in Trellis()("org", "create", "By directory", "--data-dir", str(tmp_path))


def test_a_wrong_secret_is_refused_and_a_silent_target_is_named(
    trellis: Trellis, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = f"127.0.0.1:{free_port()}"
    assert silent in trellis.refused("org", "list", "--auth-target", silent)
    monkeypatch.setenv("TRELLIS_MESH_SECRET", "w" * 32)
    assert "not valid" in trellis.refused("org", "list")
