"""Partners: who may send an organisation's conversions, by a token of their own."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network

from auth_svc.organization import name_violations
from svc_runtime.errors import FailedPreconditionError, Violation

MOST_PARTNERS = 10_000
"""Live ones of an organisation."""
MOST_ADDRESSES = 100
_ID = re.compile(r"ptr_[0-9a-f]{16}")
_NETWORK = re.compile(r"[a-z0-9_.-]{1,60}")
_RETURN_TEXT = re.compile(r"[A-Za-z0-9_.:=|, -]{0,64}")


@dataclass(frozen=True, slots=True)
class PartnerToken:
    """A token without its secret."""

    token_id: str
    hash: bytes = field(repr=False)
    """32 bytes: ``svc_runtime.keys.hash_key``."""
    last_four: str
    create_time: datetime
    expire_time: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Say whether the token opens anything at ``now``."""
        return self.expire_time is None or self.expire_time > now


@dataclass(frozen=True, slots=True)
class Partner:
    """A sender of conversions."""

    partner_id: str
    organization_id: str
    name: str
    network: str
    """Whose words it uses: its label for statuses and currencies."""
    token: PartnerToken
    create_time: datetime
    old_token: PartnerToken | None = None
    """The one before, which lives on for a while."""
    sealed_secret: bytes = field(default=b"", repr=False)
    """What it signs with, sealed; empty: it does not sign."""
    addresses: tuple[str, ...] = ()
    """Networks that it may send from; empty: any."""
    return_text: str = ""
    """What it is answered; empty: ``OK``."""
    is_enabled: bool = True
    revoke_time: datetime | None = None

    @property
    def tokens(self) -> tuple[PartnerToken, ...]:
        """The newest first."""
        return (self.token,) if self.old_token is None else (self.token, self.old_token)

    def rotated(self, fresh: PartnerToken, *, overlap: timedelta) -> "Partner":
        """Return this partner with another token; the one before lives on for ``overlap``, older ones end now."""
        ends = fresh.create_time + overlap
        return replace(self, token=fresh, old_token=replace(self.token, expire_time=ends) if overlap else None)

    def check_not_revoked(self) -> None:
        """Raise FailedPreconditionError where it is revoked."""
        if self.revoke_time is not None:
            raise FailedPreconditionError(f"the partner `{self.partner_id}` is revoked: add another one instead")


@dataclass(frozen=True, slots=True)
class PartnerWanted:
    """What somebody asks of a partner; None: as it is."""

    name: str | None = None
    network: str | None = None
    addresses: Sequence[str] | None = None
    return_text: str | None = None
    is_enabled: bool | None = None

    def violations(self) -> list[Violation]:
        """Say everything that is wrong."""
        found = [] if self.name is None else name_violations(self.name)
        if self.network is not None and not _NETWORK.fullmatch(self.network):
            found.append(Violation("network", "must be 1 to 60 of a-z, 0-9, `_`, `-` and `.`"))
        found += _address_violations(self.addresses or ())
        if self.return_text is not None and not _RETURN_TEXT.fullmatch(self.return_text):
            found.append(Violation("return_text", "must be at most 64 letters, digits, blanks and `_ - . : = | ,`"))
        return found

    def applied(self, partner: Partner) -> Partner:
        """Return a partner with what is given changed."""
        return replace(
            partner,
            name=partner.name if self.name is None else self.name,
            network=partner.network if self.network is None else self.network,
            addresses=partner.addresses if self.addresses is None else plain_addresses(self.addresses),
            return_text=partner.return_text if self.return_text is None else self.return_text,
            is_enabled=partner.is_enabled if self.is_enabled is None else self.is_enabled,
        )


def is_partner_id(text: str) -> bool:
    """Say whether ``text`` has the form of a partner's id."""
    return _ID.fullmatch(text) is not None


def plain_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return networks in one form, an address alone as a network of one, each once."""
    return tuple(dict.fromkeys(str(_network(address)) for address in addresses))


def _network(text: str) -> IPv4Network | IPv6Network:
    """Read a network; one of IPv4 that is written as IPv6's is IPv4's, as senders' addresses are. Raise ValueError."""
    if "%" in text:
        raise ValueError("an address with a zone is one of its own machine")
    network = ip_network(text.strip(), strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None or network.prefixlen < 96 else IPv4Network((mapped, network.prefixlen - 96))


def _address_violations(addresses: Sequence[str]) -> list[Violation]:
    if len(addresses) > MOST_ADDRESSES:
        return [Violation("addresses", f"has {len(addresses)} networks; the limit is {MOST_ADDRESSES}")]
    found = []
    for place, address in enumerate(addresses):
        try:
            _network(address)
        except ValueError:
            found.append(Violation(f"addresses[{place}]", f"{address[:50]!r} is no address or network"))
    return found
