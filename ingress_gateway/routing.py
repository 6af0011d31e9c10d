"""Where does a link lead? Campaigns compiled for the hot path, from a snapshot that attribution_svc pushes."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from svc_runtime.logs import get_logger
from trellis.attribution.v1 import attribution_service_pb2 as pb

# What may stand in a Location as it is; anything else that a client sent is percent-encoded.
_UNSAFE = re.compile(rb"[^\x21-\x7e]|#")
# A publishable key in the query says who owns the link; the destination has no business with it.
_KEY_PARAMETER = re.compile(rb"(?:^|&)(?:k|key|api_key|write_key|writeKey)=wdn_[A-Za-z0-9_]*", re.IGNORECASE)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """A destination, taken apart once."""

    base: bytes
    """Scheme to path, as the Location will begin."""
    own_query: bytes
    fragment: bytes
    """With its `#`, or empty."""
    own_names: frozenset[bytes]
    """Decoded names of its own parameters: they win over incoming ones."""

    @classmethod
    def compile(cls, url: str) -> "Target":
        """Take an absolute URL apart; raise ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("the destination is no absolute http(s) URL")
        base = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}".encode()
        query = parts.query.encode()
        return cls(
            base=base,
            own_query=query,
            fragment=b"#" + parts.fragment.encode() if parts.fragment else b"",
            own_names=frozenset(name for name, _ in split_query(query)),
        )

    def location(self, incoming_query: bytes, click_id: str, *, passes_parameters: bool) -> bytes:
        """Return the Location for a request's raw query.

        All incoming parameters go along as they came, but those that the destination sets itself; our click id is
        added where none came. Only the query can be influenced by the request.
        """
        pieces = [self.own_query] if self.own_query else []
        has_click_id = b"click_id" in self.own_names
        if passes_parameters and incoming_query:
            if b"wdn_" in incoming_query:
                incoming_query = _KEY_PARAMETER.sub(b"", incoming_query).lstrip(b"&")
            if self.own_names:
                incoming_query = b"&".join(
                    piece for name, piece in split_query(incoming_query) if name not in self.own_names
                )
            if incoming_query:
                pieces.append(_UNSAFE.sub(_percent, incoming_query))
                has_click_id = has_click_id or _has_click_id(incoming_query)
        if not has_click_id:
            pieces.append(b"click_id=" + click_id.encode())
        return b"".join((self.base, b"?", b"&".join(pieces), self.fragment))


def split_query(query: bytes) -> list[tuple[bytes, bytes]]:
    """Return (decoded name, raw piece) of each parameter, in order."""
    return [
        (unquote_to_bytes(piece.partition(b"=")[0].replace(b"+", b" ")), piece) for piece in query.split(b"&") if piece
    ]


def _has_click_id(query: bytes) -> bool:
    return query.startswith(b"click_id=") or b"&click_id=" in query


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


@dataclass(frozen=True, slots=True)
class Route:
    """A campaign, ready to route by."""

    campaign_id: str
    organization_id: str
    version: int
    is_paused: bool
    target: Target
    fallback: Target | None
    passes_parameters: bool

    @classmethod
    def compile(cls, campaign: pb.Campaign) -> "Route":
        """Compile a campaign."""
        return cls(
            campaign_id=campaign.campaign_id,
            organization_id=campaign.organization_id,
            version=campaign.version,
            is_paused=campaign.status == pb.CAMPAIGN_STATUS_PAUSED,
            target=Target.compile(campaign.destination_url),
            fallback=Target.compile(campaign.fallback_url) if campaign.fallback_url else None,
            passes_parameters=campaign.parameter_policy != pb.PARAMETER_POLICY_NONE,
        )


class Routing:
    """The snapshot, looked up by organisation and slug. Used on the event loop only."""

    def __init__(self) -> None:
        self.revision = 0
        self.epoch = 0
        self.is_ready = False
        """True once a snapshot, of attribution_svc or of the disk, is there."""
        self._campaigns: dict[tuple[str, str], pb.Campaign] = {}
        self._slugs: dict[tuple[str, str], Route] = {}

    def apply(self, change: pb.WatchRoutingResponse) -> bool:
        """Take a snapshot or a change in; return whether anything changed.

        A snapshot of an older epoch, or of the same epoch and a lower revision, is refused: a database restored from a
        backup cannot silently roll live campaigns back.
        """
        if change.is_snapshot:
            if (change.epoch, change.revision) < (self.epoch, self.revision):
                _log.error(
                    "a snapshot of campaigns older than the one held is refused",
                    held=(self.epoch, self.revision),
                    got=(change.epoch, change.revision),
                )
                return False
            self._campaigns, self._slugs = {}, {}
        for campaign in change.campaigns:
            self._put(campaign)
        self.revision, self.epoch = change.revision, change.epoch
        self.is_ready = True
        return True

    def _put(self, campaign: pb.Campaign) -> None:
        key = (campaign.organization_id, campaign.campaign_id)
        before = self._campaigns.pop(key, None)
        if before is not None:
            held = self._slugs.get((before.organization_id, before.slug))
            if held is not None and held.campaign_id == campaign.campaign_id:
                del self._slugs[before.organization_id, before.slug]
        if campaign.status == pb.CAMPAIGN_STATUS_ARCHIVED:
            return
        try:
            route = Route.compile(campaign)
        except ValueError as error:
            # It was validated where it was stored. What went wrong there must not stop every other link.
            _log.error("a campaign cannot be routed by", campaign_id=campaign.campaign_id, error=str(error))
            return
        self._campaigns[key] = campaign
        self._slugs[campaign.organization_id, campaign.slug] = route

    def find(self, organization_id: str, slug: str) -> Route | None:
        """Return the route of a slug, paused ones too."""
        return self._slugs.get((organization_id, slug))

    def find_campaign(self, organization_id: str, campaign_id: str) -> Route | None:
        """Return the route of a campaign, paused ones too."""
        campaign = self._campaigns.get((organization_id, campaign_id))
        return self.find(organization_id, campaign.slug) if campaign is not None else None

    def snapshot(self) -> pb.WatchRoutingResponse:
        """Return everything held, as one snapshot, for the disk."""
        return pb.WatchRoutingResponse(
            revision=self.revision, epoch=self.epoch, is_snapshot=True, campaigns=self._campaigns.values()
        )
