"""A gateway worker without the rest of the mesh: it starts from snapshots, as after a restart while all is down."""

import sys
from collections.abc import Mapping
from pathlib import Path

from svc_runtime.keys import present_key
from tests.mesh.mesh import inherited_environment
from tests.mesh.process import Launch, Process
from trellis.attribution.v1 import attribution_service_pb2 as attribution_pb
from trellis.auth.v1 import auth_service_pb2 as auth_pb
from trellisctl import demo

PEPPER = "p" * 32
MESH_SECRET = "m" * 40
# Nothing listens on port 1: the connection is refused at once.
_NOBODY = "127.0.0.1:1"


def write_snapshots(
    data_dir: Path,
    *,
    pepper: str = PEPPER,
    workers: int = 1,
    campaign: attribution_pb.Campaign | None = None,
) -> None:
    """Write what gateways would remember of the demo organisation; ``pepper`` is theirs, ``campaign`` its link."""
    directory = data_dir / "snapshots"
    directory.mkdir(parents=True, exist_ok=True)
    for worker in range(workers):
        (directory / f"keys-w{worker}.pb").write_bytes(_keys(pepper).SerializeToString())
        (directory / f"routing-w{worker}.pb").write_bytes(_routing(campaign).SerializeToString())


def _keys(pepper: str) -> auth_pb.WatchKeysResponse:
    snapshot = auth_pb.WatchKeysResponse(revision=1, is_snapshot=True)
    for key, kind, scopes in (
        (demo.SECRET_KEY, auth_pb.KEY_KIND_SECRET, ["traffic:write", "traffic:read", "analytics:read"]),
        (demo.PUBLISHABLE_KEY, auth_pb.KEY_KIND_PUBLISHABLE, ["traffic:write"]),
    ):
        presented = present_key(pepper.encode(), key)
        snapshot.keys.add(
            key_id=presented.key_id,
            organization_id=demo.ORGANIZATION_ID,
            hash=presented.hash,
            kind=kind,
            environment=auth_pb.KEY_ENVIRONMENT_LIVE,
            scopes=scopes,
        )
    snapshot.domains.add(host=demo.HOST, organization_id=demo.ORGANIZATION_ID)
    snapshot.organizations.add(organization_id=demo.ORGANIZATION_ID, status=auth_pb.ORGANIZATION_STATUS_ACTIVE)
    return snapshot


def _routing(campaign: attribution_pb.Campaign | None) -> attribution_pb.WatchRoutingResponse:
    snapshot = attribution_pb.WatchRoutingResponse(revision=1, epoch=1, is_snapshot=True)
    if campaign is not None:
        snapshot.campaigns.append(campaign)
        return snapshot
    snapshot.campaigns.add(
        campaign_id=demo.CAMPAIGN_ID,
        organization_id=demo.ORGANIZATION_ID,
        slug=demo.CAMPAIGN_ID,
        status=attribution_pb.CAMPAIGN_STATUS_ACTIVE,
        destination_url=demo.DESTINATION_URL,
        version=1,
    )
    return snapshot


def gateway_alone(
    data_dir: Path,
    port: int,
    *,
    core: int | None = None,
    capture_target: str = _NOBODY,
    environment: Mapping[str, str] | None = None,
    campaign: attribution_pb.Campaign | None = None,
) -> Process:
    """Return a worker that is ready to start: Warden and attribution_svc are down, capture_svc where you say."""
    data_dir.mkdir(parents=True, exist_ok=True)
    write_snapshots(data_dir, campaign=campaign)
    settings = {
        "TRELLIS_MESH_SECRET": MESH_SECRET,
        "GATEWAY_DATA_DIR": str(data_dir),
        "GATEWAY_HTTP_PORT": str(port),
        "GATEWAY_KEY_PEPPER": PEPPER,
        "GATEWAY_AUTH_TARGET": _NOBODY,
        "GATEWAY_ATTRIBUTION_TARGET": _NOBODY,
        "GATEWAY_CAPTURE_TARGET": capture_target,
    }
    return Process(
        "gateway-0",
        Launch(
            command=lambda: (sys.executable, "-P", "-m", "ingress_gateway"),
            environment={**inherited_environment(), **settings, **(environment or {})},
            core=core,
        ),
        data_dir / "gateway.log",
    )
