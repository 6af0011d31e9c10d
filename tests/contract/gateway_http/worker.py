"""A gateway worker in this process: snapshots on disk, no services, and its journal read back."""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pydantic import SecretStr

from ingress_gateway.counters import Counters
from ingress_gateway.gateway import Gateway
from ingress_gateway.journal.disk import OsDisk
from ingress_gateway.server import build, serve
from ingress_gateway.settings import GatewaySettings
from svc_runtime.keys import KeyEnvironment, KeyKind, new_key, present_key
from svc_runtime.partner_tokens import new_partner_token, present_partner_token
from svc_runtime.sealing import PARTNER_SECRETS, Sealer
from svc_runtime.settings import MeshSettings, TelemetrySettings
from tests.contract.gateway_http.wire import Response, talk, talk_until_closed
from trellis.attribution.v1 import attribution_service_pb2, claim_pb2, rule_pb2
from trellis.auth.v1 import auth_service_pb2, partner_service_pb2
from trellis.capture.v1 import event_pb2
from trellis.type.v1 import predicate_pb2

PEPPER = "p" * 32
HOST = "track.acmecorp.com"
SECRET_KEY = "wdn_sk_live_acmecorp_key"
PUBLISHABLE_KEY = "wdn_pk_live_acmecorp_key"
TEST_KEY = new_key(KeyKind.PUBLISHABLE, KeyEnvironment.TEST)
REVOKED_KEY = new_key(KeyKind.PUBLISHABLE, KeyEnvironment.LIVE)
EXPIRED_KEY = new_key(KeyKind.PUBLISHABLE, KeyEnvironment.LIVE)
READ_KEY = new_key(KeyKind.SECRET, KeyEnvironment.LIVE)
OTHER_SECRET_KEY = new_key(KeyKind.SECRET, KeyEnvironment.LIVE)
OTHER_KEY = new_key(KeyKind.PUBLISHABLE, KeyEnvironment.LIVE)
SHOP = "https://shop.acmecorp.com/summer-sale"

UPLOAD_KEY = new_key(KeyKind.SECRET, KeyEnvironment.LIVE)
PARTNER_TOKEN = new_partner_token()
OLD_TOKEN = new_partner_token()
SIGNING_TOKEN = new_partner_token()
NEAR_TOKEN = new_partner_token()
DISABLED_TOKEN = new_partner_token()
REVOKED_TOKEN = new_partner_token()
OTHER_TOKEN = new_partner_token()
SIGNING_SECRET = b"s" * 32

_MESH = MeshSettings(mesh_secret=SecretStr("m" * 32))


def keys_snapshot(revision: int = 1) -> auth_service_pb2.WatchKeysResponse:
    """Return what Warden would say: two organisations, their hosts, and keys of every kind."""
    pb = auth_service_pb2
    snapshot = pb.WatchKeysResponse(revision=revision, is_snapshot=True)
    for text, scopes, organization_id in (
        (SECRET_KEY, ["traffic:write", "traffic:read", "campaigns:read", "campaigns:write"], "org_acmecorp"),
        (PUBLISHABLE_KEY, ["traffic:write"], "org_acmecorp"),
        (TEST_KEY, ["traffic:write"], "org_acmecorp"),
        (REVOKED_KEY, ["traffic:write"], "org_acmecorp"),
        (EXPIRED_KEY, ["traffic:write"], "org_acmecorp"),
        (READ_KEY, ["traffic:read"], "org_acmecorp"),
        (OTHER_SECRET_KEY, ["traffic:write"], "org_acmecorp"),
        (OTHER_KEY, ["traffic:write"], "org_other"),
        (UPLOAD_KEY, ["conversions:write"], "org_acmecorp"),
    ):
        presented = present_key(PEPPER.encode(), text)
        record = snapshot.keys.add(
            key_id=presented.key_id,
            organization_id=organization_id,
            hash=presented.hash,
            kind=pb.KEY_KIND_SECRET if presented.kind is KeyKind.SECRET else pb.KEY_KIND_PUBLISHABLE,
            environment=pb.KEY_ENVIRONMENT_TEST
            if presented.environment is KeyEnvironment.TEST
            else pb.KEY_ENVIRONMENT_LIVE,
            scopes=scopes,
        )
        if text == REVOKED_KEY:
            record.revoke_time.FromJsonString("2026-01-01T00:00:00Z")
        if text == EXPIRED_KEY:
            record.expire_time.FromJsonString("2026-01-01T00:00:00Z")
    snapshot.domains.add(host=HOST, organization_id="org_acmecorp")
    snapshot.domains.add(host="go.other.example", organization_id="org_other")
    snapshot.partners.extend(_partners())
    for organization_id in ("org_acmecorp", "org_other"):
        snapshot.organizations.add(organization_id=organization_id, status=pb.ORGANIZATION_STATUS_ACTIVE)
    return snapshot


