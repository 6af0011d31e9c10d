"""Partners and their tokens, from the snapshot that Warden pushes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from ingress_gateway.arrival import Arrival
from ingress_gateway.settings import Network
from svc_runtime.errors import PermissionDeniedError, UnauthenticatedError, UnavailableError
from svc_runtime.keys import UNDERSCORE, same_hash
from svc_runtime.logs import get_logger
from svc_runtime.partner_tokens import PREFIX, present_partner_token
from svc_runtime.sealing import SealBrokenError, Sealer
from trellis.auth.v1 import partner_service_pb2 as pb

# By its look, wherever it stands: a partner can often change no more than a URL.
_TOKEN = re.compile(rf"wdn{UNDERSCORE}pt{UNDERSCORE}([0-9A-Za-z]{{1,100}})".encode())
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownPartner:
    """A partner whose token was shown."""

    partner_id: str
    organization_id: str
    network: str
    is_signed: bool
    secret: bytes | None = field(repr=False)
    """What it signs with; None where it does not sign, or the secret cannot be opened here."""
    addresses: tuple[Network, ...]
    return_text: str
    is_enabled: bool

    def check_may_send(self, ip: str) -> None:
        """Raise PermissionDeniedError where it is disabled, or sends from another place than it may."""
        if not self.is_enabled:
            raise PermissionDeniedError("the partner is disabled", reason="SENDER_REFUSED")
        if self.addresses and not self._has_address(ip):
            raise PermissionDeniedError("the partner may not send from this address", reason="SENDER_REFUSED")

    def signing_secret(self) -> bytes:
        """Return the secret of a partner that signs; raise UnavailableError where it does not open here."""
        if self.secret is None:
            raise UnavailableError("the partner's signing secret does not open in this gateway: send it again later")
        return self.secret

    def _has_address(self, ip: str) -> bool:
        try:
            address = ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self.addresses)


class Partners:
    """The partners of all organisations."""

    def __init__(self, pepper: bytes, sealer: Sealer) -> None:
        self._pepper = pepper
        self._sealer = sealer
        self._records: dict[str, pb.PartnerRecord] = {}
        self._tokens: dict[str, tuple[pb.PartnerToken, str]] = {}
        self._known: dict[str, KnownPartner] = {}

    @property
    def records(self) -> Iterable[pb.PartnerRecord]:
        """Everything held, for the disk; secrets are sealed in it."""
        return self._records.values()

    def apply(self, records: Iterable[pb.PartnerRecord], *, is_snapshot: bool) -> None:
        """Take partners in. One that was seen revoked stays so, whatever comes later."""
        before = self._records
        if is_snapshot:
            self._records, self._tokens, self._known = {}, {}, {}
        for record in records:
            held = before.get(record.partner_id)
            if held is not None and held.HasField("revoke_time"):
                record.revoke_time.CopyFrom(held.revoke_time)
            for token in self._records[record.partner_id].tokens if record.partner_id in self._records else ():
                self._tokens.pop(token.token_id, None)
            self._records[record.partner_id] = record
            self._tokens.update((token.token_id, (token, record.partner_id)) for token in record.tokens)
            self._known[record.partner_id] = self._read(record)

    def of_token(self, text: str) -> KnownPartner:
        """Return whose token it is; raise UnauthenticatedError with KEY_MALFORMED, _UNKNOWN, _REVOKED, _EXPIRED."""
        presented = present_partner_token(self._pepper, text)
        token, partner_id = self._tokens.get(presented.token_id, (None, ""))
        if token is None or not same_hash(token.hash, presented.hash):
            raise UnauthenticatedError("no such token", reason="KEY_UNKNOWN")
        if self._records[partner_id].HasField("revoke_time"):
            raise UnauthenticatedError("the partner was revoked", reason="KEY_REVOKED")
        if token.HasField("expire_time") and token.expire_time.ToDatetime(UTC) <= datetime.now(UTC):
            raise UnauthenticatedError("the token is past its expiry: another one took over", reason="KEY_EXPIRED")
        return self._known[partner_id]

    def _read(self, record: pb.PartnerRecord) -> KnownPartner:
        return KnownPartner(
            partner_id=record.partner_id,
            organization_id=record.organization_id,
            network=record.network,
            is_signed=bool(record.sealed_secret),
            secret=self._opened(record),
            addresses=tuple(ip_network(address) for address in record.addresses),
            return_text=record.return_text,
            is_enabled=record.is_enabled,
        )

    def _opened(self, record: pb.PartnerRecord) -> bytes | None:
        if not record.sealed_secret:
            return None
        try:
            return self._sealer.open(record.sealed_secret, record.partner_id)
        except SealBrokenError as error:
            _log.error(
                "a partner's signing secret does not open with this mesh's secret",
                partner_id=record.partner_id,
                error=str(error),
            )
            return None


def shown_token(arrival: Arrival) -> str:
    """Return the partner's token in a request's target, credentials or body; empty where there is none."""
    for data in (
        arrival.target,
        arrival.headers.get("Authorization", "").encode("utf-8", "surrogateescape"),
        arrival.headers.get("X-Write-Key", "").encode("utf-8", "surrogateescape"),
        arrival.body,
    ):
        if found := _TOKEN.search(data):
            return PREFIX + found[1].decode()
    return ""
