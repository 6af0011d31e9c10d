"""``trellis key``: publishable and secret keys."""

import enum
from datetime import UTC, datetime
from typing import Annotated

import typer

from trellis.auth.v1 import auth_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.durations import parse_duration
from trellisctl.admin.session import AuthTargetOption, DataDirOption, JsonOption, OrganizationOption, Warden, run

group = typer.Typer(help="Keys: publishable ones for pages, secret ones for servers.", no_args_is_help=True)
KeyIdArgument = Annotated[str, typer.Argument(metavar="KEY_ID", help="Public id of the key.")]


class Kind(enum.Enum):
    """What a key is for."""

    SECRET = "secret"  # noqa: S105 - the word on the command line
    PUBLISHABLE = "publishable"


class Environment(enum.Enum):
    """The real thing or a test."""

    LIVE = "live"
    TEST = "test"


_KINDS = {Kind.SECRET: pb.KEY_KIND_SECRET, Kind.PUBLISHABLE: pb.KEY_KIND_PUBLISHABLE}
_ENVIRONMENTS = {Environment.LIVE: pb.KEY_ENVIRONMENT_LIVE, Environment.TEST: pb.KEY_ENVIRONMENT_TEST}


def _state(key: pb.Key) -> str:
    if key.HasField("revoke_time"):
        return f"revoked {show.instant(key.revoke_time)}"
    if not key.HasField("expire_time"):
        return "live"
    is_over = key.expire_time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
    return f"{'expired' if is_over else 'until'} {show.instant(key.expire_time)}"


_COLUMNS: show.Columns = {
    "KEY_ID": lambda it: it.key_id,
    "NAME": lambda it: it.name,
    "KIND": lambda it: show.name_of(pb.KeyKind, "KEY_KIND_", it.kind),
    "ENV": lambda it: show.name_of(pb.KeyEnvironment, "KEY_ENVIRONMENT_", it.environment),
    "ROLE": lambda it: it.role,
    "SCOPES": lambda it: " ".join(it.scopes),
    "ENDS": lambda it: f"…{it.last_four}",
    "STATE": _state,
    "CREATED": lambda it: show.instant(it.create_time),
    "LAST USED": lambda it: show.instant(it.last_use_time),
}


@group.command("create")
def create(
    *,
    organization_id: OrganizationOption,
    name: Annotated[str, typer.Option(help="Name for people: where is it used?")],
    kind: Annotated[Kind, typer.Option(help="What it is for.")] = Kind.SECRET,
    environment: Annotated[Environment, typer.Option(help="Events of test keys are marked.")] = Environment.LIVE,
    scope: Annotated[list[str] | None, typer.Option(help="A scope; may be repeated. Secret keys only.")] = None,
    role: Annotated[str, typer.Option(help="A role, in place of or beside scopes. Secret keys only.")] = "",
    expires_in: Annotated[str, typer.Option(help="How long it lives: 90d, 12h. For ever by default.")] = "",
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key and show it, this once."""
    request = pb.CreateKeyRequest(
        name=name, kind=_KINDS[kind], environment=_ENVIRONMENTS[environment], scopes=scope or [], role=role
    )
    if expires_in:
        request.expire_time.FromDatetime(datetime.now(UTC) + parse_duration(expires_in))
    answer = run(
        lambda w: w.call("CreateKey", request),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    show.key_made(answer, answer.secret, _COLUMNS, answer.key, as_json=as_json)


@group.command("list")
def list_(
    *,
    organization_id: OrganizationOption,
    every: Annotated[bool, typer.Option("--all", help="Show revoked and expired keys too.")] = False,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List an organisation's keys, newest first."""

    async def talk(warden: Warden) -> list[pb.Key]:
        await warden.check_organization(organization_id)
        return await warden.list_all("ListKeys", pb.ListKeysRequest(include_inactive=every), "keys")

    found = run(talk, data_dir=data_dir, auth_target=auth_target, organization_id=organization_id)
    show.table(found, _COLUMNS, as_json=as_json)


@group.command("rotate")
def rotate(
    key_id: KeyIdArgument,
    *,
    organization_id: OrganizationOption,
    overlap: Annotated[str, typer.Option(help="How long the old key lives on: 0s to 30d.")] = "24h",
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key that takes over from another, and show it, this once."""
    request = pb.RotateKeyRequest(key_id=key_id, overlap_seconds=round(parse_duration(overlap).total_seconds()))
    answer = run(
        lambda w: w.call("RotateKey", request),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    show.key_made(answer, answer.secret, _COLUMNS, answer.key, as_json=as_json)
    if not as_json:
        print(f"The old key {answer.old_key.key_id}: {_state(answer.old_key)}.")


@group.command("revoke")
def revoke(
    key_id: KeyIdArgument,
    *,
    organization_id: OrganizationOption,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key for ever."""
    request = pb.RevokeKeyRequest(key_id=key_id)
    answer = run(
        lambda w: w.call("RevokeKey", request),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    show.one(answer.key, _COLUMNS, as_json=as_json)