def _partners() -> list[partner_service_pb2.PartnerRecord]:
    partners = [
        _partner("ptr_cj", PARTNER_TOKEN, OLD_TOKEN, network="cj", return_text="success=true"),
        _partner("ptr_signing", SIGNING_TOKEN, network="awin"),
        _partner("ptr_near", NEAR_TOKEN, addresses=["198.51.100.0/24", "2001:db8::/32"]),
        _partner("ptr_disabled", DISABLED_TOKEN, is_enabled=False),
        _partner("ptr_revoked", REVOKED_TOKEN),
        _partner("ptr_other", OTHER_TOKEN, organization_id="org_other"),
    ]
    partners[0].tokens[1].expire_time.FromJsonString("2026-01-01T00:00:00Z")
    partners[1].sealed_secret = Sealer("m" * 32, PARTNER_SECRETS).seal(SIGNING_SECRET, "ptr_signing")
    partners[4].revoke_time.FromJsonString("2026-01-01T00:00:00Z")
    return partners


def _partner(partner_id: str, *tokens: str, **fields: Any) -> partner_service_pb2.PartnerRecord:
    presented = [present_partner_token(PEPPER.encode(), token) for token in tokens]
    return partner_service_pb2.PartnerRecord(
        partner_id=partner_id,
        tokens=[partner_service_pb2.PartnerToken(token_id=one.token_id, hash=one.hash) for one in presented],
        **{"organization_id": "org_acmecorp", "is_enabled": True} | fields,
    )


def routing_snapshot(revision: int = 1) -> attribution_service_pb2.WatchRoutingResponse:
    """Return what attribution_svc would say: campaigns of every kind."""
    pb = attribution_service_pb2
    snapshot = pb.WatchRoutingResponse(revision=revision, epoch=1, is_snapshot=True)

    def add(slug: str, destination: str, campaign_id: str = "", **fields: Any) -> None:
        snapshot.campaigns.add(
            campaign_id=campaign_id or slug,
            organization_id="org_acmecorp",
            slug=slug,
            status=fields.pop("status", pb.CAMPAIGN_STATUS_ACTIVE),
            destination_url=destination,
            version=3,
            **fields,
        )

    add("summer_sale", SHOP)
    add("own", "https://shop.acmecorp.com/own?utm_source=ours&a=1#top")
    add("none", "https://shop.acmecorp.com/none", parameter_policy=rule_pb2.PARAMETER_POLICY_NONE)
    add("by-id", "https://shop.acmecorp.com/by-id", campaign_id="cmp_4711")
    add("a.b~c-d_E", "https://shop.acmecorp.com/odd")
    add("paused", "https://shop.acmecorp.com/paused", status=pb.CAMPAIGN_STATUS_PAUSED)
    add(
        "paused_elsewhere",
        "https://shop.acmecorp.com/paused",
        status=pb.CAMPAIGN_STATUS_PAUSED,
        fallback_url="https://shop.acmecorp.com/fallback",
    )
    add("ruled", "", action=_action("https://shop.acmecorp.com/rest"), rules=_rules())
    add("rules_alone", "", rules=_rules())
    wanted = predicate_pb2.Condition(field="param.wanted", operator=predicate_pb2.OPERATOR_EQUALS, values=["yes"])
    rule = rule_pb2.Rule(
        rule_id="wanted",
        predicate=predicate_pb2.Predicate(condition=wanted),
        action=_action("https://open.acmecorp.com/", tags=["found"]),
    )
    add("open", "", action=_action(SHOP), rules=[rule], claim=claim_pb2.Claim())
    add("back", f"https://{HOST}:8443/in/back")
    add("moved", "", action=_action(SHOP, redirect_type=rule_pb2.REDIRECT_TYPE_MOVED_PERMANENTLY))
    add("refreshed", "", action=_action(SHOP, redirect_type=rule_pb2.REDIRECT_TYPE_META_REFRESH))
    return snapshot


