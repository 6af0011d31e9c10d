"""The demo organisation, and the commands that play with it."""

import asyncio
import secrets
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from pydantic import SecretStr

from svc_runtime.errors import Code, TrellisError
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.attribution.v1 import attribution_service_pb2 as attribution_pb2
from trellis.attribution.v1 import attribution_service_pb2_grpc as attribution_grpc
from trellis.auth.v1 import auth_service_pb2 as auth_pb2
from trellis.auth.v1 import auth_service_pb2_grpc as auth_grpc
from trellisctl.errors import CommandError
from trellisctl.installation import Installation, read_installation
from trellisctl.traffic.send import send
from trellisctl.traffic.unattributed import make_unattributed
from trellisctl.traffic.visits import Site, make_visitors

ORGANIZATION_ID = "org_acmecorp"
HOST = "track.acmecorp.com"
SECRET_KEY = "wdn_sk_live_acmecorp_key"  # noqa: S105 - fixed, public and for demonstration only, as WARNING says
PUBLISHABLE_KEY = "wdn_pk_live_acmecorp_key"
CAMPAIGN_ID = "summer_sale"
DESTINATION_URL = "https://shop.acmecorp.com/summer-sale"
TIMEOUT_SECONDS = 30.0
WARNING = f"""
  DEMONSTRATION ONLY. The demo keys {SECRET_KEY} and {PUBLISHABLE_KEY}
  are fixed and everybody knows them. Never let this installation face the internet."""


def invitation(installation: Installation) -> str:
    """Return the lines to try once the demo is up."""
    url = installation.http_url
    link = f"{url}/in/{CAMPAIGN_ID}?click_id=fb_123abc&source=facebook&medium=cpc&utm_campaign=summer2024"
    return f"""
Trellis is ready. Follow a link of the demo campaign, read the event back, and see that all is accounted for:

  curl -si -H 'Host: {HOST}' '{link}'
  curl -s -H 'Authorization: Bearer {SECRET_KEY}' '{url}/api/v1/events?click_id=fb_123abc'
  curl -s -H 'Authorization: Bearer {SECRET_KEY}' '{url}/api/v1/ledger'
"""


async def seed(installation: Installation) -> None:
    """Make the demo organisation, host, keys and campaign, whatever of them is missing. Idempotent.

    What is there is left as it is: a paused campaign stays paused. Raises TrellisError when a service refuses.
    """
    mesh = MeshSettings(mesh_secret=SecretStr(installation.mesh_secret))
    caller = Caller(CallerKind.OPERATOR, actor="operator", organization_id=ORGANIZATION_ID)
    credentials = Credentials(mesh, "trellisctl")
    async with (
        open_channel(mesh, installation.auth_target) as auth,
        open_channel(mesh, installation.attribution_target) as attribution,
    ):
        seeder = _Seeder(
            auth_grpc.AuthServiceStub(auth),
            attribution_grpc.AttributionServiceStub(attribution),
            {"metadata": credentials.as_caller(caller), "timeout": TIMEOUT_SECONDS},
        )
        await seeder.organization()
        await seeder.domain()
        await seeder.key(SECRET_KEY, auth_pb2.KEY_KIND_SECRET, role="owner")
        await seeder.key(PUBLISHABLE_KEY, auth_pb2.KEY_KIND_PUBLISHABLE)
        await seeder.campaign()


class _Seeder:
    def __init__(
        self,
        auth: "auth_grpc.AuthServiceAsyncStub",
        attribution: "attribution_grpc.AttributionServiceAsyncStub",
        call: dict[str, Any],
    ) -> None:
        self._auth = auth
        self._attribution = attribution
        self._call = call

    async def organization(self) -> None:
        request = auth_pb2.CreateOrganizationRequest(organization_id=ORGANIZATION_ID, name="Acme Corp")
        await _unless_there(self._auth.CreateOrganization(request, **self._call))

    async def domain(self) -> None:
        await _unless_there(self._auth.AddDomain(auth_pb2.AddDomainRequest(host=HOST), **self._call))

    async def key(self, key: str, kind: "auth_pb2.KeyKind.ValueType", *, role: str = "") -> None:
        if await self._is_known(key):
            return
        request = auth_pb2.CreateKeyRequest(
            name=f"Demo: {key}", kind=kind, environment=auth_pb2.KEY_ENVIRONMENT_LIVE, role=role, fixed_key=key
        )
        await _unless_there(self._auth.CreateKey(request, **self._call))

    async def campaign(self) -> None:
        request = attribution_pb2.CreateCampaignRequest(
            campaign_id=CAMPAIGN_ID, slug=CAMPAIGN_ID, name="Summer sale", destination_url=DESTINATION_URL
        )
        await _unless_there(self._attribution.CreateCampaign(request, **self._call))

    async def _is_known(self, key: str) -> bool:
        # A revoked or expired key stays so: the user did that.
        try:
            await self._auth.ValidateKey(auth_pb2.ValidateKeyRequest(key=key), **self._call)
        except grpc.aio.AioRpcError as rpc_error:
            error = error_from_rpc(rpc_error)
            if error.reason in {"KEY_UNKNOWN", "KEY_MALFORMED"}:
                return False
            if error.reason in {"KEY_REVOKED", "KEY_EXPIRED", "ORGANIZATION_SUSPENDED"}:
                return True
            raise error from None
        return True


async def _unless_there(call: Awaitable[Any]) -> None:
    try:
        await call
    except grpc.aio.AioRpcError as rpc_error:
        error: TrellisError = error_from_rpc(rpc_error)
        if error.code is not Code.ALREADY_EXISTS:
            raise error from None


def register(app: typer.Typer) -> None:
    """Add the commands ``demo …``."""
    group = typer.Typer(help="Play with the demo organisation of `trellis up --demo`.", no_args_is_help=True)
    group.command("traffic")(_traffic)
    app.add_typer(group, name="demo")


def _traffic(
    *,
    events: Annotated[int, typer.Option(help="How many events to send.", min=1)] = 1000,
    url: Annotated[str | None, typer.Option(help="The gateway; the installation's by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same traffic; chosen by chance.")] = None,
    tiktok: Annotated[int, typer.Option(help="Clicks from TikTok that no campaign has, besides.", min=0)] = 0,
    truth: Annotated[
        Path | None, typer.Option(help="Write here, as JSON, what a campaign over them must find.")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at one time.", min=1, max=1000)] = 32,
    data_dir: Annotated[Path | None, typer.Option(help="Data directory of `trellis up`.")] = None,
) -> None:
    """Send realistic traffic: several sources, devices, countries, bots, returning visitors, postbacks."""
    target = (url or read_installation(data_dir).http_url).rstrip("/")
    chosen_seed = secrets.randbelow(1_000_000) if seed is None else seed
    site = Site(CAMPAIGN_ID, PUBLISHABLE_KEY)
    visitors = make_visitors(events, site, seed=chosen_seed)
    found, known = make_unattributed(tiktok, site, seed=chosen_seed)
    visitors += found
    if truth is not None:
        truth.write_text(known.text())
    summary = asyncio.run(send(visitors, url=target, host=HOST, concurrency=concurrency))
    print(f"{summary.text()}\nseed      {chosen_seed}")
    if summary.failure_count:
        raise CommandError(
            f"{summary.failure_count} of {summary.sent_count} requests failed: does {target} run with --demo?"
        )