def _action(url: str, **fields: Any) -> rule_pb2.Action:
    return rule_pb2.Action(destinations=[rule_pb2.Destination(destination_id="d1", url=url, weight=100)], **fields)


def _rules() -> list[rule_pb2.Rule]:
    phones = predicate_pb2.Condition(field="device_type", operator=predicate_pb2.OPERATOR_EQUALS, values=["mobile"])
    tiktok = predicate_pb2.Condition(field="referer", operator=predicate_pb2.OPERATOR_CONTAINS, values=["tiktok.com"])
    return [
        rule_pb2.Rule(
            rule_id="phones",
            predicate=predicate_pb2.Predicate(condition=phones),
            action=_action("https://phone.acmecorp.com/?from={source|nobody}&zone={param:zone}", tags=["phone", "ä"]),
        ),
        rule_pb2.Rule(
            rule_id="tiktok",
            predicate=predicate_pb2.Predicate(condition=tiktok),
            action=_action("https://tiktok.acmecorp.com/", parameter_policy=rule_pb2.PARAMETER_POLICY_NONE),
        ),
    ]


@dataclass
class Worker:
    """A listening worker."""

    gateway: Gateway
    port: int
    directory: Path
    seen: int = 0
    """Sequence up to which events are another test's."""

    def begin(self) -> None:
        """Forget what was before, for a test that shares the worker."""
        self.seen = self.gateway.journal._sequence
        self.gateway.unclaimed._kept = 0
        for name in Counters.__slots__:
            setattr(self.gateway.counters, name, 0)

    async def talk(self, data: bytes, count: int = 1, **more: Any) -> list[Response]:
        """Send bytes over a new connection and read so many responses."""
        return await talk(self.port, data, count, **more)

    async def ask(self, data: bytes, **more: Any) -> Response:
        """Send one request over a new connection."""
        (response,) = await talk(self.port, data, 1, **more)
        return response

    async def talk_until_closed(self, data: bytes, **more: Any) -> bytes:
        """Send bytes and read until the worker closes the connection."""
        return await talk_until_closed(self.port, data, **more)

    async def events(self) -> list[event_pb2.Event]:
        """Return every event that the journal holds, in order."""
        journal = self.gateway.journal
        await journal.flush()
        # Of a shared worker's batches only ours: there are hundreds.
        batches = [journal.read(batch) for batch in journal.backlog if batch.meta.last_sequence > self.seen]
        events = [event for batch in batches for event in event_pb2.EventBatch.FromString(batch).events]
        return [event for event in events if event.sequence > self.seen]

    async def event(self) -> event_pb2.Event:
        """Return the newest event."""
        return (await self.events())[-1]


def save_snapshots(directory: Path, name: str = "w0") -> None:
    """Put the snapshots where an earlier run would have left them."""
    snapshots = directory / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    (snapshots / f"keys-{name}.pb").write_bytes(keys_snapshot().SerializeToString())
    (snapshots / f"routing-{name}.pb").write_bytes(routing_snapshot().SerializeToString())


def _write(_disk: OsDisk, descriptor: int, view: memoryview, offset: int) -> int:
    return os.pwritev(descriptor, [view], offset)


@contextlib.asynccontextmanager
async def running_worker(
    directory: Path,
    *,
    has_snapshots: bool = True,
    syncs: bool = False,
    telemetry: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Worker]:
    """Run a worker for the time of the block; no service is there to be reached.

    Its journal does not sync unless it is told to: what is durable is tested elsewhere, and a busy disk takes tens of
    milliseconds for each write.
    """
    if has_snapshots:
        await asyncio.to_thread(save_snapshots, directory)
    nowhere = "127.0.0.1:1"
    own = GatewaySettings(
        **{
            "data_dir": directory,
            "http_port": 0,
            "key_pepper": SecretStr(PEPPER),
            "auth_target": nowhere,
            "attribution_target": nowhere,
            "capture_target": nowhere,
            "analytics_target": nowhere,
            "batch_ms": 10_000,
            "redirect_budget_ms": 1000,
            "journal_segment_bytes": 1024 * 1024,
            **settings,
        }
    )
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    try:
        async with contextlib.AsyncExitStack() as stack:
            if not syncs:
                stack.enter_context(patch.object(OsDisk, "_write_synced", _write))
            gateway = await build(_MESH, TelemetrySettings(**(telemetry or {"sdk_disabled": True})), own, stack)
            _, port = await serve(gateway, stack)
            yield Worker(gateway, port, directory)
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
        gc.set_threshold(*threshold)
